"""A control server in a thread, for tests of what talks to one."""

import threading
from contextlib import contextmanager

import trio

from appliance.control import control_path
from appliance.control.server import serve_control


@contextmanager
def box(data_dir, handlers):
    """A control server in a thread of its own, until the block ends."""
    ready, stopped = threading.Event(), threading.Event()
    failed = []

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_control, control_path(data_dir), handlers)
            ready.set()
            await trio.to_thread.run_sync(stopped.wait)
            nursery.cancel_scope.cancel()

    def run():
        try:
            trio.run(main)
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    if failed:
        raise failed[0]
