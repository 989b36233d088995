"""The API key of a new mesh: made at the first start, and written where its owner alone reads it."""

from datetime import timedelta
from pathlib import Path
from typing import Final

from parade.wire.certificates import write_private
from parade.wire.identity import Identity
from parade.wire.roles import Role
from parade_agent_manager.permissions import MAX_LIFETIME, Asker, Permissions
from parade_chassis.clock import Clock

NAME: Final = "first key of the mesh"
LEAST_LEFT: Final = timedelta(days=1)
"""What a key must still have before it to be kept at a start."""


async def let_in(permissions: Permissions, admin: str, path: Path | None, clock: Clock) -> None:
    """Lets the first of a mesh in.

    Args:
        permissions: Where it is made admin.
        admin: The SPIFFE id of a client; empty where nobody is to be let in.
        path: Where its API key is written; None for nowhere.
        clock: The time.
    """
    client = Identity.parse(admin)
    if client is None:
        return
    await permissions.admit_first(client)
    if path is not None:
        await ensure(permissions, client, path, clock)


async def ensure(permissions: Permissions, admin: Identity, path: Path, clock: Clock) -> None:
    """Makes an admin's key and writes it, unless the file holds one that still opens something, or the admin is none any more.

    Raises:
        OSError: The file cannot be read or written.
    """
    shown = path.read_text().strip() if path.exists() else ""
    if permissions.opens(shown, clock.now() + LEAST_LEFT) or not permissions.is_admin(admin):
        return
    made = await permissions.create_key(Asker(admin.uri, admin.namespace), NAME, Role.ADMIN, admin.namespace, MAX_LIFETIME)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, f"{made.secret}\n".encode())
