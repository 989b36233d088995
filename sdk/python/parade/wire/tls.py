"""Certificates as gRPC takes them, and that a server takes up a new one without a restart."""

import grpc

from parade.wire.certificates import Certificates, CertificateSource


def channel_credentials(certificates: Certificates) -> grpc.ChannelCredentials:
    """Returns the credentials of a client that shows its certificate."""
    return grpc.ssl_channel_credentials(certificates.trust_bundle, certificates.private_key, certificates.certificate_chain)


def server_credentials(source: CertificateSource, *, require_client: bool = True) -> grpc.ServerCredentials:
    """Returns credentials of a server that takes up new certificates for new connections.

    Args:
        source: Where the certificates come from.
        require_client: Whether a caller must show a certificate that our roots signed. Only an enrolment port does without.
    """
    taken = source.current()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        # None where nothing is new: gRPC replaces what it makes of a configuration while other handshakes still use it, so that a server
        # which returns one for every connection crashes when many come at once.
        nonlocal taken
        newest = source.current()
        if newest is taken:
            return None
        taken = newest
        return _server_configuration(newest)

    return grpc.dynamic_ssl_server_credentials(
        _server_configuration(taken),
        fetch,  # type: ignore[arg-type]  # the stubs do not know that None means "no change"
        require_client_authentication=require_client,
    )


def _server_configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    pair = (certificates.private_key, certificates.certificate_chain)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=certificates.trust_bundle)
