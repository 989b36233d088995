"""The mandates that come with an instance's calls: a call is run only where a dispatcher of this mesh has signed whom it is for."""

from parade.v1 import call_pb2
from parade.wire.identity import Identity
from parade.wire.mandate import Refusal, holder_of, refused
from parade.wire.mandate_verifier import Verifier


class Mandates:
    """Believes the mandates that are for one agent."""

    def __init__(self, verifier: Verifier, identity: Identity) -> None:
        """Takes what believes mandates, and who the instance is."""
        self._verifier = verifier
        self._holder = holder_of(identity)
        self._namespace = identity.namespace

    def check(self, origin: call_pb2.CallOrigin) -> None:
        """Lets a call pass whose mandate is believed, and says what stands beside it.

        Raises:
            ParadeError: PERMISSION_DENIED, with the rule that speaks against it.
        """
        mandate = self._verifier.verify(origin.mandate, self._holder, self._namespace)
        if origin.principal != mandate.subject or origin.namespace != mandate.namespace or origin.run_id != mandate.run:
            raise refused(Refusal.CALL, f"it is for {mandate.subject}, and the call says something else of whom or which run it is for")
