"""The words of `parade policy`: what can be done, by whom, and what may become of it."""

from enum import StrEnum


class Action(StrEnum):
    """What can be forbidden."""

    CALL = "call"
    START = "start"
    PUBLISH = "publish"
    READ = "read"
    WRITE = "write"


class Asked(StrEnum):
    """As which role somebody is asked about."""

    NONE = "none"
    VIEWER = "viewer"
    DEVELOPER = "developer"
    OPERATOR = "operator"
    ADMIN = "admin"


class FunctionEffect(StrEnum):
    """What calling a function twice does."""

    PURE = "pure"
    IDEMPOTENT = "idempotent"
    EFFECT = "effect"


class Expected(StrEnum):
    """What should become of a case."""

    ALLOW = "allow"
    DENY = "deny"
    APPROVAL = "approval"
