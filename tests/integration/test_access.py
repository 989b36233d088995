"""The keys of a mesh: where they lie, and what a test signs with them."""

from parade.wire.ca import CertificateAuthority
from parade.wire.identity import SERVICES
from parade.wire.mesh_file import MeshFile
from tests.support.certificates import Authority


class MeshAuthority(Authority):
    """The root of a running mesh, as its owner has it."""

    def __init__(self, mesh: MeshFile) -> None:
        certificates = mesh.folder / "certificates"
        self.folder = mesh.folder
        self.ca = CertificateAuthority.load((certificates / "ca.key").read_bytes(), (certificates / "ca.pem").read_bytes())


def test_secrets_lie_where_only_their_owner_reads_them(shared_mesh: MeshFile) -> None:
    secret = [*(shared_mesh.folder / "certificates").glob("*.key"), shared_mesh.folder / shared_mesh.api_key]

    assert len(secret) > len(SERVICES)
    assert all(path.stat().st_mode & 0o077 == 0 for path in secret)
