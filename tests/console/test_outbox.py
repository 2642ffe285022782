"""What is sent on a port that is slow, stuck or gone."""

import pytest
import trio
import trio.testing

from appliance.console.outbox import CHUNK_OCTETS, OUT_OCTETS_MAX, STALL_S, Outbox


class Slow:
    """Takes `takes` octets at a time, one lot a `pause_s`; none while it is stuck."""

    def __init__(self, takes=CHUNK_OCTETS, pause_s=0.01):
        self.taken = b""
        self.takes = takes
        self.pause_s = pause_s
        self.free = trio.Event()
        self.free.set()
        self.gone = False

    def stick(self):
        self.free = trio.Event()

    async def writable(self):
        await trio.sleep(self.pause_s)
        await self.free.wait()

    def write(self, octets):
        if self.gone:
            raise ConnectionError
        self.taken += octets[: self.takes]
        return len(octets[: self.takes])


def run(test):
    """Run `test(outbox, sink)` with an outbox at work, on a clock that jumps."""

    async def main():
        outbox, sink = Outbox(), Slow()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.run, sink)
            await test(outbox, sink)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_everything_comes_in_order():
    async def test(outbox, sink):
        for n in range(1000):
            if n % 3:
                outbox.put(b"%d " % n)
            else:
                await outbox.send(b"%d " % n)
        await trio.sleep(10)
        assert sink.taken == b"".join(b"%d " % n for n in range(1000))

    run(test)


def test_a_port_that_takes_little_at_a_time_is_waited_for():
    async def test(outbox, sink):
        sink.takes, sink.pause_s = 100, STALL_S / 2
        start = trio.current_time()
        await outbox.send(b"x" * OUT_OCTETS_MAX * 2)
        assert trio.current_time() - start > STALL_S * 10
        await trio.sleep(10_000)
        assert sink.taken == b"x" * OUT_OCTETS_MAX * 2

    run(test)


def test_a_port_that_takes_nothing_holds_nobody_up_for_long():
    async def test(outbox, sink):
        sink.stick()
        start = trio.current_time()
        for _ in range(100):
            await outbox.send(b"x" * 10_000)
            outbox.put(b"y" * 1000)
            assert outbox.waiting <= OUT_OCTETS_MAX
        assert trio.current_time() - start == pytest.approx(STALL_S)
        sink.free.set()
        await trio.sleep(1)
        assert sink.taken == b"\r\n[1100000 octets are missing here: nobody read them]\r\n"
        await outbox.send(b"again")
        await trio.sleep(1)
        assert sink.taken.endswith(b"]\r\nagain")

    run(test)


def test_putting_never_waits_and_the_latest_is_kept():
    async def test(outbox, sink):
        sink.stick()
        await trio.sleep(1)
        for n in range(3000):
            outbox.put(b"%07d\r\n" % n)
            assert outbox.waiting <= OUT_OCTETS_MAX
        outbox.put(b"x" * (OUT_OCTETS_MAX + 1))
        sink.free.set()
        await trio.sleep(1)
        assert b"octets are missing here" in sink.taken
        assert b"0002999\r\n" in sink.taken

    run(test)


def test_a_port_that_is_gone_ends_it():
    async def main():
        outbox, sink = Outbox(), Slow()
        sink.gone = True
        outbox.put(b"x")
        with pytest.raises(ConnectionError):
            await outbox.run(sink)

    trio.run(main)
