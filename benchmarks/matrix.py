"""The exactness matrix as a Markdown table: kinds of models by width of weights, integers compared, mismatches, accuracy.

    EDGECHAOS_DATA=folder python benchmarks/matrix.py [KIND ...]

With --boards, every cell on every emulated board instead, by every compiler of its core, misfits with their reason; hours for all kinds.
Takes kinds, by default all whose data is here (language needs AG News in $EDGECHAOS_DATA/ag_news). Exit code 1, with the first
differences on stderr, where a backend disagrees. What is compared is defined in tests/helpers/matrix.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tests are not installed with the package

from edgechaos import reference
from edgechaos.support.statistics import proportion
from tests.helpers.board_matrix import compared, targets
from tests.helpers.matrix import BACKENDS, SEED, WIDTHS, Cell, available, hot, quantized, row, trained


def text(found: Cell) -> str:
    """One cell: mismatches of integers; accuracy of the reference with its interval."""
    right = proportion(found.correct, found.items)
    accuracy = f"{right.value:.1%} [{100 * right.low:.1f}, {100 * right.high:.1f}]".replace("%", " %")
    return f"{found.mismatches:,} of {found.integers:,}; {accuracy}"


def on_boards(kinds: list[str], names: list[str]) -> int:
    """A line per kind, width, board and compiler; 1 where an integer differs."""
    cells = []
    print("| kind | weights | board, compiler | integers that differ |", "|---" * 4 + "|", sep="\n")
    for kind in kinds:
        model, data = trained(kind)
        for bits in WIDTHS:
            graph = quantized(kind, bits, model, data)
            items = {head.name: reference.encode(graph, data[head.name].test_items, head.name) for head in graph.heads}
            for target in (one for one in targets() if not names or one.board in names):
                cells.append(compared(graph, target, items, seed=SEED, parameters=hot(graph)))
                print(f"| {kind} | {bits} bits | {target} | {cells[-1].text} |", flush=True)
    wrong, integers = sum(c.mismatches for c in cells), sum(c.integers for c in cells)
    print(f"\n{wrong:,} mismatches in {integers:,} integers")
    return 1 if wrong else 0


def main() -> int:
    """Compare, print; 1 where an integer differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(available())}")
    parser.add_argument("--boards", action="store_true", help="on emulated boards")
    parser.add_argument("--board", action="append", default=[], metavar="NAME", help="of them; repeatable, by default all")
    asked = parser.parse_args()
    kinds = asked.kinds or available()
    if unknown := set(kinds) - set(available()):
        parser.error(f"no kind {', '.join(sorted(unknown))} here; there are {', '.join(available())}")
    if asked.boards or asked.board:
        return on_boards([*kinds], asked.board)
    print(f"| kind | {' | '.join(f'{bits} bits' for bits in WIDTHS)} |", "|---" * (len(WIDTHS) + 1) + "|", sep="\n")
    cells = []
    for kind in kinds:
        found = row(kind)
        print(f"| {kind} | {' | '.join(map(text, found))} |", flush=True)
        cells += found
    wrong, integers = sum(c.mismatches for c in cells), sum(c.integers for c in cells)
    print(f"\n{wrong:,} mismatches in {integers:,} integers, over {', '.join(BACKENDS)}")
    for line in (line for c in cells for line in c.failures):
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
