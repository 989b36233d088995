"""A durable function as its author writes it, made a function that the scheduler takes turns with."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, overload

import orjson

from parade.durable import journal
from parade.durable.context import WorkflowContext
from parade.function import Function
from parade.signature import Signature

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

_ATTRIBUTE = "__parade_workflow__"


@overload
def workflow(handler: HandlerT, /) -> HandlerT: ...


@overload
def workflow(*, name: str | None = None, description: str | None = None) -> Callable[[HandlerT], HandlerT]: ...


def workflow(
    handler: HandlerT | None = None, /, *, name: str | None = None, description: str | None = None
) -> HandlerT | Callable[[HandlerT], HandlerT]:
    """Makes a coroutine function a durable one, to be added to an agent by `agent.workflow(function)`.

    ```python
    @parade.workflow
    async def trip(ctx: parade.WorkflowContext, city: str, nights: int = 1) -> Plan:
        hotel = await ctx.call("hotel.book", city=city, nights=nights)
        ...
    ```

    Its runs are started by its full name: `mesh.start("travel.trip", city="Rome")`. What it awaits is on record; after a crash it is run
    again, and recorded results are returned at once. The Python function stays what it was.

    Args:
        handler: The coroutine function, where the decorator is used without brackets. One parameter is hinted `parade.WorkflowContext`.
        name: The name that callers use; the function's own where not given.
        description: What it does, for people and models; its docstring where not given.

    Raises:
        TypeError: It is no coroutine function, takes no context, or a type hint is missing or has no JSON form.
        ValueError: The name is not allowed.
    """

    def make(decorated: HandlerT) -> HandlerT:
        setattr(decorated, _ATTRIBUTE, _function(decorated, name, description))
        return decorated

    return make if handler is None else make(handler)


def function_of(handler: Callable[..., Any], name: str | None = None, description: str | None = None) -> Function:
    """Returns the function that a durable function is for the mesh.

    Raises:
        TypeError: It is none.
        ValueError: The name is not allowed.
    """
    made: Function | None = getattr(handler, _ATTRIBUTE, None)
    if made is None or name is not None or description is not None:
        made = _function(handler, name, description)
    return made


def _function(handler: Callable[..., Any], name: str | None, description: str | None) -> Function:
    written = getattr(handler, "__name__", repr(handler))
    if not inspect.iscoroutinefunction(handler):
        raise TypeError(f"{written}: a workflow is written as `async def` and returns its result")
    signature = Signature.read(handler, context=WorkflowContext)
    if not signature.context:
        raise TypeError(f"{written}: a workflow takes its context: `async def {written}(ctx: parade.WorkflowContext, …)`")
    # A turn has no effect outside its answer: everything that the function brings about is brought about by the scheduler.
    made = Function.of(handler, name=name, description=description, effect="pure", signature=signature)
    return replace(
        made,
        durable=True,
        arguments_schema=orjson.dumps(journal.arguments_schema(signature.arguments_schema())),
        result_schema=orjson.dumps(journal.result_schema(signature.result_schema())),
    )
