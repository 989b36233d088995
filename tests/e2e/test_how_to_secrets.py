"""`docs/how-to/secrets.md` is true: its workflow is run on a laptop's mesh with the secret that its commands write."""

import os
import subprocess

import pytest

import parade
from parade.testing import Mesh
from parade_scheduler.config import Config
from parade_scheduler.definitions.secrets import FRESH, MAX_BYTES, SETTING
from tests.support.commands import blocks
from tests.support.mesh import ROOT

PAGE = (ROOT / "docs/how-to/secrets.md").read_text()

pytestmark = pytest.mark.timeout(120)


async def test_the_page_does_what_it_says() -> None:
    given: list[str] = []
    agent = parade.Agent("bank")

    @agent.function(effect="pure")
    async def charge(amount: float, authorization: str) -> float:
        given.append(authorization)
        return amount

    [command] = blocks(PAGE, "sh")
    async with Mesh() as mesh:
        await mesh.join(agent)
        subprocess.run(["bash", "-ec", command], cwd=mesh.file.folder.parent, check=True, env={"PATH": os.environ["PATH"]})
        await mesh.client.put_workflow(blocks(PAGE, "yaml")[0])
        run = await mesh.client.start("charge", amount=2.5)
        await run.result(timeout=20)
        mode = (mesh.file.folder / "secrets/default/bank_token").stat().st_mode & 0o777

    assert given == ["Bearer a-token-of-the-bank"]
    assert mode == 0o600


def test_the_page_names_what_there_is() -> None:
    assert f"{Config.model_config['env_prefix']}secrets".upper() == SETTING
    assert SETTING in PAGE
    assert f"at most {MAX_BYTES // 1024} KiB" in PAGE
    assert FRESH == 2.0
