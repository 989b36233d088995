"""Quotas: what a namespace may have of what all share. They stand in a service's setting `QUOTAS`; whoever gives something out counts.

`PARADE_<SERVICE>_QUOTAS` is a JSON object by namespace, whose entry `*` is for all that have none of their own, for example
`{"*": {"calls": 2000}, "research": {"calls": 9000}}`. What an entry leaves out is as in `*`, and what that leaves out is as usual.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import NAME
from parade.wire.roles import EVERYWHERE


class Limits(BaseModel):
    """What a namespace may have of what a service gives out. A service's own derives from this."""

    model_config = ConfigDict(frozen=True, extra="forbid")


LimitsT = TypeVar("LimitsT", bound=Limits)


def _merged(said: Any) -> Any:
    if not isinstance(said, Mapping) or not isinstance(common := said.get(EVERYWHERE, {}), Mapping):
        return said
    return {name: {**common, **given} if isinstance(given, Mapping) else given for name, given in said.items()}


def _checked(name: str) -> str:
    if name != EVERYWHERE and not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no namespace, and not {EVERYWHERE!r}")
    return name


Given = Annotated[dict[Annotated[str, AfterValidator(_checked)], LimitsT], BeforeValidator(_merged)]
"""The setting."""


class Quotas(Generic[LimitsT]):
    """The limits of every namespace."""

    def __init__(self, service: str, given: Mapping[str, LimitsT], usual: LimitsT) -> None:
        """Takes the service, what its setting says, and what holds where that says nothing."""
        self._setting = f"PARADE_{service.upper()}_QUOTAS"
        self._given = given
        self._usual = given.get(EVERYWHERE, usual)

    def of(self, namespace: str) -> LimitsT:
        """Returns what a namespace may have."""
        return self._given.get(namespace, self._usual)

    def exhausted(self, namespace: str, quota: str, what: str, way: str, *, passing: bool = False) -> ParadeError:
        """Makes the error for a namespace that has as much as it may.

        Args:
            namespace: The namespace.
            quota: The name of the limit.
            what: What it has so many of, for people.
            way: How its people get room, as "revoke some".
            passing: Whether the same may be let through a moment later, as what is under way ends by itself.
        """
        limit = getattr(self.of(namespace), quota)
        raised = f'{self._setting}=\'{{"{namespace}": {{"{quota}": {2 * limit}}}}}\''
        return ParadeError(
            Reason.NO_CAPACITY,
            f"namespace {namespace} may have {limit:,} {what}, and has them; {way}, or have whoever runs the mesh allow more, as {raised}",
            metadata={"quota": quota, "limit": str(limit), **({"retry_after": "1s"} if passing else {})},
            retryable=passing,
        )
