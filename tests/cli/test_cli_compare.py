"""`campaign --gate`, `compare`: what they print, what they write, and the exit code that a pipeline reads."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgechaos.cli import main
from edgechaos.graph import artifact
from tests.helpers.graphs import chaos_graph

SWEEP = '[images]\ncount = 6\n[[sweep]]\nfault = "dead"\nrates = [0, 0.5]\n'
FILE = 'name = "{name}"\nmasks = {masks}\nseed = {seed}\ndevices = ["fake"]\n' + SWEEP
HOLDS, FAILS = "worst_accuracy>=0,fault=dead", "accuracy>=101%,at=0.5"


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, f"{result.output}\n{result.stderr}"
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two campaigns on one model, and of one with another seed."""
    made = tmp_path_factory.mktemp("compare")
    artifact.save(chaos_graph(), made / "m.ecm")
    items = np.random.default_rng(0).integers(0, 100, (40, 12)).astype(np.uint8)
    np.savez(made / "d.npz", items=items, labels=np.arange(40) % 4)
    for name, seed, masks in (("a", 1, 2), ("b", 1, 3), ("other", 2, 2)):
        (made / f"{name}.toml").write_text(FILE.format(name=name, seed=seed, masks=masks))
        campaign(made, name)
    return made


def campaign(folder: Path, name: str, *more: object, code: int = 0) -> Result:
    run_in = ("--artifact", folder / "m.ecm", "--data", folder / "d.npz", "-o", folder / name, "--workers", 1, "--resume")
    return run("campaign", folder / f"{name}.toml", *run_in, *more, code=code)


def cases(path: Path) -> dict[str, list[str]]:
    return {str(c.get("name")): [e.tag for e in c] for c in ElementTree.parse(path).iter("testcase")}


def test_a_campaign_is_held_to_its_gates(folder: Path, tmp_path: Path) -> None:
    out = campaign(folder, "a", "--gate", HOLDS, "--junit", tmp_path / "j.xml").stdout
    assert "gate holds: worst_accuracy >= 0.00 %" in out
    assert cases(tmp_path / "j.xml") == {
        "result at 0 %": ["system-out"],
        "result at 50 %": ["system-out"],
        "worst_accuracy >= 0.00 % at 0 %": ["system-out"],
        "worst_accuracy >= 0.00 % at 50 %": ["system-out"],
    }
    failed = campaign(folder, "a", "--gate", HOLDS, "--gate", FAILS, "--junit", tmp_path / "j.xml", code=1)
    assert "gate failed: accuracy >= 101.00 %" in failed.stderr
    assert cases(tmp_path / "j.xml")["accuracy >= 101.00 % at 50 %"] == ["failure"]
    verdict = json.loads(campaign(folder, "a", "--gate", FAILS, "--json", code=1).stdout)["verdict"]
    assert (verdict["passed"], len(verdict["gates"])) == (False, 1)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("change>=0", "is asked of two campaigns; give it to edgechaos compare"),
        ("accuracy>=0.1,at=0.7", "no point is that"),
        ("acuracy>=0.1", "did you mean 'accuracy'"),
    ],
)
def test_a_gate_that_cannot_be_asked_exits_2_before_any_trial(
    option: str, says: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgechaos.hil.runner.run_campaign", None)
    assert says in campaign(folder, "a", "--gate", option, code=2).stderr


def test_compare_says_what_changed_and_is_held_to_gates(folder: Path, tmp_path: Path) -> None:
    out = run("compare", folder / "a", folder / "b" / "results.json", "--gate", "change>=0", "--gate", HOLDS)
    assert "gate holds: change >= 0.00 points" in out.stdout
    assert "shown" in out.stdout
    failed = run("compare", folder / "a", folder / "b", "--gate", "change>=1%", "--junit", tmp_path / "j.xml", code=1)
    assert "gate failed: change >= 1.00 points" in failed.stderr
    assert [tags for name, tags in cases(tmp_path / "j.xml").items() if name.startswith("change")] == [["failure"]] * 2
    document = json.loads(run("compare", folder / "a", folder / "b", "--json").stdout)
    assert [p["masks"] for p in document["curves"][0]["points"]] == [2, 2]


def test_compare_refuses_what_cannot_be_compared_with_exit_code_2(folder: Path) -> None:
    refused = run("compare", folder / "a", folder / "other", code=2).stderr
    assert refused.startswith("error: the two campaigns cannot be compared\n  seeds 1 and 2")


def test_a_policy_file_holds_for_both_commands(folder: Path, tmp_path: Path) -> None:
    text = 'policy = 1\nmasks = 3\nsame = ["model", "firmware"]\n[[gate]]\nquantity = "change"\nat_least = "-5 %"\n'
    (tmp_path / "p.toml").write_text(text + '[[gate]]\nquantity = "worst_accuracy"\nat_least = 0\n')
    policy = ("--policy", tmp_path / "p.toml")
    assert "run failed: dead neurons" in campaign(folder, "a", *policy, code=1).stderr.replace("permanently ", "")
    assert campaign(folder, "b", *policy).stdout.count("gate holds") == 2  # the gate on a change waits for a comparison
    assert run("compare", folder / "a", folder / "b", *policy).stdout.count("gate holds") == 4


def test_a_campaign_of_which_everything_was_lost_is_no_success(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgechaos.hil.analysis import results

    monkeypatch.setattr(results, "point_of", lambda *arguments: None)
    lost = campaign(folder, "a", "--junit", tmp_path / "j.xml", code=1)
    assert "run failed: no point has a result: nothing was tested" in lost.stderr
    assert cases(tmp_path / "j.xml")["result at 50 %"] == ["error"]


def test_an_estimate_runs_nothing(folder: Path, tmp_path: Path) -> None:
    arguments = ("campaign", folder / "a.toml", "--artifact", folder / "m.ecm", "--data", folder / "d.npz", "-o", tmp_path / "o")
    out = run(*arguments, "--estimate", "--workers", 1).stdout
    assert "nothing was run" in out
    assert out.splitlines()[1].split()[:4] == ["fake", "4", "24", "1"]  # 2 masks, clean and at 50 %, of 6 items
    assert not (tmp_path / "o").exists()
    assert json.loads(run(*arguments, "--estimate", "--json").stdout)["devices"][0]["trials"] == [4, 4]
