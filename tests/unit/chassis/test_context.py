"""Until when a caller is who it says."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade_chassis.context import certificate_end
from tests.support.certificates import Authority


def test_a_certificate_says_when_it_ends(tmp_path: Path) -> None:
    made = Authority(tmp_path).certificates(Identity.client("dev"), lifetime=timedelta(hours=2))

    end = certificate_end({"x509_pem_cert": [made.certificate_chain]})

    assert timedelta(hours=1, minutes=59) < end - datetime.now(UTC) <= timedelta(hours=2)


def test_who_shows_no_certificate_is_nobody() -> None:
    with pytest.raises(ParadeError) as raised:
        certificate_end({})

    assert raised.value.reason is Reason.UNAUTHENTICATED
