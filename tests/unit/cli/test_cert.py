"""`parade cert` on a folder: what it makes, what it says, and what it does not do."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from parade.wire import authority
from parade.wire.certificates import FileSource
from parade.wire.identity import Identity
from tests.support.certificates import Authority
from tests.unit.cli.conftest import Parade

FOLDER = Path(".parade/certificates")


@pytest.fixture
def made(parade: Parade) -> Path:
    assert parade("cert", "init").exit_code == 0
    return FOLDER


def test_a_service_and_a_client_get_what_they_need(parade: Parade, made: Path) -> None:
    for who, name, uri in (
        ("service/dispatcher", "dispatcher", "spiffe://parade.local/service/dispatcher"),
        ("client/ci", "client-ci", "spiffe://parade.local/ns/team-a/client/ci"),
    ):
        result = parade("cert", "issue", who, "--namespace", "team-a", "-o", "json")

        found = json.loads(result.stdout)
        assert (result.exit_code, found["spiffe_id"]) == (0, uri)
        assert found["certificate"] == str(made / f"{name}.pem")
        FileSource(Path(found["trust_bundle"]), Path(found["certificate"]), Path(found["private_key"]))
        verdict = parade("cert", "verify", found["certificate"], "--key", found["private_key"], "-o", "json")
        assert (verdict.exit_code, json.loads(verdict.stdout)["ok"]) == (0, True), verdict.output


def test_an_authority_is_not_made_over_another(parade: Parade, made: Path) -> None:
    root = (made / "ca.pem").read_bytes()

    result = parade("cert", "init")

    assert result.exit_code == 1
    assert "already" in result.stderr
    assert (made / "ca.pem").read_bytes() == root


@pytest.mark.parametrize("command", [("issue", "client/ci"), ("rotate",), ("rotate", "--status")])
def test_without_an_authority_it_says_how_to_make_one(parade: Parade, command: tuple[str, ...]) -> None:
    result = parade("cert", *command)

    assert result.exit_code == 1
    assert "parade cert init --folder .parade/certificates" in " ".join(result.stderr.split())
    assert not FOLDER.exists()


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("issue", "nobody"), "service/NAME or client/NAME"),
        (("issue", "service/cook"), "agent_manager"),
        (("issue", "client/Big"), "lower-case"),
        (("issue", "client/ci", "--namespace", "a/b"), "lower-case"),
        (("issue", "client/ci", "--lifetime", "soon"), "no duration"),
        (("init", "--folder", "other", "--domain", "Ex ample"), "no trust domain"),
        (("verify", "nowhere.pem"), "cannot be read"),
    ],
)
def test_what_is_not_understood_exits_with_2_and_says_what_is(parade: Parade, made: Path, arguments: tuple[str, ...], advice: str) -> None:
    before = sorted(path.name for path in made.iterdir())

    result = parade("cert", *arguments)

    assert result.exit_code == 2
    assert advice in " ".join(result.stderr.replace("│", " ").split())
    assert sorted(path.name for path in made.iterdir()) == before


def test_a_certificate_cannot_outlive_what_a_rotation_waits(parade: Parade, made: Path) -> None:
    result = parade("cert", "issue", "client/ci", "--lifetime", "2h")

    assert result.exit_code == 1
    assert "1:00:00 at most" in " ".join(result.stderr.split())


def test_a_rotation_is_begun_and_said(parade: Parade, made: Path) -> None:
    begun = json.loads(parade("cert", "rotate", "-o", "json").stdout)
    again = json.loads(parade("cert", "rotate", "-o", "json").stdout)
    seen = json.loads(parade("cert", "rotate", "--status", "-o", "json").stdout)

    assert begun["step"] == "BOTH_TRUSTED"
    assert begun == again == seen
    assert datetime.fromisoformat(begun["next_step_time"]) > datetime.now(UTC) + timedelta(minutes=59)
    assert len(x509.load_pem_x509_certificates((made / "ca.pem").read_bytes())) == 2


def test_a_rotation_goes_on_when_it_is_due(parade: Parade, made: Path) -> None:
    authority.rotate(made, datetime.now(UTC) - timedelta(hours=1))
    status = parade("cert", "rotate", "--status")

    second = json.loads(parade("cert", "rotate", "-o", "json").stdout)

    assert "parade cert rotate" in status.stderr
    assert second["step"] == "NEW_SIGNS"


def test_nothing_rotates_when_only_the_status_is_asked(parade: Parade, made: Path) -> None:
    found = json.loads(parade("cert", "rotate", "--status", "-o", "json").stdout)

    assert (found["step"], found["next_step_time"]) == ("SETTLED", None)
    assert len(x509.load_pem_x509_certificates((made / "ca.pem").read_bytes())) == 1


class Issuer:
    """Signs what nobody should."""

    def __init__(self, folder: Path) -> None:
        self.ca = Authority(folder).ca
        self.key = serialization.load_pem_private_key(self.ca.private_key(), None)
        self.root = x509.load_pem_x509_certificate(self.ca.trust_bundle)

    def certificate(
        self,
        *,
        uris: tuple[str, ...] = ("spiffe://parade.local/ns/default/client/dev",),
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        authority: bool = False,
        start: timedelta = timedelta(hours=-1),
        end: timedelta = timedelta(hours=1),
        key: ec.EllipticCurvePrivateKey | None = None,
        above: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        issuer, signing = above or (self.root, self.key)
        assert isinstance(signing, ec.EllipticCurvePrivateKey)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "below")] if authority else []))
            .issuer_name(issuer.subject)
            .public_key((key or ec.generate_private_key(ec.SECP256R1())).public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + start)
            .not_valid_after(now + end)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris] or [x509.DNSName("a.b")]), False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key((key or signing).public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
            .sign(signing, hashes.SHA256())
        )


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({}, ""),
        ({"end": timedelta(minutes=-1)}, "time"),
        ({"start": timedelta(minutes=1)}, "time"),
        ({"uris": ()}, "identity"),
        ({"uris": ("spiffe://parade.local/service/gateway", "spiffe://parade.local/service/monitor")}, "identity"),
        ({"uris": ("spiffe://parade.local/somebody",)}, "identity"),
        ({"uris": ("spiffe://elsewhere/service/gateway",)}, "domain"),
        ({"purpose": ExtendedKeyUsageOID.SERVER_AUTH}, "purpose"),
        ({"authority": True}, "ca"),
    ],
)
def test_it_says_which_rule_a_certificate_breaks(parade: Parade, folder: Path, wrong: dict[str, object], rule: str) -> None:
    issuer = Issuer(folder / "authority")
    (folder / "ca.pem").write_bytes(issuer.ca.trust_bundle)
    (folder / "shown.pem").write_bytes(issuer.certificate(**wrong).public_bytes(serialization.Encoding.PEM))  # type: ignore[arg-type]

    result = parade("cert", "verify", "shown.pem", "-o", "json")

    found = json.loads(result.stdout)
    assert (result.exit_code, found["rule"], found["ok"]) == (1 if rule else 0, rule, not rule), found
    assert bool(found["fault"]) is bool(rule)


def test_a_stranger_s_signature_and_another_s_key_are_seen(parade: Parade, folder: Path) -> None:
    ours, theirs = Authority(folder / "ours"), Authority(folder / "theirs")
    mine, other = ours.files(Identity.client("dev")), ours.files(Identity.client("other"))
    theirs_root, _ = theirs.root_files()

    def rule(*arguments: str) -> str:
        return str(json.loads(parade("cert", "verify", str(mine.certificate), *arguments, "-o", "json").stdout)["rule"])

    assert rule("--trust-bundle", str(theirs_root)) == "signature"
    assert rule("--trust-bundle", str(mine.trust_bundle), "--key", str(other.private_key)) == "key"
    assert rule("--trust-bundle", str(mine.trust_bundle), "--key", str(mine.private_key)) == ""


def test_a_chain_that_leads_over_another_authority_is_refused_as_services_do(parade: Parade, folder: Path) -> None:
    issuer = Issuer(folder / "authority")
    key = ec.generate_private_key(ec.SECP256R1())
    middle = issuer.certificate(authority=True, key=key)
    leaf = issuer.certificate(above=(middle, key))
    (folder / "chain.pem").write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, middle)))
    (folder / "ca.pem").write_bytes(issuer.ca.trust_bundle)
    refused = json.loads(parade("cert", "verify", "chain.pem", "-o", "json").stdout)

    # Where the authority in between is trusted itself, as with an issuer of cert-manager, what it signs is good.
    (folder / "ca.pem").write_bytes(issuer.ca.trust_bundle + middle.public_bytes(serialization.Encoding.PEM))
    admitted = json.loads(parade("cert", "verify", "chain.pem", "-o", "json").stdout)

    assert (refused["ok"], refused["rule"]) == (False, "authority")
    assert admitted["ok"], admitted


def test_one_of_two_roots_is_enough(parade: Parade, folder: Path) -> None:
    ours, theirs = Authority(folder / "ours"), Authority(folder / "theirs")
    files = ours.files(Identity.client("dev"))
    (folder / "both.pem").write_bytes(theirs.trust_bundle + ours.trust_bundle)

    result = parade("cert", "verify", str(files.certificate), "--trust-bundle", "both.pem")

    assert result.exit_code == 0, result.output
    assert "good until" in result.stdout


def test_every_command_shows_an_example(parade: Parade) -> None:
    for command in ("init", "issue", "verify", "rotate"):
        assert f"parade cert {command}" in parade("cert", command, "--help").stdout
