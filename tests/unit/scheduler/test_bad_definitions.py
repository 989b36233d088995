"""Definitions that are refused: each in `bad_definitions`, with a comment `# ! what is told` on every line at which something is."""

from pathlib import Path

import pytest

from parade_scheduler.language import examine

DEFINITIONS = sorted((Path(__file__).parent / "bad_definitions").glob("*.yaml"))
TELLING = ("stands here, not", "stand here, not", "exists only in", "does not exist here")
"""Words of messages that tell themselves what to write."""


def test_there_are_enough_of_them() -> None:
    assert len(DEFINITIONS) >= 50


@pytest.mark.timeout(10)
@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
def test_every_fault_is_told_at_its_line_and_nothing_else(path: Path) -> None:
    source = path.read_text()
    expected = [
        (number, words.strip())
        for number, line in enumerate(source.splitlines(), 1)
        for words in line.partition("# !")[2].split(" ! ")
        if words
    ]

    found = [(fault.line, f"{fault.description}; {fault.hint}") for fault in examine(source).faults]

    assert len(found) == len(expected), found
    for line, words in expected:
        assert any(line == at and words in told for at, told in found), (line, words, found)


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
def test_every_fault_says_what_to_write_instead(path: Path) -> None:
    for fault in examine(path.read_text()).faults:
        assert fault.hint or any(words in fault.description for words in TELLING), fault
