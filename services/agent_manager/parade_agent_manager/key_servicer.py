"""The methods about keys and roles: decode, one call, encode."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from parade.v1 import key_pb2 as pb
from parade.v1 import key_pb2_grpc
from parade.wire.role_numbers import number_of, role_of
from parade_agent_manager import convert
from parade_agent_manager.permissions import DEFAULT_LIFETIME, Asker, Permissions
from parade_agent_manager.rights import ApiKey, Grant
from parade_chassis.context import current, enter, required_namespace

Context = grpc.aio.ServicerContext[Any, Any]


class KeyServicer(key_pb2_grpc.KeyServiceServicer):
    """What `key.proto` says."""

    def __init__(self, permissions: Permissions) -> None:
        """Takes what decides."""
        self._permissions = permissions

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.CreateKeyResponse:
        """See the contract."""
        lifetime = convert.seconds(request.ttl) if request.HasField("ttl") else DEFAULT_LIFETIME
        made = await self._permissions.create_key(_asker(), request.name, role_of(request.role), request.namespace, lifetime)
        return pb.CreateKeyResponse(key=self._key(made.key), secret=made.secret)

    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        """See the contract."""
        found, token = self._permissions.keys(_asker(), request.namespace, request.page_size, request.page_token)
        return pb.ListKeysResponse(keys=map(self._key, found), next_page_token=token)

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Context) -> pb.RevokeKeyResponse:
        """See the contract."""
        return pb.RevokeKeyResponse(key=self._key(await self._permissions.revoke_key(_asker(), request.id)))

    async def GrantRole(self, request: pb.GrantRoleRequest, context: Context) -> pb.GrantRoleResponse:
        """See the contract."""
        grant = await self._permissions.grant(_asker(), request.subject, role_of(request.role), request.namespace)
        return pb.GrantRoleResponse(grant=_to_grant(grant))

    async def RevokeRole(self, request: pb.RevokeRoleRequest, context: Context) -> pb.RevokeRoleResponse:
        """See the contract."""
        return pb.RevokeRoleResponse(grant=_to_grant(await self._permissions.revoke(_asker(), request.subject, request.namespace)))

    async def ListRoles(self, request: pb.ListRolesRequest, context: Context) -> pb.ListRolesResponse:
        """See the contract."""
        found, token = self._permissions.grants(_asker(), request.namespace, request.page_size, request.page_token)
        return pb.ListRolesResponse(grants=map(_to_grant, found), next_page_token=token)

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Context) -> pb.WhoAmIResponse:
        """See the contract."""
        asking = current()
        return pb.WhoAmIResponse(subject=asking.principal, namespace=required_namespace(), role=number_of(asking.role))

    async def AuthenticateKey(self, request: pb.AuthenticateKeyRequest, context: Context) -> pb.AuthenticateKeyResponse:
        """See the contract."""
        if (known := self._permissions.key(request.id)) is not None:
            # A refusal is recorded under the key's name, where those look who may take it back.
            enter(replace(current(), namespace=known.namespace, principal=known.subject))
        key, role = self._permissions.authenticate(request.id, request.digest)
        return pb.AuthenticateKeyResponse(
            subject=key.subject, namespace=key.namespace, role=number_of(role), expire_time=convert.to_timestamp(key.expires)
        )

    def _key(self, key: ApiKey) -> pb.Key:
        return pb.Key(
            id=key.id,
            name=key.name,
            namespace=key.namespace,
            role=number_of(key.role),
            created_by=key.created_by,
            create_time=convert.to_timestamp(key.created),
            expire_time=convert.to_timestamp(key.expires),
            revoke_time=_given(key.revoked),
            effective_role=number_of(self._permissions.role_of_key(key)),
        )


def _asker() -> Asker:
    return Asker(current().principal, required_namespace())


def _to_grant(grant: Grant) -> pb.Grant:
    return pb.Grant(
        subject=grant.subject,
        namespace=grant.namespace,
        role=number_of(grant.role),
        granted_by=grant.granted_by,
        grant_time=convert.to_timestamp(grant.granted),
    )


def _given(time: datetime | None) -> Timestamp | None:
    return None if time is None else convert.to_timestamp(time)
