"""Boards of the user's own: a board file with a port beside it, and board files whose chip, clock or registers a port cannot serve."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.registry import open_device
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.places import BOARD_FOLDER, PORT_FOLDER
from edgechaos.firmware_gen.ports import MAX_BYTES, OWN, ports
from edgechaos.support.errors import ConfigError
from tests.helpers.graphs import chaos_graph, codes_for
from tests.house.test_docs import FILE, PAGES, blocks

PAGE = next(page for page in PAGES if page.name == "firmware.md")
NRF52840 = (
    ('name = "stm32l4r5"', 'name = "nrf52840"'),
    ("origin = 0x0800_0000", "origin = 0"),
    ("bytes = 0x0020_0000", "bytes = 0x0010_0000"),
    ("bytes = 0x000A_0000", "bytes = 0x0004_0000"),
    ("clock_hz = 120_000_000", "clock_hz = 64_000_000"),
)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The documentation's example, in a folder of its own."""
    for block in blocks(PAGE):
        if named := FILE.match(block.text):
            (tmp_path / named["name"]).write_text(block.text)
    return tmp_path / "my_board.toml"


def board_file(folder: Path, like: str, *changes: tuple[str, str]) -> Path:
    text = (BOARD_FOLDER / f"{like}.toml").read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "board.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("mode", ["parallel", "stateful"])
def test_the_example_of_the_documentation_gives_the_integers_of_the_reference(mode: str, mine: Path) -> None:
    graph = chaos_graph(mode=mode)
    codes = codes_for(graph, 4)
    wanted = reference.run(graph, codes, seed=3)
    with open_device(f"unicorn:{mine}", graph) as device:
        found = device.infer(codes, seed=3)
    np.testing.assert_array_equal(found.logits, wanted.logits)
    np.testing.assert_array_equal(found.labels, wanted.labels)


def test_a_port_of_ones_own_is_what_the_firmware_holds_and_hashes(mine: Path) -> None:
    before = generate(chaos_graph(), load_board(mine))
    source = mine.with_name("my_port.c")
    assert before.files[f"src/{OWN}"] == source.read_bytes()
    assert not [path for path in before.files if "port_" in path]
    source.write_text(source.read_text() + "\n")
    after = generate(chaos_graph(), load_board(mine))
    assert after.model_hash == before.model_hash
    assert after.firmware_hash != before.firmware_hash


def test_a_port_may_lie_below_the_board_file(mine: Path) -> None:
    (mine.parent / "ports").mkdir()
    mine.with_name("my_port.c").rename(mine.parent / "ports" / "uart.c")
    mine.write_text(mine.read_text().replace('"my_port.c"', '"ports/uart.c"'))
    assert f"src/{OWN}" in generate(chaos_graph(), load_board(mine)).files


@pytest.mark.parametrize("model", ["ec_port", "port", "my_port"])
def test_no_model_takes_the_place_of_a_port(model: str, mine: Path) -> None:
    files = generate(replace(chaos_graph(), name=model), load_board(mine)).files
    assert files[f"src/{OWN}"] == mine.with_name("my_port.c").read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rp2040", "no port 'rp2040'; there are 'fe310' for FE310-G000"),
        ("stm32l4", "no port 'stm32l4', did you mean 'stm32l4r5'?; there are 'fe310'"),
        ("../x", "no port '../x'; there are 'fe310'"),
        ("x" * 9000, f"no port '{'x' * 60}...'; there are"),
        ("../my_port.c", "port '../my_port.c' lies outside the board file's folder"),
        ("/etc/my_port.c", "port '/etc/my_port.c' lies outside the board file's folder"),
        ("link.c", "port 'link.c' lies outside the board file's folder"),
        ("loop.c", "loop.c"),
        ("missing.c", "missing.c: No such file or directory; check the path"),
        ("pipe.c", "it is a pipe, not a file"),
        ("folder.c", "it is a folder, not a file"),
        ("large.c", f"has more than {MAX_BYTES:,} bytes"),
        ("empty.c", "port 'empty.c' is not C source: it is empty"),
        ("binary.c", "port 'binary.c' is not C source: it holds a NUL"),
    ],
)
def test_a_port_that_cannot_be_read_is_refused_in_one_line(name: str, message: str, mine: Path) -> None:
    folder = mine.parent / "board"
    folder.mkdir()
    path = folder / "board.toml"
    path.write_text(mine.read_text().replace("my_port.c", name))
    (folder / "link.c").symlink_to(mine.with_name("my_port.c"))
    (folder / "loop.c").symlink_to(folder / "loop.c")
    os.mkfifo(folder / "pipe.c")
    (folder / "folder.c").mkdir()
    (folder / "large.c").write_bytes(b" " * (MAX_BYTES + 1))
    (folder / "empty.c").write_bytes(b"\n")
    (folder / "binary.c").write_bytes(b"int x;\0")
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load_board(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert caught.value.key == "port"


@pytest.mark.parametrize("value", ["3", "true", '["mps2"]', "{name = 'mps2'}"])
def test_a_port_is_named_by_a_string(value: str, tmp_path: Path) -> None:
    path = board_file(tmp_path, "mps2-an386", ('port = "mps2"', f"port = {value}"))
    with pytest.raises(ConfigError, match=r"expected a port's name.*there are 'fe310'.*'mps2' for cmsdk.* @ port"):
        load_board(path)


@pytest.mark.parametrize(
    ("like", "changes", "message"),
    [
        ("stm32l4r5", (*NRF52840, ('"STM32L4R5"', '"nRF52840"')), "port 'stm32l4r5' is for chip STM32L4R5, not nRF52840 @ chip; there are"),
        ("stm32l4r5", (*NRF52840, ('chip = "STM32L4R5"\n', "")), "missing key @ chip"),
        ("stm32l4r5", NRF52840, "is for clock_hz 120000000, not 64000000 @ clock_hz"),
        ("stm32l4r5", (("timer_hz = 120_000_000", "timer_hz = 1_000_000"),), "is for timer_hz 120000000, not 1000000 @ timer_hz"),
        ("stm32l4r5", (("base = 0x4000_8000", "base = 0x4000_4400"),), "is for serial.base 0x40008000, not 0x40004400 @ serial.base"),
        ("stm32l4r5", (("irq = 70", "irq = 38"),), "is for serial.irq 70, not 38 @ serial.irq"),
        (
            "stm32l4r5",
            (("base = 0x4800_1400", "base = 0x4800_0000"),),
            "edge.base 0x48001400 or 0x48001800, not 0x48000000 @ edge.base",
        ),
        ("mps2-an386", (('"cmsdk"', '"stm32"'),), "port 'mps2' is for peripherals cmsdk, not stm32 @ peripherals"),
        ("mps2-an386", (("timer_hz = 0", "timer_hz = 9"),), "is for timer_hz 0, not 9 @ timer_hz"),
        ("mps2-an386", (('"AN386"', '"A\\u001bN"'),), "expected the chip's part number @ chip"),
        ("mps2-an386", (('core = "cortex-m4"', 'core = "cortex-m5"'),), "no core 'cortex-m5'"),
        ("mps2-an386", (("pin = 0", "pin = 16"),), "impossible value, expected 0 to 15 @ edge.pin"),
    ],
)
def test_a_board_that_the_port_is_not_for_is_refused(like: str, changes: tuple[tuple[str, str], ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_board(board_file(tmp_path, like, *changes))


def test_every_port_says_what_it_is_for() -> None:
    """Constants that a port does not take from the board file are among its facts: those of the STM32 are in its C."""
    assert ports().keys() == {path.stem.removeprefix("port_") for path in PORT_FOLDER.glob("port_*")}
    for name, fit in ports().items():
        assert fit.chips or fit.peripherals
        source = (PORT_FOLDER / f"port_{name}.c").read_text()
        assert bool(fit.clock_hz) == ("EC_CLOCK_HZ" not in source), name


@pytest.mark.parametrize("change", ["clock_hz=1", "stack_bytes=-8", "stack_bytes=8e3", "stack_bytes", "", "stack_bytes=99999999999"])
def test_only_numbers_that_are_the_firmwares_to_choose_follow_a_name(change: str, mine: Path) -> None:
    with pytest.raises(ConfigError, match=f"'{change[:30]}' changes nothing; write max_payload=NUMBER, .* stack_bytes=NUMBER"):
        load_board(f"{mine},{change}")
    with pytest.raises(ConfigError, match="expected 1024 to 1048576, a multiple of 8 @ stack_bytes"):
        load_board(f"{mine},stack_bytes=9")
    assert (load_board(f"{mine},stack_bytes=8192").stack_bytes, load_board(mine).stack_bytes) == (8192, 4096)


def test_only_boards_with_emulated_peripherals_run_on_unicorn(mine: Path) -> None:
    mine.write_text(mine.read_text().replace('"cmsdk"', '"uarte"'))
    assert load_board(mine).peripherals == "uarte"
    with pytest.raises(ConfigError, match="board 'my-board' is not emulated by unicorn; there are mps2-an385"):
        open_device(f"unicorn:{mine}", chaos_graph())
