"""The mesh file: where a mesh is and how to be let in. `parade dev` writes it; agents, clients and the command line read it."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from parade.wire.certificates import FileSource
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import DEFAULT_DOMAIN, DEFAULT_NAMESPACE

STATE_FOLDER = ".parade"
FILE_NAME = "mesh.json"
FILE_VARIABLE = "PARADE_MESH"
"""The environment variable that names the mesh file."""
VERSION = 1


@dataclass(frozen=True, slots=True)
class MeshFile:
    """Where a mesh is and how to be let in."""

    folder: Path
    """The folder that the file lies in; the paths in the file are relative to it."""
    services: dict[str, str] = field(default_factory=dict)
    """`host:port` of every service, by its name; of one with replicas those of all of them, with commas between."""
    enrolment: str = ""
    """`host:port` where agents without a certificate enrol."""
    rest: str = ""
    """The URL of the REST gateway."""
    domain: str = DEFAULT_DOMAIN
    namespace: str = DEFAULT_NAMESPACE
    trust_bundle: str = "certificates/ca.pem"
    certificate: str = "certificates/client.pem"
    private_key: str = "certificates/client.key"
    api_key: str = "api-key"
    """The file with the key for REST."""

    @classmethod
    def find(cls, start: Path | None = None) -> Self:
        """Reads the file that `PARADE_MESH` names, or else the nearest `.parade/mesh.json` of a folder and those above it.

        Raises:
            ParadeError: UNAVAILABLE where there is none: no mesh runs here.
        """
        named = os.environ.get(FILE_VARIABLE)
        if named:
            return cls.read(Path(named))
        folder = (start or Path.cwd()).resolve()
        for candidate in (folder, *folder.parents):
            path = candidate / STATE_FOLDER / FILE_NAME
            if path.is_file():
                return cls.read(path)
        raise ParadeError(
            Reason.UNAVAILABLE,
            f"no mesh here: {folder} has no {STATE_FOLDER}/{FILE_NAME}, nor has a folder above it. Start one with `parade dev`.",
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a mesh file.

        Raises:
            ParadeError: UNAVAILABLE where it cannot be read or is of another version.
        """
        try:
            content = json.loads(path.read_bytes())
            if content.pop("version") != VERSION:
                raise ValueError("it is of another version of Parade")
            return cls(folder=path.resolve().parent, **content)
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"the mesh file {path} is not usable: {error}. Start the mesh with `parade dev`."
            raise ParadeError(Reason.UNAVAILABLE, message) from error

    @property
    def path(self) -> Path:
        """The file itself."""
        return self.folder / FILE_NAME

    def write(self) -> None:
        """Writes the file, at once or not at all."""
        content = {"version": VERSION, **{key: value for key, value in asdict(self).items() if key != "folder"}}
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        temporary.replace(self.path)

    def certificates(self) -> FileSource:
        """Returns the client's certificates.

        Raises:
            ParadeError: UNAVAILABLE where they cannot be read.
        """
        try:
            return FileSource(self.folder / self.trust_bundle, self.folder / self.certificate, self.folder / self.private_key)
        except (OSError, ValueError) as error:
            raise ParadeError(Reason.UNAVAILABLE, f"the certificates of the mesh cannot be read: {error}") from error
