"""This box's key as TLS and the handshake need it, and what others show of theirs."""

from __future__ import annotations

import datetime
import os
import ssl
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance.replication.errors import Impostor
from appliance.store.journal import box_id

VALID_DAYS = 36500


class Identity:
    """The box's key."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()
        self.box = box_id(self.public)

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read the key file of the store. Raises ``OSError``, ``ValueError``."""
        return cls(Ed25519PrivateKey.from_private_bytes(path.read_bytes()))

    def sign(self, octets: bytes) -> bytes:
        return self._private.sign(octets)

    def server_context(self) -> ssl.SSLContext:
        """For those who call this box: TLS 1.3, with a certificate of the box's own key. Blocks."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        # OpenSSL reads files only; this one is in memory and has no name.
        fd = os.memfd_create("peer")
        try:
            os.write(fd, self._pem())
            context.load_cert_chain(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        return context

    def _pem(self) -> bytes:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization

        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pocket box")])
        start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)  # the clock may be wrong
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=VALID_DAYS))
            .sign(self._private, None)
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def dial_context() -> ssl.SSLContext:
    """For calling others. The certificate is looked at by ``public_key``, not by TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context


def public_key(certificate: bytes) -> bytes:
    """The box's key in a certificate (DER). Raises ``Impostor`` if it is none of a box."""
    from cryptography import x509

    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except Exception as error:  # the library has no one family of errors for what is no certificate
        raise Impostor("whoever answered shows no certificate of a box") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Impostor("whoever answered is no box: is that the address of something else?")
    return key.public_bytes_raw()
