"""Calls that agents make for whoever called them: whom such a call is for, and how far it reaches, by the mandate that they show."""

from typing import Protocol

from parade.wire.identity import Kind
from parade.wire.mandate import Mandate, Refusal, Scope, covers, holder_of, narrowed, refused
from parade.wire.roles import Role
from parade_chassis.standing import Standing, require
from parade_dispatcher.model import Request


class Verifier(Protocol):
    """What believes mandates; `parade.wire.mandate_verifier.Verifier` is one."""

    def verify(self, token: bytes, holder: str, namespace: str) -> Mandate:
        """Returns what a mandate says.

        Raises:
            ParadeError: PERMISSION_DENIED, where it is not believed.
        """
        ...


class Mandates:
    """Lets agents call for others, never further than they were let."""

    def __init__(self, verifier: Verifier, standing: Standing, max_depth: int) -> None:
        """Takes its parts.

        Args:
            verifier: Believes mandates.
            standing: What principals may do now.
            max_depth: How many agents may work for somebody one through the other.
        """
        self._verifier = verifier
        self._standing = standing
        self._max_depth = max_depth

    def accept(self, request: Request) -> None:
        """Writes into a request whom it is for and how far it reaches.

        Args:
            request: What is asked for. It is changed only where nothing is raised.

        Raises:
            ParadeError: PERMISSION_DENIED, where the mandate is not believed, does not reach so far, or is for somebody who may call no
                function any more; UNAVAILABLE, where it is not known yet who may.
        """
        if not request.mandate:
            request.scope, request.functions = Scope(request.functions), ()
            return
        caller = request.caller
        if caller.kind is not Kind.AGENT:
            raise refused(
                Refusal.HOLDER, f"{caller.uri} is no agent; an agent is given one with each call, and shows it where it calls others"
            )
        mandate = self._verifier.verify(request.mandate, holder_of(caller), request.namespace)
        scope = mandate.scope
        if not covers(scope.functions, request.full_name):
            reach = ", ".join(scope.functions) or "nothing more"
            raise refused(Refusal.FUNCTION, f"it lets {caller.name} call {reach} for {mandate.subject}, and not {request.full_name}")
        actors = (mandate.holder, *scope.actors)
        if len(actors) >= self._max_depth:
            chain = " → ".join(actor.rpartition("/")[2] for actor in (*reversed(actors), request.agent))
            text = f"at most {self._max_depth} agents may work for somebody one through the other, and these are more: {chain}"
            raise refused(Refusal.DEPTH, text)
        require(self._standing, mandate.subject, mandate.namespace, Role.DEVELOPER, f"to have {request.full_name} called by {caller.name}")
        request.principal, request.run_id = mandate.subject, mandate.run
        request.scope = Scope(narrowed(scope.functions, request.functions), actors, scope.transaction)
        request.mandate, request.functions = b"", ()
