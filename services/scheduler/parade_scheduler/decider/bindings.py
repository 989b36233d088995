"""What expressions see: a run's inputs and steps, the workflow's `env`, and secrets where nothing of them goes on record."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.language import Definition
from parade_scheduler.model import Run, Step


class Bindings:
    """The names that a run's expressions may use, with their values. No output is decoded and no `env` computed before one looks at it."""

    def __init__(self, definition: Definition, run: Run, steps: Mapping[str, Step], secrets: Mapping[str, str]) -> None:
        """Takes what it shows; `steps` are looked at as they are when an expression is computed."""
        self._definition = definition
        self._run = run
        self._steps = _Steps(steps)
        self._secrets = _Secrets(secrets)
        self._recorded: dict[str, Any] | None = None
        self._handed_out: dict[str, Any] | None = None

    @property
    def recorded(self) -> dict[str, Any]:
        """What an expression sees whose value goes on record: no secret. It is shared; do not change it."""
        if self._recorded is None:
            self._recorded = self._seen(_NoSecrets())
        return self._recorded

    @property
    def handed_out(self) -> dict[str, Any]:
        """What an expression sees whose value is only handed to a function. It is shared; do not change it."""
        if self._handed_out is None:
            self._handed_out = self._seen(self._secrets)
        return self._handed_out

    @property
    def told(self) -> AbstractSet[str]:
        """The secrets that expressions have seen so far, older values of changed ones too: no message may show them."""
        return self._secrets.told

    @property
    def seen(self) -> tuple[str, ...]:
        """The secrets that expressions have seen since `look_anew`."""
        return tuple(self._secrets.seen)

    def look_anew(self) -> None:
        """Forgets which secrets expressions have seen; what was `told` stays so."""
        self._secrets.seen.clear()

    def _seen(self, secrets: Mapping[str, str]) -> dict[str, Any]:
        inputs = self._run.inputs.value
        env = _Env(self._definition, {"inputs": inputs, "secrets": secrets})
        return {"inputs": inputs, "steps": self._steps, "run": {"id": self._run.id}, "env": env, "secrets": secrets}


class _Steps(Mapping[str, Any]):
    """`steps` as expressions see it. An output is decoded only where an expression looks at it."""

    def __init__(self, rows: Mapping[str, Step]) -> None:
        self._rows = rows

    def __getitem__(self, step: str) -> Any:
        row = self._rows[step]
        return {"output": row.output.value if row.output is not None else None, "state": row.state.value}

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class _Env(Mapping[str, Any]):
    """`env` as expressions see it, computed where they look at it."""

    def __init__(self, definition: Definition, bindings: Mapping[str, Any]) -> None:
        self._templates = definition.env
        self._bindings = bindings

    def __getitem__(self, name: str) -> Any:
        return self._templates[name].fill(self._bindings, f"env.{name}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._templates)

    def __len__(self) -> int:
        return len(self._templates)


class _Secrets(Mapping[str, str]):
    """`secrets` as expressions see it. It does not tell which there are."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets
        self.told: set[str] = set()
        """The values that were looked at."""
        self.seen: dict[str, None] = {}
        """Those since somebody began to ask, in their order."""

    def __getitem__(self, name: str) -> str:
        try:
            value = self._secrets[name]
        except KeyError:
            raise ParadeError(Reason.INVALID_ARGUMENTS, f"the namespace has no secret `{name}`") from None
        self.told.add(value)
        self.seen[value] = None
        return value

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return len(self._secrets)


class _NoSecrets(_Secrets):
    """`secrets` where they cannot be used."""

    def __init__(self) -> None:
        super().__init__({})

    def __getitem__(self, name: str) -> str:
        message = f"the secret `{name}` cannot be used here, for this value goes on record; only the `with` of a call can use one"
        raise ParadeError(Reason.INVALID_ARGUMENTS, message)
