"""The page "Add a core", followed to the letter by an outsider: a core file and a board file are all it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.extend import install, own, page, run

FILES = 2
"""Core and board, without the packaging: what docs/design.md says that a core takes."""
CORE, BOARD = "edgechaos_sc300/core.py", "edgechaos_sc300/sc300-board.toml"


def test_the_page_is_enough(tmp_path: Path) -> None:
    install(page("core"), tmp_path)
    found = run(tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("0 integers differ") == 16
    assert len(own(page("core"))) == FILES


@pytest.mark.parametrize(
    ("file", "said", "instead", "message"),
    [
        (CORE, '"-mcpu=sc300"', '"-mcpu=cortex_m33+dsp"', "which a SC300 lacks"),
        (CORE, "ARM_GRP_VFP2", "ARM_GRP_FPU", "capstone has no group ARM_GRP_FPU"),
        (CORE, 'unicorn="UC_CPU_ARM_CORTEX_M3"', 'unicorn=""', "board 'sc300-board' is not emulated"),
        (BOARD, '"cmsdk"', '"uart16550"', "port 'mps2' is for peripherals cmsdk, not uart16550"),
        (BOARD, '"sc300"', '"cortex-a53"', "no core 'cortex-a53'"),
    ],
)
def test_an_author_is_told_what_is_wrong(file: str, said: str, instead: str, message: str, tmp_path: Path) -> None:
    files = page("core")
    assert said in files[file]
    install(files | {file: files[file].replace(said, instead)}, tmp_path)
    found = run(tmp_path)
    assert found.returncode == 1
    assert message in found.stderr, found.stderr


def test_a_core_that_is_not_installed_is_named_with_those_there_are(tmp_path: Path) -> None:
    install(page("core"), tmp_path, leave_out="edgechaos.cores")
    assert "no core 'sc300'; there are cortex-m0" in run(tmp_path).stderr
