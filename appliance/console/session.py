"""One open port: a person at a terminal, a browser that speaks Improv, a device that sends junk, or nobody.

    port -> Splitter -> Editor -> words -> Outbox -> port
                     -> Provisioner ------>

It says nothing before somebody has pressed Enter: what is at the other end may be another box, and two that
greet each other would never stop. Octets are read no faster than INPUT_OCTETS_PER_S, so that a flood costs
a few percent of a processor; lines that are no words in a row make it deaf for a while.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from appliance.console.editor import Complete, Editor, End, Event, Line, TooLong
from appliance.console.improv import (
    HOLD_S,
    PACKET_S,
    Damaged,
    Error,
    ImprovError,
    Packet,
    PacketType,
    Splitter,
    encode_error,
    encode_state,
    parse_rpc,
)
from appliance.console.outbox import Outbox
from appliance.console.port import Port
from appliance.console.provisioning import Provisioner
from appliance.console.shell import NotAWord, Shell
from appliance.console.wifi import WifiError
from appliance.log import get_logger

log = get_logger(__name__)

INPUT_OCTETS_PER_S = 32 << 10
"""Nearly three times what 115200 bit/s can bring."""

CONFIRM_S = 60.0
STATUS_S = 5.0
COMPLETE_S = 6.0
IDLE_S = 600.0
"""Who comes back after so long is greeted again."""

WRONG_MAX = 8
WRONG_WITHIN_S = 10.0
DEAF_S = 5.0
IMPROV_CLIENT_S = 300.0
"""After its latest packet, how long a client is told of changes."""

WATCH_S = 0.5
PROMPT = "pocket> "
NOT_SHOWN = bytes(range(0x20)).translate(None, b"\t\n\r\x1b") + b"\x7f"


@dataclass(frozen=True, slots=True)
class Actions:
    """What the box can do for a console. `pressed` returns when its button is pressed, None if it has none;
    `unlocked` tells whether somebody with a hand on the button allows the network to be changed.
    """

    pressed: Callable[[], Awaitable[None]] | None = None
    unlocked: Callable[[], bool] = lambda: False


class Session:
    """`run` lasts until the port is gone (then it raises what the port does) or until cancelled.

    `status` answers like the control word.
    """

    def __init__(
        self,
        name: str,
        shell: Shell,
        provisioner: Provisioner,
        status: Callable[[], Awaitable[Any]],
        actions: Actions,
    ) -> None:
        self._name = name
        self._shell = shell
        self._provisioner = provisioner
        self._status = status
        self._actions = actions
        self._editor = Editor()
        self._out = Outbox()
        self._news = trio.Event()
        self._interrupt: trio.Event | None = None
        self._greeted = -math.inf
        self._wrong: list[float] = []
        self._line_open = False
        self._improv_at = -math.inf

    async def run(self, port: Port) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._out.run, port)
            nursery.start_soon(self._listen, port)
            nursery.start_soon(self._watch_lock)
            await self._talk()

    async def _listen(self, port: Port) -> None:
        """Give what comes in to whom it is for."""
        splitter = Splitter()
        patience = {"nothing": math.inf, "magic": HOLD_S, "packet": PACKET_S}
        while True:
            octets = b""
            with trio.move_on_after(patience[splitter.holding]):
                octets = await port.receive()
            for piece in splitter.receive(octets) if octets else splitter.flush():
                if isinstance(piece, bytes):
                    self._type(piece)
                elif isinstance(piece, Packet):
                    self._improv(piece)
                elif isinstance(piece, Damaged):
                    self._send_packet(encode_error(Error.INVALID_RPC))
            await trio.sleep(len(octets) / INPUT_OCTETS_PER_S)

    def _type(self, octets: bytes) -> None:
        if self._interrupt is not None and b"\x03" in octets:
            self._interrupt.set()
            self._editor.forget_fed()
            octets = octets[octets.rindex(b"\x03") + 1 :]
        self._editor.feed(octets)
        self._news.set()

    def _improv(self, packet: Packet) -> None:
        if packet.type != PacketType.RPC_COMMAND:
            return
        self._improv_at = trio.current_time()
        try:
            self._provisioner.start(parse_rpc(packet.data), self._send_packet)
        except ImprovError as error:
            log.debug("improv request refused", port=self._name, error=str(error))
            self._send_packet(encode_error(error.error))

    def _send_packet(self, packet: bytes) -> None:
        """On a line of its own; what was on the line before is shown again at the next key."""
        self._out.put(b"\r\n" + packet + b"\r\n")
        self._line_open = False
        self._editor.show_again()

    async def _watch_lock(self) -> None:
        """Tell a client that is there when the button was pressed, and when that is over."""
        was = self._actions.unlocked()
        while True:
            await trio.sleep(WATCH_S)
            now = self._actions.unlocked()
            if now != was and trio.current_time() - self._improv_at < IMPROV_CLIENT_S:
                try:
                    self._send_packet(encode_state(await self._provisioner.state()))
                except Exception as error:
                    log.warning("improv state not told", port=self._name, error=error)
            was = now

    async def _talk(self) -> None:
        self._editor.ask("")
        while True:
            event = await self._event()
            now = trio.current_time()
            away = now - self._greeted > IDLE_S
            self._greeted = now
            if away and not isinstance(event, End):
                await self._greet()
            match event:
                case Line():
                    await self._line(event.text)
                case TooLong():
                    await self._say("that line was too long, and was not run")
                case End():
                    self._leave()
            if self._greeted > -math.inf:
                self._editor.ask(PROMPT)

    async def _event(self) -> Event:
        """The next Line, TooLong, Interrupt or End."""
        while True:
            self._news = trio.Event()
            while (event := self._editor.next_event()) is not None:
                self._out.put(self._editor.output())
                if not isinstance(event, Complete):
                    return event
                await self._complete(event.before)
            self._out.put(self._editor.output())
            await self._news.wait()

    async def _complete(self, before: str) -> None:
        candidates: list[str] = []
        replace = 0
        with trio.move_on_after(COMPLETE_S):
            candidates, replace = await self._shell.complete(before)
        self._editor.offer(candidates, replace)
        self._out.put(self._editor.output())

    async def _greet(self) -> None:
        try:
            with trio.fail_after(STATUS_S):
                status = await self._status()
            await self._say(
                f"{status['site']}: {status['state']}",
                *(f"  ! {reason}" for reason in status["reasons"]),
                *(f"{name:12} {status[name]}" for name in ("address", "fingerprint") if name in status),
            )
        except Exception as error:
            log.warning("no status for the console", port=self._name, error=error)
            await self._say("the box does not say how it is")
        await self._say("help lists the words")

    def _leave(self) -> None:
        self._editor.forget_history()
        self._editor.ask("")
        self._greeted = -math.inf
        self._out.put(b"bye; Enter to come back\r\n")

    async def _line(self, text: str) -> None:
        try:
            words = self._shell.parse(text)
        except NotAWord as error:
            await self._say(str(error))
            await self._count_wrong()
            return
        if words:
            self._wrong.clear()
        match words:
            case []:
                return
            case ["exit"]:
                self._leave()
            case ["help"]:
                await self._help()
            case ["wifi", *rest]:
                await self._wifi(rest)
            case ["help", *rest]:
                await self._run([*rest, "--help"])
            case _:
                confirmed = self._shell.must_be_confirmed(words)
                if not confirmed or await self._confirm(f"{words[0]} cannot be undone, or shows a secret"):
                    await self._run(words, confirmed)

    async def _count_wrong(self) -> None:
        now = trio.current_time()
        self._wrong = [at for at in self._wrong if now - at < WRONG_WITHIN_S] + [now]
        if len(self._wrong) < WRONG_MAX:
            return
        self._wrong.clear()
        log.warning("console is deaf for a while: nothing that came was a word", port=self._name)
        await self._say(f"is there anybody? This console does not listen for {DEAF_S:.0f} s")
        await trio.sleep(DEAF_S)
        self._editor.forget_fed()
        self._greeted = -math.inf

    async def _run(self, words: Sequence[str], confirmed: bool = False) -> None:
        log.info("console word", port=self._name, word=words[0])
        self._interrupt = trio.Event()
        try:
            ended = await self._shell.run(words, self._show, self._interrupt, confirmed)
        except OSError as error:
            await self._say(f"the word cannot be run: {error.strerror}")
            return
        finally:
            self._interrupt = None
        if ended.why == "time limit":
            await self._say(f"ended after {self._shell.limit_s:.0f} s")
        elif ended.why == "interrupted":
            await self._say("^C")
        elif ended.code < 0:
            await self._say(f"the word was ended by signal {-ended.code}")
        elif self._line_open:
            await self._say()

    async def _confirm(self, what: str) -> bool:
        """Ask for the site's name, or a press of the button."""
        try:
            site = str((await self._status())["site"])
        except Exception as error:
            log.warning("no status for the console", port=self._name, error=error)
            await self._say("it was not done: the box does not say what its site's name is; try again")
            return False
        button = ", or press the button on the box" if self._actions.pressed else ""
        await self._say(f"{what}: type the site's name, {site}{button}. Ctrl-C: do not.")
        answers: list[bool] = []
        self._line_open = True
        with trio.move_on_after(CONFIRM_S):
            async with trio.open_nursery() as nursery:

                async def button_pressed(pressed: Callable[[], Awaitable[None]]) -> None:
                    await pressed()
                    answers.append(True)
                    nursery.cancel_scope.cancel()

                async def name_typed() -> None:
                    self._editor.ask("site's name> ")
                    event = await self._event()
                    self._line_open = False
                    answers.append(isinstance(event, Line) and same(event.text, site))
                    nursery.cancel_scope.cancel()

                if self._actions.pressed is not None:
                    nursery.start_soon(button_pressed, self._actions.pressed)
                nursery.start_soon(name_typed)
        confirmed = answers[:1] == [True]
        log.warning("confirmed on the console" if confirmed else "not confirmed on the console", what=what)
        if self._line_open:
            await self._say()
        if not confirmed:
            await self._say("it was not done")
        return confirmed

    async def _help(self) -> None:
        known = await self._shell.help()
        wide = max(len(word) for word, _ in known)
        await self._say(
            *(f"{word:{wide}}  {text}".rstrip() for word, text in known),
            "",
            "The words are those of the pocket command: help WORD, or WORD --help, says more.",
            "Tab completes, the arrows go back to earlier lines, Ctrl-C ends a word.",
        )

    async def _wifi(self, words: Sequence[str]) -> None:
        wifi = self._provisioner.wifi
        try:
            match words:
                case []:
                    problem = await wifi.problem()
                    known = "connected" if problem is None and await wifi.connected() else "not connected"
                    await self._say(problem or known, "wifi scan: what is in reach; wifi join NAME: join it")
                case ["scan"]:
                    await self._say("scanning, a few seconds")
                    for network in await wifi.scan():
                        secured = "password" if network.secured else "open"
                        await self._say(f"{network.signal_dbm} dBm  {secured:8}  {network.name}")
                case ["join", name]:
                    await self._join(name)
                case _:
                    await self._say("wifi takes   scan   or   join NAME")
        except WifiError as error:
            await self._say(str(error))

    async def _join(self, name: str) -> None:
        if await self._provisioner.locked() and not await self._confirm("the box is set up already"):
            return
        self._editor.ask("password (not shown; Enter if it has none)> ", secret=True)
        event = await self._event()
        if not isinstance(event, Line):
            await self._say("it was not done")
            return
        await self._say("joining, up to half a minute")
        await self._provisioner.wifi.connect(name.encode(), event.text)
        log.info("wifi joined", port=self._name)
        await self._say("connected")

    async def _say(self, *lines: str) -> None:
        """Whole lines of our own, from the beginning of a line."""
        start = "\n" if self._line_open else ""
        await self._show((start + "".join(f"{printable(line)}\n" for line in lines)).encode())

    async def _show(self, octets: bytes) -> None:
        """What words say, as a terminal wants it: lines end in CR LF, what moves a cursor is left out."""
        octets = octets.translate(None, NOT_SHOWN).replace(b"\r\n", b"\n")
        if octets:
            self._line_open = not octets.endswith(b"\n")
            await self._out.send(octets.replace(b"\n", b"\r\n"))


def same(typed: str, name: str) -> bool:
    """Whether somebody typed the site's name, however their keyboard composes letters."""
    return unicodedata.normalize("NFC", typed.strip()) == unicodedata.normalize("NFC", name.strip())


def printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
