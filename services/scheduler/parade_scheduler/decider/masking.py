"""Takes the values of secrets out of failures that are kept on record. Pure."""

from collections.abc import Collection
from dataclasses import replace

from parade.wire.redaction import OURS, masked
from parade_scheduler.model import Failure


def masked_failure(failure: Failure, secrets: Collection[str]) -> Failure:
    """Returns a failure in whose words no secret is left."""
    return replace(
        failure,
        message=masked(failure.message, secrets),
        violations=tuple(
            replace(one, field=masked(one.field, secrets), description=masked(one.description, secrets)) for one in failure.violations
        ),
        metadata={name: value if name in OURS else masked(value, secrets) for name, value in failure.metadata.items()},
    )
