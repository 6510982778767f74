"""One thread per test process: small layers gain nothing from more, and two workers on two cores lose a lot."""

import os
from pathlib import Path

import pytest

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


@pytest.fixture(scope="session", autouse=True)
def _locks_of_these_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Locks of boards that exist for a moment do not fill the machine's own folder."""
    from edgechaos.devices import locks

    folder: Path = tmp_path_factory.mktemp("locks")
    folder.chmod(0o1777)
    locks.SHARED_FOLDERS = (folder,)
