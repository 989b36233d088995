"""A folder with a certificate authority in it: makes it, issues certificates into it, and puts another root in the place of the first.

`parade dev` keeps one for its mesh, and `parade cert` works on any. Its files are replaced all at once (see `files`), so that whoever reads
them finds certificates, keys and roots that fit together.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

from parade.wire.certificates import new_key_and_request
from parade.wire.errors import ParadeError, Reason
from parade.wire.files import locked, replace_all
from parade.wire.identity import Identity

if TYPE_CHECKING:
    from parade.wire.ca import CertificateAuthority

TRUST_BUNDLE = "ca.pem"
"""The roots to trust: one, and two while a root is replaced."""
ISSUER, ISSUER_KEY = "ca.issuer.pem", "ca.key"
"""The root that signs, and its key."""
NEXT, NEXT_KEY = "ca.next.pem", "ca.next.key"
"""The root that will sign, while a root is replaced; empty else."""
STATE = "authority.json"
DEFAULT_LIFETIME = timedelta(hours=1)
"""How long certificates are good where nothing else is wanted."""


class Step(StrEnum):
    """Where an authority stands between one root and the next."""

    SETTLED = "settled"
    """One root signs, and it alone is trusted."""
    BOTH_TRUSTED = "both trusted"
    """A new root is trusted too, and signs nothing yet: not everybody knows it."""
    NEW_SIGNS = "new signs"
    """The new root signs. The old one is still trusted: not all that it has signed has ended."""


@dataclass(frozen=True, slots=True)
class State:
    """What an authority knows beside its keys."""

    domain: str
    """The trust domain that it names its holders in."""
    lifetime: timedelta
    """The longest that a certificate of it may be good; a rotation waits as long before each step."""
    since: datetime
    """When it came to where it stands."""
    step: Step = Step.SETTLED

    @property
    def due(self) -> datetime | None:
        """When the next step may be taken; None where there is none to take.

        Whoever holds a certificate that is good has had it for no longer than it may be good. So after that time everybody has got one
        since, and the roots with it; and after as long again there is none left that the old root has signed.
        """
        return None if self.step is Step.SETTLED else self.since + self.lifetime

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads the state of the authority in a folder, without its keys.

        Raises:
            ParadeError: NOT_FOUND where there is none; FAILED_PRECONDITION where it cannot be read.
        """
        path = folder / STATE
        try:
            content = json.loads(path.read_bytes())
            return cls(
                content["domain"],
                timedelta(seconds=content["lifetime"]),
                datetime.fromisoformat(content["since"]),
                Step(content["step"]),
            )
        except FileNotFoundError as error:
            message = f"there is no certificate authority in {folder}. Make one with `parade cert init --folder {folder}`."
            raise ParadeError(Reason.NOT_FOUND, message) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ParadeError(Reason.FAILED_PRECONDITION, f"{path} cannot be read: {error}") from error

    def encoded(self) -> bytes:
        """Returns the state as it stands in the file."""
        content = {
            "domain": self.domain,
            "lifetime": self.lifetime.total_seconds(),
            "step": self.step.value,
            "since": self.since.isoformat(),
        }
        return json.dumps(content, indent=2).encode() + b"\n"


def create(folder: Path, domain: str, lifetime: timedelta, now: datetime) -> State:
    """Makes a certificate authority. A root and its key that lie in the folder already are taken over.

    Args:
        folder: Where; it is made where it is not there.
        domain: The trust domain.
        lifetime: The longest that a certificate of it may be good.
        now: The time.

    Raises:
        ParadeError: ALREADY_EXISTS where there is one.
    """
    from parade.wire.ca import CertificateAuthority

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder):
        if (folder / STATE).exists():
            raise ParadeError(Reason.ALREADY_EXISTS, f"there is a certificate authority in {folder} already")
        root, key = folder / TRUST_BUNDLE, folder / ISSUER_KEY
        if root.exists() and key.exists():
            made = CertificateAuthority.load(key.read_bytes(), root.read_bytes())
        else:
            made = CertificateAuthority.create(domain, now)
        state = State(domain, lifetime, now)
        replace_all(folder, {TRUST_BUNDLE: made.trust_bundle, **_issuer(made), **_next(None), STATE: state.encoded()})
    return state


def issue(folder: Path, identities: Mapping[str, Identity], lifetime: timedelta, now: datetime) -> datetime:
    """Issues certificates, each with a fresh key, and puts them all into the folder at once.

    Args:
        folder: The authority's.
        identities: Who is to have one, by the name of the files: `<name>.pem` and `<name>.key`.
        lifetime: How long they are good.
        now: The time.

    Returns:
        When they end.

    Raises:
        ParadeError: NOT_FOUND where there is no authority; INVALID_ARGUMENTS where they would be good for longer than it says.
    """
    with locked(_existing(folder)):
        state = State.read(folder)
        if lifetime > state.lifetime:
            raise ParadeError(
                Reason.INVALID_ARGUMENTS,
                f"certificates of this authority are good for {state.lifetime} at most: a rotation waits no longer for them to end",
            )
        issuer = issuer_of(folder)
        files: dict[str, bytes] = {}
        ends = now + lifetime
        for name, identity in identities.items():
            key, request = new_key_and_request()
            issued = issuer.issue(request, identity, lifetime, now)
            files |= {f"{name}.pem": issued.chain, f"{name}.key": key}
            ends = min(ends, issued.expires)
        replace_all(folder, files)
    return ends


def rotate(folder: Path, now: datetime) -> State:
    """Begins to put a new root in the place of the old one, or takes the next step of that where it is due.

    Raises:
        ParadeError: NOT_FOUND where there is no authority.
    """
    from parade.wire.ca import CertificateAuthority

    with locked(_existing(folder)):
        state = State.read(folder)
        if state.step is not Step.SETTLED:
            return _advanced(folder, state, now)
        made = CertificateAuthority.create(state.domain, now)
        state = replace(state, step=Step.BOTH_TRUSTED, since=now)
        both = (folder / TRUST_BUNDLE).read_bytes() + made.trust_bundle
        replace_all(folder, {TRUST_BUNDLE: both, **_next(made), STATE: state.encoded()})
    return state


def advance(folder: Path, now: datetime) -> State:
    """Takes the next step of a rotation where one is due, and begins none.

    Raises:
        ParadeError: NOT_FOUND where there is no authority.
    """
    with locked(_existing(folder)):
        return _advanced(folder, State.read(folder), now)


def issuer_of(folder: Path) -> "CertificateAuthority":
    """Returns the root that signs.

    Raises:
        ParadeError: FAILED_PRECONDITION where it cannot be read.
    """
    from parade.wire.ca import CertificateAuthority

    try:
        return CertificateAuthority.load((folder / ISSUER_KEY).read_bytes(), (folder / ISSUER).read_bytes())
    except (OSError, ValueError) as error:
        raise ParadeError(Reason.FAILED_PRECONDITION, f"the certificate authority in {folder} cannot be read: {error}") from error


def _advanced(folder: Path, state: State, now: datetime) -> State:
    if state.due is None or now < state.due:
        return state
    if state.step is Step.BOTH_TRUSTED:
        state = replace(state, step=Step.NEW_SIGNS, since=now)
        issuer = {ISSUER: (folder / NEXT).read_bytes(), ISSUER_KEY: (folder / NEXT_KEY).read_bytes()}
        replace_all(folder, {**issuer, **_next(None), STATE: state.encoded()})
    else:
        state = replace(state, step=Step.SETTLED, since=now)
        replace_all(folder, {TRUST_BUNDLE: (folder / ISSUER).read_bytes(), STATE: state.encoded()})
    return state


def _existing(folder: Path) -> Path:
    State.read(folder)
    return folder


def _issuer(authority: "CertificateAuthority") -> dict[str, bytes]:
    return {ISSUER: authority.trust_bundle, ISSUER_KEY: authority.private_key()}


def _next(authority: "CertificateAuthority | None") -> dict[str, bytes]:
    return {NEXT: b"", NEXT_KEY: b""} if authority is None else {NEXT: authority.trust_bundle, NEXT_KEY: authority.private_key()}
