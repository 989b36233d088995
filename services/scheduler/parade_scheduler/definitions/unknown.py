"""Whether the workflows that a definition runs are there, and which may have been meant where they are not."""

from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.definitions.catalogue import Catalogue
from parade_scheduler.language import Definition, Fault, Faults

_MAX_COMPARED: Final = 1_000
"""How many workflows of the namespace a hint is looked for among."""


async def unknown(catalogue: Catalogue, namespace: str, definition: Definition) -> tuple[Fault, ...]:
    """Returns a fault for every step that runs a workflow which is neither there nor this one itself."""
    missing = [name for name in definition.workflows if name != definition.name and not await _is_there(catalogue, namespace, name)]
    if not missing:
        return ()
    known = [workflow.name for workflow in await catalogue.workflows(namespace, "", _MAX_COMPARED)]
    faults = Faults()
    for name in missing:
        hint = faults.hint(name, known) or ("put it first" if known else "there is no workflow yet; put it first")
        for field, line in definition.workflows[name]:
            faults.add(field, line, f"there is no workflow `{name}`", hint)
    return faults.in_order()


async def _is_there(catalogue: Catalogue, namespace: str, name: str) -> bool:
    try:
        await catalogue.workflow(namespace, name)
    except ParadeError as error:
        if error.reason is not Reason.NOT_FOUND:
            raise
        return False
    return True
