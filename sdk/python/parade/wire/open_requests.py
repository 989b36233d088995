"""The requests that a server has under way, by whose they are: ends those of a peer that is not believed any more.

A request that lasts ends with its peer's certificate, and every request as soon as its peer is revoked. gRPC cannot close one connection of
many; so what goes over it is ended, and what comes next is refused (see `Peers.check`). It looks when the revocations change, and when the
first certificate among its peers ends; what lies idle costs an entry.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from parade.wire.errors import ParadeError
from parade.wire.peer import CERTIFICATE, Peer, Refusal
from parade.wire.peers import Peers

LONGEST_LOOK: Final = 60.0
"""Seconds after which it looks in any case: clocks are set, and roots leave a trust bundle."""
LINGER: Final = 2.0
"""Seconds that a stream has, once its certificate has ended, to end by itself between two messages: a session does, and loses none."""
SHORTEST_LOOK: Final = 0.1
"""Seconds between two looks for certificates that end: a loop's clock may run a little before the day's."""


class OpenRequest:
    """One request under way."""

    __slots__ = ("_task", "failure", "lasting", "peer", "still")

    def __init__(self, peer: Peer, task: "asyncio.Task[object]", still: Callable[[], None] | None, *, lasting: bool) -> None:
        """Takes whose it is, what serves it, what raises once it may not go on, and whether it may outlive the certificate."""
        self.peer = peer
        self.still = still
        self.lasting = lasting
        self.failure: ParadeError | None = None
        """Why it was ended; None while it was not, and where it is cancelled for another reason."""
        self._task = task

    def end(self, failure: ParadeError) -> None:
        """Cancels what serves it. Who awaits that finds the failure here, and answers with it."""
        self.failure = failure
        self._task.cancel()


class OpenRequests:
    """All of a server."""

    def __init__(self, peers: Peers) -> None:
        """Begins to look at the revocations, until `close`."""
        self._peers = peers
        self._requests = set[OpenRequest]()
        self._timer: asyncio.TimerHandle | None = None
        self._first_end = float("inf")
        """When the timer looks for certificates that end; infinite without one."""
        self._unsubscribe = peers.revocations.subscribe(self.look)

    def __len__(self) -> int:
        """Returns how many are under way."""
        return len(self._requests)

    def enter(self, peer: Peer, still: Callable[[], None] | None = None, *, lasting: bool) -> OpenRequest:
        """Takes up the request that the current task serves.

        Args:
            peer: Whose it is.
            still: Raises a ParadeError once the peer, though believed, may not do this any more. It is asked at every look.
            lasting: Whether it ends with the peer's certificate, as a stream does. One question with one answer has its answer still.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # gRPC serves every request in a task of its own
        request = OpenRequest(peer, task, still, lasting=lasting)
        self._requests.add(request)
        if lasting and peer.not_after + LINGER < self._first_end:
            self._schedule(peer.not_after + LINGER)
        return request

    def leave(self, request: OpenRequest) -> None:
        """Forgets a request that is over."""
        self._requests.discard(request)

    def close(self) -> None:
        """Looks no more."""
        self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Ends the requests of those who are not believed any more, or may not go on."""
        for request in self._requests:
            if request.failure is None:
                try:
                    self._peers.check(request.peer)
                    if request.still is not None:
                        request.still()
                except ParadeError as error:
                    expired = error.metadata.get(CERTIFICATE) == Refusal.EXPIRED
                    if not expired or (request.lasting and self._peers.now >= request.peer.not_after + LINGER):
                        request.end(error)

    def _schedule(self, first_end: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay = min(max(first_end - self._peers.now, SHORTEST_LOOK), LONGEST_LOOK)
        self._first_end = first_end
        self._timer = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self) -> None:
        self._timer, self._first_end = None, float("inf")
        self.look()
        lasting = [request.peer.not_after for request in self._requests if request.lasting and request.failure is None]
        if lasting:
            self._schedule(min(lasting) + LINGER)
