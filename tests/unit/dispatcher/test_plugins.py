"""Balancers and interceptors that an installed package adds by name."""

from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_dispatcher.balancer import Candidate, LeastOutstanding
from parade_dispatcher.model import Outcome, Request
from parade_dispatcher.plugins import load_balancer, load_interceptors
from tests.unit.dispatcher.engine_world import World, pause, virtual

INSTALLED = Path(__file__).parents[2] / "support" / "plugins"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the example package where installed packages are looked for."""
    monkeypatch.syspath_prepend(INSTALLED)


def test_without_a_name_the_built_in_balancer_is_taken_and_no_interceptor() -> None:
    assert isinstance(load_balancer(), LeastOutstanding)
    assert load_interceptors([]) == ()


@virtual
async def test_an_installed_balancer_chooses() -> None:
    world = World(balancer=load_balancer("first-by-name"))
    for name in ("c", "a", "b"):
        world.instance(name, max_concurrency=2)

    for _ in range(5):
        world.call()

    assert [sent.instance.id for sent in world.sent] == ["a", "a", "b", "b", "c"]


@virtual
async def test_an_installed_interceptor_refuses_changes_and_sees_calls() -> None:
    [quota] = load_interceptors(["quota"])
    world = World(interceptors=(quota,))
    world.instance("i1", max_concurrency=1)
    callers = [world.call() for _ in range(4)]

    world.sent[0].answer()
    world.sent[1].fail(Reason.AGENT_ERROR)

    assert callers[1].job is not None
    assert callers[1].job.priority == 10
    assert callers[3].error.reason is Reason.PERMISSION_DENIED
    assert "has made its 3 calls" in callers[3].error.message
    assert vars(quota)["ended"] == {"OK": 1, "AGENT_ERROR": 1}, "what it refused itself it is not told of"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("round-robin", "there is no balancer named 'round-robin'; there are: broken, first-by-name, least-outstanding, no-balancer"),
        ("no-balancer", "makes no balancer: what it returns has no method choose"),
        ("broken", "the balancer 'broken' of parade-example-plugins cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_balancer_that_cannot_be_had_is_an_error_that_says_what_there_is(name: str, message: str) -> None:
    with pytest.raises(ParadeError) as raised:
        load_balancer(name)

    assert raised.value.reason is Reason.FAILED_PRECONDITION
    assert message in raised.value.message


def test_an_interceptor_that_is_not_installed_is_an_error_that_says_what_there_is() -> None:
    with pytest.raises(ParadeError, match=r"no interceptor named 'audit'; there are: quota; install a package"):
        load_interceptors(["quota", "audit"])


class Faulty:
    """An interceptor with a fault."""

    def before(self, request: Request) -> None:
        raise KeyError("tenant")

    def after(self, request: Request, outcome: Outcome) -> None:
        raise AssertionError("it has seen no call begin")


@virtual
async def test_a_fault_in_an_interceptor_ends_the_call_and_names_it() -> None:
    world = World(interceptors=(Faulty(),))
    world.instance("i1")

    error = world.call().error

    assert (error.reason, error.message) == (Reason.INTERNAL, "the interceptor Faulty failed: KeyError: 'tenant'")


class Deaf:
    """An interceptor that fails when calls end."""

    def before(self, request: Request) -> None:
        pass

    def after(self, request: Request, outcome: Outcome) -> None:
        raise KeyError("tenant")


@virtual
async def test_a_fault_in_an_interceptor_at_the_end_takes_nothing_from_the_caller() -> None:
    world = World(interceptors=(Deaf(),))
    faults: list[dict[str, object]] = []
    world.loop.set_exception_handler(lambda loop, context: faults.append(context))
    world.instance("i1")
    caller = world.call()
    world.sent[0].answer()
    await pause()

    assert caller.answer.result == b"1"
    assert [str(fault["message"]) for fault in faults] == ["the interceptor Deaf failed"]


class Stranger:
    """A balancer that chooses what is not there."""

    def choose(self, candidates: object, request: Request) -> Candidate:
        return self  # type: ignore[return-value]


@virtual
async def test_a_balancer_that_chooses_a_stranger_is_a_fault_that_names_it() -> None:
    world = World(balancer=Stranger())
    world.instance("i1")

    error = world.call().error

    assert error.reason is Reason.INTERNAL
    assert "the balancer Stranger chose an instance that was not among the candidates" in error.message
