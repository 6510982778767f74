"""Twister's hardware maps: what is read, chosen and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgechaos.devices.hardware_map import MappedBoard, chosen, read_hardware_map
from edgechaos.support.errors import ConfigError

ENTRY = {"connected": "true", "id": '"0240"', "platform": "frdm_k64f", "product": "CMSIS-DAP", "runner": "pyocd"}
MAP = """
- connected: true
  id: "000683759358"
  platform: nrf52840dk/nrf52840 nrf52840dk
  product: J-Link
  runner: nrfjprog
  serial: /dev/serial/by-id/usb-SEGGER_J-Link_000683759358-if00
  baud: 921600
  fixtures:
    - meter
    - uart:2
  flash_timeout: 120
  script_param:
    pre_script_timeout: 5
- connected: false
  id: "1"
  platform: frdm_k64f
  product: DAPLink
  runner: pyocd
- connected: true
  id: "2"
  platform: [stm32l4r5]
  product: STM32
  runner: openocd
  serial: /dev/ttyACM1
"""


def written(folder: Path, text: str) -> Path:
    (folder / "map.yaml").write_text(text)
    return folder / "map.yaml"


def test_boards_that_are_connected(tmp_path: Path) -> None:
    first, second = read_hardware_map(written(tmp_path, MAP))
    port = "/dev/serial/by-id/usb-SEGGER_J-Link_000683759358-if00"
    assert first == MappedBoard("000683759358", ("nrf52840dk/nrf52840", "nrf52840dk"), "J-Link", port, 921_600, ("meter", "uart:2"))
    assert first.spec == f"serial:{port}@921600"
    assert second.spec == "serial:/dev/ttyACM1@115200"


def test_boards_are_chosen_by_platform_and_fixtures(tmp_path: Path) -> None:
    boards = read_hardware_map(written(tmp_path, MAP))
    assert chosen(boards) == boards
    assert chosen(boards, "nrf52840dk") == boards[:1]
    assert chosen(boards, "nrf52840") == ()
    assert chosen(boards, fixtures=("uart", "meter")) == boards[:1]
    assert chosen(boards, fixtures=("uart:2",)) == boards[:1]
    assert chosen(boards, fixtures=("uart:3",)) == ()
    assert chosen(boards, "stm32l4r5", ("meter",)) == ()


def entry(**changes: str) -> str:
    lines = [f"{key}: {value}" for key, value in {**ENTRY, **changes}.items() if value]
    return "- " + "\n  ".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("platform: x\n", "is no list of boards"),
        ("", "is no list of boards"),
        (entry(connected=""), "entry 0: missing key"),
        (entry(connected="yes please"), "entry 0: expected true or false, got 'yes please' @ connected"),
        (entry(serial="/dev/a", baud="fast"), "expected an integer, got 'fast' @ baud"),
        (entry(), "is connected but it has no serial; name its port"),
        (entry(serial_pty="./run"), "is connected but it has serial_pty, which is not supported"),
        (entry(serial="/dev/a", platform="3"), "platform is no name"),
        (entry(serial="/dev/a", platform="[]"), "platform is no name"),
        (entry(serial="/dev/a") + entry(serial="/dev/a"), "two connected boards have the port /dev/a"),
        ("- [", "is not valid YAML"),
        ("- !!python/object/apply:os.system [ls]", "is not valid YAML"),
        ("- &a [x]\n- *a\n", "has an alias"),
        (f"- {'[' * 20}{']' * 20}", "nested"),
        ("- " + "[" * 5000, "hardware map"),
        ("\udcff", "not valid YAML"),
    ],
)
def test_maps_that_cannot_be_are_refused_with_the_entry(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
        read_hardware_map(tmp_path / "map.yaml")
