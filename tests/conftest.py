"""One thread per test process: small layers gain nothing from more, and two workers on two cores lose a lot."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import lanes

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, str(lanes.training_threads() or 1))


def pytest_configure() -> None:
    """Ctrl-C interrupts here and in what tests start, in a job in the background too, whose shell has it ignored.

    Recipes ask torch for one thread; the lane of several gives them its own number.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threads = lanes.training_threads()
    if threads is not None:
        import torch

        given = torch.set_num_threads
        torch.set_num_threads = lambda nthreads: given(threads)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """What trains is marked; what is marked meets the sums of the lane."""
    with lanes.of_this_lane() if item.get_closest_marker("trains") else lanes.refusing_to_train(item.nodeid):
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _locks_of_these_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Locks of boards that exist for a moment do not fill the machine's own folder."""
    from edgechaos.devices.boards import locks

    folder: Path = tmp_path_factory.mktemp("locks")
    folder.chmod(0o1777)
    locks.SHARED_FOLDERS = (folder,)
