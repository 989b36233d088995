"""What is written of join tokens, certificates and revocations. Each method is one transaction; none decides anything."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parade_agent_manager.certificate import Certificate, CertificateState, Revocation
from parade_agent_manager.tables import AUDIT, CERTIFICATES, JOIN_TOKENS, REVOCATIONS, from_micros, to_micros
from parade_agent_manager.tokens import JoinToken
from parade_agent_manager.transactions import reading, writing
from parade_chassis.audit_recorder import Recorder
from parade_chassis.store import Database

_REVOKED = or_(CERTIFICATES.c.serial.in_(select(REVOCATIONS.c.subject)), CERTIFICATES.c.spiffe_id.in_(select(REVOCATIONS.c.subject)))


class CredentialStore:
    """What survives a restart. A database that cannot be reached is UNAVAILABLE."""

    def __init__(self, database: Database, recorder: Recorder) -> None:
        """Takes the database, and what tells the audit log who changes something."""
        self._database = database
        self._recorder = recorder

    async def add_token(self, token: JoinToken) -> None:
        """Writes a new join token."""
        async with writing(self._database) as connection:
            row = {"hash": token.hash, "namespace": token.namespace, "agent": token.agent, "expires": to_micros(token.expires)}
            await connection.execute(insert(JOIN_TOKENS).values(row))
            facts = {"expires": token.expires.isoformat(), "token": token.hash[:16]}
            await AUDIT.append(connection, [self._recorder.change(token.namespace, f"agents/{token.agent}", facts)])

    async def token(self, hash: str) -> JoinToken | None:
        """Returns a join token, where there is one."""
        async with reading(self._database) as connection:
            return await _token(connection, hash)

    async def use_token(self, hash: str, instance: str, certificate: Certificate, now: datetime) -> JoinToken | None:
        """Binds a token that is neither used nor expired to an instance, and writes its certificate: of many attempts one does it.

        Returns:
            The token as it is now, whoever has bound it; None where there is none.
        """
        unused = (JOIN_TOKENS.c.hash == hash, JOIN_TOKENS.c.key_fingerprint.is_(None), JOIN_TOKENS.c.expires > to_micros(now))
        async with writing(self._database) as connection:
            binding = update(JOIN_TOKENS).where(*unused).values(key_fingerprint=certificate.key_fingerprint, instance=instance)
            if (await connection.execute(binding)).rowcount == 1:
                await _add(connection, certificate)
                facts = {"serial": certificate.serial, "token": hash[:16]}
                who = certificate.spiffe_id
                await AUDIT.append(connection, [self._recorder.change(certificate.namespace, f"identities/{who}", facts, subject=who)])
            return await _token(connection, hash)

    async def usable_tokens(self, namespace: str, now: datetime) -> int:
        """Returns how many tokens of a namespace can still be used."""
        usable = (JOIN_TOKENS.c.namespace == namespace, JOIN_TOKENS.c.key_fingerprint.is_(None), JOIN_TOKENS.c.expires > to_micros(now))
        async with reading(self._database) as connection:
            found: int = (await connection.execute(select(func.count()).select_from(JOIN_TOKENS).where(*usable))).scalar_one()
            return found

    async def remove_tokens(self, expired_by: datetime) -> None:
        """Removes the tokens that have expired."""
        async with writing(self._database) as connection:
            await connection.execute(delete(JOIN_TOKENS).where(JOIN_TOKENS.c.expires <= to_micros(expired_by)))

    async def certificate(self, serial: str) -> Certificate | None:
        """Returns a certificate, where there is one."""
        async with reading(self._database) as connection:
            return await _certificate(connection, CERTIFICATES.c.serial == serial)

    async def certificate_of(self, spiffe_id: str, key_fingerprint: str) -> Certificate | None:
        """Returns the certificate of an identity's key, where it has one."""
        async with reading(self._database) as connection:
            return await _certificate(connection, CERTIFICATES.c.spiffe_id == spiffe_id, CERTIFICATES.c.key_fingerprint == key_fingerprint)

    async def add_certificate(self, certificate: Certificate) -> None:
        """Writes a certificate that the table does not have."""
        async with writing(self._database) as connection:
            await _add(connection, certificate)

    async def supersede(self, serial: str, successor: Certificate) -> bool:
        """Writes a certificate as the successor of another that has none: of many attempts one does it.

        Args:
            serial: The one to be superseded.
            successor: The new one.

        Returns:
            Whether this attempt did it.
        """
        superseding = (
            update(CERTIFICATES)
            .where(CERTIFICATES.c.serial == serial, CERTIFICATES.c.superseded_by.is_(None))
            .values(superseded_by=successor.serial)
        )
        async with writing(self._database) as connection:
            superseded = (await connection.execute(superseding)).rowcount == 1
            if superseded:
                await _add(connection, successor)
                facts = {"serial": successor.serial, "supersedes": serial}
                await AUDIT.append(connection, [self._recorder.change(successor.namespace, f"identities/{successor.spiffe_id}", facts)])
            return superseded

    async def latest_end(self, spiffe_id: str) -> datetime | None:
        """Returns when the last certificate of an identity ends; None where it has none."""
        latest = select(func.max(CERTIFICATES.c.expires)).where(CERTIFICATES.c.spiffe_id == spiffe_id)
        async with reading(self._database) as connection:
            end = (await connection.execute(latest)).scalar()
            return None if end is None else from_micros(end)

    async def certificates(
        self, namespace: str, spiffe_id: str, state: CertificateState | None, now: datetime, after: str, count: int
    ) -> list[Certificate]:
        """Returns certificates by serial number.

        Args:
            namespace: Of which namespace; empty for all.
            spiffe_id: Of which identity; empty for all.
            state: In which state; None for any.
            now: The time, which makes some of them expired.
            after: The serial number after which to begin; empty for the beginning.
            count: How many at most.
        """
        wanted: list[ColumnElement[bool]] = [CERTIFICATES.c.serial > after]
        if namespace:
            wanted.append(CERTIFICATES.c.namespace == namespace)
        if spiffe_id:
            wanted.append(CERTIFICATES.c.spiffe_id == spiffe_id)
        if state is not None:
            wanted += _in_state(state, now)
        async with reading(self._database) as connection:
            rows = await connection.execute(select(CERTIFICATES).where(*wanted).order_by(CERTIFICATES.c.serial).limit(count))
            return [_read(row) for row in rows]

    async def remove_certificates(self, expired_by: datetime) -> None:
        """Removes the certificates that have ended, and the revocations that need not be known any more."""
        end = to_micros(expired_by)
        async with writing(self._database) as connection:
            await connection.execute(delete(CERTIFICATES).where(CERTIFICATES.c.expires <= end))
            await connection.execute(delete(REVOCATIONS).where(REVOCATIONS.c.expires <= end))

    async def revocations(self) -> list[Revocation]:
        """Returns every revocation, the oldest first."""
        async with reading(self._database) as connection:
            rows = await connection.execute(select(REVOCATIONS).order_by(REVOCATIONS.c.revoked, REVOCATIONS.c.subject))
            return [_revocation(row) for row in rows]

    async def add_revocation(self, revocation: Revocation) -> Revocation:
        """Writes a revocation, and returns it; where one of the same subject is written that lasts as long, that one."""
        same = REVOCATIONS.c.subject == revocation.subject
        async with writing(self._database) as connection:
            found = (await connection.execute(select(REVOCATIONS).where(same))).one_or_none()
            if found is not None and found.expires >= to_micros(revocation.expires):
                return _revocation(found)
            await connection.execute(delete(REVOCATIONS).where(same))
            row = {
                "subject": revocation.subject,
                "namespace": revocation.namespace,
                "revoked": to_micros(revocation.revoked),
                "expires": to_micros(revocation.expires),
                "reason": revocation.reason,
                "revoked_by": revocation.by,
            }
            await connection.execute(insert(REVOCATIONS).values(row))
            kind = "identities" if revocation.of_identity else "certificates"
            facts = {"revoked": True, "reason": revocation.reason, "expires": revocation.expires.isoformat()}
            record = self._recorder.change(revocation.namespace, f"{kind}/{revocation.subject}", facts)
            await AUDIT.append(connection, [record])
        return revocation


async def _token(connection: AsyncConnection, hash: str) -> JoinToken | None:
    row = (await connection.execute(select(JOIN_TOKENS).where(JOIN_TOKENS.c.hash == hash))).one_or_none()
    if row is None:
        return None
    return JoinToken(row.hash, row.namespace, row.agent, from_micros(row.expires), row.key_fingerprint or "", row.instance or "")


async def _add(connection: AsyncConnection, certificate: Certificate) -> None:
    row = {
        "serial": certificate.serial,
        "spiffe_id": certificate.spiffe_id,
        "namespace": certificate.namespace,
        "key_fingerprint": certificate.key_fingerprint,
        "chain": certificate.chain,
        "issued": to_micros(certificate.issued),
        "expires": to_micros(certificate.expires),
        "superseded_by": certificate.superseded_by or None,
    }
    await connection.execute(insert(CERTIFICATES).values(row))


async def _certificate(connection: AsyncConnection, *wanted: ColumnElement[bool]) -> Certificate | None:
    row = (await connection.execute(select(CERTIFICATES).where(*wanted))).one_or_none()
    return None if row is None else _read(row)


def _in_state(state: CertificateState, now: datetime) -> list[ColumnElement[bool]]:
    if state is CertificateState.REVOKED:
        return [_REVOKED]
    if state is CertificateState.EXPIRED:
        return [not_(_REVOKED), CERTIFICATES.c.expires <= to_micros(now)]
    superseded = CERTIFICATES.c.superseded_by.is_not(None)
    return [
        not_(_REVOKED),
        CERTIFICATES.c.expires > to_micros(now),
        superseded if state is CertificateState.SUPERSEDED else not_(superseded),
    ]


def _read(row: Row[Any]) -> Certificate:
    return Certificate(
        serial=row.serial,
        spiffe_id=row.spiffe_id,
        namespace=row.namespace,
        key_fingerprint=row.key_fingerprint,
        chain=row.chain,
        issued=from_micros(row.issued),
        expires=from_micros(row.expires),
        superseded_by=row.superseded_by or "",
    )


def _revocation(row: Row[Any]) -> Revocation:
    return Revocation(row.subject, row.namespace, from_micros(row.revoked), from_micros(row.expires), row.reason, row.revoked_by)
