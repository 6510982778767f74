"""A worker's process: reads the campaign's setup, then groups of trials, and answers with events, until its campaign is gone.

Started by `edgechaos.hil.execute.pool` as an interpreter of its own, not by `multiprocessing`: that writes its arguments into a pipe whose
reading end the parent holds too, so that a child that dies while it starts hangs the parent; and it runs the caller's script again.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from contextlib import suppress

from edgechaos.hil.execute.channel import read_message, write_message
from edgechaos.hil.execute.evaluate import Began, Bench, Fatal, Setup

WATCH_MS = 1000


def work(handle: int, parent: int) -> None:
    """Serve the campaign whose socket is `handle`, until it closes it or process `parent` is gone.

    The first message is the Setup, each other one a group or probe, whose events are followed by None; None ends the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the campaign decides
    os.set_inheritable(handle, False)  # or a child of a device would keep a dead worker's socket open
    with suppress(OSError):
        os.dup2(2, 1)  # what a device prints must not run into the command's results
    threading.Thread(target=_end_with, args=(handle, parent), daemon=True).start()
    with suppress(EOFError, ConnectionError), socket.socket(fileno=handle) as end, end.makefile("rwb") as stream:
        try:
            setup: Setup = read_message(stream)
            bench = Bench(setup)
        except (ImportError, AttributeError) as error:
            write_message(stream, Fatal(f"workers cannot load the campaign ({error}); what opens devices must be importable by name"))
            return
        try:
            while (task := read_message(stream)) is not None:
                for event in bench.evaluate(task):
                    write_message(stream, event, now=isinstance(event, Began))  # what follows takes time
                write_message(stream, None)
        finally:
            bench.close()


def _end_with(handle: int, parent: int) -> None:
    """End at once where the campaign does, also in the middle of a trial; a closed socket is seen sooner than a new parent."""
    watch = select.poll()
    watch.register(handle, 0)
    while not watch.poll(WATCH_MS) and os.getppid() == parent:
        pass
    os._exit(1)
