"""Ctrl-C: never in the middle of an import, and with a word on what was kept."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_AFTER_S = 0.05


class Interrupted(KeyboardInterrupt):
    """Ctrl-C where something was finished already; its text says what is kept and how to go on."""


@contextmanager
def kept(what: Callable[[], str]) -> Iterator[None]:
    """Say on Ctrl-C what is kept of the work inside: `what` is asked then. Without it, nothing is: files are written whole, at the end."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(what()) from error


@contextmanager
def imports_are_finished() -> Iterator[None]:
    """Put Ctrl-C off while a module is being imported.

    Compiled modules cannot take an exception while they set themselves up: pybind11 ends the process with SIGABRT. Outside the main
    thread, where no signal arrives, and where Ctrl-C is ignored or someone else's business, nothing changes.
    """
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _is_importing(frame):
        signal.default_int_handler(number, frame)
    again = threading.Timer(AGAIN_AFTER_S, _thread.interrupt_main)
    again.daemon = True
    again.start()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
