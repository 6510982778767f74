"""Options that would change nothing are refused, exit code 2, before anything runs; those of losses reach the integers."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgechaos.arithmetic.random_bits import fail_q
from edgechaos.cli import main
from edgechaos.graph import artifact
from edgechaos.models import checkpoint
from edgechaos.models.build import KINDS
from edgechaos.models.options import OPTIONS, without_effect
from edgechaos.models.shared import CORTEX
from tests.helpers.graphs import Spec, chaos_graph
from tests.helpers.zoo import zoo

TASKS = ("--task", "a=dense:digits8x8", "--task", "b=dense:digits8x8")


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model", "pixels", "--channels", 8), "'--channels': model 'pixels' has no option 'channels'; it is one of vision, shared, cnn"),
        (("--model", "pixels", "--embed", 8), "'--embed': model 'pixels' has no option"),
        (("--model", "pixels", "--average"), "'--average'"),
        (("--model", "language", "--channels", 8), "'--channels'"),
        (("--model", "cnn", "--hidden", 8), "'--hidden': model 'cnn' has no option 'hidden'"),
        (("--model", "mlp", "--ticks", 8, "--mode", "parallel"), "'--mode': model 'mlp' has no option"),
        (("--model", "tnn", "--dropout", 0.1), "it is one of mlp, cnn"),
        (("--model", "dlm", "--noise-std", 0.1), "'--noise-std'"),
        (("--model", "mlp", "--temperature", 1), "it is one of dlm"),
        (("--model", "tnn", "--residual"), "'--residual': model 'tnn' has no option 'residual'; it is one of mlp, cnn"),
        (("--model", "mlp", "--fail-prob", 0.1), "'--fail-prob': model 'mlp' has no option"),
        (("--decay", 0.1), "'--decay': acts in stateful mode alone"),
        (("--refractory-decay", 0.1, "--mode", "parallel"), "'--refractory-decay': acts in stateful mode alone"),
        (("--signed",), "'--signed': concerns the matrix between two spiking layers"),
        (("--omission", 0, "--omission-draw", "fixed"), "'--omission-draw': says how --omission is drawn"),
        (("--fail-prob", 0.2, "--omission-draw", "uniform"), "'--omission-draw'"),
        (("--model", "mlp", "--omission-draw", "fixed"), "'--omission-draw'"),
        (("--model", "shared", *TASKS, "--channels", 8), "'--channels': no task has a vision front-end"),
        (("--model", "shared", *TASKS[:2], "--strategy", "frozen"), "'--strategy': says what later tasks do, and there is one task"),
        (("--model", "shared", *TASKS, "--dropout", 0.1), "'--dropout': model 'shared' has no option"),
    ],
    ids=lambda v: " ".join(map(str, v)) if isinstance(v, tuple) else "",
)
def test_training_refuses_what_would_change_nothing(arguments: tuple[object, ...], says: str, tmp_path: Path) -> None:
    assert says in run("train", *arguments, "-o", tmp_path / "x", code=2)
    assert not list(tmp_path.iterdir())


def test_every_option_of_a_kind_is_a_field_of_its_configuration_and_every_option_of_train_is_one_of_some_kind() -> None:
    for kind, options in OPTIONS.items():
        known = {f.name for f in fields(KINDS[kind][1])} if kind in KINDS else {*CORTEX, "channels", "average"}
        assert set(options) <= known, kind
    assert KINDS.keys() | {"shared"} == OPTIONS.keys()
    assert set(CORTEX) <= set(OPTIONS["shared"])
    assert not without_effect("pixels", {"hidden": (3, 4), "signed": True, "mode": "stateful", "decay": 0.1})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("quantize", "X", "--method", "ptq", "--epochs", 3), "'--epochs': of fine-tuning, which --method ptq does not do"),
        (("quantize", "X", "--method", "ptq", "--seed", 3), "'--seed'"),
        (("quantize", "X", "--prune-by", "random"), "'--prune-by': needs --prune-neurons"),
        (("quantize", "X", "--prune-weights", 0.5, "--prune-by", "random"), "'--prune-by'"),
        (("quantize", "X", "--sweep", "--per-channel"), "'--per-channel': cannot be given with --sweep"),
        (("prune", "X", "--epochs", 3), "'--epochs': of fine-tuning, which --method ptq does not do"),
        (("prune", "X", "--seed", 3), "'--seed'"),
        (("continual", "--strategy", "plain", "--sparsity", 0.1), "'--sparsity': of sparse strategies, and none is compared"),
        (("continual", "--strategy", "sparse", "--ewc-lambda", 10), "'--ewc-lambda': of strategies with ewc, and none is compared"),
        (("import", "X", "--data", "digits8x8", "--mode", "parallel", "--decay", 0.1), "'--decay': acts in stateful mode alone"),
    ],
    ids=lambda v: " ".join(map(str, v)) if isinstance(v, tuple) else "",
)
def test_other_commands_refuse_it_too(arguments: tuple[object, ...], says: str, tmp_path: Path) -> None:
    assert says in run(*arguments, "-o", tmp_path / "x", code=2)


@pytest.mark.trains
def test_sampling_of_a_network_without_spikes_is_refused(tmp_path: Path) -> None:
    run("train", "--data", "digits8x8", "--model", "mlp", "--hidden", 4, "--epochs", 1, "-o", tmp_path / "x")
    for command in (("quantize",), ("quantize", "--sweep"), ("prune",)):
        said = run(command[0], tmp_path / "x", *command[1:], "--sampling", "binomial", code=2)
        assert "'--sampling': this model has no spiking layers" in said


@pytest.mark.trains
def test_losses_of_the_network_itself_act_in_training_and_reach_the_integers_and_the_report(tmp_path: Path) -> None:
    model, graph = tmp_path / "x.safetensors", tmp_path / "x.ecm"
    neuron = ("--threshold", 0.25, "--mode", "stateful", "--decay", 0.125, "--refractory-decay", 0.75, "--fail-prob", 0.25)
    run("train", "--data", "digits8x8", "--hidden", 8, "--ticks", 3, *neuron, "--epochs", 1, "-o", model)
    facts = checkpoint.load(model).facts
    assert (facts["omission"], facts["omission_draw"]) == (0.25, "fixed")
    run("quantize", model, "--epochs", 1, "-o", graph)
    (layer,) = artifact.load(graph).chaos_layers()
    assert layer.fail_q == fail_q(0.25)
    assert (layer.decay_q15, layer.refractory_decay_q15) == (2**15 // 8, 3 * 2**15 // 4)
    assert artifact.load(graph).metadata["float"]["threshold"] == 0.25
    campaign = tmp_path / "c.toml"
    campaign.write_text('name = "c"\nmasks = 2\n[images]\ncount = 5\n[[sweep]]\nfault = "dead"\nrates = [0]\n')
    run("campaign", campaign, "--artifact", graph, "-o", tmp_path / "out", "--workers", 1)
    about = json.loads((tmp_path / "out" / "results.json").read_text())["about"]
    assert about["model"]["deployed_omission"] == {"cortex0": 0.25}
    run("report", tmp_path / "out", "-o", tmp_path / "r.html")
    assert "The clean model itself loses spikes" in (tmp_path / "r.html").read_text()


@pytest.mark.trains
def test_the_published_omission_is_one_that_training_takes(tmp_path: Path) -> None:
    run("train", "--data", "digits8x8", "--hidden", 8, "--omission", 0.4, "--omission-draw", "fixed", "--epochs", 1, "-o", tmp_path / "x")
    model = checkpoint.load(tmp_path / "x")
    assert (model.facts["recipe"]["omission"], model.facts["recipe"]["omission_draw"]) == (0.4, "fixed")
    assert model.config.fail_prob == 0.0


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: `zoo.ecm`, whose heads have every kind of node, and `still.ecm`, whose spikes are not lost and have no noise."""
    folder = tmp_path_factory.mktemp("forms")
    artifact.save(zoo(), folder / "zoo.ecm")
    artifact.save(chaos_graph(Spec(fail_q=0, noise=False)), folder / "still.ecm")
    return folder


@pytest.mark.parametrize(
    ("command", "drawn"),
    [
        ("run zoo.ecm --head kwta8_d", False),
        ("run zoo.ecm --head kwta8_d --fault dead=0.5@1", False),
        ("run zoo.ecm --head expected_d --fault omission=0.5", False),
        ("run zoo.ecm --head thermal8_d", True),
        ("run zoo.ecm --head lossless8_d", True),
        ("run still.ecm", False),
        ("run still.ecm --fault omission=0.5", True),
        ("verify zoo.ecm --head kwta8_d", False),
        ("verify zoo.ecm", True),
        ("verify still.ecm --fault-items 0", False),
        ("verify still.ecm", True),
        ("diagnose still.ecm --fault dead=0.5@1", False),
        ("diagnose still.ecm --fault omission=0.5", True),
        ("repair still.ecm --fault dead=0.5@1", False),
        ("repair still.ecm --fault omission=0.5", True),
    ],
)
def test_a_seed_that_no_random_word_follows_is_refused(command: str, drawn: bool, forms: Path) -> None:
    name, file, *more = command.split()
    said = run(name, forms / file, *more, "--seed", 3, code=1 if drawn else 2)
    assert ("'--seed': nothing that runs here draws a random word" in said) is not drawn
    assert ("does not name its data set" in said) is drawn, "it came that far"


@pytest.mark.parametrize("way", ["--undo", "--again"])
def test_settings_of_a_repair_that_is_sent_again_or_undone_are_refused(way: str, forms: Path) -> None:
    mended = [forms / "still.ecm"] if way == "--again" else []
    said = run("repair", forms / "still.ecm", way, *mended, "--items", 5, "--fault", "dead=0.5@1", "-o", forms / "x.ecm", code=2)
    assert all(f"{name}': of a new repair" in said for name in ("--items", "--fault", "--output"))
