"""Between the model and the rows of workflows and runs, both ways; pure."""

from typing import Any, Final, NamedTuple
from zlib import crc32

import orjson
from sqlalchemy import Row

from parade_scheduler.document import Document
from parade_scheduler.model import Run, RunState, Workflow
from parade_scheduler.storage.entries import Change
from parade_scheduler.storage.records import Codec, Documents, member_of, micros_of, time_of, to_micros, to_time

SHARD_COUNT: Final = 64
"""How many shards the runs are spread over."""
MAX_TERM_BYTES: Final = 200
"""The longest input that a run is found by, its name and its value together."""

_IN_COLUMNS: Final = (
    "id",
    "namespace",
    "workflow",
    "version",
    "inputs",
    "create_time",
    "state",
    "request_id",
    "outputs",
    "end_time",
    "last_sequence",
)
_RUNS: Final = Codec(Run, leave_out=_IN_COLUMNS)
_NO_INPUTS: Final = b"{}"


class RunRow(NamedTuple):
    """A new row of the table `run`, its columns in their order."""

    id: str
    namespace: str
    shard: int
    workflow: str
    version: int
    state: str
    request_id: str | None
    created: int
    ended: int | None
    last_sequence: int
    parked: bool
    wake: int | None
    facts: str
    inputs: bytes
    outputs: bytes | None


class RunUpdate(NamedTuple):
    """What changes in a row of the table `run`."""

    state: str
    ended: int | None
    last_sequence: int
    parked: bool
    wake: int | None
    facts: str
    outputs: bytes | None
    id: str


def shard_of(run: str) -> int:
    """Returns the shard of a run, which the last two digits of its id say; one that has none has that of its hash."""
    if run[-3:-2] == "-" and run[-2:].isdecimal() and int(run[-2:]) < SHARD_COUNT:
        return int(run[-2:])
    return crc32(run.encode()) % SHARD_COUNT


def run_row(change: Change) -> RunRow:
    """Writes a new run."""
    run = change.run
    return RunRow(
        run.id,
        run.namespace,
        shard_of(run.id),
        run.workflow,
        run.version,
        run.state.value,
        run.request_id or None,
        micros_of(run.create_time),
        to_micros(run.end_time),
        run.last_sequence,
        change.parked,
        to_micros(change.wake),
        _run_facts(run),
        run.inputs.data,
        None if run.outputs is None else run.outputs.data,
    )


def run_update(change: Change) -> RunUpdate:
    """Writes a run that has a row."""
    run = change.run
    outputs = None if run.outputs is None else run.outputs.data
    return RunUpdate(
        run.state.value,
        to_micros(run.end_time),
        run.last_sequence,
        change.parked,
        to_micros(change.wake),
        _run_facts(run),
        outputs,
        run.id,
    )


def run_of(row: Row[Any]) -> Run:
    """Reads a run; one that is read without its values has empty inputs and no outputs."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public way to a row's names
    outputs = values.get("outputs")
    return _RUNS.read(
        orjson.loads(row.facts),
        _no_document,
        id=row.id,
        namespace=row.namespace,
        workflow=row.workflow,
        version=row.version,
        inputs=Document(values.get("inputs", _NO_INPUTS)),
        create_time=time_of(row.created),
        state=member_of(RunState, row.state),
        request_id=row.request_id or "",
        outputs=None if outputs is None else Document(outputs),
        end_time=to_time(row.ended),
        last_sequence=row.last_sequence,
    )


def terms_of(run: Run) -> list[str]:
    """Returns what a run is found by: its labels, and those of its inputs that are short and simple."""
    terms = [label_term(key, value) for key, value in run.labels.items()]
    inputs = run.inputs.value
    if isinstance(inputs, dict):
        found_by = [input_term(name, _text(value)) for name, value in inputs.items() if isinstance(value, str | int | float)]
        # PostgreSQL keeps no NUL in a text.
        terms += [term for term in found_by if "\x00" not in term and len(term.encode()) <= MAX_TERM_BYTES]
    return list(dict.fromkeys(terms))  # `a=b` of `c` and `a` of `b=c` are one term


def label_term(key: str, value: str) -> str:
    """Returns the term of a label."""
    return f"label:{key}={value}"


def input_term(name: str, value: str) -> str:
    """Returns the term of an input; a text stands as it is, a number or a truth value as in JSON."""
    return f"input:{name}={value}"


def workflow_row(workflow: Workflow) -> dict[str, Any]:
    """Writes a workflow."""
    return {
        "namespace": workflow.namespace,
        "name": workflow.name,
        "version": workflow.version,
        "hash": workflow.hash,
        "description": workflow.description,
        "source": workflow.source,
        "created": micros_of(workflow.create_time),
    }


def workflow_of(row: Row[Any]) -> Workflow:
    """Reads a workflow."""
    return Workflow(row.namespace, row.name, row.version, row.hash, row.description, row.source, time_of(row.created))


def _run_facts(run: Run) -> str:
    return orjson.dumps(_RUNS.write(run, Documents())).decode()


def _no_document(place: int) -> Document:
    raise ValueError(f"a run's row keeps no document {place}")


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
