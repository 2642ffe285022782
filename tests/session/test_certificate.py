"""The site's certificate stays the one that clients have pinned."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.session.certificate import ensure_certificate, fingerprint, server_context


def test_the_certificate_is_made_once(tmp_path: Path) -> None:
    cert, key = ensure_certificate(tmp_path / "tls", "Home")
    first = fingerprint(cert)
    server_context(cert, key)
    assert key.stat().st_mode & 0o077 == 0
    assert fingerprint(ensure_certificate(tmp_path / "tls", "Home")[0]) == first


def test_a_certificate_that_has_lost_its_key_is_not_replaced(tmp_path: Path) -> None:
    cert, key = ensure_certificate(tmp_path, "Home")
    first = fingerprint(cert)
    key.unlink()
    with pytest.raises(ValueError, match=r"key\.pem is missing: restore it"):
        ensure_certificate(tmp_path, "Home")
    assert fingerprint(cert) == first and not key.exists()


def test_a_key_without_certificate_is_what_a_power_cut_leaves(tmp_path: Path) -> None:
    cert, _ = ensure_certificate(tmp_path, "Home")
    cert.unlink()
    server_context(*ensure_certificate(tmp_path, "Home"))


def test_files_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    cert, _ = ensure_certificate(tmp_path / "one", "Home")
    _, key = ensure_certificate(tmp_path / "two", "Home")
    with pytest.raises(ValueError, match=str(cert)):
        server_context(cert, key)
