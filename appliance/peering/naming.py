"""Names that members lost while the box where they took them was being filled anew.

The box where a name was taken tells its member when an earlier claim turns up (`site.tell_lost`). A copy says
nothing, so what turns up while one is made is told when the box serves again: until then it stands in a file
in the data folder. A power cut in between can have it told twice.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import trio

from appliance.log import get_logger
from appliance.site import Decision, NameLost, Scene, Site, tell_lost
from appliance.site.mint import BOXES
from appliance.store import Store, StoreError, write_synced
from appliance.store.old import OldData

log = get_logger(__name__)

FILE = "names.lost"
RETRY_S = 60.0
"""Where the disk is full."""


class Lost(msgspec.Struct, frozen=True):
    """A name that these members (uid) lost. ``group``: when the group of this name was made; 0: it was an
    alias.
    """

    name: str
    group: int
    uids: list[str]


def find_lost(old: Site, slot: int, new: Site) -> list[Lost]:
    """Names that were taken at the box with that slot and are somebody else's now."""
    lost = []
    for alias, member in old.aliases.items():
        owner = new.aliases.get(alias)
        if old.alias_at[alias] % BOXES == slot and (owner is None or owner.uid != member.uid):
            lost.append(Lost(alias, 0, [member.uid]))
    for gid, group in old.groups.items():
        other = new.groups.get(gid)
        if group.at % BOXES == slot and (other is None or other.at != group.at):
            lost.append(Lost(gid, group.at, [old.members[number].uid for number in sorted(group.joined())]))
    return lost


async def note_lost(folder: Path, box: str, copy: Store) -> None:
    """Note what was lost between the data in ``folder``, of ``box``, and their copy. Raises ``StoreError``,
    ``OSError``.
    """
    known = copy.site.boxes.get(box)
    if known is None:
        return
    old = await trio.to_thread.run_sync(_old_site, folder)
    lost = find_lost(old, known.slot, copy.site)
    if lost:
        log.info("names were lost", names=len(lost))
        await trio.to_thread.run_sync(write_synced, folder / FILE, msgspec.json.encode(lost))


def _old_site(folder: Path) -> Site:
    data = OldData(folder)
    try:
        return data.site()
    finally:
        data.close()


async def tell_noted(folder: Path, store: Store) -> None:
    """Tell members what was noted, if it is so. Returns when it is done; cancelled, it is as before."""
    path = trio.Path(folder / FILE)
    try:
        lost = msgspec.json.decode(await path.read_bytes(), type=list[Lost])
    except FileNotFoundError:
        return
    except (msgspec.DecodeError, OSError) as error:
        log.warning("which names were lost cannot be read", error=str(error))
        return
    try:
        while (problem := (await store.perform(partial(_tell, lost=lost))).error) is not None:
            log.warning("members were not told which names they lost", error=problem)
            await trio.sleep(RETRY_S)
        await path.unlink()
    except (StoreError, OSError) as error:
        log.warning("members were not told which names they lost", error=str(error))


def _tell(scene: Scene, lost: list[Lost]) -> Decision:
    decision = Decision(posted_ms=scene.now_ms)
    site = scene.site
    for one in lost:
        members = [site.uids[uid] for uid in one.uids if uid in site.uids]
        group = site.groups.get(one.name)
        if one.group and group is not None and group.at == one.group:
            continue
        if not one.group:
            members = [member for member in members if one.name not in member.aliases]
        numbers = tuple(member.number for member in members)
        told = tell_lost(scene, NameLost(one.name, bool(one.group), numbers, one.group, held=True))
        decision.traffic += told.traffic
        decision.messages += told.messages
    return decision
