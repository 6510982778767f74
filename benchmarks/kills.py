"""Kills campaigns at random moments and prints what that did: hangs, stops, lost trials, orphans, other results; all must be 0.

    python benchmarks/kills.py --kills 30 --seed 1 [--dask]

Runner, workers, newborn workers and emulators die by SIGKILL, with --dask those on a cluster, and Dask's own workers. Exit code 1 where
anything but kills was counted.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))


@click.command()
@click.option("--kills", default=30, show_default=True, help="Processes to kill, per seed.")
@click.option("--seed", "seeds", default=(1,), show_default=True, multiple=True, type=int, help="Of the moments and victims; repeatable.")
@click.option("--masks", default=40, show_default=True, help="Of each campaign: its length.")
@click.option("--dask", is_flag=True, help="On a cluster of two Dask workers.")
def main(kills: int, seeds: tuple[int, ...], masks: int, dask: bool) -> None:
    """Kill campaigns and count."""
    from tests.helpers.kills import disturb, disturb_dask

    good = True
    for seed in seeds:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="edgechaos-kills-") as folder:
            counts = (disturb_dask if dask else disturb)(Path(folder) / "out", kills, seed, masks)
        victims = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.kills.items()))
        click.echo(
            f"seed {seed}: {counts.kills.total()} kills ({victims}) in {counts.campaigns} campaigns, {time.monotonic() - began:.0f} s: "
            f"{counts.hangs} hangs, {len(counts.stops)} stops, {counts.lost} trials lost, {counts.orphans} orphans, "
            f"{counts.different} other results; {counts.retried} trials needed another attempt"
        )
        for said in counts.stops:
            click.echo(said, err=True)
        good = good and counts.good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
