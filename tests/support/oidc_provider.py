"""A real OpenID Connect issuer for tests: npm's `oidc-provider`, in a process of its own, and a person who logs in at it."""

import fcntl
import hashlib
import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin

import httpx

from tests.support.mesh import ROOT

SOURCE: Final = ROOT / "tests" / "support" / "oidc"
FOLDER: Final = ROOT / ".tools" / "oidc"
FILES: Final = ("package.json", "package-lock.json", "provider.mjs")
NODE: Final = "node@22.23.3"
"""What brings a node of its own where the machine's is older than 20, which the issuer needs."""
AUDIENCE: Final = "urn:parade"
CLIENT_ID: Final = "parade-cli"
INSTALL_TIMEOUT: Final = 300.0
TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer that runs."""

    url: str

    def robot_token(self) -> str:
        """Returns an access token of the client `robot`, who is nobody's program but its own."""
        asked = {"grant_type": "client_credentials"}
        answer = httpx.post(f"{self.url}/token", data=asked, auth=("robot", "robot-secret"), trust_env=False, timeout=TIMEOUT)
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    def rotate(self) -> None:
        """Has it sign with another key, and show the one before too."""
        self._do("rotate")

    def withdraw(self) -> None:
        """Has it show the newest key alone."""
        self._do("withdraw")

    def sign_in(self, page: str, person: str, *, refuse: bool = False) -> httpx.Response:
        """Does what a person does in a browser, from a page to the last one.

        Args:
            page: Where the browser is sent.
            person: Who logs in.
            refuse: Whether the person says no.
        """
        with httpx.Client(trust_env=False, timeout=TIMEOUT) as browser:
            answer = browser.get(page)
            while True:
                if answer.is_redirect:
                    answer = browser.get(urljoin(str(answer.url), answer.headers["location"]))
                    continue
                form = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
                if form is None or not str(answer.url).startswith(self.url):
                    return answer
                abort = re.search(r'href="([^"]*/abort)"', answer.text)
                if refuse and abort is not None:
                    answer = browser.get(urljoin(str(answer.url), abort[1]))
                    continue
                fields = _hidden(answer.text)
                if 'name="login"' in answer.text:
                    fields |= {"login": person, "password": "any"}
                answer = browser.post(urljoin(str(answer.url), html.unescape(form[1])), data=fields)

    def _do(self, what: str) -> None:
        httpx.get(f"{self.url}/test/{what}", trust_env=False, timeout=TIMEOUT).raise_for_status()


@contextmanager
def running() -> Iterator[Issuer]:
    """Runs an issuer for the block.

    Raises:
        OSError: There is no npm here.
        SubprocessError: The issuer cannot be installed here.
    """
    node = _installed()
    command = [node, "--no-warnings", str(FOLDER / "provider.mjs")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=FOLDER, **pipes) as process:
        try:
            yield Issuer(json.loads(process.stdout.readline())["issuer"])  # type: ignore[union-attr]
        finally:
            process.kill()


def _installed() -> str:
    """Installs the issuer where it is not there yet, and returns the node that it runs on."""
    contents = {name: (SOURCE / name).read_bytes() for name in FILES}
    wanted = hashlib.sha256(b"".join(contents.values())).hexdigest()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run two at once
        done = FOLDER / "installed"
        if not done.exists() or done.read_text() != wanted:
            for name, content in contents.items():
                (FOLDER / name).write_bytes(content)
            _npm("ci", "--ignore-scripts")
            done.write_text(wanted)
        return _node()


def _node() -> str:
    found = shutil.which("node")
    if found is not None:
        version = subprocess.run([found, "--version"], check=True, capture_output=True, text=True, timeout=TIMEOUT).stdout
        if int(version.lstrip("v").partition(".")[0]) >= 20:
            return found
    own = FOLDER / "node"
    program = own / "node_modules" / "node" / "bin" / "node"
    if not program.exists():
        own.mkdir(exist_ok=True)
        _npm("install", "--prefix", str(own), "--no-save", NODE)
    return str(program)


def _npm(*arguments: str) -> None:
    command = ["npm", *arguments, "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, check=True, capture_output=True, cwd=FOLDER, timeout=INSTALL_TIMEOUT)


def _hidden(page: str) -> dict[str, str]:
    fields = {}
    for tag in re.findall(r"<input[^>]*>", page):
        if 'type="hidden"' in tag and (name := re.search(r'name="([^"]*)"', tag)):
            value = re.search(r'value="([^"]*)"', tag)
            fields[name[1]] = html.unescape(value[1]) if value else ""
    return fields
