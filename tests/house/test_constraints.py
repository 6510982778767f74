"""The pinned versions fit every Python that the package declares; `.ci/interpreters.py` installs them on those there are."""

import importlib.metadata
import re

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.helpers.places import ROOT

PYTHONS = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]


def needs_python(pin: Requirement) -> SpecifierSet | None:
    """What the pinned release says of itself; None where another one, or none, is installed here."""
    try:
        release = importlib.metadata.metadata(pin.name)
    except importlib.metadata.PackageNotFoundError:
        return None
    needs = "".join(release.get_all("Requires-Python") or ())
    return SpecifierSet(needs) if pin.specifier.contains(release["Version"]) else None


def test_most_pins_are_the_versions_installed_here() -> None:
    """Otherwise the next test would say nothing."""
    assert sum(needs_python(pin) is not None for pin in PINS) > 0.8 * len(PINS)


@pytest.mark.parametrize("python", PYTHONS)
def test_every_pin_can_be_installed_on_every_declared_python(python: str) -> None:
    environment = {"python_version": python}
    held = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate(environment)]
    refused = {str(pin): str(needs) for pin in held if (needs := needs_python(pin)) is not None and not needs.contains(f"{python}.30")}
    assert not refused, f'on Python {python} these cannot be installed: add ; python_version >= "..." to each'
