"""The site's certificate: made at the first start, self-signed, pinned by clients (``=host:port``)."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from pathlib import Path

from appliance.store import write_synced

VALID_DAYS = 36500
"""A pinned certificate has no use for an end; clients would only be locked out by it."""


def ensure_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Certificate and key (PEM) in ``folder``, made if there are none. Blocks. Raises ``OSError``, and
    ``ValueError`` for a certificate that has lost its key: a new one would lock out who has pinned it.
    """
    cert, key = folder / "cert.pem", folder / "key.pem"
    if cert.exists() and not key.exists():
        raise ValueError(
            f"{key} is missing: restore it from a backup, or remove {cert} so that a new certificate is made"
            " (clients will have to trust it anew)"
        )
    if not cert.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        cert_pem, key_pem = make_certificate(name)
        write_synced(key, key_pem)
        write_synced(cert, cert_pem, 0o644)
    return cert, key


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """A TLS context for the listener: TLS 1.2 and later. Raises ``ValueError`` naming the file that is
    wrong.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An end without TLS's goodbye is only the end of what is sent (OpenSSL 1 has it so): frames have lengths,
    # and who sends no more can still be told what became of its requests.
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(
            f"certificate {cert} and key {key} cannot be used ({error}): put back the right files,"
            " or remove both so that a new certificate is made (clients will have to trust it anew)"
        ) from error
    return context


def fingerprint(cert: Path) -> str:
    """``SHA256:`` and 64 hex digits, of the certificate's DER form."""
    return fingerprint_of(cert.read_text())


def fingerprint_of(pem: str) -> str:
    """The same, of the first certificate in a text."""
    first = pem[pem.index("-----BEGIN CERTIFICATE-----") :].split("-----END CERTIFICATE-----")[0]
    return (
        "SHA256:"
        + hashlib.sha256(ssl.PEM_cert_to_DER_cert(first + "-----END CERTIFICATE-----\n")).hexdigest()
    )


def make_certificate(name: str) -> tuple[bytes, bytes]:
    """A new certificate, self-signed, and its key, in PEM."""
    from cryptography import x509  # costs memory that only the first start has to pay
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)  # the clock may be wrong at the first start
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("pocket.local"), x509.DNSName("localhost")]),
            critical=False,
        )
    )
    cert = builder.sign(key, hashes.SHA256())
    return (
        cert.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
