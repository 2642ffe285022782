"""`python -m tests.bench.searching`: how long it takes to find something in many archived messages, and what
the index of them costs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance import wire
from appliance.mail.content import read
from appliance.mail.index import Entry, Index, Order
from appliance.mail.mail import look_up
from appliance.mail.places import Place
from appliance.mail.query import parse

from .table import machine

NODES = (12, 13, 14, 15, 16)
"""Archives; the member who looks has the first two."""
HERE = [Place(NODES[0], 1, 7, "work"), Place(NODES[1], 1, 0, "")]
BATCH = 256
REPEATS = 20
FIRST_S = 1_500_000_000
BOX = "bench"


class Texts:
    """Text whose words are as unevenly common as those of a language."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        self.words = [
            "".join(self._random.choices(letters, k=self._random.randint(2, 11))) for _ in range(30_000)
        ]
        self._weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(self.words))))

    def take(self, count: int) -> str:
        return " ".join(self._random.choices(self.words, cum_weights=self._weights, k=count))

    def entries(self, count: int) -> Iterator[Entry]:
        second = FIRST_S
        for number in range(count):
            second += self._random.randint(1, 2000)
            files = [{"name": "u:" + self.take(2) + ".pdf", "size": 0}] * (self._random.random() < 0.1)
            details = {"subject": self.take(6), "alias": self.take(2), "attach": files}
            details["cc"] = [{"who": self.take(2), "whouid": "X"}]
            data = json.dumps(details).encode()
            datahead = len(data)
            data += self.take(self._random.randint(20, 200)).encode()
            upid = (second * 1_000_000_000 + number) << 4 >> 4
            head = wire.encode_message(
                "delivery", "%+1B2C3D4F5G6H7J8K9L", upid, second * 1000, len(data), datahead
            )
            yield Entry(self._random.choice(NODES), upid, read(head, data))


def questions(words: list[str]) -> dict[str, str]:
    common, second, tenth, rare = words[0], words[1], words[10], words[25_000]
    return {
        "a rare word": rare,
        "a common word": common,
        "three words, the last one begun": f"{common} {tenth} {words[3000][:3]}",
        "three letters of a word": max(words[:100], key=len)[:3],
        "common words in one order": f'"{common} {second}"',
        "ten common words": " ".join(words[:10]),
        "in the subject": f"subject:{common} {second}",
        "by whom, with attachments": f"from:{tenth} has:attachment {common}",
        "in one month": f"{common} since:2018-05 until:2018-05",
        "nothing but a date": "until:2019",
        "no such word": f"{common} zzzzzzzz",
    }


def measured(what: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds by the clock and of the processor, each the median of some times. Where others use the
    machine they differ.
    """
    clock, processor = [], []
    for _ in range(REPEATS):
        began, used = time.perf_counter(), time.thread_time()
        what()
        processor.append((time.thread_time() - used) * 1000)
        clock.append((time.perf_counter() - began) * 1000)
    return statistics.median(clock), statistics.median(processor)


def main(arguments: list[str] | None = None) -> float:
    """Prints a table; returns the longest time of the processor, in ms."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.searching", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="searching-"))
    try:
        return bench(folder, options.messages)
    finally:
        shutil.rmtree(folder)


def bench(folder: Path, messages: int) -> float:
    texts = Texts()
    index = Index(folder, BOX)
    index.open()
    entries = texts.entries(messages)
    added, written, began = 0.0, _written(), time.perf_counter()
    while batch := list(itertools.islice(entries, BATCH)):
        start = time.perf_counter()
        index.add(batch)
        added += time.perf_counter() - start
    took = time.perf_counter() - began
    written = _written() - written
    octets = sum(path.stat().st_size for path in folder.iterdir())
    index.close()
    index.open()  # as after a start: nothing of it is in SQLite's memory
    print(machine())
    print(
        f"{messages:,} messages: {octets / 1e6:,.0f} MB of index; {added / messages * 1e6:,.0f} us each to"
        f" add in batches of {BATCH}, {took:,.0f} s in all; {written / messages / 1e3:,.1f} KB written each"
    )
    print(f"{'':34}{'newest':>17}{'best':>20}")
    print(f"{'p50, ms':34}{'clock':>8}{'CPU':>9}{'clock':>11}{'CPU':>9}")
    worst = 0.0
    for name, text in questions(texts.words).items():
        cells: list[float] = []
        for order in ("newest", "best"):
            cells += measured(lambda text=text, order=order: _ask(index, text, order))  # type: ignore[misc]
        worst = max(worst, cells[1], cells[3])
        print(f"{name:34}{cells[0]:8.1f}{cells[1]:9.1f}{cells[2]:11.1f}{cells[3]:9.1f}")
    index.close()
    return worst


def _ask(index: Index, text: str, order: Order) -> object:
    return json.dumps(look_up(index, parse(text), HERE, order, "", 20))


def _written() -> int:
    """Octets that this process has written to files, as Linux counts them."""
    with open("/proc/self/io", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("write_bytes:"))


if __name__ == "__main__":
    main()
