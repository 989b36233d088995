"""The one error of Parade: why something failed, said once, carried everywhere. It knows nothing of gRPC (see `status`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why something failed: the names of `parade.v1.ErrorReason` without their prefix, which say what each means."""

    INVALID_ARGUMENTS = "INVALID_ARGUMENTS"
    UNKNOWN_FUNCTION = "UNKNOWN_FUNCTION"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    NO_CAPACITY = "NO_CAPACITY"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    AGENT_ERROR = "AGENT_ERROR"
    AGENT_LOST = "AGENT_LOST"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"

    @classmethod
    def named(cls, name: str, otherwise: "Reason") -> "Reason":
        """Returns the reason of that name, or `otherwise` where this version of Parade has none."""
        return cls(name) if name in cls.__members__ else otherwise


RETRYABLE = frozenset({Reason.NO_CAPACITY, Reason.AGENT_LOST, Reason.UNAVAILABLE})
"""The reasons for which sending the same request again may succeed."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault in one place of what was sent."""

    field: str
    """A path into the request or the document, for example `steps.clean.call`."""
    description: str
    """What is wrong and what would be right."""
    line: int = 0
    """The line of the document, counted from 1; 0 where there is no document."""

    def __str__(self) -> str:
        """Returns the fault as one line of text."""
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.field}: {self.description}" if self.field else f"{where}{self.description}"


class ParadeError(Exception):
    """Something failed, and this says why, for programs (`reason`) and for people (`message`).

    Attributes:
        reason: Why.
        message: What happened and what to do about it.
        violations: Every fault found, for `INVALID_ARGUMENTS`.
        metadata: Facts about the failure, for example `exception_type`, `function`, `instance`.
        retryable: Whether the same request may succeed if it is sent again.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        violations: Sequence[Violation] = (),
        metadata: Mapping[str, str] | None = None,
        retryable: bool | None = None,
    ) -> None:
        """Makes an error; `retryable` follows from the reason unless it is given."""
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)
        self.metadata = dict(metadata or {})
        self.retryable = reason in RETRYABLE if retryable is None else retryable

    def __str__(self) -> str:
        """Returns the message and every fault, a line each."""
        return "\n  ".join([self.message, *map(str, self.violations)])


def invalid(violations: Sequence[Violation], message: str = "") -> ParadeError:
    """Makes the error for faults in a request; at least one is needed."""
    count = len(violations)
    text = message or ("the request has a fault" if count == 1 else f"the request has {count} faults")
    return ParadeError(Reason.INVALID_ARGUMENTS, text, violations=violations)
