"""What the commands print: tables that cut no number, names that command no terminal, errors of bounded length, colors where wanted."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from edgechaos.cli import COMMANDS, main
from edgechaos.cli.show import checklist, mark, print_table, say, say_error, terminal
from edgechaos.graph import artifact
from edgechaos.support.errors import EdgeChaosError
from edgechaos.support.printable import LONGEST_LINE, message_line, printable
from tests.helpers.graphs import chaos_graph
from tests.helpers.places import ROOT

FIGURES = ("1,234,567,890", "93.34 [91.20, 95.10]", "0.000012 µJ")
NAMES = ("pixels", "手書き数字の画像データセット", "a name of many words that may well be wrapped somewhere", "x" * 50)


def wide_table() -> Table:
    table = Table("name", title="numbers of everything", show_footer=True)
    for k, number in enumerate(FIGURES):
        table.add_column(f"header of {k}", number, justify="right")
    for name in NAMES:
        table.add_row(name, *FIGURES)
    return table


def printed(table: Table, width: int, *, is_terminal: bool = True) -> str:
    out = io.StringIO()
    print_table(table, terminal(file=out, width=width, force_terminal=is_terminal, no_color=True))
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


@pytest.mark.parametrize("width", [1, 20, 40, 79, 80, 100, 200])
def test_tables_never_cut_a_number(width: int) -> None:
    text = printed(wide_table(), width)
    for number in FIGURES:
        assert text.count(number) == len(NAMES) + 1, text  # whole, on one line, in every row and the footer
    assert "…" not in text


@pytest.mark.parametrize("width", [92, 100, 140])
def test_tables_keep_within_the_terminal_where_they_can(width: int) -> None:
    lines = printed(wide_table(), width).splitlines()
    assert max(map(cell_len, lines)) <= width
    rows = [line for line in lines if all(number in line for number in FIGURES)]
    assert len(rows) == len(NAMES) + 1  # still a table, its text wrapped
    text = "".join(line[: line.index("1,234") if "1,234" in line else None].strip() for line in lines)
    assert NAMES[1] in text  # double-width characters: wrapped between, never through one


def test_where_output_is_no_terminal_every_row_is_one_line() -> None:
    lines = printed(wide_table(), 80, is_terminal=False).splitlines()
    for name in NAMES:
        assert sum(name in line and all(number in line for number in FIGURES) for line in lines) == 1


@pytest.mark.parametrize("width", [30, 80])
def test_commands_in_a_checklist_stand_whole(width: int) -> None:
    command = "pip install 'edgechaos[emulate,firmware]'"
    table = checklist("device", "what", "to get it")
    table.add_row(mark(False), "unicorn:mps2-an386", "Arm MPS2 AN386, Cortex-M4, and many words more on what it is", command)
    assert command in printed(table, width)


def test_names_are_no_markup() -> None:
    table = Table("name", title="[red]title[/]")
    table.add_row("[bold]pixels[/]")
    table.add_row(Text("[x]", "bold"))
    text = printed(table, 80)
    assert all(part in text for part in ("[bold]pixels[/]", "[x]", "[red]title[/]"))


HOSTILE = "a\x1b]0;title\x07\x9b31m\r\nb\u202e\u2028\udc80\x7f"


def test_control_characters_are_written_out() -> None:
    assert printable(HOSTILE) == r"a\x1b]0;title\x07\x9b31m\r\nb\u202e\u2028\udc80\x7f"
    assert printable("é 手 µ ✓") == "é 手 µ ✓"


def test_every_printer_writes_control_characters_out(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    say_error(HOSTILE, HOSTILE)
    table = Table("name", title=HOSTILE)
    table.add_row(HOSTILE)
    print_table(table)
    out, err = capsys.readouterr()
    for text in (out, err):
        assert r"\x1b]0;title\x07\x9b31m\r\nb" in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_no_command_prints_past_the_one_place() -> None:
    for path in (ROOT / "edgechaos" / "cli").glob("*.py"):
        if path.name != "show.py":
            assert not re.search(r"click\.s?echo\(|[^\w]print\(|Console\(|rich\.markup", path.read_text()), path


def test_a_hostile_file_name_is_escaped_in_errors_and_results(tmp_path: Path) -> None:
    error = CliRunner().invoke(main, ["inspect", f"{tmp_path}/\x1b[31mred\n.ecm"])
    assert error.exit_code == 1
    assert r"\x1b[31mred\n.ecm" in error.stderr
    assert "\x1b" not in error.output
    artifact.save(chaos_graph(), tmp_path / "m.ecm")
    done = CliRunner().invoke(main, ["export", str(tmp_path / "m.ecm"), "-o", f"{tmp_path}/\x1b[31mred.onnx"])
    assert r"\x1b[31mred.onnx" in done.stdout
    usage = CliRunner().invoke(main, ["\x1b[31mred"])
    assert usage.exit_code == 2
    assert "\x1b" not in usage.output


def test_a_hostile_data_set_name_is_escaped(tmp_path: Path) -> None:
    artifact.save(chaos_graph(), tmp_path / "m.ecm")
    data = tmp_path / "\x1b[31mred.npz"
    items = np.zeros((20, *chaos_graph().tensors["input"].shape), np.int8)
    np.savez(data, items=items, labels=np.arange(20) % 4)
    result = CliRunner().invoke(main, ["run", str(tmp_path / "m.ecm"), "--data", str(data), "--items", "9999", "--device", "fake"])
    assert result.exit_code == 1, result.output
    assert r"\x1b[31mred" in result.stderr
    assert "\x1b" not in result.output


def test_long_errors_are_shortened() -> None:
    line = message_line("begin " + "x" * 600_000 + " end; do this")
    assert len(line) < LONGEST_LINE + 100
    assert line.startswith("begin xxx")
    assert line.endswith("end; do this")
    assert "598," in line  # says how much is missing
    assert message_line("short") == "short"


def test_a_long_error_of_a_command_is_one_short_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise EdgeChaosError("x" * 600_000, *["detail"] * 3)

    monkeypatch.setattr(artifact, "load", fail)
    result = CliRunner().invoke(main, ["inspect", "m.ecm"])
    assert len(result.stderr.splitlines()) == 4
    assert len(result.stderr) < LONGEST_LINE + 300


@pytest.mark.parametrize(("environment", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_error_is_colored_in_a_terminal_unless_no_color_is_set(environment: dict[str, str], colored: bool) -> None:
    outside = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | environment
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "edgechaos", "verfy"]
    process = subprocess.run(command, env=outside, stderr=slave, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False)
    os.close(slave)
    text = os.read(master, 10_000).decode()
    os.close(master)
    assert process.returncode == 2
    assert "error:" in text
    assert ("\x1b[31m" in text) is colored
    piped = subprocess.run(command, env=outside, capture_output=True, text=True, check=False)
    assert piped.stderr.startswith("error: no command 'verfy'")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_offers_json(name: str) -> None:
    command = main.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert "as_json" in {p.name for p in command.params}


def test_json_of_what_needs_no_model() -> None:
    for name in ("devices", "doctor"):
        assert json.loads(CliRunner().invoke(main, [name, "--json"]).stdout)
