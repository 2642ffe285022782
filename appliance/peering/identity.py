"""What clients know the site by, the same on all boxes: its name, certificate and key."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from appliance.log import get_logger
from appliance.session.certificate import make_certificate
from appliance.site import Identity, set_identity
from appliance.store import Store, write_synced

log = get_logger(__name__)

LOOK_EVERY_S = 0.5


async def ensure_identity(store: Store, name: str, cert: Path, key: Path, theirs: bool) -> Identity:
    """See to it that the site has an identity: that of these files, under this name, if it has none.
    ``theirs``: the files are the household's own, and win over what the site has, but for the name.
    """
    known = store.site.identity
    if known is None or theirs:
        cert_pem, key_pem = await trio.to_thread.run_sync(lambda: (cert.read_text(), key.read_text()))
        chosen = name if known is None else known.name
        await store.perform(partial(set_identity, name=chosen, cert=cert_pem, key=key_pem))
    identity = store.site.identity
    assert identity is not None
    return identity


def write_identity(folder: Path, identity: Identity) -> bool:
    """Put certificate and key into the folder, if others are there; whether they were. A power cut in between
    leaves files that do not fit each other, so this is done at each start. Blocks. Raises ``OSError``.
    """
    cert, key = folder / "cert.pem", folder / "key.pem"
    told = {key: identity.key, cert: identity.cert}
    if all(path.exists() and path.read_text() == text for path, text in told.items()):
        return False
    folder.mkdir(exist_ok=True, mode=0o700)
    write_synced(key, identity.key.encode())
    write_synced(cert, identity.cert.encode(), 0o644)
    return True


async def follow_identity(
    store: Store, known: Identity, changed: Callable[[Identity], None], folder: Path | None
) -> None:
    """Call ``changed`` whenever the site's identity is another one than ``known``; before that it is in
    ``folder``, unless that is None. Runs until cancelled.
    """
    while True:
        await trio.sleep(LOOK_EVERY_S)
        found = store.site.identity
        if found is None or found == known:
            continue
        try:
            if folder is not None:
                await trio.to_thread.run_sync(write_identity, folder, found)
        except OSError as error:
            log.error("the site's new certificate could not be written", error=str(error))
            continue
        known = found
        log.warning("the site has a new certificate", site=found.name)
        changed(found)


async def make_identity(store: Store) -> Identity:
    """Another certificate and key for the site: the old ones are in other hands. Nothing has changed yet."""
    known = store.site.identity
    assert known is not None
    cert, key = await trio.to_thread.run_sync(make_certificate, known.name)
    return Identity(known.name, cert.decode(), key.decode(), 0)
