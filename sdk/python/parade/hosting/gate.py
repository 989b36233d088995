"""The door of an agent's server: who may come in, by the allow list of the contract, and how a failure leaves."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_status import rpc_status

from parade.v1 import access_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Kind
from parade.wire.log import Log
from parade.wire.open_requests import OpenRequest, OpenRequests
from parade.wire.peer import NOBODY, Peer
from parade.wire.peers import Peers
from parade.wire.status import to_status


class Gate:
    """Lets a request in where its method admits its caller's kind, and encodes what its handler raises."""

    def __init__(self, service: ServiceDescriptor, peers: Peers, log: Log) -> None:
        """Reads the allow list of a service.

        Args:
            service: The service.
            peers: Tells who calls.
            log: Where a fault of ours is written.

        Raises:
            ValueError: A method admits nobody.
        """
        self._admitted = {method.name: _callers(method.GetOptions().Extensions[access_pb2.callers]) for method in service.methods}
        barred = [name for name, kinds in self._admitted.items() if not kinds]
        if barred:
            raise ValueError(f"no row in the allow list for {', '.join(barred)}")
        self._lasting = frozenset(method.name for method in service.methods if method.server_streaming)
        self._peers = peers
        self._under_way = OpenRequests(peers)
        self._log = log

    @asynccontextmanager
    async def passing(self, method: str, context: Any) -> AsyncIterator[Peer]:
        """Runs a handler's block for a caller that may call `method`, and gives who that is.

        The block is cancelled when its caller is not believed any more. Every failure leaves as `google.rpc.Status`; one that nobody
        foresaw leaves masked, under an incident id that stands in the log.
        """
        request: OpenRequest | None = None
        try:
            peer = self.entered(method, context)
            request = self._under_way.enter(peer, lasting=method in self._lasting)
            yield peer
        except ParadeError as error:
            await context.abort_with_status(rpc_status.to_status(to_status(error)))
        except asyncio.CancelledError:
            if request is not None and request.failure is not None:
                await context.abort_with_status(rpc_status.to_status(to_status(request.failure)))
            raise
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001  # it is logged, and leaves masked
            incident = secrets.token_hex(4)
            self._log.error("request failed unexpectedly", exception=error, method=method, incident=incident)
            masked = ParadeError(Reason.INTERNAL, f"an unexpected fault; the agent's log has it as incident {incident}")
            await context.abort_with_status(rpc_status.to_status(to_status(masked)))
        finally:
            if request is not None:
                self._under_way.leave(request)

    def entered(self, method: str, context: Any) -> Peer:
        """Returns who calls.

        Raises:
            ParadeError: UNAUTHENTICATED or PERMISSION_DENIED, where they may not call `method`.
        """
        peer = self._peers.of(context.auth_context())
        if peer.identity.kind not in self._admitted[method]:
            if peer is NOBODY:
                raise ParadeError(Reason.UNAUTHENTICATED, "show a certificate of this mesh")
            raise ParadeError(
                Reason.PERMISSION_DENIED, f"{peer.spiffe_id} may not call {method} of an agent; call it through the dispatcher"
            )
        return peer

    def check(self, peer: Peer) -> None:
        """Lets a caller go on with a stream. Asked for every frame, so that nobody stays longer than their certificate.

        Raises:
            ParadeError: UNAUTHENTICATED, where it has ended or was revoked.
        """
        self._peers.check(peer)

    def close(self) -> None:
        """Ends no more requests."""
        self._under_way.close()


def _callers(numbers: Any) -> frozenset[Kind]:
    return frozenset(Kind(access_pb2.CallerKind.Name(number).removeprefix("CALLER_KIND_")) for number in numbers)
