"""Turns off what a mesh checks of each request, as soon as the module is imported that would check it: Python runs this at its start.

It does so in processes that have this folder in their PYTHONPATH, which `benchmarks.security` starts, and in no other. Mutual TLS stays: it
proves who is there, and everything else, as the namespace of a call, comes from that. A name that is gone ends the process, so that nobody
measures with security on what is called off.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from operator import attrgetter
from types import ModuleType
from typing import Any


def _nothing(_: ModuleType) -> Any:
    return lambda *_, **__: None


def _allowed(policies: ModuleType) -> Any:
    return lambda *_, **__: policies.ALLOWED


def _admin(standing: ModuleType) -> Any:
    return lambda *_, **__: standing.Role.ADMIN


def _no_mandate(_: ModuleType) -> Any:
    return lambda *_, **__: b""


OFF: Mapping[str, Mapping[str, Callable[[ModuleType], Any]]] = {
    "parade.wire.peers": {"Peers.check": _nothing},
    "parade.wire.mandate_issuer": {"Issuer.mandate": _no_mandate},
    "parade.hosting.mandates": {"Mandates.check": _nothing},
    "parade_chassis.interceptors.authorization": {"AuthorizationConcern.__call__": _nothing, "AuthorizationConcern.still": _nothing},
    "parade_chassis.audit_decisions": {"Decisions.allowed": _nothing, "Decisions.denied": _nothing},
    "parade_chassis.policies": {"Policies.decide": _allowed},
    "parade_chassis.standing": {"Standing.of": _admin},
}
"""What checks something, by module, and what makes that which stands in its place."""


class _Opened(Loader):
    """Imports a module as it is, and then turns off what it checks."""

    def __init__(self, inner: Loader) -> None:
        self._inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        for name, make in OFF[module.__name__].items():
            owner, _, last = name.rpartition(".")
            attrgetter(name)(module)  # an AttributeError tells that the code has changed
            setattr(attrgetter(owner)(module), last, make(module))


class _Finder(MetaPathFinder):
    """Finds the modules that check something, as Python does."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname not in OFF:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Opened(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
