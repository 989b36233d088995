"""What an installed package can do with every call that passes."""

import asyncio
from collections.abc import Iterable
from typing import Protocol

from parade_dispatcher.model import Outcome, Request


class Interceptor(Protocol):
    """Sees every call. A package adds one by an entry point of the group `parade.interceptors`: a callable that returns it.

    Both methods run in the event loop: one that waits holds up every call of the dispatcher.
    """

    def before(self, request: Request) -> None:
        """Sees a call before anything is done about it, and may change how it is to be made.

        Args:
            request: What is asked for. Its arguments, function and options may be changed; whose call it is may not.

        Raises:
            ParadeError: The call is not to be made; its caller gets this error.
        """
        ...

    def after(self, request: Request, outcome: Outcome) -> None:
        """Sees how a call ended, once for every call that `before` has seen and not refused."""
        ...


def tell(interceptors: Iterable[Interceptor], request: Request, outcome: Outcome) -> None:
    """Shows interceptors how a call ended. A fault in one of them is reported, and takes nothing from the caller."""
    for interceptor in interceptors:
        try:
            interceptor.after(request, outcome)
        except Exception as error:  # noqa: BLE001 - it is a package that was added
            message = f"the interceptor {type(interceptor).__name__} failed"
            asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
