"""Backups, put together for `app`: who keeps them, and the words about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from appliance.backup.keeper import Keeper, Settings
from appliance.config import Config
from appliance.control.backup import BackupWords
from appliance.control.words import Words
from appliance.health import Health
from appliance.peering import Peering
from appliance.store import Store
from appliance.version import __version__


def make_keeper(
    config: Config,
    store: Store,
    health: Health,
    peering: Peering,
    words: Words,
    restart: Callable[[], None],
) -> Keeper:
    """Who keeps this box's backups. It has to be run."""
    backup = config.backup
    settings = Settings(config.data, backup.folder, tuple(map(Path, backup.search)), backup.at, __version__)

    def begin() -> None:
        peering.gave_up = None
        restart()

    keeper = Keeper(store, health, settings, lambda: peering.has, begin, lambda: peering.gave_up)
    words.add(BackupWords(keeper).handlers)
    words.figures.append(keeper.figures)
    return keeper
