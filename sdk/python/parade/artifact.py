"""An artifact: bytes that are too large to travel whole, by their name. Where they lie is the affair of `parade.artifacts`."""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from parade.patience import Patience
from parade.wire.errors import ParadeError, Reason, Violation, invalid

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, ValidationInfo
    from pydantic_core import CoreSchema

Content = bytes | bytearray | memoryview | str | os.PathLike[str] | AsyncIterable[bytes]
"""What can be put: bytes, the path of a file, or bytes as they come."""
BYTES = "application/octet-stream"
"""The media type of what nobody says more of."""
MAX_READ_BYTES = 64 * 1024 * 1024
"""What `Artifact.read` takes into memory where its caller allows no more."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
STORE = "artifacts"
"""The key of pydantic's validation context under which an artifact finds what reads it."""


class Store(Protocol):
    """What reads artifacts; `parade.artifacts.Artifacts` is one."""

    def pieces(self, digest: str, offset: int) -> AsyncGenerator[bytes, None]:
        """Yields the bytes of an artifact from an offset on."""
        ...


class Named:
    """What names an artifact: one that is read in an event loop, or its blocking twin."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Returns its JSON form."""
        raise NotImplementedError


class Artifact(Named):
    """Bytes that the mesh keeps under their hash, up to 1 GiB. It holds the name; the bytes come when they are read, piece by piece.

    As an argument or a result of a function it is a type hint like any other, and in JSON `{"artifact": {"digest", "size", "media_type"}}`.

    Attributes:
        digest: "sha256:" and 64 hexadecimal digits.
        size: How many bytes it has.
        media_type: What the bytes are.
    """

    __slots__ = ("_store", "digest", "media_type", "size")

    def __init__(self, digest: str, size: int, media_type: str = BYTES, *, store: Store | None = None) -> None:
        """Names an artifact; `Mesh.put_artifact` and `Mesh.artifact` give one that can be read.

        Raises:
            ParadeError: INVALID_ARGUMENTS where it cannot be the name of one.
        """
        if faults := _faults(digest, size):
            raise invalid(faults, "this names no artifact")
        self.digest = digest
        self.size = size
        self.media_type = media_type or BYTES
        self._store = store

    @classmethod
    def from_json(cls, form: Any, store: Store | None = None) -> "Artifact":
        """Returns the artifact that its JSON form names.

        Raises:
            ParadeError: INVALID_ARGUMENTS where it is no such form.
        """
        named = form.get("artifact") if isinstance(form, dict) else None
        if not isinstance(named, dict):
            raise invalid(
                [Violation("artifact", 'must be {"artifact": {"digest": …, "size": …, "media_type": …}}')], "this names no artifact"
            )
        return cls(named.get("digest", ""), named.get("size", -1), named.get("media_type", BYTES), store=store)

    def to_json(self) -> dict[str, Any]:
        """Returns its JSON form."""
        return {"artifact": {"digest": self.digest, "size": self.size, "media_type": self.media_type}}

    def __repr__(self) -> str:
        """Returns a text with its name."""
        return f"Artifact({self.digest!r}, {self.size}, {self.media_type!r})"

    def __eq__(self, other: object) -> bool:
        """Returns whether the bytes are the same."""
        return isinstance(other, Artifact) and self.digest == other.digest

    def __hash__(self) -> int:
        """Returns the same for the same bytes."""
        return hash(self.digest)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yields the bytes in order, in pieces of at most 256 KiB. Where the gateway goes away it goes on from there when it is back.

        Raises:
            ParadeError: NOT_FOUND; INTERNAL after the last piece where the bytes were not those that the digest names; UNAVAILABLE.
        """
        if self._store is None:
            raise ParadeError(Reason.FAILED_PRECONDITION, "this artifact was named without a mesh; get it from mesh.artifact(…) to read it")
        offset, seen, patience = 0, hashlib.sha256(), Patience()
        while offset < self.size:
            pieces = self._store.pieces(self.digest, offset)
            try:
                async for piece in pieces:
                    offset += len(piece)
                    seen.update(piece)
                    patience.renew()
                    yield piece
                break
            except ParadeError as error:
                await patience.pause_or_raise(error)
            finally:
                await pieces.aclose()
        if offset != self.size or f"sha256:{seen.hexdigest()}" != self.digest:
            raise ParadeError(Reason.INTERNAL, f"the {offset} bytes that came are not those of {self.digest}, which has {self.size}")

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the bytes into a file, which is there once all of them have come and are right; returns its path.

        Args:
            path: The file; one that is there is replaced.

        Raises:
            ParadeError: As `chunks` does.
            OSError: The file cannot be written.
        """
        target = Path(path)
        partial = target.with_name(f".{target.name}.{os.getpid()}.{id(self)}.part")
        try:
            with await asyncio.to_thread(partial.open, "wb") as file:
                async for piece in self.chunks():
                    await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(partial.replace, target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    async def read(self, limit: int = MAX_READ_BYTES) -> bytes:
        """Returns the bytes, whole.

        Args:
            limit: How many bytes to take into memory at most.

        Raises:
            ParadeError: INVALID_ARGUMENTS where it has more bytes; as `chunks` does.
        """
        if self.size > limit:
            fault = f"has {self.size} bytes, more than the limit of {limit}; use chunks() or save(), or allow more"
            raise invalid([Violation("artifact", fault)], "the artifact is too large to be read whole")
        content = bytearray()
        async for piece in self.chunks():
            content += piece
        return bytes(content)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: "GetCoreSchemaHandler") -> "CoreSchema":
        """Tells pydantic its JSON form. What reads it comes from the validation context."""
        from pydantic_core import core_schema

        reference = core_schema.typed_dict_schema(
            {
                "digest": core_schema.typed_dict_field(core_schema.str_schema(pattern=f"^{DIGEST.pattern}$"), required=True),
                "size": core_schema.typed_dict_field(core_schema.int_schema(ge=0, strict=True), required=True),
                "media_type": core_schema.typed_dict_field(core_schema.str_schema(max_length=256), required=False),
            },
            extra_behavior="forbid",
        )
        form = core_schema.typed_dict_schema({"artifact": core_schema.typed_dict_field(reference, required=True)}, extra_behavior="forbid")

        def read(value: dict[str, Any], info: "ValidationInfo") -> Artifact:
            return cls.from_json(value, (info.context or {}).get(STORE))

        from_form = core_schema.with_info_after_validator_function(read, form)
        return core_schema.json_or_python_schema(
            json_schema=from_form,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), from_form]),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.to_json, return_schema=form),
        )


def _faults(digest: Any, size: Any) -> list[Violation]:
    faults = []
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        faults.append(Violation("digest", 'must be "sha256:" and 64 hexadecimal digits in lower case'))
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        faults.append(Violation("size", "must be a whole number that is not below 0"))
    return faults
