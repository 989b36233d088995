"""An issuer of tests that says whatever it is told to: wrong names, keys that are none, too much, too late, or nothing at all."""

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def described(key: PrivateKey, name: str, **more: Any) -> dict[str, Any]:
    """Returns a key as a key set shows it: its public half."""
    match key:
        case ec.EllipticCurvePrivateKey():
            fields = json.loads(ECAlgorithm.to_jwk(key.public_key()))
        case rsa.RSAPrivateKey():
            fields = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        case _:
            fields = json.loads(OKPAlgorithm.to_jwk(key.public_key()))
    return {**fields, "kid": name, "use": "sig", **more}


def signed(claims: Mapping[str, Any], key: Any, algorithm: str, **header: Any) -> str:
    """Returns a token with any claims, those too that the library would not make."""
    return jwt.api_jws.encode(json.dumps(dict(claims)).encode(), key, algorithm, headers=header)


def unsigned(claims: Mapping[str, Any], **header: Any) -> str:
    """Returns a token without a signature."""
    parts = ({"alg": "none", "typ": "JWT", **header}, dict(claims))
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


class LyingIssuer:
    """What it says, and how often it was asked."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.bodies: dict[str, bytes] = {}
        """What is answered, by path."""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.silence = 0.0
        """Seconds before each answer."""
        self.drip = 0.0
        """Seconds before each byte of it."""
        self.asked: list[str] = []
        """The paths that were asked for."""
        self.ended = threading.Event()
        self.shows()

    def shows(self, *keys: Mapping[str, Any], **said: Any) -> None:
        """Has it show these keys, and say these things of itself."""
        found = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **said}
        self.bodies = {"/.well-known/openid-configuration": json.dumps(found).encode(), "/keys": json.dumps({"keys": keys}).encode()}


@contextmanager
def lying() -> Iterator[LyingIssuer]:
    """Runs one for the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            if issuer.ended.wait(issuer.silence):
                return
            body = issuer.bodies.get(self.path, b"{}")
            self.send_response(issuer.status)
            for name, value in issuer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            try:
                if not issuer.drip:
                    self.wfile.write(body)
                    return
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(issuer.drip)
            except OSError:
                return  # who asked has heard enough

        do_POST = do_GET  # noqa: N815  # the name is the server's

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        issuer = LyingIssuer(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            issuer.ended.set()
            server.shutdown()
            thread.join()
