"""Improv's packets: fixed vectors, and the stream that they share with people who type."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.console.improv import (
    HEAD,
    HELD_OCTETS_MAX,
    Command,
    Damaged,
    Error,
    ImprovError,
    Packet,
    PacketType,
    Rpc,
    Splitter,
    State,
    WifiSettings,
    encode_error,
    encode_packet,
    encode_result,
    encode_state,
    parse_rpc,
)

REQUEST_STATE = bytes.fromhex("494d50524f56 01 03 02 0200 e5")
REQUEST_INFO = bytes.fromhex("494d50524f56 01 03 02 0300 e6")
REQUEST_NETWORKS = bytes.fromhex("494d50524f56 01 03 02 0400 e7")
SEND_SETTINGS = bytes.fromhex(
    "494d50524f56 01 03 20 01 1e 0c 4d79576972656c6573734150 10 6d7973656375726570617373776f7264 c1"
)
"""The standard's own example: MyWirelessAP, mysecurepassword."""

STATE_AUTHORIZED = bytes.fromhex("494d50524f56 01 01 01 02 e2")
STATE_PROVISIONED = bytes.fromhex("494d50524f56 01 01 01 04 e4")
NO_ERROR = bytes.fromhex("494d50524f56 01 02 01 00 e1")
UNABLE_TO_CONNECT = bytes.fromhex("494d50524f56 01 02 01 03 e4")
UNKNOWN_ERROR = bytes.fromhex("494d50524f56 01 02 01 ff e0")
LAST_NETWORK = bytes.fromhex("494d50524f56 01 04 02 0400 e8")
A_NETWORK = bytes.fromhex("494d50524f56 01 04 0d 040b 02 4d79 03 2d3630 03 594553 50")
"""My, -60, YES."""

SPLIT = [
    Packet(PacketType.RPC_COMMAND, b"\x02\x00"),
    Packet(PacketType.RPC_COMMAND, b"\x03\x00"),
    Packet(PacketType.RPC_COMMAND, b"\x04\x00"),
]


def test_what_clients_send_is_understood():
    splitter = Splitter()
    assert splitter.receive(REQUEST_STATE + REQUEST_INFO + REQUEST_NETWORKS) == SPLIT
    (packet,) = splitter.receive(SEND_SETTINGS)
    assert isinstance(packet, Packet)
    assert parse_rpc(packet.data) == Rpc(
        Command.SEND_WIFI_SETTINGS, WifiSettings(b"MyWirelessAP", "mysecurepassword")
    )
    assert parse_rpc(SPLIT[0].data) == Rpc(Command.REQUEST_STATE)


def test_what_a_box_sends_is_octet_for_octet_the_standards():
    assert encode_state(State.AUTHORIZED) == STATE_AUTHORIZED
    assert encode_state(State.PROVISIONED) == STATE_PROVISIONED
    assert encode_error(Error.NONE) == NO_ERROR
    assert encode_error(Error.UNABLE_TO_CONNECT) == UNABLE_TO_CONNECT
    assert encode_error(Error.UNKNOWN) == UNKNOWN_ERROR
    assert encode_result(Command.REQUEST_NETWORKS) == LAST_NETWORK
    assert encode_result(Command.REQUEST_NETWORKS, [b"My", b"-60", b"YES"]) == A_NETWORK


def test_a_password_is_not_in_what_is_shown_of_it():
    assert "secure" not in repr(parse_rpc(SEND_SETTINGS[9:-1]))


def test_an_open_network_has_an_empty_password():
    assert parse_rpc(b"\x01\x06\x04Cafe\x00").settings == WifiSettings(b"Cafe", "")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", Error.INVALID_RPC),
        (b"\x02", Error.INVALID_RPC),
        (b"\x02\x01", Error.INVALID_RPC),
        (b"\x02\x00\x00", Error.INVALID_RPC),
        (b"\x02\x01x", Error.INVALID_RPC),
        (b"\x00\x00", Error.UNKNOWN_RPC),
        (b"\x05\x00", Error.UNKNOWN_RPC),
        (b"\x63\x02ab", Error.UNKNOWN_RPC),
        (b"\x01\x00", Error.INVALID_RPC),
        (b"\x01\x05\x04Cafe", Error.INVALID_RPC),
        (b"\x01\x03\x04Ca", Error.INVALID_RPC),
        (b"\x01\x06\x04Cafe\x01", Error.INVALID_RPC),
        (b"\x01\x07\x04Cafe\x00\x00", Error.INVALID_RPC),
        (b"\x01\x08\x04Cafe\x02\xff\xfe", Error.INVALID_RPC),
    ],
)
def test_a_damaged_rpc_is_answered_with_its_error(data, error):
    with pytest.raises(ImprovError) as raised:
        parse_rpc(data)
    assert raised.value.error == error


def test_a_packet_in_the_middle_of_typing_is_taken_out():
    assert Splitter().receive(b"sta" + REQUEST_STATE + b"\ntus\r\n") == [b"sta", SPLIT[0], b"tus\r\n"]


def test_only_one_line_feed_after_a_packet_is_taken_out():
    assert Splitter().receive(REQUEST_STATE + b"\n\n") == [SPLIT[0], b"\n"]


def test_a_wrong_checksum_is_damage_and_nothing_of_it_is_shown():
    assert Splitter().receive(SEND_SETTINGS[:-1] + b"\x1b" + b"\nx") == [Damaged(), b"x"]


def test_another_version_is_text():
    other = b"IMPROV\x02\x03\x02\x02\x00\xe6"
    assert Splitter().receive(other) == [other]


@pytest.mark.parametrize("typed", [b"I", b"IMP", b"IMPROV", b"IIMPRO", b"IMPIMPROV"])
def test_who_types_the_start_of_the_magic_gets_it_back_after_a_while(typed):
    splitter = Splitter()
    pieces = splitter.receive(typed)
    assert splitter.holding == "magic"
    pieces += splitter.flush()
    assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == typed
    assert splitter.receive(b"x") == [b"x"]


def test_a_packet_that_does_not_end_is_dropped_and_the_next_is_understood():
    splitter = Splitter()
    assert splitter.receive(SEND_SETTINGS[:-4]) == []
    assert splitter.holding == "packet"
    assert splitter.flush() == [Damaged()]
    assert splitter.receive(REQUEST_STATE) == SPLIT[:1]


def test_flushing_nothing_gives_nothing():
    assert Splitter().flush() == []


def test_strings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError):
        encode_result(Command.REQUEST_INFO, [b"x" * 200, b"x" * 60])
    with pytest.raises(ValueError):
        encode_result(Command.REQUEST_INFO, [b"x" * 300])
    with pytest.raises(ValueError):
        encode_packet(PacketType.RPC_COMMAND, b"x" * 256)


packets = st.builds(
    lambda kind, data: (encode_packet(kind, data), Packet(kind, data)),
    st.sampled_from(PacketType),
    st.binary(max_size=255),
)
texts = st.text("IMPROV\x01\nxyz", max_size=20).map(str.encode).filter(lambda text: HEAD not in text)


@given(st.lists(st.one_of(packets, texts), max_size=12), st.data())
def test_packets_come_out_and_everything_else_is_passed_on(parts, data):
    """However the octets arrive, the packets are those that were sent and the text is what was between
    them, but for a line feed right after a packet."""
    octets, sent, typed = b"", [], b""
    after_packet = False
    for part in parts:
        if isinstance(part, bytes):
            octets += part
            typed += part.removeprefix(b"\n") if after_packet and part else part
            after_packet = after_packet and not part
        else:
            octets += part[0]
            sent.append(part[1])
            after_packet = True
    splitter, pieces = Splitter(), []
    at = 0
    while at < len(octets):
        size = data.draw(st.integers(1, len(octets) - at))
        pieces += splitter.receive(octets[at : at + size])
        at += size
    pieces += splitter.flush()
    assert [piece for piece in pieces if isinstance(piece, Packet)] == sent
    assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == typed


@given(st.lists(st.one_of(st.binary(max_size=400), st.just(HEAD)), max_size=10))
def test_no_octets_do_harm(chunks):
    splitter = Splitter()
    for chunk in chunks:
        for piece in splitter.receive(chunk):
            if isinstance(piece, Packet):
                with contextlib.suppress(ImprovError):
                    parse_rpc(piece.data)
        assert len(splitter._held) < HELD_OCTETS_MAX
    splitter.flush()
    assert splitter.receive(b"xy") == [b"xy"]


@given(st.binary(max_size=255))
def test_rpcs_never_fail_otherwise(data):
    with contextlib.suppress(ImprovError):
        parse_rpc(data)
