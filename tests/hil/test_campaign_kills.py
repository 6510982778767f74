"""A campaign whose runner, workers, newborn workers and emulators are killed at random moments: nothing stops, nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.kills import DASK_VICTIMS, VICTIMS, disturb, disturb_dask


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    """Twelve here; `make nightly` counts hundreds (benchmarks/kills.py)."""
    counts = disturb(tmp_path, kills=12, seed=4, masks=12, attempts=10)  # a trial may be struck more often than the usual 3 times
    assert counts.good, counts
    assert counts.kills.total() >= 12
    assert counts.kills.keys() == set(VICTIMS), counts


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_kills_on_a_dask_cluster_change_nothing(tmp_path: Path) -> None:
    counts = disturb_dask(tmp_path, kills=10, seed=6, masks=8, attempts=10)
    assert counts.good, counts
    assert counts.kills.total() >= 10
    assert counts.kills.keys() == set(DASK_VICTIMS), counts
