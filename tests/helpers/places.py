"""Where the tests find files: of the project, and their own."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
GOLDEN = TESTS / "golden"
VECTOR_FOLDER = TESTS / "vectors"
C_SOURCES = TESTS / "firmware" / "c"
