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
    configuration = _server_configuration(taken)

    def fetch() -> grpc.ServerCertificateConfiguration:
        # Never None: gRPC for Python then drops the connection that asked.
        nonlocal taken, configuration
        newest = source.current()
        if newest is not taken:
            taken, configuration = newest, _server_configuration(newest)
        return configuration

    return grpc.dynamic_ssl_server_credentials(configuration, fetch, require_client_authentication=require_client)


def _server_configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    pair = (certificates.private_key, certificates.certificate_chain)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=certificates.trust_bundle)
