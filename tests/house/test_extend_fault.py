"""The page "Add a kind of fault", followed to the letter by an outsider: one file is all it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgechaos.faults.base import fault_kinds
from tests.helpers.extend import install, own, page, run
from tests.helpers.places import ROOT

FILES = 1
"""Without the packaging: what docs/design.md says that a kind of fault takes."""


def test_the_page_is_enough(tmp_path: Path) -> None:
    install(page("fault"), tmp_path)
    found = run(tmp_path)
    assert found.returncode == 0, found.stderr
    assert "accuracy at size 8 of a permanently dead burst among neurons of cortex0, on fake (M = 4 masks, 20 images)" in found.stdout
    assert "accuracy at size 0 of" in found.stdout
    assert len(own(page("fault"))) == FILES


def test_the_command_line_knows_it(tmp_path: Path) -> None:
    install(page("fault"), tmp_path)
    listed = run(tmp_path, "-m", "edgechaos", "faults")
    assert listed.returncode == 0, listed.stderr
    assert "size 0..65535" in listed.stdout
    refused = run(tmp_path, "-c", "from edgechaos.cli.fault_option import parse_faults; parse_faults(('burst=-1',))")
    assert "size -1 is outside 0..65535" in refused.stderr


@pytest.mark.parametrize(
    ("said", "instead", "message"),
    [
        ("% slot.length\n            yield", "\n            yield", "burst: 'dead' of layer 'cortex1' has entries 0..8, not 9"),
        ("np.ones(len(entries), np.int64)", "np.full(len(entries), 2)", "'dead' of layer 'cortex0' holds 0..1, not 2"),
        ('"dead", entries', '"threshold_", entries', "has no 'threshold_' that a fault could set"),
        ('"dead", self.layer', '"table", self.layer', "has no layer"),
        ('kind = "burst"', 'kind = "dead"', "two kinds of fault are called dead"),
    ],
)
def test_an_author_is_told_what_is_wrong(said: str, instead: str, message: str, tmp_path: Path) -> None:
    files = page("fault")
    assert said in files["edgechaos_burst/fault.py"]
    files["edgechaos_burst/fault.py"] = files["edgechaos_burst/fault.py"].replace(said, instead)
    install(files, tmp_path)
    found = run(tmp_path)
    assert found.returncode == 1
    assert message in found.stderr, found.stderr


def test_every_kind_is_one_file_that_nothing_else_of_the_package_names() -> None:
    """Helpers of models, exports and conformance name kinds that they use; none of the newest ones is named but where it is written."""
    folders = ("edgechaos", "export", "firmware_gen", "devices", "hil")
    texts = {p: p.read_text() for f in folders for p in (ROOT / f).rglob("*.py") if not p.is_relative_to(ROOT / "devices" / "conformance")}
    for name in ("winner_dropped", "ram_bit_flip", "threshold_scale"):
        kind = fault_kinds()[name]
        found = {p.name for p, text in texts.items() if name in text or kind.__name__ in text}
        assert found == {f"{name}.py"}
