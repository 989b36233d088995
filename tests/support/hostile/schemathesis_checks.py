"""What schemathesis demands of each answer beside its own checks. It runs in an environment of its own, and imports nothing of ours."""

import os
from typing import Any

import schemathesis  # type: ignore[import-not-found]  # known to that environment alone


@schemathesis.check  # type: ignore[untyped-decorator]
def no_fault_of_ours(ctx: Any, response: Any, case: Any) -> None:
    """Nothing makes the gateway fail. That a deadline passes which the request itself has set is no failure."""
    assert response.status_code < 500 or response.json()["error"]["details"][0]["reason"] == "DEADLINE_EXCEEDED", response.text


@schemathesis.check  # type: ignore[untyped-decorator]
def no_more_than_a_viewer(ctx: Any, response: Any, case: Any) -> None:
    """A viewer's key opens what the table of roles says, and nothing else."""
    operation = f"{case.operation.method.upper()} {case.operation.path}"
    opened = os.environ["VIEWERS_OPERATIONS"].splitlines()
    assert response.status_code >= 300 or operation in opened, f"a viewer may do {operation}"


@schemathesis.check  # type: ignore[untyped-decorator]
def nobody_enters(ctx: Any, response: Any, case: Any) -> None:
    """Who shows no key learns nothing of any route, not even whether it is there. 400 is for what is no HTTP."""
    assert response.status_code in (400, 401), f"{response.status_code} for {case.method} {case.path}"
