"""A log that nobody reads holds nobody up."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TextIO

import pytest

from appliance.log.writer import FLUSH_S, WAITING_OCTETS_MAX, Writer

LINE = "x" * 99 + "\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reader, writer = os.pipe()
    with open(writer, "w") as stream:
        yield reader, stream
        os.close(reader)


def read(reader: int, octets: int) -> bytes:
    found = b""
    while len(found) < octets:
        found += os.read(reader, octets - len(found))
    return found


def test_writing_to_a_pipe_that_nobody_reads_takes_no_time_and_little_memory(
    pipe: tuple[int, TextIO],
) -> None:
    reader, stream = pipe
    writer = Writer(stream)
    began = time.monotonic()
    for _ in range(10 * WAITING_OCTETS_MAX // len(LINE)):
        writer.write(LINE)
    assert time.monotonic() - began < 5
    assert writer._octets <= WAITING_OCTETS_MAX
    began = time.monotonic()
    writer.flush()
    assert FLUSH_S <= time.monotonic() - began < FLUSH_S + 5
    whole = WAITING_OCTETS_MAX // len(LINE) * len(LINE)
    assert read(reader, whole) == LINE.encode() * (whole // len(LINE))
    while writer._octets:  # else its thread would write on into the next test's pipe
        if select.select([reader], [], [], 0.01)[0]:
            os.read(reader, WAITING_OCTETS_MAX)


def test_what_is_read_again_is_written_again_in_order(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    writer = Writer(stream)
    lines = [f"{number}\n" for number in range(30_000)]
    for line in lines:
        writer.write(line)
    octets = "".join(lines).encode()
    assert read(reader, len(octets)) == octets


def test_a_pipe_whose_reader_is_gone_stops_nothing() -> None:
    reader, end = os.pipe()
    os.close(reader)
    with open(end, "w") as stream:
        writer = Writer(stream)
        for _ in range(3):
            writer.write(LINE)
            writer.flush()
        assert writer._octets == 0


def test_what_was_logged_last_is_out_when_the_process_ends() -> None:
    program = "from appliance.log import *; setup(format='json'); get_logger('appliance').error('the end')"
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, check=True)
    assert b'"event":"the end"' in done.stderr
