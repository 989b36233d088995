"""Join tokens: which root one names, and to which roots it may be shown."""

import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from parade.wire.certificates import Certificates
from parade.wire.identity import Identity
from parade.wire.join_token import SHAPE, join_token, pinned_roots, root_fingerprint
from tests.support.certificates import Authority

SECRET = "A" * 43
SERVICE = Identity.service("agent_manager")


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    folder: Path = tmp_path_factory.mktemp("authorities")
    return Authority(folder / "one"), Authority(folder / "other")


def test_a_token_names_the_root_that_signed_the_servers_certificate(authorities: tuple[Authority, Authority]) -> None:
    one, other = authorities
    both = other.trust_bundle + one.trust_bundle
    made = one.certificates(SERVICE, trust_bundle=both)

    token = join_token(SECRET, root_fingerprint(made))

    key = x509.load_pem_x509_certificate(one.trust_bundle).public_key()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    match = SHAPE.fullmatch(token)
    assert match is not None
    assert (match["secret"], match["fingerprint"]) == (SECRET, hashlib.sha256(encoded).hexdigest()[:32])
    assert pinned_roots(token, both) == one.trust_bundle
    assert pinned_roots(token, other.trust_bundle) == b""


def test_a_server_whose_root_is_not_trusted_can_make_no_token(authorities: tuple[Authority, Authority]) -> None:
    one, other = authorities
    strange = Certificates(other.trust_bundle, one.certificates(SERVICE).certificate_chain, b"")

    with pytest.raises(ValueError, match="no root"):
        root_fingerprint(strange)


@given(st.text(max_size=120))
def test_what_is_no_token_is_refused(text: str) -> None:
    if SHAPE.fullmatch(text) is None:
        with pytest.raises(ValueError, match="a join token is"):
            pinned_roots(text, b"")
