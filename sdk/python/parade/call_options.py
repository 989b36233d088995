"""How a call is to be made, where its caller has something to say of that."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from parade.v1 import call_approval_pb2, call_pb2
from parade.wire.errors import Violation, invalid
from parade.wire.mandate import MOST_FUNCTIONS, is_pattern

ApprovalMode = Literal["wait", "fail"]
"""What a call does that needs somebody's approval and has none yet."""

MAX_PRIORITY = 100
MAX_KEY = 256
"""Characters that a key or a label may have."""
MAX_LABELS = 64
MAX_SECRETS = 64
MAX_SECRET_BYTES = 64 * 1024
"""Bytes that the secrets of a call may have together."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a call is to be made.

    Raises:
        ParadeError: INVALID_ARGUMENTS with every fault, when it is made.
    """

    idempotency_key: str = ""
    """Names what a call with effects is to bring about: another call with the same key and arguments returns the first one's outcome."""
    priority: int = 0
    """Which calls go first where they must wait: the higher. From -100 to 100."""
    affinity_key: str = ""
    """Calls with the same key go to the same instance while it lives and is ready."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that the instance must carry."""
    secrets: Collection[str] = field(default=(), repr=False)
    """Secrets that stand in the arguments, as they are or within longer texts.

    What the mesh and the agent say of the call, in errors, progress notes, logs and spans, is said without them; its result is passed on as
    it is. Not for calls that are started, whose arguments are kept on record.
    """
    functions: Collection[str] = ()
    """What may be called on account of the call, by the agent that runs it and by all that it calls: `agent.function`, `agent.*` or `*`.

    Everything that the caller may call, where not given. A function that calls others for its own caller can narrow what they may call, and
    never widen it.
    """

    approval: ApprovalMode = "wait"
    """What happens where a policy lets the call through only with somebody's approval, and nobody has given it yet.

    It waits until its time is over, or it fails at once. Either way it fails with APPROVAL_REQUIRED, and the same call can be made again.
    """

    def __post_init__(self) -> None:
        """Looks at every field."""
        faults = [
            *_key_faults("idempotency_key", self.idempotency_key),
            *_priority_faults(self.priority),
            *_key_faults("affinity_key", self.affinity_key),
            *_label_faults(self.labels),
            *_secret_faults(self.secrets),
            *_function_faults(self.functions),
            *_approval_faults(self.approval),
        ]
        if faults:
            raise invalid(faults, "the options of the call have a fault" if len(faults) == 1 else "the options of the call have faults")
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))
        object.__setattr__(self, "secrets", tuple(self.secrets))
        object.__setattr__(self, "functions", tuple(self.functions))

    def write(self, message: call_pb2.CallOptions) -> None:
        """Puts the options into a message."""
        if self.idempotency_key:
            message.idempotency_key = self.idempotency_key
        if self.priority:
            message.priority = self.priority
        if self.affinity_key:
            message.affinity_key = self.affinity_key
        if self.labels:
            message.labels.update(self.labels)
        if self.secrets:
            message.secrets.extend(self.secrets)
        if self.functions:
            message.functions.extend(self.functions)
        if self.approval == "fail":
            message.approval = call_approval_pb2.APPROVAL_MODE_FAIL


def checked(options: Any) -> CallOptions:
    """Returns the options that a caller gave.

    Raises:
        ParadeError: INVALID_ARGUMENTS where they are something else, as an argument of the function that goes by this name.
    """
    if isinstance(options, CallOptions):
        return options
    fault = f"is of type {type(options).__name__}; give parade.CallOptions(…), and an argument of this name within the mapping of arguments"
    raise invalid([Violation("options", fault)])


def _key_faults(name: str, key: Any) -> list[Violation]:
    if isinstance(key, str) and len(key) <= MAX_KEY:
        return []
    return [Violation(name, f"must be a text of at most {MAX_KEY} characters")]


def _priority_faults(priority: Any) -> list[Violation]:
    if isinstance(priority, int) and not isinstance(priority, bool) and -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        return []
    return [Violation("priority", f"is {priority!r}; it must be a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}")]


def _label_faults(labels: Any) -> list[Violation]:
    if not isinstance(labels, Mapping):
        return [Violation("labels", "must be texts by name")]
    faults = [
        Violation(f"labels.{name}", f"name and value must be texts of at most {MAX_KEY} characters")
        for name, value in labels.items()
        if not (isinstance(name, str) and name and isinstance(value, str) and max(len(name), len(value)) <= MAX_KEY)
    ]
    if len(labels) > MAX_LABELS:
        faults.append(Violation("labels", f"are {len(labels)}; at most {MAX_LABELS} can be asked for"))
    return faults


def _secret_faults(secrets: Any) -> list[Violation]:
    if isinstance(secrets, str) or not isinstance(secrets, Collection) or not all(isinstance(one, str) and one for one in secrets):
        return [Violation("secrets", "must be texts, in a list or a set")]
    if len(secrets) > MAX_SECRETS:
        return [Violation("secrets", f"are {len(secrets)}; at most {MAX_SECRETS} are taken")]
    size = sum(len(secret.encode(errors="replace")) for secret in secrets)
    if size > MAX_SECRET_BYTES:
        return [Violation("secrets", f"have {size:,} bytes together; at most {MAX_SECRET_BYTES:,} are taken")]
    return []


def _function_faults(functions: Any) -> list[Violation]:
    if isinstance(functions, str) or not isinstance(functions, Collection):
        return [Violation("functions", "must be names of functions, in a list or a set")]
    if len(functions) > MOST_FUNCTIONS:
        return [Violation("functions", f"are {len(functions)}; at most {MOST_FUNCTIONS} are taken")]
    how = "must be `agent.function`, `agent.*` or `*`"
    return [Violation("functions", f"{how}, not {one!r}") for one in functions if not isinstance(one, str) or is_pattern(one) is None]


def _approval_faults(mode: Any) -> list[Violation]:
    return [] if mode in ("wait", "fail") else [Violation("approval", f"is {mode!r}; it must be 'wait' or 'fail'")]
