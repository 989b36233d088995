"""What makes a durable function fail because of how it is written, not because of what it does."""

from parade.function_error import FunctionError


class NondeterminismError(FunctionError):
    """The function asks for something else than it did when the run was recorded: its code has changed, or hangs on chance or the clock."""


class ForeignWaitError(FunctionError):
    """The function waits for something that is not its context's, so it could not wait for it again after a crash."""
