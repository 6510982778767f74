"""Where groups of trials run: the seam between a campaign and the machines that do its work.

Enters: a Setup and groups. Leaves: events, as they happen, in any order of groups. An executor never retries and never
touches the ledger; a worker that dies is an event, not a loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from edgechaos.devices import registry
from edgechaos.hil.evaluate import Event, Opener
from edgechaos.hil.plan import Group


class Executor(ABC):
    """A context manager; its workers start on entry or on first use and are gone after `close`, whatever they are doing."""

    @abstractmethod
    def run(self, groups: Sequence[Group]) -> Iterator[Event]:
        """Evaluate every group. Each group's first trial gives an event, whatever happens.

        The trials behind a clean run that failed give none: they have nothing to be compared with yet.
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
