"""An agent whose functions say the secret they are given wherever they can: `python -m parade.serve tests.support.leaking_agent:agent`."""

import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote_plus

from opentelemetry import trace
from pydantic import BaseModel, field_validator

import parade
from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.redaction import SHORTEST

agent = parade.Agent("leaking", max_concurrency=16)


class Account(BaseModel):
    """Something whose check quotes what it checks."""

    token: str

    @field_validator("token")
    @classmethod
    def known(cls, token: str) -> str:
        """Refuses every token."""
        raise ValueError(f"{token} is not known")


def _fail(token: str) -> None:
    try:
        raise KeyError(token)
    except KeyError as error:
        raise RuntimeError(f"the bank does not know {token!r}") from error


@agent.function(effect="pure")
async def plain(token: str) -> None:
    """Raises in its first step."""
    _fail(token)


@agent.function(effect="effect")
async def tell(token: str, *, context: parade.Context) -> None:
    """Tells of it while it runs, and raises; what becomes of an effect is written down."""
    context.log.info("asking the bank", token=token, header={"Authorization": [f"Bearer {token}"]})
    if len(token) >= SHORTEST:  # what is shorter is not looked for in spans of a function's own
        trace.get_current_span().set_attribute("bank.token", token)
        trace.get_current_span().add_event("asked", {"with": token})
    await context.progress(0.5, f"with {token}")
    context.progress(0.6, f"{'so much is said before that it must be shortened ' * 30}{token}")
    _fail(token)


@agent.function(effect="pure")
async def encoded(token: str) -> None:
    """Raises with what a client of HTTP would say."""
    basic = base64.b64encode(f"parade:{token}".encode()).decode()
    raise parade.FunctionError(f"GET /?key={quote_plus(token)}", details={"header": f"Basic {basic}", "sent": {"token": token}})


@agent.function(effect="pure")
async def violate(token: str) -> None:
    """Raises an error of Parade's own."""
    violations = [Violation(f"accounts.{token}", f"{token} is not known")]
    raise ParadeError(Reason.INVALID_ARGUMENTS, f"no {token}", violations=violations, metadata={"token": token})


@agent.function(effect="pure")
async def check(account: Account) -> None:
    """Is never run: its argument refuses itself."""


@agent.function(effect="pure")
async def count(token: int) -> None:
    """Is never run: a secret is no number."""


@agent.function(effect="pure")
async def lie(token: str) -> int:
    """Returns something outside its schema."""
    answer: Any = token
    return answer  # type: ignore[no-any-return]


@agent.function(effect="pure")
def thread(token: str, *, context: parade.Context) -> None:
    """Raises in a thread."""
    context.progress(0.5, token)
    _fail(token)


@agent.function(effect="pure")
def rows(token: str, *, context: parade.Context) -> Iterator[int]:
    """Raises in a thread, after an item."""
    context.progress(0.5, token)
    yield 1
    _fail(token)


@agent.function(effect="pure")
async def numbers(token: str) -> AsyncIterator[int]:
    """Raises after an item."""
    yield 1
    _fail(token)


@agent.function(effect="pure", process=True)
def process(token: str, *, context: parade.Context) -> None:
    """Raises in a process of its own."""
    context.progress(0.5, token)
    context.log.info("asking the bank", token=token)
    _fail(token)


@agent.function(effect="pure")
async def ask(token: str, *, context: parade.Context) -> None:
    """Hands it on to a function that raises."""
    await context.call("leaking.tell", token=token)


@agent.function(effect="pure", process=True)
def relay(token: str, *, context: parade.Context) -> None:
    """Hands it on from a process of its own."""
    context.wait(context.call("leaking.plain", token=token))


FUNCTIONS = ("plain", "tell", "encoded", "violate", "count", "lie", "thread", "rows", "numbers", "process", "ask", "relay")
"""Those that take a `token`; `check` takes an account."""
