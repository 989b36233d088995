"""The databases that every store is tested on."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.tables import lay_out
from tests.support.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A database of each kind, one after the other, without a table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    async with server.database() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the file lies that is copied for each test; the first one makes it."""
    return tmp_path_factory.mktemp("template") / "store.db"


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: Path) -> AsyncIterator[str]:
    """A database of each kind, one after the other, with the empty tables of every service: copied, for to make them takes longer."""
    if request.param == "sqlite":
        if not sqlite_template.exists():
            await lay_out(f"sqlite:///{sqlite_template}")
        shutil.copyfile(sqlite_template, tmp_path / "store.db")
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    async with server.database(lay_out) as url:
        yield url
