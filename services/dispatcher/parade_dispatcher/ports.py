"""What the engine needs of others, and what it gives to them: who asked, a way to instances, what is written of effects, time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from parade.wire.errors import ParadeError
from parade_chassis.policies import Decision
from parade_dispatcher.approval import Approval
from parade_dispatcher.model import Agent, Answer, Call, Content, Entry, Function, Instance, Outcome, Progress, Request, Timing, Verdict

if TYPE_CHECKING:
    from parade_dispatcher.job import Job
    from parade_dispatcher.pool import Pool


class Reply(Protocol):
    """Who asked for a call. It hears `answered` or `failed` once, last; of the rest nothing where the request's window is 0."""

    def answered(self, answer: Answer) -> None:
        """Takes the result, or the good end of a stream."""
        ...

    def failed(self, error: ParadeError, timing: Timing) -> None:
        """Takes why there is no result.

        The metadata says what is known: `function`, `call_id`, `instance`, and as `cancellation` how far the end of the function has come.
        """
        ...

    def assigned(self, call_id: str, instance_id: str) -> None:
        """Hears that this instance has the call now."""
        ...

    def progressed(self, progress: Progress) -> None:
        """Hears how far the function has come."""
        ...

    def item(self, value: Content) -> None:
        """Takes an item of a stream."""
        ...

    def cancelling(self, state: str) -> None:
        """Hears how far the cancellation has come: a name of `parade.v1.Cancellation` without its prefix."""
        ...


class Receiver(Protocol):
    """What an instance says of one call goes here. The last word is one of `answered`, `failed` and `lost`.

    It is called from the event loop, never within `Reach.send` or a method of `Sending`.
    """

    def answered(self, result: Content | None, queued: float, executing: float) -> None:
        """Takes the result; None where a stream ended well, or where there was no result.

        Args:
            result: What the function returned.
            queued: Seconds that the call waited at the instance.
            executing: Seconds that the function took.
        """
        ...

    def failed(self, error: ParadeError, queued: float, executing: float) -> None:
        """Takes what the instance answered instead of a result."""
        ...

    def progressed(self, progress: Progress) -> None:
        """Takes how far the function has come."""
        ...

    def item(self, value: Content) -> None:
        """Takes an item."""
        ...

    def cancelling(self, state: str) -> None:
        """Takes how far the cancellation has come: ACKNOWLEDGED, STOPPED or COULD_NOT_STOP."""
        ...

    def lost(self, message: str, sent: bool) -> None:  # noqa: FBT001 - the session's own signature
        """Hears that the instance went away before it answered.

        Args:
            message: What was seen of it.
            sent: Whether the call may have reached it; False only where it is certain that it did not.
        """
        ...


class Sending(Protocol):
    """A call that is with an instance, or on its way."""

    def cancel(self) -> None:
        """Asks for its end. The receiver still hears a last word."""
        ...

    def abandon(self) -> None:
        """Asks for its end. The receiver hears no more of it."""
        ...

    def grant(self, size: int) -> None:
        """Makes room for so many bytes more of items."""
        ...


class Mandates(Protocol):
    """Who may call for whom."""

    def accept(self, request: Request) -> None:
        """Writes into a request whom it is for and how far it reaches, by the mandate that is shown with it.

        Raises:
            ParadeError: PERMISSION_DENIED, where the mandate is not believed or does not reach so far.
        """
        ...


class Reach(Protocol):
    """A way to reach instances."""

    def send(self, instance: Instance, call: Call, deadline: float, receiver: Receiver) -> Sending:
        """Gives a call to an instance.

        Args:
            instance: Which one.
            call: What to run; with `attach`, what to ask for.
            deadline: When the caller stops waiting, by the event loop's clock.
            receiver: Who hears of it.

        Raises:
            ParadeError: NO_CAPACITY where too much waits to be written already. The call has not left.
        """
        ...


class Ledger(Protocol):
    """What is written of calls with effects."""

    def begin(self, entry: Entry, decided: Callable[[Verdict], None]) -> None:
        """Writes that a call is going to be made, unless its key is known, and says which; in the order of the calls."""
        ...

    def assigned(self, entry: Entry, instance_id: str) -> None:
        """Takes down which instance has the call. Nobody waits for this to be written."""
        ...

    def end(self, entry: Entry, outcome: Outcome, written: Callable[[], None]) -> None:
        """Writes how the call ended, and says when that is safe; said too where it could not be written."""
        ...

    def withdraw(self, entry: Entry) -> None:
        """Takes back an entry whose function is known not to have run. A later call of the key finds it fresh."""
        ...


class Gate(Protocol):
    """What policies say of calls."""

    def demand(self, request: Request, pool: "Pool", function: Function) -> Decision | None:
        """Returns what a call needs somebody's approval by; None where it can be made as it is.

        Raises:
            ParadeError: PERMISSION_DENIED where it is forbidden; UNAVAILABLE where nobody has said yet what is.
        """
        ...

    def still(self, request: Request) -> None:
        """Holds that whom a call is for may still call functions, after it has waited.

        Raises:
            ParadeError: PERMISSION_DENIED where it may not; UNAVAILABLE where nobody has said yet who may do what.
        """
        ...


class Approvals(Protocol):
    """Where calls wait for somebody's approval."""

    lifetime: float
    """Seconds that one waits at most."""

    def wait(self, job: "Job", demand: Decision, deadline: float, go_on: Callable[[Approval], None]) -> None:
        """Lets a call wait for its approval, and ends it where it gets none.

        Args:
            job: The call.
            demand: What the policies say of it.
            deadline: When its caller stops waiting, by the event loop's clock; infinite where it does not.
            go_on: Goes on with it once it is approved; never called from here.
        """
        ...


class Population(Protocol):
    """Is told who exists, by the directory. `parade_dispatcher.pools.Pools` is one."""

    def put(self, change: Agent | Instance) -> None:
        """Takes what is new or has changed. An instance that is LOST or GONE loses its calls."""
        ...

    def gone(self, instance_id: str) -> None:
        """Forgets an instance that is not to be heard of again; it loses its calls. One that is not known is passed over."""
        ...

    def withdrawn(self, namespace: str, name: str) -> None:
        """Forgets an agent that a new complete picture does not hold."""
        ...

    def synced(self) -> None:
        """Hears that everything there is has been put; calls that came before that are made now."""
        ...


class Measurements(Protocol):
    """What is measured of calls. It must cost next to nothing."""

    def attempt(self, request: Request, instance: Instance, outcome: str, queued: float, transport: float, executing: float) -> None:
        """Takes down that an instance had a call.

        Args:
            request: What was asked for.
            instance: Which instance had it.
            outcome: `OK`, or the reason why it failed.
            queued: Seconds from the call's arrival until the function began.
            transport: Seconds on its way, there and back.
            executing: Seconds in the function.
        """
        ...


class Expiring(Protocol):
    """What has a deadline."""

    def expired(self) -> None:
        """Hears that the deadline has passed."""
        ...


class Deadlines(Protocol):
    """Many deadlines at the price of one timer: `parade.wire.deadlines.Deadlines`."""

    def add(self, when: float, item: Expiring) -> None:
        """Tells the item when that time has come, by the event loop's clock."""
        ...

    def remove(self, when: float, item: Expiring) -> None:
        """Forgets an item; `when` is what it was added with."""
        ...


Now = Callable[[], float]
"""Returns the time by the event loop's clock."""
Later = Callable[[float, Callable[[], None]], object]
"""Calls back after so many seconds, as `loop.call_later` does."""
