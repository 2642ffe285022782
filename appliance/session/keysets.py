"""The public keys with which OpenID Connect providers sign, fetched and kept (TMTP revision 1, section 5).

A provider is somebody else's machine on the far side of the Internet: it may hang, answer an octet a
second, answer 10 GB, or be away. So:

- A key set is fetched in a worker thread, at most one per key set URL at any time. The thread has one
  deadline for all of connecting, TLS, redirects and reading, and a bound on the octets it reads. Only the
  resolver of host names has a deadline of its own; a thread that hangs there is abandoned, and until it has
  ended no other is started for the URL.
- The fetch belongs to no registration: whoever needs it waits for the same one, and a client that hangs up
  in the middle neither takes it from the others nor makes the box start again. It runs as a system task of
  trio, which ends with the run, and turns every failure into a text.
- What was fetched is kept in memory and in one file, so that it outlives a restart. It is used for
  `MAX_AGE_S`, and beyond that for as long as no newer one can be had.
- An attempt that failed is not repeated within `REFETCH_INTERVAL_S`, and a fetch because of an unknown key
  id is made at most once in that time: a flood of made-up key ids does not turn the box against the
  provider.

Intervals are measured on the monotonic clock. The wall clock only says how old the file's key sets are; one
that seems to come from the future is taken as old.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from appliance.log import get_logger
from appliance.session.errors import Unavailable

FETCH_TIMEOUT_S = 3.0
"""Below the 5 s that a client has from connecting to the end of its login (TMTP 2)."""
MAX_AGE_S = 86_400.0
REFETCH_INTERVAL_S = 60.0
KEY_SET_OCTETS_MAX = 256 * 1024
KEYS_MAX = 100
"""Keys used of one key set. Memory of all sets: at most 26 providers * 256 KiB."""
CACHE_OCTETS_MAX = 26 * 2 * KEY_SET_OCTETS_MAX

Key = dict[str, str]
"""A JSON Web Key, reduced to the text members that a check of a signature needs."""

_MEMBERS = ("kty", "kid", "alg", "use", "crv", "n", "e", "x", "y")

log = get_logger(__name__)


def clean_keys(document: object) -> tuple[Key, ...]:
    """The keys of a JWK set that may sign: public, not for encryption. Raises `Unavailable` if there is none.

    A key published with its private half (`d`) proves nothing any more, and symmetric keys (`oct`) have no
    business in public: both are left out, as is whatever is no key.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise Unavailable("what is at its key set URL is no JSON Web Key set")
    keys: list[Key] = []
    for entry in listed:
        if not isinstance(entry, dict) or "d" in entry or "k" in entry or entry.get("use", "sig") != "sig":
            continue
        uses = entry.get("key_ops", ["verify"])
        if entry.get("kty") in ("RSA", "EC", "OKP") and isinstance(uses, list) and "verify" in uses:
            keys.append({name: entry[name] for name in _MEMBERS if isinstance(entry.get(name), str)})
    if not keys:
        raise Unavailable("its key set holds no key that can sign")
    return tuple(keys[:KEYS_MAX])


@dataclass(slots=True, eq=False)
class _Held:
    """What is known of one key set URL. `_s` without `wall` is on the monotonic clock."""

    keys: tuple[Key, ...] = ()
    fetched_wall_s: float = 0.0
    born_s: float = -math.inf
    tried_s: float = -math.inf
    asked_newer_s: float = -math.inf
    failure: str = ""
    fetches: int = 0
    running: trio.Event | None = None
    in_thread: bool = False


class KeySets:
    """The key sets at `urls`, each fetched when it is first needed.

    `cache_path` is the file they are kept in (its folder exists). `clock` is in seconds since the epoch,
    `monotonic` in seconds since whenever.
    """

    def __init__(
        self,
        urls: Iterable[str],
        cache_path: Path,
        *,
        fetch_timeout_s: float = FETCH_TIMEOUT_S,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._held = {url: _Held() for url in urls}
        self._cache_path = cache_path
        self._fetch_timeout_s = fetch_timeout_s
        self._clock = clock
        self._monotonic = monotonic
        self._loaded = False
        self._cache_lock = trio.Lock()
        # Not trio's default limiter: a provider that hangs must not hold threads that the store waits for.
        self._threads = trio.CapacityLimiter(len(self._held) + 1)

    async def keys(self, url: str) -> tuple[tuple[Key, ...], bool]:
        """The key set at `url`, and whether it was fetched while we waited.

        Waits at most `fetch_timeout_s`, and not at all for a set that is held and less than `MAX_AGE_S` old.
        Raises `Unavailable` when none is held and none can be had. A cancelled call leaves the fetch going.
        """
        await self._load()
        held = self._held[url]
        before = held.fetches
        old = self._monotonic() - held.born_s >= MAX_AGE_S
        if (not held.keys or old) and (held.running is not None or self._may_fetch(held)):
            await self._fetched(url, held)
        if not held.keys:
            raise Unavailable(held.failure or "an earlier attempt has not ended yet")
        return held.keys, held.fetches != before

    async def newer(self, url: str) -> tuple[Key, ...]:
        """The key set at `url`, fetched again if that is allowed now (`REFETCH_INTERVAL_S`). Never raises."""
        held = self._held[url]
        if held.running is None:
            now_s = self._monotonic()
            if now_s - held.asked_newer_s < REFETCH_INTERVAL_S or not self._may_fetch(held):
                return held.keys
            held.asked_newer_s = now_s
        await self._fetched(url, held)
        return held.keys

    def _may_fetch(self, held: _Held) -> bool:
        failed_lately = held.failure and self._monotonic() - held.tried_s < REFETCH_INTERVAL_S
        return not failed_lately and not held.in_thread

    async def _fetched(self, url: str, held: _Held) -> None:
        """Wait for the end of the fetch that is running, or of a new one."""
        if held.running is None:
            held.running = trio.Event()
            held.tried_s = self._monotonic()
            trio.lowlevel.spawn_system_task(self._fetch, url, held, held.running)
        await held.running.wait()

    async def _fetch(self, url: str, held: _Held, done: trio.Event) -> None:
        try:
            job = partial(self._fetch_in_thread, url, held)
            with trio.fail_after(self._fetch_timeout_s):
                keys = await trio.to_thread.run_sync(job, abandon_on_cancel=True, limiter=self._threads)
        except trio.TooSlowError:
            held.failure = f"it did not answer within {self._fetch_timeout_s:g} s"
        except Unavailable as error:
            held.failure = str(error)
        except Exception as error:
            # Whatever a provider's answer makes the libraries do, it must not end the run.
            held.failure = f"its answer could not be read ({type(error).__name__})"
        else:
            held.keys, held.failure = keys, ""
            held.born_s, held.fetched_wall_s = self._monotonic(), self._clock()
            held.fetches += 1
            await self._save()
        finally:
            if held.failure:
                log.warning("a login provider's keys cannot be fetched", url=url, reason=held.failure)
            held.running = None
            done.set()

    def _fetch_in_thread(self, url: str, held: _Held) -> tuple[Key, ...]:
        from appliance.session.fetch import download

        held.in_thread = True
        try:
            octets = download(url, self._fetch_timeout_s, KEY_SET_OCTETS_MAX)
            try:
                document = json.loads(octets)
            except (ValueError, RecursionError):
                raise Unavailable("what is at its key set URL is no JSON") from None
            return clean_keys(document)
        finally:
            held.in_thread = False

    async def _load(self) -> None:
        async with self._cache_lock:
            if self._loaded:
                return
            stored = await trio.to_thread.run_sync(self._read_cache, limiter=self._threads)
            for url, (keys, fetched_wall_s) in stored.items():
                age_s = self._clock() - fetched_wall_s
                held = self._held[url]
                held.keys, held.fetched_wall_s = keys, fetched_wall_s
                held.born_s = self._monotonic() - age_s if age_s >= 0 else -math.inf
            self._loaded = True

    def _read_cache(self) -> dict[str, tuple[tuple[Key, ...], float]]:
        stored: dict[str, tuple[tuple[Key, ...], float]] = {}
        try:
            with open(self._cache_path, "rb") as file:
                document = json.loads(file.read(CACHE_OCTETS_MAX))
            for entry in document["key_sets"]:
                if entry["url"] in self._held:
                    stored[entry["url"]] = clean_keys(entry), float(entry["fetched_s"])
        except FileNotFoundError:
            return {}
        except Exception as error:
            # The file may be anything, and none of it is worth more than a fetch.
            log.warning("kept keys cannot be read", path=str(self._cache_path), reason=str(error))
            return {}
        return stored

    async def _save(self) -> None:
        """Write the cache file whole or not at all. Without it the next start fetches anew."""
        async with self._cache_lock:
            key_sets = [
                {"url": url, "fetched_s": held.fetched_wall_s, "keys": held.keys}
                for url, held in self._held.items()
                if held.keys
            ]
            octets = json.dumps({"key_sets": key_sets}).encode()
            try:
                await trio.to_thread.run_sync(self._write_cache, octets, limiter=self._threads)
            except OSError as error:
                log.warning("keys cannot be kept", path=str(self._cache_path), reason=str(error))

    def _write_cache(self, octets: bytes) -> None:
        new = self._cache_path.with_name(self._cache_path.name + ".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._cache_path)
        folder = os.open(self._cache_path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
