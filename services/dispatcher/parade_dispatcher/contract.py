"""What an instance may say of a call: the answers of its contract, and values within the schemas that it declared."""

from typing import TYPE_CHECKING

from parade.wire.errors import ParadeError, Reason
from parade_dispatcher.member import Member
from parade_dispatcher.model import Content

if TYPE_CHECKING:
    from parade_dispatcher.job import Job

_ANSWERS = frozenset(
    {
        Reason.AGENT_ERROR,
        Reason.UNKNOWN_FUNCTION,
        Reason.INVALID_ARGUMENTS,
        Reason.NO_CAPACITY,
        Reason.DEADLINE_EXCEEDED,
        Reason.CANCELLED,
    }
)
"""What an agent may answer. Another reason is a failure of something that its function used."""


def answer_of(error: ParadeError) -> ParadeError:
    """Returns what an instance answered: an AGENT_ERROR where an agent may not answer so by itself."""
    if error.reason in _ANSWERS:
        return error
    metadata = {**error.metadata, "reason": error.reason.value}
    return ParadeError(Reason.AGENT_ERROR, error.message, violations=error.violations, metadata=metadata)


def fault_of(job: "Job", member: Member, result: Content | None) -> ParadeError | None:
    """Returns what is wrong with a result, or with the lack of one; None where nothing is."""
    if result is None:
        if job.function.streaming:
            return None
        return ParadeError(Reason.AGENT_ERROR, "the agent ended the call without a result")
    if job.function.streaming:
        return ParadeError(Reason.AGENT_ERROR, "the agent sent a result, which is not what this function gives")
    return _outside_schema(job, member, result, "result")


def fault_of_item(job: "Job", member: Member, value: Content) -> ParadeError | None:
    """Returns what is wrong with an item; None where nothing is."""
    if not job.function.streaming:
        return ParadeError(Reason.AGENT_ERROR, "the agent sent an item, which is not what this function gives")
    return _outside_schema(job, member, value, "item")


def _outside_schema(job: "Job", member: Member, value: Content, name: str) -> ParadeError | None:
    # Instances of two versions may run side by side: each is held to its own word.
    schema = member.instance.functions.get(job.request.function, job.function).result_schema
    try:
        job.parts.schemas.check_result(schema, value, name)
    except ParadeError as error:
        return error
    return None
