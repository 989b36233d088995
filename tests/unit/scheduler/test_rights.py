"""For whom the scheduler does something still: who started a run keeps nothing but the name, and is judged by what holds now."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from parade.wire.audit import Kind
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import DEFAULT_DOMAIN, Identity
from parade.wire.log import Log
from parade.wire.revocations import Revocation, Revocations
from parade.wire.roles import Role
from parade_chassis.audit import Record
from parade_chassis.audit_decisions import Decisions
from parade_chassis.clock import ManualClock
from parade_chassis.grants import Granted, Grants
from parade_chassis.policies import Policies, PolicyText
from parade_chassis.standing import LivingKey, Standing
from parade_scheduler.decider.occurrences import NOT_SENT
from parade_scheduler.document import Document
from parade_scheduler.model import Run
from parade_scheduler.rights import LENGTH, NEWS, Rights
from tests.unit.scheduler.rights import Surrounding

CLIENT = Identity.client("ada", "sales").uri
AGENT = Identity.agent("cleaner", "i-1", "sales").uri
PERSON = "oidc:https://id.example#42"
KEY = "key:k1"
STARTERS = [CLIENT, PERSON, KEY, AGENT]


class World:
    """What a scheduler is told of principals and policies."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.grants, self.revocations = Grants(), Revocations()
        self.standing = Standing(self.grants, self.revocations, DEFAULT_DOMAIN, self.time)
        self.policies = Policies()
        self.decisions = Decisions(self.clock, Log())
        self.rights = Rights(Surrounding(clock=self.clock, standing=self.standing, policies=self.policies), self.decisions)

    def time(self) -> float:
        return self.clock.now().timestamp()

    def tell(self) -> None:
        """Says that everybody is a developer, and that nothing is forbidden."""
        self.standing.replace_keys([LivingKey("k1", "sales", Role.DEVELOPER, CLIENT, self.time() + 3600)])
        self.policies.replace([])
        self.grants.replace([Granted(subject, "sales", Role.DEVELOPER) for subject in (CLIENT, PERSON)])

    def take_away(self, starter: str, role: Role = Role.NONE) -> None:
        """Ends the right of who started a run, each in their own way."""
        if starter == AGENT:
            self.revocations.add(Revocation(self.time() + 3600, "stolen", spiffe_id=AGENT), self.time())
        elif starter == KEY:
            self.standing.put_key(LivingKey("k1", "sales", role, CLIENT, self.time() + 3600))
        else:
            self.grants.put(Granted(starter, "sales", role))

    def forbid(self, text: str) -> None:
        self.policies.put(PolicyText("sales", "rules", 1, text))

    def run(self, starter: str) -> Run:
        return Run("run-1", "sales", "flow", 1, Document(b"{}"), self.clock.now(), principal=starter)

    async def denials(self) -> list[Record]:
        written: list[Record] = []

        async def write(records: Sequence[Record]) -> None:
            written.extend(records)

        await self.decisions.flush(write)
        return written


@pytest.fixture
def world() -> World:
    made = World()
    made.tell()
    return made


@pytest.mark.parametrize("starter", STARTERS)
async def test_a_run_goes_on_as_long_as_its_starter_stands(world: World, starter: str) -> None:
    run = world.run(starter)
    world.rights.go_on(run)
    await world.clock.advance(NEWS.total_seconds())
    world.take_away(starter)

    with pytest.raises(ParadeError) as caught:
        world.rights.go_on(run)

    assert caught.value.reason is Reason.PERMISSION_DENIED
    assert starter in caught.value.message
    assert "run-1" in caught.value.message


@pytest.mark.parametrize("starter", [CLIENT, PERSON, KEY])
async def test_who_may_only_read_any_more_goes_on_with_nothing(world: World, starter: str) -> None:
    run = world.run(starter)
    await world.clock.advance(NEWS.total_seconds())
    world.take_away(starter, Role.VIEWER)

    with pytest.raises(ParadeError, match="has only the role viewer"):
        world.rights.go_on(run)


async def test_a_key_that_expires_ends_the_right_of_its_runs(world: World) -> None:
    run = world.run(KEY)
    await world.clock.advance(3599)
    world.rights.go_on(run)
    await world.clock.advance(1)

    with pytest.raises(ParadeError, match="expired"):
        world.rights.go_on(run)


async def test_a_right_that_comes_back_lets_the_run_go_on(world: World) -> None:
    run = world.run(CLIENT)
    await world.clock.advance(NEWS.total_seconds())
    world.take_away(CLIENT)
    world.take_away(CLIENT, Role.OPERATOR)

    world.rights.go_on(run)


async def test_that_a_right_has_ended_is_written_down_and_that_it_is_not_known_yet_is_not(world: World) -> None:
    run = world.run(CLIENT)
    world.take_away(CLIENT)
    with pytest.raises(ParadeError) as young:
        world.rights.go_on(run)
    await world.clock.advance(NEWS.total_seconds())
    for _ in range(2):
        with pytest.raises(ParadeError):
            world.rights.go_on(run)

    assert (young.value.reason, young.value.metadata[NOT_SENT]) == (Reason.UNAVAILABLE, "true")
    (denial,) = await world.denials()
    assert (denial.kind, denial.subject, denial.namespace, denial.resource) == (Kind.DENY, CLIENT, "sales", "runs/run-1")
    assert denial.facts["count"] == 2


@pytest.mark.parametrize("starter", STARTERS)
def test_a_stored_start_is_for_who_stands_and_one_that_is_asked_for_was_looked_at_before(world: World, starter: str) -> None:
    world.rights.start("sales", starter, "flow", is_absent=True)
    world.take_away(starter)

    world.rights.start("sales", starter, "flow", is_absent=False)
    with pytest.raises(ParadeError) as caught:
        world.rights.start("sales", starter, "flow", is_absent=True)

    assert caught.value.reason is Reason.PERMISSION_DENIED


def test_before_anybody_has_said_who_may_do_what_a_start_waits() -> None:
    world = World()
    starts: tuple[Callable[[], None], ...] = (
        lambda: world.rights.start("sales", AGENT, "flow", is_absent=True),
        lambda: world.rights.start("sales", AGENT, "flow", is_absent=False),
        lambda: world.rights.start_child(world.run(AGENT), "flow"),
        lambda: world.rights.publish("sales", AGENT, "order"),
    )
    for start in starts:
        with pytest.raises(ParadeError) as caught:
            start()
        assert caught.value.reason is Reason.UNAVAILABLE
    assert not world.rights.known


async def test_a_run_starts_another_for_who_has_started_it(world: World) -> None:
    run = world.run(CLIENT)
    world.rights.start_child(run, "flow")
    await world.clock.advance(NEWS.total_seconds())
    world.take_away(CLIENT)

    with pytest.raises(ParadeError) as caught:
        world.rights.start_child(run, "flow")

    assert caught.value.reason is Reason.PERMISSION_DENIED


def test_a_policy_forbids_to_start_a_workflow_to_whom_it_names(world: World) -> None:
    world.forbid(
        '@id("payroll")\nforbid (principal, action == Parade::Action::"start", resource == Parade::Workflow::"payroll")'
        ' unless { principal == Parade::Client::"ada" };'
    )
    run = world.run(KEY)
    for principal, workflow in ((CLIENT, "payroll"), (KEY, "flow")):
        world.rights.start("sales", principal, workflow, is_absent=False)
        world.rights.start_child(replace(run, principal=principal), workflow)

    starts: tuple[Callable[[], None], ...] = (
        lambda: world.rights.start("sales", KEY, "payroll", is_absent=False),
        lambda: world.rights.start("sales", KEY, "payroll", is_absent=True),
        lambda: world.rights.start_child(run, "payroll"),
    )
    for start in starts:
        with pytest.raises(ParadeError, match="rules@1#payroll") as caught:
            start()
        assert caught.value.reason is Reason.PERMISSION_DENIED


def test_a_policy_forbids_to_publish_events_of_a_type(world: World) -> None:
    world.forbid(
        '@id("prices")\nforbid (principal in Parade::Role::"viewer", action == Parade::Action::"publish",'
        ' resource == Parade::Topic::"price.changed") unless { principal in Parade::Role::"operator" };'
    )
    world.rights.publish("sales", CLIENT, "order.placed")

    with pytest.raises(ParadeError, match="rules@1#prices"):
        world.rights.publish("sales", CLIENT, "price.changed")
    world.grants.put(Granted(CLIENT, "sales", Role.OPERATOR))
    world.rights.publish("sales", CLIENT, "price.changed")


def test_what_takes_an_approval_is_forbidden_where_nothing_can_wait_for_one(world: World) -> None:
    world.forbid('@id("care") @approval("operator")\nforbid (principal, action == Parade::Action::"start", resource);')

    with pytest.raises(ParadeError, match="only a call can wait"):
        world.rights.start("sales", CLIENT, "flow", is_absent=False)


def test_a_name_that_is_too_long_to_be_one_is_not_kept(world: World) -> None:
    world.forbid('forbid (principal, action == Parade::Action::"publish", resource);')

    world.rights.start("sales", CLIENT, "x" * 100_000, is_absent=False)

    place = world.policies._places["sales"]
    assert [len(asked[3].name) for asked in place._decided] == [LENGTH]
