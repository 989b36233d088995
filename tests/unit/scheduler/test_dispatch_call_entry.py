"""A call that is put together as bytes is the message that it stands for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade.v1.call_pb2 import CallOptions, CallOrigin
from parade.v1.session_pb2 import SessionCall
from parade.v1.value_pb2 import Value
from parade_scheduler.calls.call_entry import call_entry
from parade_scheduler.decider import Dispatch
from parade_scheduler.document import Document
from parade_scheduler.model import Run
from tests.unit.scheduler.simulation import START

WORDS = st.text(st.characters(codec="utf-8"), max_size=300)


def run(
    id: str = "run-1", namespace: str = "default", principal: str = "spiffe://parade.local/ns/default/client/dev", priority: int = 0
) -> Run:
    return Run(id, namespace, "flow", 1, Document(b"{}"), START, principal=principal, priority=priority)


def dispatch(
    step: str,
    function: str,
    arguments: bytes,
    redelivered: bool = False,  # noqa: FBT001, FBT002
    resumed: bool = False,  # noqa: FBT001, FBT002
    secrets: tuple[str, ...] = (),
) -> Dispatch:
    return Dispatch(step, 0, 1, function, Document(arguments), None, redelivered, resumed, secrets=secrets)


@given(
    st.builds(run, WORDS, WORDS, WORDS, st.integers(-100, 100)),
    st.builds(dispatch, WORDS, WORDS, st.binary(max_size=300), st.booleans(), st.booleans(), st.lists(WORDS, max_size=3).map(tuple)),
    WORDS,
)
def test_it_says_all_that_the_message_says(run: Run, dispatch: Dispatch, traceparent: str) -> None:
    assert SessionCall.FromString(call_entry(run, dispatch, "step-0001", traceparent)) == SessionCall(
        function=dispatch.function,
        arguments=Value(data=dispatch.arguments.data),
        options=CallOptions(call_id="step-0001", redelivered=dispatch.resumed, priority=run.priority, secrets=dispatch.secrets),
        origin=CallOrigin(namespace=run.namespace, principal=run.principal, run_id=run.id, step=dispatch.step),
        traceparent=traceparent,
        step_redelivered=dispatch.redelivered,
    )


@pytest.mark.parametrize("size", [126, 127, 128, 129, 16_383, 16_384, 131_072, 4 * 2**20])
def test_arguments_of_every_size_keep_their_bytes(size: int) -> None:
    large = dispatch("a", "x.a", b"x" * size)

    assert SessionCall.FromString(call_entry(run(), large, "step-0001", "")).arguments.data == b"x" * size
