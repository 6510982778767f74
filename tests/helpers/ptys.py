"""Serial ports without hardware: a pty whose far end is served by a FakeBoard in a thread, or by whatever a test writes."""

from __future__ import annotations

import os
import select
import threading
import tty

from edgechaos.devices.fakes.board import FakeBoard
from edgechaos.devices.protocol import frames


class Pty:
    """A raw pty; `path` is what a driver opens, `far` the other end's handle."""

    def __init__(self) -> None:
        # A pty starts with echo and line editing on: made raw before anyone writes into it.
        self.far, self.near = os.openpty()
        tty.setraw(self.near)
        self.path = os.ttyname(self.near)

    def close(self) -> None:
        """Both ends; a driver that has it open sees the port go away."""
        for handle in (self.far, self.near):
            if handle >= 0:
                os.close(handle)
        self.far = self.near = -1


class ServedPty(Pty):
    """Frames that arrive are answered by a board."""

    def __init__(self, board: FakeBoard) -> None:
        super().__init__()
        self.board = board
        self.heard = bytearray()
        self._wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving first."""
        if self._thread.is_alive():
            os.close(self._stop)
            self._thread.join()
            os.close(self._wake)
        super().close()

    def _serve(self) -> None:
        decoder = frames.FrameDecoder()
        while True:
            ready, _, _ = select.select([self.far, self._wake], [], [])
            if self._wake in ready:
                return
            data = os.read(self.far, 4096)
            self.heard += data
            for frame in decoder.feed(data):
                os.write(self.far, self.board.answer(frame))
