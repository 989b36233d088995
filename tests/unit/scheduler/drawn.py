"""Workflows that hypothesis draws: every kind of step, in every company."""

from typing import Any

from hypothesis import strategies as st

from parade_scheduler.backoff import Backoff
from parade_scheduler.language import Definition, Retry, StepDefinition, Template
from parade_scheduler.language.definition import Approval, Event, Loop, Signal, Timer, Wait
from parade_scheduler.model import Kind
from tests.unit.scheduler.simulation import flow, of, step

_CONDITIONS = [None, None, None, True, False, "success", "failure", "success || failure"]
_WAITS = (Kind.APPROVAL, Kind.SIGNAL, Kind.TIMER, Kind.EVENT)
_KINDS = [Kind.CALL, Kind.CALL, Kind.CALL, Kind.RUN, *_WAITS, Kind.RACE]

SIGNALS = ["go", "stop"]
EVENTS = ["paid", "shipped"]


@st.composite
def definitions(draw: st.DrawFn, kinds: tuple[Kind, ...] = tuple(_KINDS)) -> Definition:
    """Draws a workflow whose steps need earlier ones."""
    steps: list[StepDefinition] = []
    for number in range(draw(st.integers(1, 7))):
        steps.append(_step(draw, f"s{number}", [one.id for one in steps], kinds))
    outputs = {"all": [of(f"steps.{one.id}.output") for one in steps]}
    return flow(*steps, outputs=outputs, timeout=draw(st.sampled_from([None, None, 120.0])))


def _step(draw: st.DrawFn, id: str, earlier: list[str], kinds: tuple[Kind, ...]) -> StepDefinition:
    kind = draw(st.sampled_from(kinds))
    needs = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else []
    if kind is Kind.RACE:
        racers = draw(st.lists(st.sampled_from(earlier), unique=True, min_size=1, max_size=3)) if earlier else []
        if racers:
            return step(id, kind, needs=[needed for needed in needs if needed not in racers], race=tuple(racers))
        kind = Kind.CALL
    words: dict[str, Any] = {"needs": needs, **_condition(draw), **_repetition(draw)}
    if draw(st.booleans()):
        words["timeout"] = 20.0
    if kind in _WAITS:
        return step(id, kind, wait=_wait(draw, kind), **words)
    if needs:
        words["given"] = {"seen": of(f"steps.{needs[0]}.output")}
    if draw(st.booleans()):
        words["compensation"] = step(f"{id}.compensate", draw(st.sampled_from([Kind.CALL, Kind.RUN])), given={"of": of("output")})
    return step(id, kind, retry=_retry(draw), **words)


def _condition(draw: st.DrawFn) -> dict[str, Any]:
    condition = draw(st.sampled_from(_CONDITIONS))
    if condition is None or isinstance(condition, bool):
        return {"condition": condition, "decides_alone": condition is True}
    return {"condition": of(str(condition)), "decides_alone": True}


def _repetition(draw: st.DrawFn) -> dict[str, Any]:
    match draw(st.sampled_from(["", "", "each", "loop"])):
        case "each":
            items = Template(list(range(draw(st.integers(0, 5)))))
            return {"items": items, "max_parallel": draw(st.integers(1, 4))}
        case "loop":
            return {"loop": Loop(of(f"index == {draw(st.integers(0, 4))}"), draw(st.integers(1, 4)))}
        case _:
            return {}


def _retry(draw: st.DrawFn) -> Retry:
    return Retry(
        draw(st.integers(1, 3)), Backoff(2.0), never=frozenset(draw(st.sampled_from([(), ("OUTCOME_UNKNOWN",), ("AGENT_ERROR",)])))
    )


def _wait(draw: st.DrawFn, kind: Kind) -> Wait:
    match kind:
        case Kind.APPROVAL:
            return Approval()
        case Kind.SIGNAL:
            return Signal(draw(st.sampled_from(SIGNALS)))
        case Kind.EVENT:
            return Event(draw(st.sampled_from(EVENTS)), draw(st.sampled_from([None, of("event > 1")])))
        case _:
            return Timer(Template(draw(st.sampled_from(["5s", "1m", 0]))))
