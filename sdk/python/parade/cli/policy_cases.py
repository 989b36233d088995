"""The files of `parade policy test`: cases, each with what somebody wants to do and what should become of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parade.cli.policy_options import Action, Asked, Expected, FunctionEffect
from parade.v1 import access_pb2, policy_pb2
from parade.wire.errors import Violation, invalid
from parade.wire.identity import NAME, Identity

if TYPE_CHECKING:
    from parade.wire.mesh_file import MeshFile

AGENT_PREFIX = "agent:"
"""What the short name of an agent begins with where it could be a client's."""


class Case(BaseModel):
    """A case."""

    model_config = ConfigDict(extra="forbid")

    description: str = ""
    principal: str
    """Who, as `parade policy why` names it."""
    role: Asked | None = None
    """What the principal may do at the moment, where not given."""
    action: Action
    resource: str = ""
    labels: list[str] = Field(default_factory=list)
    effect: FunctionEffect | None = None
    actors: list[str] = Field(default_factory=list)
    """Names of agents, or their SPIFFE ids."""
    expect: Expected
    rules: list[str] = Field(default_factory=list)
    """`policy#rule`; any where none is given."""

    @property
    def title(self) -> str:
        """What a list shows of it."""
        return self.description or " ".join(filter(None, (self.principal, self.action.value, self.resource)))

    def message(self, mesh: "MeshFile") -> policy_pb2.PolicyCase:
        """Returns it as the contract has it."""
        question = policy_pb2.PolicyQuestion(
            principal=subject_of(self.principal, mesh),
            role=access_pb2.ROLE_UNSPECIFIED if self.role is None else access_pb2.Role.Value(f"ROLE_{self.role.name}"),
            action=self.action.value,
            resource=self.resource,
            labels=self.labels,
            effect=self.effect.value if self.effect is not None else "",
            actors=[agent_id(actor, mesh) for actor in self.actors],
        )
        expected = policy_pb2.PolicyEffect.Value(f"POLICY_EFFECT_{self.expect.name}")
        return policy_pb2.PolicyCase(description=self.description, question=question, expected=expected, expected_rules=self.rules)


class CaseFile(BaseModel):
    """A file of cases."""

    model_config = ConfigDict(extra="forbid")

    policy: str = ""
    """The file of the draft, beside this one; the stored policies are tried where not given."""
    name: str = ""
    """What the draft is called; its file's name without its ending where not given."""
    cases: list[Case]

    def messages(self, mesh: "MeshFile") -> list[policy_pb2.PolicyCase]:
        """Returns the cases as the contract has them."""
        return [case.message(mesh) for case in self.cases]


def read(file: Path, text: str) -> CaseFile:
    """Reads a file of cases.

    Raises:
        ParadeError: INVALID_ARGUMENTS with every fault.
    """
    try:
        return CaseFile.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise invalid([Violation("", f"is not YAML: {error}")], f"{file} holds no cases") from error
    except ValidationError as error:
        faults = [Violation(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]
        raise invalid(faults, f"{file} holds no cases") from error


def subject_of(text: str, mesh: "MeshFile") -> str:
    """Returns a principal as the mesh has it: a plain name is a client's, `agent:NAME` an agent's, of the mesh file's namespace."""
    if text.startswith(AGENT_PREFIX):
        return agent_id(text.removeprefix(AGENT_PREFIX), mesh)
    return Identity.client(text, mesh.namespace, mesh.domain).uri if NAME.fullmatch(text) else text


def agent_id(text: str, mesh: "MeshFile") -> str:
    """Returns an agent's SPIFFE id without an instance; a plain name is of the mesh file's namespace."""
    return f"spiffe://{mesh.domain}/ns/{mesh.namespace}/agent/{text}" if NAME.fullmatch(text) else text
