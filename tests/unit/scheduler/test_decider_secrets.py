"""What tasks are given: `env`, secrets, and outputs as they are. No secret goes on record."""

from typing import Any

import pytest

from parade.wire.errors import Reason, Violation
from parade_scheduler.decider import TaskFailed, TaskProgressed, TaskSucceeded
from parade_scheduler.decider.occurrences import NOT_SENT
from parade_scheduler.document import Document
from parade_scheduler.language import StepDefinition, Template
from parade_scheduler.language.definition import Approval, Loop
from parade_scheduler.language.template import Text
from parade_scheduler.model import Failure, Kind, Progress
from tests.unit.scheduler.simulation import Simulation, flow, of, step

ENV = {
    "REGION": Template("eu"),
    "URL": Template(Text(("https://", of("inputs.host")))),
    "TOKEN": Template(Text(("Bearer ", of("secrets.KEY")))),
}
SECRETS = {"KEY": "s3cr3t-value"}


def test_a_call_is_given_env_and_secrets() -> None:
    given = {"region": of("env.REGION"), "url": of("env.URL"), "token": of("env.TOKEN"), "key": of("secrets.KEY")}
    run = Simulation(flow(step("a", given=given), env=ENV), {"host": "x.org"}, secrets=SECRETS)

    assert run.arguments("a") == {"region": "eu", "url": "https://x.org", "token": "Bearer s3cr3t-value", "key": "s3cr3t-value"}
    assert "s3cr3t" not in repr((run.run_row, run.step_rows, run.task_rows, run.events))


def test_a_secret_that_there_is_not_fails_the_step_by_its_name() -> None:
    run = Simulation(flow(step("a", given={"key": of("secrets.OTHER")})), secrets=SECRETS)

    assert run.failure().reason is Reason.INVALID_ARGUMENTS
    assert "no secret `OTHER`" in run.failure().message
    assert "KEY" not in run.failure().message


@pytest.mark.parametrize("expression", ["int(secrets.KEY)", "{'x': 1}[secrets.KEY]", "timestamp(env.TOKEN)", "duration(secrets.KEY)"])
def test_an_error_does_not_tell_a_secret(expression: str) -> None:
    run = Simulation(flow(step("a", given={"n": of(expression)}), env=ENV), secrets=SECRETS)

    assert run.state.value == "FAILED"
    assert "s3cr3t" not in repr((run.run_row, run.step_rows, run.task_rows, run.events))


@pytest.mark.parametrize(
    "waiting",
    [
        step("a", Kind.RUN, given={"key": of("secrets.KEY")}),
        step("a", Kind.RUN, given={"key": of("env.TOKEN")}),
        step("a", Kind.RUN, given={"key": of("env.TOKEN + '!'")}),
        step("a", Kind.APPROVAL, wait=Approval(message=Template(of("env.TOKEN")))),
        step("a", items=Template([of("secrets.KEY")])),
        step("a", condition=of("secrets.KEY == 'x'")),
    ],
)
def test_a_secret_is_not_for_what_goes_on_record(waiting: StepDefinition) -> None:
    run = Simulation(flow(waiting, env=ENV), {"host": "x.org"}, secrets=SECRETS)

    assert run.failure().reason is Reason.INVALID_ARGUMENTS
    assert "goes on record" in run.failure().message
    assert "s3cr3t" not in repr((run.run_row, run.step_rows, run.task_rows, run.events, run.children))


def test_outputs_see_env_and_no_secret() -> None:
    well = Simulation(flow(step("a"), outputs={"url": of("env.URL")}, env=ENV), {"host": "x.org"}, secrets=SECRETS)
    well.succeed("a")
    badly = Simulation(flow(step("a"), outputs={"token": of("env.TOKEN")}, env=ENV), secrets=SECRETS)
    badly.succeed("a")

    assert well.run_row.outputs == Document(b'{"url":"https://x.org"}')
    assert badly.state.value == "FAILED"


def test_a_secret_is_looked_up_at_each_attempt() -> None:
    run = Simulation(flow(step("a", given={"key": of("secrets.KEY")})), secrets=SECRETS)
    run.secrets["KEY"] = "new"

    run.fail("a", Reason.NO_CAPACITY)
    run.advance(1)

    assert run.arguments("a") == {"key": "new"}


def test_a_secret_in_a_key_is_not_told_however_it_is_quoted() -> None:
    key = 'p"\u00e4\nss\\word'
    run = Simulation(flow(step("a", given={"n": of("{'x': 1}[secrets.KEY]")})), secrets={"KEY": key})

    assert "Key not found in map : '***'" in run.failure().message


def test_a_failure_of_the_function_does_not_tell_a_secret_on_record() -> None:
    run = Simulation(flow(step("a", given={"key": of("env.TOKEN")}), env=ENV), secrets=SECRETS)

    quoted = Violation("arguments.key", '"Bearer s3cr3t-value" is longer than 8 characters')
    run.tell(TaskProgressed("a", 0, 1, Progress(0.5, "I am s3cr3t-value")))
    run.tell(TaskFailed("a", 0, 1, Failure(Reason.INVALID_ARGUMENTS, "s3cr3t-value is wrong", (quoted,), {"given": "s3cr3t-value"})))

    assert "*** is wrong" in run.failure().message
    assert run.failure().violations == (Violation("arguments.key", '"Bearer ***" is longer than 8 characters'),)
    assert "s3cr3t" not in repr((run.run_row, run.step_rows, run.task_rows, run.events))


def test_a_secret_before_it_was_changed_is_not_told_either() -> None:
    run = Simulation(flow(step("a", given={"key": of("secrets.KEY")}), step("b", given={"key": of("secrets.KEY")})), secrets=SECRETS)
    run.secrets["KEY"] = "new-value"
    run.fail("b", Reason.NO_CAPACITY)
    run.advance(1)

    run.tell(TaskFailed("a", 0, 1, Failure(Reason.AGENT_ERROR, "s3cr3t-value is no longer good")))

    assert "*** is no longer good" in run.failure().message


def test_what_the_mesh_says_of_a_failure_stays_though_a_secret_looks_like_it() -> None:
    run = Simulation(flow(step("a", given={"key": of("secrets.KEY")})), secrets={"KEY": "true"})

    run.tell(TaskFailed("a", 0, 1, Failure(Reason.UNAVAILABLE, "it is true", metadata={NOT_SENT: "true"}, retryable=True)))

    assert not run.task_rows["a", 0].uncertain
    assert run.task_rows["a", 0].failure == Failure(Reason.UNAVAILABLE, "it is ***", metadata={NOT_SENT: "true"}, retryable=True)


def test_what_is_handed_out_does_not_show_itself() -> None:
    run = Simulation(flow(step("a", given={"key": of("secrets.KEY")})), secrets=SECRETS)

    assert run.arguments("a") == {"key": "s3cr3t-value"}
    assert "s3cr3t" not in repr((run.out, run.execution, run.execution.bindings))


def handed_on(output: bytes, given: Any) -> Simulation:
    """Returns a run whose second step is given the output of the first."""
    run = Simulation(flow(step("a"), step("b", needs=["a"], given=given)))
    run.tell(TaskSucceeded("a", 0, 1, Document(output)))
    run.out.pop(("a", 0, 1))
    return run


def test_an_output_is_handed_on_as_it_is() -> None:
    output = b'{ "b": 1.50, "a": 1e2 }'

    whole, within = handed_on(output, of("steps.a.output")), handed_on(output, {"x": [of("steps.a.output")]})

    assert whole.out["b", 0, 1].arguments.data == output
    assert within.out["b", 0, 1].arguments.data == b'{"x":[' + output + b"]}"


def test_an_output_behind_white_space_is_an_object_too() -> None:
    assert handed_on(b' {"a": 1}', of("steps.a.output")).arguments("b") == {"a": 1}


@pytest.mark.parametrize("output", [b"[1]", b"null", b'"{"'])
def test_arguments_that_are_no_object_are_refused(output: bytes) -> None:
    assert "the arguments are an object" in handed_on(output, of("steps.a.output")).failure().message


@pytest.mark.parametrize("output", [b'1},"admin":{"x":1', b'1,"admin":true', b"", b"{"])
def test_an_output_that_is_no_json_cannot_change_what_it_stands_in(output: bytes) -> None:
    run = handed_on(output, {"x": of("steps.a.output")})

    assert run.failure().reason is Reason.INVALID_ARGUMENTS
    assert run.out == {}


def test_arguments_have_a_bound() -> None:
    big = b'"' + b"x" * (4 * 1024 * 1024 - 4) + b'"'

    assert "at most 4 MiB" in handed_on(big, {"x": of("steps.a.output")}).failure().message


def test_the_output_of_a_turn_is_no_output_of_a_step() -> None:
    run = Simulation(flow(step("a", given={"o": of("output")}, loop=Loop(of("index == 1"), 3))))

    run.succeed("a", {"x": 1}, task=0)

    assert run.arguments("a", 1) == {"o": {"x": 1}}


def test_who_is_called_is_told_which_secrets_it_is_given() -> None:
    given = {"token": of("env.TOKEN"), "both": of("secrets.KEY + secrets.OTHER")}
    steps = [step("a", given=given), step("b", given={"url": of("env.URL")}), step("c", given={"key": of("secrets.OTHER")})]

    run = Simulation(flow(*steps, env=ENV), {"host": "x.org"}, secrets={**SECRETS, "OTHER": "0ther"})

    told = {dispatch.step: dispatch.secrets for dispatch in run.out.values()}
    assert told == {"a": ("s3cr3t-value", "0ther"), "b": (), "c": ("0ther",)}
    assert "s3cr3t" not in repr(run.out)


def test_an_attempt_that_is_made_again_tells_the_secrets_of_its_own() -> None:
    run = Simulation(flow(step("a", given={"key": of("secrets.KEY")})), secrets=SECRETS)
    run.secrets["KEY"] = "new-value"

    run.fail("a", Reason.NO_CAPACITY)
    run.advance(1)

    assert [dispatch.secrets for dispatch in run.out.values()] == [("new-value",)]
