"""Before login: the greeting, and what is refused (TMTP revision 1, sections 1 and 2)."""

from __future__ import annotations

import contextlib

import pytest

from tests.kit import SITE, Raw, framed

PAD = "x" * 65535


def test_tmtprev_is_answered_with_the_name_of_the_site(raw: Raw) -> None:
    raw.say('{"op":0,"id":"1"}')
    assert raw.expect("tmtprev", id="1", name=SITE).head == (
        '0044{"id":"1","name":"Müller \\u0026 \\u003cSöhne\\u003e","op":"tmtprev"}'.encode()
    )


@pytest.mark.parametrize("revision", ["2", "0", "one"])
def test_any_other_revision_is_answered_1(raw: Raw, revision: str) -> None:
    raw.say({"op": 0, "id": revision})
    raw.expect("tmtprev", id="1", name=SITE)


@pytest.mark.parametrize("digits", [b"0011", b"001F", b"001f"])
def test_the_length_is_read_in_either_case(raw: Raw, digits: bytes) -> None:
    header = b'{"op":0,"id":"1"}'
    raw.send(digits + header.ljust(int(digits, 16)))
    raw.expect("tmtprev", id="1", name=SITE)


def test_a_header_may_have_65535_octets(raw: Raw) -> None:
    empty = '{"id":"1","op":0,"junk":""}'
    raw.send(b"ffff" + empty.replace('""', f'"{PAD[len(empty) :]}"').encode())
    raw.expect("tmtprev", id="1", name=SITE)


def test_octets_may_come_one_by_one(raw: Raw) -> None:
    for octet in framed('{"op":0,"id":"1"}'):
        raw.send(bytes([octet]))
    raw.expect("tmtprev", id="1", name=SITE)


def test_requests_may_be_sent_without_waiting_for_answers(raw: Raw) -> None:
    raw.send(framed('{"op":0,"id":"1"}') + framed('{"op":1,"newnode":"x"}') + framed('{"op":12}'))
    raw.expect("tmtprev", id="1", name=SITE)
    assert raw.frame().op == "registered"
    raw.expect("info", info="login ok")
    raw.expect_quit("logout ok")


@pytest.mark.parametrize(
    "octets",
    [
        b"00g1",
        b"-001",
        b"0x11",
        b" 011",
        b'0007{"op":}',
        b"\x16\x03\x01\x02",
        framed("no JSON at all"),
        framed('{"op":0,"id":1}'),
        framed('{"op":0,"id":""}'),
        framed('{"op":0,"id":null}'),
        framed('{"op":0.0,"id":"1"}'),
        framed('{"op":"0","id":"1"}'),
        framed('{"id":"1","x":2}'),
        framed('{"op":2,"uid":"X","node":"1"}'),
        framed('{"op":1,"newnode":"x"}'),
        framed('{"op":7,"id":"1","for":[],"datalen":1}', b"x"),
        framed('{"op":11}'),
        framed('{"op":12}'),
    ],
)
def test_without_a_tmtprev_answer_the_box_closes_without_a_word(raw: Raw, octets: bytes) -> None:
    raw.send(octets)
    raw.expect_closed()


NO_LENGTHS = [b"00g1", b"zzzz", b"    ", b"+011", b'0007{"op":}', b"0000", b"\xff\xff\xff\xff"]


@pytest.mark.parametrize("octets", NO_LENGTHS)
def test_a_length_that_is_none_is_told(greeted: Raw, octets: bytes) -> None:
    greeted.send(octets)
    greeted.expect_quit("invalid header length")


def test_the_shortest_header_is_read(greeted: Raw) -> None:
    greeted.send(b'0008{"op":1}')
    greeted.expect_quit("invalid header")


@pytest.mark.parametrize(
    "header",
    [
        "no JSON at all",
        '{"op":1,"newnode":"x"',
        '{"op":1,"newnode":"x"}}',
        '{"op":1,"newnode":"x"} {}',
        '[{"op":1,"newnode":"x"}]',
        '"a text of JSON"',
        "12345678",
        '{"newnode":"x"}',
        '{"op":null,"newnode":"x"}',
        '{"op":"1","newnode":"x"}',
        '{"op":1.0,"newnode":"x"}',
        '{"op":true,"newnode":"x"}',
        '{"op":13,"newnode":"x"}',
        '{"op":-1,"newnode":"x"}',
        '{"op":1e0,"newnode":"x"}',
        '{"op":99999999999999999999,"x":1}',
        '{"op":1,"newnode":""}',
        '{"op":1,"newnode":null}',
        '{"op":1,"newnode":["x"]}',
        '{"op":1,"newnode":"x","newalias":7}',
        '{"op":1,"newnode":"x","oidc":"token"}',
        '{"op":1,"newnode":"x","datalen":1}',
        '{"op":1,"newnode":"x","datalen":-1}',
        '{"op":1,"newnode":"x","datalen":"0"}',
        '{"op":1,"newnode":"x","notelen":1}',
        '{"op":2,"uid":"X"}',
        '{"op":2,"node":"X"}',
        '{"op":2,"uid":"","node":"X"}',
        '{"op":2,"uid":"X","node":""}',
    ],
)
def test_an_invalid_header_is_told(greeted: Raw, header: str) -> None:
    greeted.say(header)
    greeted.expect_quit("invalid header")


def test_a_second_tmtprev_is_told(greeted: Raw) -> None:
    greeted.say('{"op":0,"id":"1"}')
    greeted.expect_quit("disallowed op repetition")


def test_a_second_tmtprev_is_told_after_login_too(member: Raw) -> None:
    member.say('{"op":0,"id":"1"}')
    member.expect_quit("disallowed op repetition")


@pytest.mark.parametrize(
    "header",
    [
        '{"op":3,"id":"1","newalias":"somebody"}',
        '{"op":4,"id":"1","type":"add","for":[{"id":"X"}]}',
        '{"op":5,"id":"1","gid":"somegroup","from":"somebody","to":"somebody else"}',
        '{"op":6,"id":"1","act":"join","gid":"somegroup"}',
        '{"op":7,"id":"1","for":[],"datalen":1}',
        '{"op":8,"id":"1","for":[],"datalen":2,"notelen":1}',
        '{"op":9,"id":"1","from":"somebody","to":"somebody else"}',
        '{"op":10,"id":"1","type":"ok"}',
        '{"op":11}',
    ],
)
def test_other_ops_before_login_are_told(greeted: Raw, header: str) -> None:
    greeted.say(header)
    greeted.expect_quit("disallowed op on unauthenticated link")


@pytest.mark.parametrize("header", ['{"op":1,"newnode":"x"}', '{"op":2,"uid":"X","node":"1111"}'])
def test_register_and_login_after_login_are_told(member: Raw, header: str) -> None:
    member.say(header)
    member.expect_quit("disallowed op on connected link")


def test_bare_tcp_that_is_no_tls_is_closed(box) -> None:
    with Raw(box, tls=False) as line:
        line.send(b"GET / HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while line.socket.recv(4096):
                pass
