"""What is sealed for a box opens there, for that membership, and nowhere else."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from appliance.relay.sealing import NotSealed, SealingKey, seal
from appliance.store import BoxKey


def box(seed: str) -> BoxKey:
    return BoxKey(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest()))


OURS, OTHERS = SealingKey(box("ours")), SealingKey(box("others"))


@given(st.text(max_size=80))
def test_a_secret_opens_at_its_box(secret: str):
    assert OURS.open(seal(secret, OURS.public, 16, "BBBB"), 16, "BBBB") == secret


def test_the_same_key_follows_from_the_same_box_key():
    assert SealingKey(box("ours")).public == OURS.public != OTHERS.public


def test_the_key_is_derived_as_hkdf_does():
    secret = hashlib.sha256(b"ours").digest()
    assert box("ours").derive(b"a purpose") == HKDF(hashes.SHA256(), 32, None, b"a purpose").derive(secret)


def test_another_box_cannot_open_it():
    with pytest.raises(NotSealed):
        OTHERS.open(seal("secret", OURS.public, 16, "BBBB"), 16, "BBBB")


def test_it_opens_for_its_membership_and_box_only():
    sealed = seal("secret", OURS.public, 16, "BBBB")
    for membership, name in ((32, "BBBB"), (16, "CCCC")):
        with pytest.raises(NotSealed):
            OURS.open(sealed, membership, name)


@given(st.data())
def test_a_change_anywhere_is_noticed(data: st.DataObject):
    sealed = bytearray(seal("secret", OURS.public, 16, "BBBB"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 6))  # X25519 does not look at the highest bit of a key
    with pytest.raises(NotSealed):
        OURS.open(bytes(sealed), 16, "BBBB")


@given(st.binary(max_size=100))
def test_what_was_never_sealed_does_not_open(octets: bytes):
    with pytest.raises(NotSealed):
        OURS.open(octets, 16, "BBBB")


def test_no_two_seals_of_a_secret_are_the_same():
    assert seal("secret", OURS.public, 16, "BBBB") != seal("secret", OURS.public, 16, "BBBB")
