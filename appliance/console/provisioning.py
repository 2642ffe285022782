"""Answers Improv's requests: what Wi-Fi there is, and putting the box on it.

A box that was set up does not let itself be moved to another network by whoever plugs in a cable: it is
locked once it knows a network or has an owner, until somebody presses its button (`unlocked` tells).
"""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from appliance.console.improv import (
    Command,
    Error,
    Rpc,
    State,
    WifiSettings,
    encode_error,
    encode_result,
    encode_state,
)
from appliance.console.wifi import Wifi, WifiError
from appliance.log import get_logger
from appliance.version import __version__

log = get_logger(__name__)

ANSWERS_MAX = 8
"""Requests that are being answered at one time, over all ports. Clients send one after the other."""

STRING_OCTETS_MAX = 60
"""Four of them fit into a result."""

MODEL = Path("/sys/firmware/devicetree/base/model")

Send = Callable[[bytes], None]


class Provisioner:
    """Answers for all ports; there is one Wi-Fi. Answers run in `nursery`, so that a cable that is pulled
    does not end an attempt half way; they never raise.

    `site` gives the site's name and whether the box has an owner.
    """

    def __init__(
        self,
        wifi: Wifi,
        site: Callable[[], Awaitable[tuple[str, bool]]],
        unlocked: Callable[[], bool],
        nursery: trio.Nursery,
    ) -> None:
        self.wifi = wifi
        self.unlocked = unlocked
        self._site = site
        self._nursery = nursery
        self._answers = 0
        self._busy = False

    def start(self, rpc: Rpc, send: Send) -> None:
        """Begin to answer; `send` is called with each packet."""
        if self._answers >= ANSWERS_MAX:
            send(encode_error(Error.UNKNOWN))
            return
        self._answers += 1
        self._nursery.start_soon(self._answer, rpc, send)

    async def state(self) -> State:
        """What the box would do with Wi-Fi settings now."""
        if self._busy:
            return State.PROVISIONING
        if await self.wifi.problem() is not None:
            return State.STOPPED
        if not await self.locked():
            return State.AUTHORIZED
        return State.PROVISIONED if await self.wifi.connected() else State.AUTHORIZATION_REQUIRED

    async def locked(self) -> bool:
        """Whether it takes the button to change the network. Raises WifiError if that cannot be known."""
        if self.unlocked():
            return False
        return await self.wifi.configured() or (await self._site())[1]

    async def _answer(self, rpc: Rpc, send: Send) -> None:
        try:
            send(encode_error(Error.NONE))
            match rpc.command:
                case Command.REQUEST_STATE:
                    await self._tell_state(send)
                case Command.REQUEST_INFO:
                    send(encode_result(rpc.command, await self._info()))
                case Command.REQUEST_NETWORKS:
                    await self._scan(send)
                case Command.SEND_WIFI_SETTINGS:
                    await self._connect(rpc, send)
        except WifiError as error:
            log.warning("wifi", error=str(error))
            send(encode_error(Error.UNKNOWN))
        except Exception:
            log.exception("improv request failed", command=rpc.command.name)
            send(encode_error(Error.UNKNOWN))
        finally:
            self._answers -= 1

    async def _tell_state(self, send: Send) -> None:
        state = await self.state()
        send(encode_state(state))
        if state is State.PROVISIONED:
            send(encode_result(Command.REQUEST_STATE))

    async def _info(self) -> list[bytes]:
        name, _ = await self._site()
        return [short(text) for text in ("Pocket", __version__, hardware(), name)]

    async def _scan(self, send: Send) -> None:
        if await self.locked():
            send(encode_error(Error.NOT_AUTHORIZED))
            return
        for network in await self.wifi.scan():
            strings = [network.ssid, b"%d" % network.signal_dbm, b"YES" if network.secured else b"NO"]
            send(encode_result(Command.REQUEST_NETWORKS, strings))
        send(encode_result(Command.REQUEST_NETWORKS))

    async def _connect(self, rpc: Rpc, send: Send) -> None:
        assert rpc.settings is not None
        if self._busy:
            send(encode_error(Error.UNKNOWN))
            return
        self._busy = True
        try:
            error = await self._join(rpc.settings, send)
        finally:
            self._busy = False
        if error is Error.NONE:
            send(encode_state(State.PROVISIONED))
            send(encode_result(Command.SEND_WIFI_SETTINGS))
        else:
            send(encode_error(error))
            send(encode_state(await self.state()))

    async def _join(self, settings: WifiSettings, send: Send) -> Error:
        if await self.locked():
            log.warning("wifi settings refused: the box is set up, and its button was not pressed")
            return Error.NOT_AUTHORIZED
        send(encode_state(State.PROVISIONING))
        try:
            await self.wifi.connect(settings.ssid, settings.password)
        except WifiError as error:
            log.warning("wifi not joined", error=str(error))
            return Error.UNABLE_TO_CONNECT
        log.info("wifi joined")
        return Error.NONE


def hardware() -> str:
    """The board, or else the kind of processor."""
    try:
        return MODEL.read_text(errors="replace").strip("\0 \n") or platform.machine()
    except OSError:
        return platform.machine() or "Linux"


def short(text: str) -> bytes:
    """As much of `text` as fits into STRING_OCTETS_MAX, whole characters."""
    return text.encode("utf-8", "replace")[:STRING_OCTETS_MAX].decode("utf-8", "ignore").encode()
