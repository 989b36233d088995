"""An agent: a name and its functions, written in plain Python with type hints."""

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from parade.function import DEFAULT_TIMEOUT, Effect, Function
from parade.retry_policy import RetryPolicy
from parade.wire.identity import NAME
from parade.wire.mesh_file import MeshFile

if TYPE_CHECKING:
    from parade.hosting.instance import Instance
    from parade.hosting.offer import Offer

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

MAX_CONCURRENCY = 10_000
MAX_FUNCTIONS = 200
MAX_LABELS = 32


served_elsewhere = False
"""True in a worker process, which imports an agent that its parent serves."""


class ServedElsewhereError(BaseException):
    """Ends the import of a main script in a worker process where the script would serve."""


class Agent:
    """An agent. Any number of processes may serve it; each is an instance.

    ```python
    agent = parade.Agent("analyst")

    @agent.function(effect="pure")
    async def describe(rows: list[Row], context: parade.Context) -> Summary: ...

    agent.serve()
    ```

    Attributes:
        name: Its name.
        version: Its version, empty where none.
        labels: Its labels.
        max_concurrency: How many calls an instance runs at once.
    """

    def __init__(self, name: str, *, version: str = "", labels: Mapping[str, str] | None = None, max_concurrency: int = 16) -> None:
        """Makes an agent without functions.

        Args:
            name: A lower-case letter, then lower-case letters, digits or "-", at most 40.
            version: Any text that tells its versions apart.
            labels: Facts by which it can be told from others; at most 32.
            max_concurrency: How many calls an instance runs at once, from 1 to 10,000; more are sent elsewhere.

        Raises:
            ValueError: One of them is outside its bounds.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no agent name: a lower-case letter, then lower-case letters, digits or '-', at most 40")
        if not 1 <= max_concurrency <= MAX_CONCURRENCY:
            raise ValueError(f"max_concurrency is {max_concurrency}; it must be from 1 to {MAX_CONCURRENCY}")
        if len(labels or {}) > MAX_LABELS:
            raise ValueError(f"{len(labels or {})} labels; at most {MAX_LABELS} are allowed")
        self.name = name
        self.version = version
        self.labels = dict(labels or {})
        self.max_concurrency = max_concurrency
        self._functions: dict[str, Function] = {}

    @property
    def functions(self) -> Mapping[str, Function]:
        """The functions by name."""
        return MappingProxyType(self._functions)

    @overload
    def function(self, handler: HandlerT, /) -> HandlerT: ...

    @overload
    def function(
        self,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        effect: Effect = "effect",
        timeout: float = DEFAULT_TIMEOUT,
        process: bool = False,
        retry: RetryPolicy | None = None,
    ) -> Callable[[HandlerT], HandlerT]: ...

    def function(
        self,
        handler: HandlerT | None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        effect: Effect = "effect",
        timeout: float = DEFAULT_TIMEOUT,
        process: bool = False,
        retry: RetryPolicy | None = None,
    ) -> HandlerT | Callable[[HandlerT], HandlerT]:
        """Makes a function of the agent out of a Python function, which stays what it was and can be called as before.

        Arguments are passed by name. Their type hints, and that of the result, become the schemas that callers see and that every call is
        held to: builtins, pydantic models, dataclasses, TypedDicts, enums, Literal, Optional, Annotated with Field. A coroutine function
        runs in the event loop, any other in a thread. A generator, of either kind, streams what it yields. A parameter of type
        `parade.Context` is given the call's context.

        A call that is cancelled, or whose deadline passes, ends its function: a coroutine is cancelled where it awaits, a process is killed
        with all it has started; a thread cannot be stopped and should look at `context.cancelled`. Who called is told which it was.

        Args:
            handler: The Python function, where the decorator is used without brackets.
            name: The name that callers use; the function's own where not given.
            description: What it does, for people and models; its docstring where not given.
            effect: What calling it twice does: `pure` and `idempotent` functions may be repeated, an `effect` is only repeated where it is
                known not to have happened.
            timeout: Seconds that it may run at most.
            process: Whether it runs in a worker process, which serves one call at a time and is used again. The process imports the
                function's module, or the main script, as `multiprocessing` does: what must not happen twice stands under
                `if __name__ == "__main__":`. The function must stand at the top of its module.
            retry: When the dispatcher makes a call of it again; three attempts at an instance that can take it where not given.

        Raises:
            TypeError: A type hint is missing or has no JSON form.
            ValueError: The name is not allowed or taken, or another value is outside its bounds.
        """

        def register(decorated: HandlerT) -> HandlerT:
            self._add(
                Function.of(decorated, name=name, description=description, effect=effect, timeout=timeout, process=process, retry=retry)
            )
            return decorated

        return register if handler is None else register(handler)

    @overload
    def workflow(self, handler: HandlerT, /) -> HandlerT: ...

    @overload
    def workflow(self, /, *, name: str | None = None, description: str | None = None) -> Callable[[HandlerT], HandlerT]: ...

    def workflow(
        self, handler: HandlerT | None = None, /, *, name: str | None = None, description: str | None = None
    ) -> HandlerT | Callable[[HandlerT], HandlerT]:
        """Makes a durable function of the agent out of a coroutine function, or of one that `parade.workflow` has made durable.

        Its runs are started by its full name, as those of any workflow: `mesh.start("travel.trip", city="Rome")`. It cannot be called.

        Args:
            handler: The coroutine function, where the decorator is used without brackets. One parameter is hinted `parade.WorkflowContext`.
            name: The name that callers use; the function's own where not given.
            description: What it does, for people and models; its docstring where not given.

        Raises:
            TypeError: It is no coroutine function, takes no context, or a type hint is missing or has no JSON form.
            ValueError: The name is not allowed or taken.
        """
        from parade.durable.definition import function_of

        def register(decorated: HandlerT) -> HandlerT:
            self._add(function_of(decorated, name, description))
            return decorated

        return register if handler is None else register(handler)

    def _add(self, made: Function) -> None:
        if made.name in self._functions:
            raise ValueError(f"{self.name} has a function {made.name!r} already")
        if len(self._functions) == MAX_FUNCTIONS:
            raise ValueError(f"{self.name} has {MAX_FUNCTIONS} functions, the most an agent may have")
        self._functions[made.name] = made

    def serve(self) -> None:
        """Joins the mesh and serves until SIGTERM, Ctrl-C or an order of the mesh to leave; calls under way may end first.

        The mesh is the one that `PARADE_MESH` names or the nearest `.parade` folder holds. A second Ctrl-C ends the process at once.

        Raises:
            SystemExit: The mesh is not there within 30 s, or does not let the agent in; standard error says why and what to do.
            ValueError: The agent has no functions.
        """
        from parade.hosting import process

        _check_served_here()
        status = process.run(self._offer())
        if status:
            sys.exit(status)

    def serving(self, mesh: MeshFile | None = None) -> "AbstractAsyncContextManager[Instance]":
        """Returns a context manager that runs an instance in this process, for tests and for programs with an event loop of their own.

        From the first line of its block, calls can come; at its end the instance lets them end, and leaves.

        Args:
            mesh: The mesh; the one that `serve` would find where not given.
        """
        _check_served_here()
        return self._serving(mesh)

    @asynccontextmanager
    async def _serving(self, mesh: MeshFile | None) -> "AsyncIterator[Instance]":
        from parade.hosting.enrolment import Joining
        from parade.hosting.life import living
        from parade.hosting.settings import Settings
        from parade.wire.log import Log

        def find() -> MeshFile:
            return MeshFile.find() if mesh is None else mesh

        offer, settings = self._offer(), Settings.from_environment()
        enrolled = await Joining(self.name, settings, find, Log(level=settings.log_level)).join(patience=10)
        async with living(offer, enrolled, settings, find) as instance:
            await instance.wait_until_ready()
            yield instance

    def _offer(self) -> "Offer":
        from parade.hosting.offer import Offer

        if not self._functions:
            raise ValueError(f"{self.name} has no functions; decorate at least one with @agent.function or @agent.workflow")
        for function in self._functions.values():
            if function.process:
                function.check_findable()
        return Offer(self.name, self.version, self.labels, self.max_concurrency, dict(self._functions))


def _check_served_here() -> None:
    if served_elsewhere:
        raise ServedElsewhereError
