"""API keys and roles, as a client sees them: a part of `parade.Mesh`."""

from typing import TYPE_CHECKING, Literal, NamedTuple

from google.protobuf.duration_pb2 import Duration

from parade.pages import PAGE_SIZE, pages
from parade.patience import patiently
from parade.v1 import access_pb2, key_pb2

if TYPE_CHECKING:
    from parade.v1.key_pb2_grpc import KeyServiceAsyncStub

RoleName = Literal["viewer", "developer", "operator", "admin"]
"""What may be done in a namespace; each role includes those before it."""


class NewKey(NamedTuple):
    """An API key as it is shown, once."""

    secret: str
    """The key itself."""
    key: key_pb2.Key
    """What the mesh keeps of it."""

    def __repr__(self) -> str:
        """Returns a text without the secret."""
        return f"NewKey(id={self.key.id!r})"


class Permissions:
    """Who outside the mesh may do what; mostly for admins. Answers are the messages of `parade.v1`, whose comments say what they hold."""

    _permissions: "KeyServiceAsyncStub"

    async def create_key(self, name: str, role: RoleName, *, namespace: str = "", lifetime: float | None = None) -> NewKey:
        """Makes an API key, with which a program reaches the gateway.

        Args:
            name: What it is for.
            role: What it may do at most; it never may more than this client.
            namespace: The namespace that it opens; this client's where empty.
            lifetime: Seconds that it is good; 90 days where not given.

        Raises:
            ParadeError: INVALID_ARGUMENTS; PERMISSION_DENIED; FAILED_PRECONDITION (the namespace has too many keys).
        """
        request = key_pb2.CreateKeyRequest(name=name, role=_number(role), namespace=namespace)
        if lifetime is not None:
            request.ttl.CopyFrom(_duration(lifetime))
        # Not patiently: another attempt would make another key.
        response = await self._permissions.CreateKey(request)
        return NewKey(response.secret, response.key)

    async def keys(self, namespace: str = "") -> list[key_pb2.Key]:
        """Returns every API key of a namespace, those too that were revoked or have expired lately.

        Raises:
            ParadeError: PERMISSION_DENIED.
        """
        request = key_pb2.ListKeysRequest(namespace=namespace, page_size=PAGE_SIZE)
        return [key async for page in pages(self._permissions.ListKeys, request) for key in page.keys]

    async def revoke_key(self, id: str) -> key_pb2.Key:
        """Revokes an API key for good, and with it the keys that were made with it.

        Raises:
            ParadeError: NOT_FOUND.
        """
        return (await patiently(lambda: self._permissions.RevokeKey(key_pb2.RevokeKeyRequest(id=id)))).key

    async def grant_role(self, subject: str, role: RoleName, *, namespace: str = "") -> key_pb2.Grant:
        """Grants a subject a role, in place of the one it had there.

        Args:
            subject: A client's SPIFFE id, or `oidc:<issuer>#<subject>`.
            role: What it may do.
            namespace: Where; this client's namespace where empty, everywhere where "*".

        Raises:
            ParadeError: INVALID_ARGUMENTS; PERMISSION_DENIED.
        """
        request = key_pb2.GrantRoleRequest(subject=subject, role=_number(role), namespace=namespace)
        return (await patiently(lambda: self._permissions.GrantRole(request))).grant

    async def revoke_role(self, subject: str, *, namespace: str = "") -> key_pb2.Grant:
        """Takes the role of a subject in a namespace away, and returns what it was.

        Raises:
            ParadeError: NOT_FOUND; PERMISSION_DENIED.
        """
        # Not patiently: an attempt whose answer was lost makes the next one fail.
        return (await self._permissions.RevokeRole(key_pb2.RevokeRoleRequest(subject=subject, namespace=namespace))).grant

    async def roles(self, namespace: str = "") -> list[key_pb2.Grant]:
        """Returns every grant that holds in a namespace; all there are for "*".

        Raises:
            ParadeError: PERMISSION_DENIED.
        """
        request = key_pb2.ListRolesRequest(namespace=namespace, page_size=PAGE_SIZE)
        return [grant async for page in pages(self._permissions.ListRoles, request) for grant in page.grants]

    async def who_am_i(self) -> key_pb2.WhoAmIResponse:
        """Returns who this client is to the mesh, and what it may do.

        Raises:
            ParadeError: PERMISSION_DENIED where it has no role; the message says who it is.
        """
        return await patiently(lambda: self._permissions.WhoAmI(key_pb2.WhoAmIRequest()))


def _number(role: RoleName) -> access_pb2.Role.ValueType:
    return access_pb2.Role.Value(f"ROLE_{role.upper()}")


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1e6))
    return duration
