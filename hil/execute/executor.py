"""Where groups of trials run: the seam between a campaign and the machines that do its work.

An executor gives events, as they happen, in any order of groups. It never retries and never touches the ledger; a worker that dies is an
event, not a loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import ClassVar

from edgechaos.devices import registry
from edgechaos.hil.campaign.plan import Work
from edgechaos.hil.execute.evaluate import Event, Opener, Setup


class Executor(ABC):
    """A context manager; its workers start on entry or on first use and are gone after `close`, whatever they are doing.

    local: whether devices are opened on this machine, so that their ports and packages must be here.
    """

    local: ClassVar[bool] = True

    @classmethod
    def of(cls, argument: str, setup: Setup, trial_timeout_s: float) -> Executor:
        """Of one that has a name: the executor of what follows its colon. After trial_timeout_s of silence a trial is given up."""
        raise NotImplementedError

    @abstractmethod
    def run(self, work: Sequence[Work]) -> Iterator[Event]:
        """Evaluate every group, open the device of every probe.

        Each gives at least one event, whatever happens: a trial that had begun when its worker was lost is Failed; where none had,
        NotBegun comes. The trials behind a clean run that failed, or behind NotBegun, give none: they are for the next call.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop everything, at once; safe at any time, repeatedly."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def exclusive(spec: str, opener: Opener) -> bool:
    """Whether only one worker may hold a device: as the registry's entry says, or the `exclusive(spec)` of an opener of one's own."""
    said: Callable[[str], bool] = getattr(opener, "exclusive", registry.is_exclusive)
    return said(spec)
