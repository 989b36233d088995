"""A function that an agent serves: its name, its schemas, its arguments and results as JSON. When and where it runs is not its affair."""

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import orjson
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from parade.artifact import STORE
from parade.retry_policy import RetryPolicy
from parade.signature import Signature
from parade.wire.channel import MAX_VALUE_BYTES
from parade.wire.errors import ParadeError, Reason, Violation

Effect = Literal["pure", "idempotent", "effect"]
"""What calling a function twice does: nothing; what calling it once does; the same thing to the world again."""

DEFAULT_TIMEOUT = 60.0
MAX_TIMEOUT = 24 * 3600
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
MAX_VIOLATIONS = 20
"""How many faults one error lists: gRPC refuses an answer whose trailer is larger than 8 KiB."""
MAX_TEXT = 160
"""How many characters tell one fault."""


class ResultError(ParadeError):
    """What a function returned or yielded cannot be sent."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that an agent serves."""

    name: str
    """Its name within its agent."""
    description: str
    """What it does, for people and models."""
    effect: Effect
    """What calling it twice does."""
    timeout: float
    """Seconds that it may run at most."""
    handler: Callable[..., Any]
    """What the author wrote."""
    signature: Signature
    """What it takes and returns."""
    threaded: bool
    """Whether it runs in a thread: it is not written as a coroutine."""
    process: bool
    """Whether it runs in a process of its own, which can be killed."""
    retry: RetryPolicy | None
    """When the dispatcher makes a call of it again; None for what every function has."""
    arguments_schema: bytes
    """JSON Schema 2020-12 of the arguments, always of an object."""
    result_schema: bytes
    """JSON Schema 2020-12 of the result; of one item where it streams."""
    durable: bool = False
    """Whether it is a workflow in code, which the scheduler takes turns with; the schemas are those of a turn then."""

    @classmethod
    def of(
        cls,
        handler: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        effect: Effect = "effect",
        timeout: float = DEFAULT_TIMEOUT,
        process: bool = False,
        retry: RetryPolicy | None = None,
        signature: Signature | None = None,
    ) -> "Function":
        """Makes a function of what its author wrote.

        Args:
            handler: A function, a coroutine function, a generator or an asynchronous generator, with type hints.
            name: Its name; that of the handler where not given.
            description: What it does; the handler's docstring where not given.
            effect: What calling it twice does.
            timeout: Seconds that it may run at most.
            process: Whether it runs in a process of its own.
            retry: When the dispatcher makes a call of it again.
            signature: What it takes and returns; read from its type hints where not given.

        Raises:
            TypeError: A type hint is missing or has no JSON form, or the retry policy is something else.
            ValueError: The name, the effect or the timeout is none, or a process could not import it.
        """
        chosen = name or handler.__name__
        if not NAME.fullmatch(chosen):
            raise ValueError(f"{chosen!r} is no function name: a letter, then letters, digits, '_' or '-', at most 63")
        if effect not in get_args(Effect):
            raise ValueError(f"{chosen}: effect is {effect!r}; it must be one of {', '.join(get_args(Effect))}")
        if not 0 < timeout <= MAX_TIMEOUT:
            raise ValueError(f"{chosen}: timeout is {timeout}; it must be more than 0 and at most {MAX_TIMEOUT} seconds")
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise TypeError(f"{chosen}: retry is {retry!r}; give parade.RetryPolicy(…)")
        if process and "<" in handler.__qualname__:
            raise ValueError(f"{chosen}: what runs in a process must stand at the top of its module, where that process finds it")
        signature = Signature.read(handler) if signature is None else signature
        return cls(
            name=chosen,
            description=inspect.cleandoc(handler.__doc__ or "") if description is None else description,
            effect=effect,
            timeout=float(timeout),
            handler=handler,
            signature=signature,
            threaded=not (inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler)),
            process=process,
            retry=retry,
            arguments_schema=orjson.dumps(signature.arguments_schema()),
            result_schema=orjson.dumps(signature.result_schema()),
        )

    @property
    def streaming(self) -> bool:
        """Whether it yields items in place of one result."""
        return self.signature.streaming

    def decode(self, data: bytes, artifacts: Any = None) -> dict[str, Any]:
        """Reads the arguments of a call: JSON in, Python values by parameter out. What was not given is left to the function's defaults.

        Args:
            data: The JSON.
            artifacts: What reads the artifacts among the arguments.

        Raises:
            ParadeError: INVALID_ARGUMENTS with one violation a fault.
        """
        try:
            return self.signature.read_arguments(data or b"{}", context={STORE: artifacts})
        except ValidationError as error:
            raise ParadeError(
                Reason.INVALID_ARGUMENTS,
                f"the arguments of {self.name} do not fit its schema",
                violations=_violations(error, "arguments"),
            ) from error

    def encode(self, value: Any) -> bytes:
        """Writes a result or an item as JSON.

        Raises:
            ResultError: AGENT_ERROR where it is not of the declared type.
        """
        signature = self.signature
        try:
            # What is of a plain type itself needs no look into it.
            if type(value) in signature.plain:
                try:
                    return orjson.dumps(value)
                except TypeError:
                    checked = value  # pydantic writes an integer of more than 64 bits too, and says what is wrong with a text
            else:
                checked = signature.check_result(value)
            # A model that was changed after it was made is not checked again by pydantic; its serialiser notices, and is told to say so.
            return signature.write_result(checked, by_alias=True, warnings="error")
        except (ValidationError, PydanticSerializationError) as error:
            root = "item" if self.streaming else "result"
            faults = _violations(error, root) if isinstance(error, ValidationError) else [Violation(root, str(error)[:MAX_TEXT])]
            raise ResultError(
                Reason.AGENT_ERROR,
                f"{self.name} {self._gave} outside its schema: {faults[0]}",
                violations=faults,
                metadata={"returned_type": type(value).__name__},
            ) from error

    def check_findable(self) -> None:
        """Checks that a process finds the function by its name in its module, as far as can be told here.

        Raises:
            ValueError: It would not.
        """
        module = sys.modules.get(self.handler.__module__)
        found: Any = module
        for name in self.handler.__qualname__.split("."):
            found = getattr(found, name, None)
        if found is not self.handler:
            raise ValueError(
                f"{self.name}: its process would not find {self.handler.__qualname__!r} in {self.handler.__module__}; "
                "write @agent.function(process=True) above all other decorators"
            )
        if module is sys.modules["__main__"] and getattr(module, "__spec__", None) is None and getattr(module, "__file__", None) is None:
            raise ValueError(
                f"{self.name}: a process imports modules and scripts, and this program is neither; put the function into a module"
            )

    def check_arguments_size(self, data: bytes) -> None:
        """Refuses arguments that are too large to be sent as they are.

        Raises:
            ParadeError: INVALID_ARGUMENTS.
        """
        if len(data) > MAX_VALUE_BYTES:
            raise ParadeError(
                Reason.INVALID_ARGUMENTS,
                f"the arguments of {self.name} are too large",
                violations=[Violation("arguments", f"are {_megabytes(data)}; at most {MAX_VALUE_BYTES // 2**20} MiB can be sent")],
            )

    def check_result_size(self, data: bytes) -> None:
        """Refuses a result or an item that is too large to be sent as it is.

        Raises:
            ResultError: AGENT_ERROR.
        """
        if len(data) > MAX_VALUE_BYTES:
            raise ResultError(
                Reason.AGENT_ERROR,
                f"{self.name} {self._gave} of {_megabytes(data)}; at most {MAX_VALUE_BYTES // 2**20} MiB can be sent. "
                "Put it in a file or a store and return where it is.",
            )

    @property
    def _gave(self) -> str:
        return "yielded an item" if self.streaming else "returned a value"


def _megabytes(data: bytes) -> str:
    return f"{len(data) / 2**20:.1f} MiB"


def _violations(error: ValidationError, root: str) -> list[Violation]:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    violations = [Violation(_path(root, fault["loc"]), fault["msg"][:MAX_TEXT]) for fault in faults[:MAX_VIOLATIONS]]
    if len(faults) > MAX_VIOLATIONS:
        violations.append(Violation(root, f"and {len(faults) - MAX_VIOLATIONS} more faults"))
    return violations


def _path(root: str, location: tuple[int | str, ...]) -> str:
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
