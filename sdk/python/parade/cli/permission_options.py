"""What the commands about keys and roles share: the roles, the namespace, and how long."""

import re
from enum import StrEnum
from typing import Annotated

import typer


class RoleOption(StrEnum):
    """What may be done; each role includes those before it."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    OPERATOR = "operator"
    ADMIN = "admin"


Namespace = Annotated[str, typer.Option("--namespace", metavar="NAMESPACE", help="In which namespace; else in your own.")]

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str) -> float:
    """Reads how long: `30m`, `12h`, `90d`.

    Raises:
        typer.BadParameter: It is none of these.
    """
    match = re.fullmatch(r"(\d{1,5})([mhd])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no such time; say 30m, 12h or 90d")
    return int(match[1]) * _UNITS[match[2]]
