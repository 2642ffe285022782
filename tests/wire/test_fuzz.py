"""A short run of the fuzzer, and proof that it would find something."""

import pytest

from appliance import wire
from appliance.wire import header, link, reasons

from . import damage, fuzz
from .conversation import client_logged_in, frame, logged_in, read


def test_damaged_conversations_give_events_or_a_broken_protocol_and_no_growth() -> None:
    tally, pieces, what = fuzz.run(20_000, None, seed=1)
    assert pieces is None, what
    assert tally.frames >= 20_000
    beyond_the_link = {
        reasons.CORRUPT_BASE32,
        reasons.LOGIN_FAILED,
        reasons.NODE_ALREADY_CONNECTED,
        reasons.AUTHENTICATION_REQUIRED,
        reasons.REGISTER_FAILURE,
        reasons.LOGOUT_OK,
    }
    every = {value for name, value in vars(reasons).items() if name.isupper()}
    assert set(tally.reasons) == every - beyond_the_link


def test_the_fuzzer_finds_an_exception_that_gets_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(header, "_SURROGATES", None)
    assert fuzz.main(["--frames", "20000", "--seed", "1", "--own"]) == 1
    printed = capsys.readouterr().out
    assert "_link: AttributeError" in printed
    assert bytes.fromhex(printed.splitlines()[-1])


def test_the_fuzzer_finds_a_buffer_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link.Link, "_gather", lambda self: False)
    monkeypatch.setattr(fuzz, "BOUND", 1000)
    _, pieces, what = fuzz.run(20_000, None, seed=1)
    assert pieces is not None and "in the buffer" in what


def test_the_fuzzer_finds_a_frame_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS_A_FRAME", 1e-9)
    _, pieces, what = fuzz.run(20_000, None, seed=1)
    assert pieces is not None and "s for a frame" in what


def test_the_fuzzer_ends_in_time_and_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--seconds", "0.2", "--seed", "3", "--own"]) == 0
    assert "seed 3" in capsys.readouterr().out


def test_what_atheris_starts_from_and_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    fuzz.one_input(b"")
    for octets in fuzz.first_inputs():
        for step in (0, 5, 250):
            fuzz.one_input(bytes([octets[0] + step]) + octets[1:])
    monkeypatch.setattr(header, "_SURROGATES", None)
    _, pieces = fuzz.pieces_of_input(b"\x0f" + frame('{"op":10,"id":"\u1234","type":"n"}'))
    assert len(pieces[0]) == 3
    with pytest.raises(fuzz.Found, match="AttributeError"):
        fuzz.one_input(b"\x00" + frame('{"op":10,"id":"\\ud800","type":"n"}'))


def test_what_the_fuzzer_starts_from_is_well_formed() -> None:
    for header_ in damage.HEADERS:
        data = b"some text" if "atalen" in header_ else b""
        (request,) = read(logged_in(), [frame(header_, data)])
        assert isinstance(request, wire.Request)
    for octets in damage.server_frames()[:-4]:
        (message,) = read(client_logged_in(), [octets])
        assert isinstance(message, wire.Message | wire.AckReply | wire.Ohi)
