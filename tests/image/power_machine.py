"""A machine whose disk loses at a power cut what was not flushed."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from image.boot import Machine

from .machine import Emulated
from .power_disk import Log, Loss, VolatileDisk
from .power_nbd import Server

FLUSH_SOON_S = 5.0


@dataclass(frozen=True)
class PowerMachine(Machine):
    """Its disk is the one behind a socket."""

    @property
    def disk_socket(self) -> Path:
        return self.folder / "disk.sock"

    def command(self, *words: Any, **named: Any) -> list[str]:
        mine = f"file={self.disk},"
        served = f"file.driver=nbd,file.server.type=unix,file.server.path={self.disk_socket},"
        found = super().command(*words, **named)
        assert any(word.startswith(mine) for word in found), found
        return [served + word.removeprefix(mine) if word.startswith(mine) else word for word in found]


@dataclass
class PowerBox(Emulated):
    """A box on such a machine. Once `machine` has been flashed, `insert` its disk."""

    lies: bool = False
    disk: VolatileDisk = field(init=False)

    def insert(self, log: Log | None = None) -> None:
        assert isinstance(self.machine, PowerMachine)
        self.disk = VolatileDisk(self.machine.disk, self.lies, log)
        self._server = Server(self.disk, self.machine.disk_socket)

    def remove(self) -> None:
        self._server.close()
        self.disk.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.remove()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def cut(self, chance: random.Random) -> Loss:
        """Power off, now, or (as often) in place of the next flush, when there is one soon; power is there
        again for the next start."""
        if chance.random() < 0.5:
            self.disk.end_at_flush()
            self.disk.ended.wait(FLUSH_SOON_S)
        self.disk.power(False)
        self.pull_the_plug()
        loss = self.disk.cut(chance)
        self.disk.power(True)
        return loss

    def cut_while_starting(self, after_s: float, chance: random.Random) -> Loss:
        """Switch it on, and off again after so long."""
        losses: list[Loss] = []

        def cut() -> None:
            time.sleep(after_s)
            losses.append(self.cut(chance))

        cutter = threading.Thread(target=cut)
        cutter.start()
        try:
            self.start()
        except (AssertionError, OSError):
            if cutter.is_alive() and self.running:
                raise
        finally:
            cutter.join()
        return losses[0]
