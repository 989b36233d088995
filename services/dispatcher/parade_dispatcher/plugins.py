"""Balancers and interceptors that installed packages add, found by the names of their entry points."""

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from random import Random
from typing import Any

from parade.wire.errors import ParadeError, Reason
from parade_dispatcher.balancer import Balancer, LeastOutstanding
from parade_dispatcher.interceptor import Interceptor

BALANCERS = "parade.balancers"
INTERCEPTORS = "parade.interceptors"
"""The groups of entry points."""
DEFAULT_BALANCER = "least-outstanding"
"""The balancer that is always there."""


def load_balancer(name: str = DEFAULT_BALANCER) -> Balancer:
    """Returns the balancer of that name.

    Raises:
        ParadeError: FAILED_PRECONDITION where no installed package has it, or what it has is no balancer.
    """
    if name == DEFAULT_BALANCER:
        return LeastOutstanding(Random().random)  # noqa: S311 - nobody gains by guessing it, and it is drawn twice a call
    made: Balancer = _made(BALANCERS, "balancer", name, ("choose",), [DEFAULT_BALANCER])
    return made


def load_interceptors(names: Iterable[str]) -> tuple[Interceptor, ...]:
    """Returns the interceptors of those names, in their order.

    Raises:
        ParadeError: FAILED_PRECONDITION where no installed package has one of them, or what it has is no interceptor.
    """
    return tuple(_made(INTERCEPTORS, "interceptor", name, ("before", "after"), []) for name in names)


def _made(group: str, noun: str, name: str, methods: Iterable[str], built_in: list[str]) -> Any:
    found = entry_points(group=group)
    known = sorted({*built_in, *found.names})
    if name not in found.names:
        there = f"there are: {', '.join(known)}" if known else "none is installed"
        hint = f"install a package with an entry point of that name in the group {group}"
        raise ParadeError(Reason.FAILED_PRECONDITION, f"there is no {noun} named {name!r}; {there}; {hint}")
    entry_point = found[name]
    made = _called(entry_point, noun)
    missing = [method for method in methods if not callable(getattr(made, method, None))]
    if missing:
        message = f"{entry_point.value} makes no {noun}: what it returns has no method {' and no '.join(missing)}"
        raise ParadeError(Reason.FAILED_PRECONDITION, message)
    return made


def _called(entry_point: EntryPoint, noun: str) -> object:
    try:
        factory: Callable[[], object] = entry_point.load()
        return factory()
    except Exception as error:
        package = entry_point.dist.name if entry_point.dist is not None else "an installed package"
        message = f"the {noun} {entry_point.name!r} of {package} cannot be loaded: {type(error).__name__}: {error}"
        raise ParadeError(Reason.FAILED_PRECONDITION, message) from error
