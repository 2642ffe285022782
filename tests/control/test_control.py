"""The control socket: one line each way, for the owner only, and no client that can hurt the box."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial

import pytest
import trio
import trio.testing

from appliance.control import ControlError, NoAnswer, NoBox, NotAllowed, Refused, call, client, control_path
from appliance.control import server as server_module
from appliance.control.server import CONNECTIONS_MAX, REQUEST_OCTETS_MAX, serve_control
from tests.control import boxes


async def echo(args):
    return args


async def refuse(args):
    raise ControlError("there is no member x: see   pocket member list")


async def crash(args):
    raise ExceptionGroup("several", [ValueError("secret")])


async def hang(args):
    await trio.sleep_forever()


async def no_json(args):
    return {"x": object()}


async def gone(args):
    raise trio.BrokenResourceError


HANDLERS = {"echo": echo, "refuse": refuse, "crash": crash, "no.json": no_json, "gone": gone}


def box(data_dir, handlers=HANDLERS):
    return boxes.box(data_dir, handlers)


def raw(data_dir, octets, half_close=True):
    """Whatever comes back for these octets."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(10)
        link.connect(str(control_path(data_dir)))
        reply = b""
        with suppress(BrokenPipeError, ConnectionResetError):
            link.sendall(octets)
            if half_close:
                link.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while part := link.recv(65536):
                reply += part
    return json.loads(reply)


def test_a_word_and_its_args_arrive_and_the_result_comes_back(tmp_path):
    with box(tmp_path):
        assert call(tmp_path, "echo", {"a": [1, "ö", None]}) == {"a": [1, "ö", None]}
        assert call(tmp_path, "echo") == {}


def test_a_large_result_comes_back_whole(tmp_path):
    async def large(args):
        return "x" * (5 << 20)

    with box(tmp_path, {"large": large}):
        assert len(call(tmp_path, "large")) == 5 << 20


def test_a_handlers_no_is_told_in_its_own_words(tmp_path):
    with box(tmp_path), pytest.raises(Refused, match=r"^there is no member x: see   pocket member list$"):
        call(tmp_path, "refuse")


def test_an_unknown_word_is_told_the_known_ones(tmp_path):
    with (
        box(tmp_path),
        pytest.raises(Refused, match="does not know the word 'x'; it knows crash, echo, gone, no"),
    ):
        call(tmp_path, "x")


@pytest.mark.parametrize("word", ["crash", "no.json", "gone"])
def test_a_handler_that_breaks_ends_nothing_but_its_own_command(tmp_path, word):
    with box(tmp_path):
        with pytest.raises(
            Refused, match=r"failed inside the box .*: see   pocket log --level error"
        ) as caught:
            call(tmp_path, word)
        assert "secret" not in str(caught.value)
        assert call(tmp_path, "echo", {"still": "here"}) == {"still": "here"}


@pytest.mark.parametrize(
    "octets",
    [
        b"\n",
        b"",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b'{"word": 1}\n',
        b'{"word": "echo", "args": []}\n'.replace(b"[]", b"[1]"),
        b"\xff\xfe\n",
        b"[" * 60000 + b"\n",
    ],
)
def test_what_is_no_request_is_told_so(tmp_path, octets):
    with box(tmp_path):
        assert raw(tmp_path, octets) == {
            "ok": False,
            "error": 'a request is one line of JSON: {"word": "status", "args": {}}',
        }


def test_a_request_without_an_end_is_cut_off(tmp_path):
    with box(tmp_path):
        reply = raw(tmp_path, b"x" * (REQUEST_OCTETS_MAX + 1), half_close=False)
        assert reply["error"] == f"the request is longer than {REQUEST_OCTETS_MAX} octets"
        reply = raw(tmp_path, b"x" * (REQUEST_OCTETS_MAX * 4), half_close=False)
        assert reply["error"] == f"the request is longer than {REQUEST_OCTETS_MAX} octets"


def test_a_refusal_is_heard_also_by_a_client_that_was_still_sending(tmp_path):
    with box(tmp_path), pytest.raises(Refused, match="the request is longer than 65536 octets"):
        call(tmp_path, "echo", {"padding": "x" * (1 << 20)})


def test_a_request_of_just_the_limit_is_taken(tmp_path):
    head, tail = b'{"word":"echo","args":{"x":"', b'"}}\n'
    padding = b"y" * (REQUEST_OCTETS_MAX - len(head) - len(tail))
    with box(tmp_path):
        assert raw(tmp_path, head + padding + tail)["ok"]


def test_connections_beyond_the_limit_are_told_that_the_box_is_busy(tmp_path):
    with box(tmp_path):
        waiting = []
        for _ in range(CONNECTIONS_MAX):
            link = socket.socket(socket.AF_UNIX)
            link.connect(str(control_path(tmp_path)))
            waiting.append(link)
        with pytest.raises(Refused, match="busy with 16 other commands: try again"):
            call(tmp_path, "echo")
        for link in waiting:
            link.close()
        deadline = time.monotonic() + 10
        while True:
            try:
                assert call(tmp_path, "echo") == {}
                break
            except Refused:
                assert time.monotonic() < deadline


def test_a_client_that_says_nothing_is_told_so_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "REQUEST_TIMEOUT_S", 0.2)
    with box(tmp_path):
        assert raw(tmp_path, b"", half_close=False)["error"] == "no request came within 0.2 s"


def test_a_handler_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "HANDLER_TIMEOUT_S", 0.2)
    with box(tmp_path, {"hang": hang}), pytest.raises(Refused, match=r"hang was given up after 0.2 s"):
        call(tmp_path, "hang")


def test_a_client_that_never_reads_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "REPLY_TIMEOUT_S", 0.2)

    async def large(args):
        return "x" * (5 << 20)

    with box(tmp_path, {"large": large, "echo": echo}):
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(control_path(tmp_path)))
            link.sendall(b'{"word": "large"}\n')
            time.sleep(0.5)
            link.settimeout(5)
            received = 0
            while part := link.recv(1 << 20):
                received += len(part)
        assert received < 5 << 20
        assert call(tmp_path, "echo") == {}


def test_the_socket_is_the_owners_alone(tmp_path):
    old = os.umask(0)
    try:
        with box(tmp_path):
            status = control_path(tmp_path).stat()
            assert stat.S_ISSOCK(status.st_mode)
            assert stat.S_IMODE(status.st_mode) == 0o600
    finally:
        os.umask(old)


def test_the_socket_is_never_open_to_others_not_even_while_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "chmod", lambda path, mode: None)
    old = os.umask(0)
    try:
        with box(tmp_path):
            assert stat.S_IMODE(control_path(tmp_path).stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_the_socket_is_gone_after_an_orderly_stop(tmp_path):
    with box(tmp_path):
        pass
    assert not control_path(tmp_path).exists()
    with box(tmp_path):
        assert call(tmp_path, "echo") == {}


def test_the_socket_of_a_killed_box_is_replaced(tmp_path):
    program = (
        "import sys, os, pathlib, trio\n"
        "from appliance.control.server import serve_control\n"
        "async def main():\n"
        "    async with trio.open_nursery() as nursery:\n"
        "        await nursery.start(serve_control, pathlib.Path(sys.argv[1]), {})\n"
        "        os.kill(os.getpid(), 9)\n"
        "trio.run(main)\n"
    )
    dead = subprocess.run([sys.executable, "-c", program, str(control_path(tmp_path))], check=False)
    assert dead.returncode == -9
    assert control_path(tmp_path).exists()
    with pytest.raises(NoBox):
        call(tmp_path, "echo")
    with box(tmp_path):
        assert call(tmp_path, "echo") == {}


def test_a_second_box_on_the_same_folder_is_refused_and_the_first_goes_on(tmp_path):
    with box(tmp_path):
        with pytest.raises(ExceptionGroup) as caught, box(tmp_path):
            pass
        (error,) = caught.value.exceptions
        assert isinstance(error, ControlError)
        assert f"a box is already running on {tmp_path} (process {os.getpid()}): stop it first" in str(error)
        assert call(tmp_path, "echo") == {}


def test_a_file_that_is_no_socket_is_not_removed(tmp_path):
    control_path(tmp_path).write_text("precious")
    with pytest.raises(ExceptionGroup) as caught, box(tmp_path):
        pass
    assert caught.group_contains(ControlError, match="is no socket: move it away")
    assert control_path(tmp_path).read_text() == "precious"


def test_a_data_folder_may_be_deeper_than_a_socket_address_is_long(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with pytest.raises(NoBox):
        call(deep, "echo")
    with box(deep):
        assert call(deep, "echo", {"deep": True}) == {"deep": True}
    assert not control_path(deep).exists()


def test_no_box_says_how_to_start_one(tmp_path):
    with pytest.raises(
        NoBox, match=f"no box is running on {tmp_path}: start it with   pocket serve --data {tmp_path}"
    ):
        call(tmp_path, "status")
    with pytest.raises(NoBox, match="there is no data folder"):
        call(tmp_path / "none", "status")
    (tmp_path / "file").write_text("")
    with pytest.raises(NoBox, match="there is no data folder"):
        call(tmp_path / "file", "status")


def test_another_users_box_says_whose_it_is(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError

    monkeypatch.setattr(client, "address_of", denied)
    with pytest.raises(NotAllowed, match=r"belongs to user .*: try again with   sudo -u .* pocket"):
        call(tmp_path, "status")


@contextmanager
def impostor(data_dir, reply):
    """Something that listens there and is no box; None: it never answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(control_path(data_dir)))
        listener.listen()

        def run():
            link, _ = listener.accept()
            with link:
                link.recv(65536)
                if reply is None:
                    link.recv(65536)
                else:
                    link.sendall(reply)

        thread = threading.Thread(target=run)
        thread.start()
        yield
        thread.join()


def test_a_box_that_is_stuck_is_not_waited_for_for_ever(tmp_path):
    with impostor(tmp_path, None):
        began = time.monotonic()
        with pytest.raises(NoAnswer, match=r"did not answer within 0.2 s: it is very busy or stuck"):
            call(tmp_path, "status", timeout_s=0.2)
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "reply", [b"hello\n", b"{}\n", b"[]\n", b'{"ok": true}\n', b"\xff\n", b'{"ok": true, "resu']
)
def test_an_answer_that_cannot_be_read_is_told(tmp_path, reply):
    with impostor(tmp_path, reply), pytest.raises(NoAnswer, match="gave no answer that can be read"):
        call(tmp_path, "status")


def test_hanging_up_without_an_answer_is_told(tmp_path):
    with impostor(tmp_path, b""), pytest.raises(NoAnswer, match="hung up without an answer"):
        call(tmp_path, "status")


def test_cancelling_the_server_cancels_its_handlers(tmp_path):
    cancelled = []

    async def hang(args):
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(True)

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_control, control_path(tmp_path), {"hang": hang})
            nursery.start_soon(partial(trio.to_thread.run_sync, asks, abandon_on_cancel=True))
            await trio.testing.wait_all_tasks_blocked(0.2)
            nursery.cancel_scope.cancel()

    def asks():
        with pytest.raises(NoAnswer):
            call(tmp_path, "hang")
        done.set()

    done = threading.Event()
    trio.run(main)
    assert done.wait(10)
    assert cancelled == [True]
