"""Ctrl-C: never in the middle of an import, and with a word on what was kept."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


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
    importer = _importer(frame)
    if importer is None:
        signal.default_int_handler(number, frame)
        return

    def back(frame: FrameType, event: str, arg: object) -> None:
        sys.settrace(None)
        signal.default_int_handler(number, frame)

    importer.f_trace = back  # asked at its next line, or when it returns: the import is over then, whatever it took
    sys.settrace(_untraced)


def _untraced(frame: FrameType, event: str, arg: object) -> None:
    """No frame but the importer is followed: frames are only where tracing is on at all."""


def _importer(frame: FrameType | None) -> FrameType | None:
    """The frame whose import, the outermost, is under way; None where no module is being imported."""
    importer = None
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            importer = frame.f_back
        frame = frame.f_back
    return importer
