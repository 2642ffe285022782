"""A web server on loopback that gives a folder, and can be slow, cut off, lying, or redirect."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Server:
    """``cut_after``: octets of a body, after which each connection breaks. ``ranges``: whether it knows them.
    ``rate``: octets/s, 0: all at once. ``spoil``: flips a bit of what is given. ``endless``: a body that
    never ends. ``asked``: path and range of each request.
    """

    def __init__(self, folder: Path, certificate: tuple[Path, Path] | None = None) -> None:
        self.folder = folder
        self.cut_after: int | None = None
        self.ranges = True
        self.rate = 0
        self.spoil = False
        self.endless = False
        self.wrong_range = False
        self.redirect: str | None = None
        self.asked: list[tuple[str, str]] = []
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if certificate is not None else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}/updates"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: Server

    def do_GET(self) -> None:
        server = self.owner
        wanted = self.headers.get("Range", "")
        server.asked.append((self.path, wanted))
        if server.redirect is not None:
            self.send_response(302)
            self.send_header("Location", server.redirect + self.path.rpartition("/")[2])
            self.end_headers()
            return
        try:
            content = (server.folder / self.path.rpartition("/")[2]).read_bytes()
        except OSError:
            self.send_error(404)
            return
        begin = int(wanted[6:-1]) if wanted and server.ranges else 0
        if begin and begin >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            told = begin + 1 if server.wrong_range else begin
            self.send_header("Content-Range", f"bytes {told}-{len(content) - 1}/{len(content)}")
        body = bytearray(content[begin:])
        if server.spoil and self.path.endswith(".zst"):
            body[-1] ^= 1
        if not server.endless:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._give(bytes(body))

    def _give(self, body: bytes) -> None:
        server = self.owner
        try:
            if server.cut_after is not None and self.path.endswith(".zst"):
                self.wfile.write(body[: server.cut_after])
                return
            if server.rate:
                step = max(1, server.rate // 20)
                for at in range(0, len(body), step):
                    self.wfile.write(body[at : at + step])
                    self.wfile.flush()
                    time.sleep(0.05)
                return
            self.wfile.write(body)
            while server.endless:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        pass


def certificate(folder: Path) -> tuple[Path, Path]:
    """For 127.0.0.1 and localhost, its own authority: certificate and key files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, secret = folder / "server.pem", folder / "server.key"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert, secret
