"""Runs are brought into memory as they are stored; one that makes no sense any more keeps no other from being led."""

from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider import TaskSucceeded
from parade_scheduler.document import Document
from parade_scheduler.model import RunState
from tests.unit.scheduler.leading import leading


@pytest.mark.parametrize("part", ['"a"', '"step":"a"'])
async def test_a_run_that_does_not_fit_its_definition_is_left_alone(tmp_path: Path, part: str) -> None:
    async with leading(tmp_path) as led:
        led.lead()
        await led.begin(1)
        await led.begin(2)
        await led.end()
        other_step = part.replace('"a"', '"unknown"')
        await led.execute(f"UPDATE entry SET facts = replace(facts, '{part}', '{other_step}') WHERE run = 'run-0001-07'")  # noqa: S608  # the test's own words

        await led.crash()
        await led.until(lambda: led.dispatches)
        led.journal.report("run-0001-07", TaskSucceeded("unknown", 0, 1, Document(b"7")))
        led.journal.report("run-0002-07", TaskSucceeded("a", 0, 1, Document(b"7")))
        await led.written()

        other = await led.store.run("default", "run-0002-07")
        assert other is not None
        assert other.state is RunState.SUCCEEDED
        with pytest.raises(ParadeError, match="log says why") as caught:
            await led.journal.request("run-0001-07", None)
        assert caught.value.reason is Reason.INTERNAL
