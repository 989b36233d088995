"""Whether a registration can be accepted: every fault of it, found at once."""

import re
from collections.abc import Iterator

from parade.wire.errors import Violation
from parade_agent_manager.model import Function, Registration
from parade_agent_manager.schema import schema_fault

MAX_FUNCTIONS = 200
MAX_SCHEMAS_BYTES = 2 * 1024 * 1024
"""What all schemas of an instance may take, so that an instance always fits into one message."""
MAX_DESCRIPTION_BYTES = 16 * 1024
MAX_TIMEOUT = 24 * 3600
MAX_CONCURRENCY = 10_000
MAX_LABELS = 32
MAX_LABEL_VALUE = 255
MAX_VERSION = 128
MAX_HOST = 255

FUNCTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
LABEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[0-9]{1,5})")


def faults(registration: Registration) -> list[Violation]:
    """Returns every fault of a registration; none where it can be accepted."""
    return [*_of_instance(registration), *_of_labels(registration), *_of_functions(registration.functions)]


def _of_instance(registration: Registration) -> Iterator[Violation]:
    address = ADDRESS.fullmatch(registration.address)
    if address is None or not 1 <= int(address["port"]) <= 65535:
        yield Violation("address", f'"{registration.address[:100]}" is not "host:port"')
    if not 1 <= registration.max_concurrency <= MAX_CONCURRENCY:
        yield Violation("max_concurrency", f"must be from 1 to {MAX_CONCURRENCY:,}")
    if registration.pid < 0:
        yield Violation("pid", "must not be negative")
    if len(registration.version) > MAX_VERSION:
        yield Violation("version", f"is longer than {MAX_VERSION} characters")
    if len(registration.host) > MAX_HOST:
        yield Violation("host", f"is longer than {MAX_HOST} characters")


def _of_labels(registration: Registration) -> Iterator[Violation]:
    if len(registration.labels) > MAX_LABELS:
        yield Violation("labels", f"there are more than {MAX_LABELS}")
    for name, value in list(registration.labels.items())[:MAX_LABELS]:
        if not LABEL_NAME.fullmatch(name):
            yield Violation(
                f'labels["{name[:80]}"]', 'a name is letters, digits, ".", "_", "/" or "-", from one letter or digit to another, at most 63'
            )
        if len(value) > MAX_LABEL_VALUE:
            yield Violation(f'labels["{name[:80]}"]', f"the value is longer than {MAX_LABEL_VALUE} characters")


def _of_functions(functions: tuple[Function, ...]) -> Iterator[Violation]:
    if not 1 <= len(functions) <= MAX_FUNCTIONS:
        yield Violation("functions", f"must be from 1 to {MAX_FUNCTIONS}, not {len(functions)}")
        return
    if sum(len(function.arguments_schema) + len(function.result_schema) for function in functions) > MAX_SCHEMAS_BYTES:
        yield Violation("functions", f"their schemas together are larger than {MAX_SCHEMAS_BYTES // 1024 // 1024} MiB")
        return
    first: dict[str, int] = {}
    for index, function in enumerate(functions):
        path = f"functions[{index}]"
        if not FUNCTION_NAME.fullmatch(function.name):
            yield Violation(f"{path}.name", f'"{function.name[:80]}" is not a letter and then letters, digits, "_" or "-", at most 63')
        elif (other := first.setdefault(function.name, index)) != index:
            yield Violation(f"{path}.name", f'"{function.name}" is the name of functions[{other}] too')
        yield from _of_function(path, function)


def _of_function(path: str, function: Function) -> Iterator[Violation]:
    if len(function.description.encode()) > MAX_DESCRIPTION_BYTES:
        yield Violation(f"{path}.description", f"is larger than {MAX_DESCRIPTION_BYTES // 1024} KiB")
    if not 0 < function.timeout <= MAX_TIMEOUT:
        yield Violation(f"{path}.timeout", "must be more than 0 and at most 24 hours")
    if fault := schema_fault(function.arguments_schema, of_object=True):
        yield Violation(f"{path}.arguments_schema", fault)
    if fault := schema_fault(function.result_schema, of_object=False):
        yield Violation(f"{path}.result_schema", fault)
