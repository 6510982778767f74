"""Check words: columns that tell one error from two, blocks, and numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgechaos.arithmetic.check_words import PARITY, POSITIONS, SECDED


def test_columns_of_the_code_are_distinct_and_odd() -> None:
    """So that one error is found, and two are never taken for one."""
    single = {SECDED.of(np.eye(1, SECDED.words, k, np.uint32)[0]).tobytes(): k for k in range(SECDED.words)}
    checks = {np.eye(1, SECDED.checks, k, np.uint32)[0].tobytes() for k in range(SECDED.checks)}
    assert len(single.keys() | checks) == SECDED.words + SECDED.checks
    assert all(np.frombuffer(column, np.uint32).sum() % 2 == 1 for column in single.keys() | checks)
    assert all(position & (position - 1) for position in POSITIONS.tolist())


@pytest.mark.parametrize("code", [PARITY, SECDED])
def test_check_words_of_blocks_and_of_a_tail(code: Any) -> None:
    table = np.random.default_rng(1).integers(0, 256, 4 * (2 * code.words + 5) + 3).astype(np.uint8).tobytes()
    words = code.encode(table)
    assert len(words) == 3 * code.checks
    assert (code.encode(table[: 4 * code.words]) == words[: code.checks]).all()
    assert (code.encode(table + b"\0") == words).all()


def test_numbers_by_hand() -> None:
    """The first word has position 24 = 0b0011000, the second 25; 88 words end at position 127."""
    assert POSITIONS[[0, 1, 8, 87]].tolist() == [24, 25, 40, 127]
    words = np.array([0x80000001, 0x3], np.uint32)
    assert SECDED.of(words).tolist() == [3, 0, 0, 0x80000002, 0x80000002, 0, 0, 0x80000002 ^ 3]
    assert PARITY.of(words).tolist() == [0x80000002]
    assert (SECDED.words, SECDED.checks, SECDED.corrects) == (88, 8, True)
    assert (PARITY.words, PARITY.checks, PARITY.corrects) == (64, 1, False)
