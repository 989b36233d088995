"""How far a call has come, on the last line of a terminal; nowhere else."""

import shutil
import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from parade.calls import Progress

_TO_START_AND_CLEAR = "\r\x1b[K"


class ProgressLine:
    """A line of standard error that is written over. It is gone when the block ends."""

    def __init__(self) -> None:
        self._shown = False
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        """Returns the line."""
        return self

    def __exit__(self, *_: object) -> None:
        """Clears the line."""
        self.clear()

    def show(self, progress: "Progress") -> None:
        """Shows how far it has come."""
        if not self._terminal:
            return
        text = progress_text(progress)[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write(f"{_TO_START_AND_CLEAR}{text}")
        sys.stderr.flush()
        self._shown = True

    def clear(self) -> None:
        """Takes away what is shown."""
        if self._shown:
            sys.stderr.write(_TO_START_AND_CLEAR)
            sys.stderr.flush()
            self._shown = False


def progress_text(progress: "Progress") -> str:
    """Returns how far it has come, in words."""
    share = f"{progress.fraction:.0%}" if progress.fraction >= 0 else ""
    return f"{share} {progress.message}".strip()
