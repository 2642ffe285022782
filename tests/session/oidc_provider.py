"""A login provider for tests: a real HTTP or HTTPS server on loopback with a key set, and tokens it signed.

    with LoginProvider(tmp_path) as provider:
        provider.key_set_url, provider.issuer, provider.audience     # for the box's configuration
        oidc = provider.oidc(sub="ann")                              # for a Register
        provider.rotate()                      # a new key; the old one is gone from the set
        provider.answer = hang                 # and other ways to be a bad provider

With `tls` the box trusts it when `SSL_CERT_FILE` in its environment is `provider.ca_path`.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

Answer = Callable[["LoginProvider", BaseHTTPRequestHandler], None]
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Signer:
    """A key that signs with `algorithm`, known as `kid`."""

    def __init__(self, kid: str | None, algorithm: str = "RS256", *, bits: int = 2048) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.key: PrivateKey
        if algorithm.startswith("ES"):
            self.key = ec.generate_private_key(CURVES[algorithm])
        elif algorithm == "EdDSA":
            self.key = ed25519.Ed25519PrivateKey.generate()
        else:
            self.key = rsa.generate_private_key(public_exponent=65537, key_size=bits)

    def jwk(self) -> dict[str, Any]:
        """The public key as it stands in a key set."""
        public = self.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            jwk = RSAAlgorithm.to_jwk(public, as_dict=True)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            jwk = ECAlgorithm.to_jwk(public, as_dict=True)
        else:
            jwk = OKPAlgorithm.to_jwk(public, as_dict=True)
        return jwk | {"alg": self.algorithm, "use": "sig"} | ({"kid": self.kid} if self.kid else {})

    def pem(self) -> bytes:
        """The public key as PEM."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A token. `header` entries of None are left out."""
        whole = {"kid": self.kid} | header
        return jwt.encode(
            claims,
            self.key,
            self.algorithm,
            headers={name: value for name, value in whole.items() if value is not None},
        )


class LoginProvider:
    """A provider that listens from `with` on, on a port of its own that it keeps over `stop` and `start`."""

    audience = "pocket-box"

    def __init__(self, folder: Path, *, algorithm: str = "RS256", tls: bool = False) -> None:
        self.algorithm = algorithm
        self.ca_path = folder / "provider-ca.pem"
        self.answer: Answer = serve_keys
        self.fetched_at_s: list[float] = []
        self.released = threading.Event()
        self.serial = 1
        self.signer = Signer("key-1", algorithm)
        self.published: list[dict[str, Any]] = [self.signer.jwk()]
        self._tls = _self_signed(folder, self.ca_path) if tls else None
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def fetches(self) -> int:
        """How often anything was asked of this provider."""
        return len(self.fetched_at_s)

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://localhost:{self._port}"

    @property
    def key_set_url(self) -> str:
        return f"{self.base_url}/keys"

    @property
    def issuer(self) -> str:
        return self.base_url

    def __enter__(self) -> LoginProvider:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.fetched_at_s.append(time.monotonic())
                with contextlib.suppress(OSError):
                    provider.answer(provider, self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = False
            block_on_close = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self.released.clear()
        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Close the port; nobody answers there any more."""
        self.released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def rotate(self, *, keep: bool = False) -> None:
        """Sign with a new key; the old one stays in the set if `keep`."""
        self.serial += 1
        self.signer = Signer(f"key-{self.serial}", self.algorithm)
        self.published = (self.published if keep else []) + [self.signer.jwk()]

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Claims of a good token, with `changed`; those changed to None are left out."""
        now = int(time.time())
        good = {"iss": self.issuer, "aud": self.audience, "sub": "ann", "iat": now, "exp": now + 600}
        return {name: value for name, value in (good | changed).items() if value is not None}

    def token(self, **changed: Any) -> str:
        return self.signer.sign(self.claims(**changed))

    def oidc(self, **changed: Any) -> dict[str, Any]:
        """What a client sends as `oidc` after a login, with claims `changed`."""
        return oidc_of(self.token(**changed))


def oidc_of(token: str) -> dict[str, Any]:
    return {"token_type": "Bearer", "expires_in": 600, "id_token": token, "access_token": "opaque"}


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def serve_keys(provider: LoginProvider, handler: BaseHTTPRequestHandler) -> None:
    send(handler, json.dumps({"keys": provider.published}).encode(), Content_Type="application/json")


def late(provider: LoginProvider, handler: BaseHTTPRequestHandler) -> None:
    provider.released.wait(0.2)
    serve_keys(provider, handler)


def hang(provider: LoginProvider, handler: BaseHTTPRequestHandler) -> None:
    """Take the request and say nothing."""
    provider.released.wait()


def drip_body(provider: LoginProvider, handler: BaseHTTPRequestHandler) -> None:
    """An octet now and then: no single read takes long."""
    handler.send_response(200)
    handler.end_headers()
    while not provider.released.wait(0.05):
        handler.wfile.write(b" ")


def drip_head(provider: LoginProvider, handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not provider.released.wait(0.05):
        handler.wfile.write(b"x")


def endless_body(provider: LoginProvider, handler: BaseHTTPRequestHandler) -> None:
    """10 GB and more, for who takes it."""
    handler.send_response(200)
    handler.end_headers()
    while not provider.released.is_set():
        handler.wfile.write(b" " * 65_536)


def endless_head(provider: LoginProvider, handler: BaseHTTPRequestHandler) -> None:
    while not provider.released.is_set():
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\nX-More: of this\r\n\r\n" * 1000)


def answers(body: bytes, status: int = 200) -> Answer:
    def answer(provider: LoginProvider, handler: BaseHTTPRequestHandler) -> None:
        send(handler, body, status)

    return answer


def redirects(to: Callable[[LoginProvider, str], str | None]) -> Answer:
    """Redirect a path to what `to` says, or serve the keys there if it says None."""

    def answer(provider: LoginProvider, handler: BaseHTTPRequestHandler) -> None:
        target = to(provider, handler.path)
        if target is None:
            serve_keys(provider, handler)
        else:
            send(handler, b"", 302, Location=target)

    return answer


def _self_signed(folder: Path, certificate_path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "login provider for tests")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(names, critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path = folder / "provider-key.pem"
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_path, key_path)
    return context
