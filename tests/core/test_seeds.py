"""Seeds are uint32 at every door; devices are asked in the conformance suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgechaos import reference
from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.seeds import MAX_SEED, check_seed
from edgechaos.cli import main
from edgechaos.data import load
from edgechaos.export.engines import EngineModel
from edgechaos.export.verify import engine_backend, verify
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.stuck_at_1 import StuckAtOne
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan
from edgechaos.graph import artifact
from edgechaos.hil.campaign.reading import read_campaign
from edgechaos.models.build import build
from edgechaos.quantize.pipeline import quantize
from edgechaos.support.errors import ConfigError, SeedError
from edgechaos.train.fit import Recipe
from tests.helpers.graphs import chaos_graph, codes_for

BAD: tuple[Any, ...] = (-1, -3, 2**32, 2**33 + 5, 10**400, 1.0, 1.5, float("nan"), True, False, np.True_, "1", None, np.int64(-1))
GRAPH = chaos_graph()
CODES = codes_for(GRAPH, 2)


def doors() -> dict[str, Callable[[Any], object]]:
    """Where a seed enters from Python; what is returned must show the seed."""
    return {
        "rule": check_seed,
        "words": lambda s: random_bits.words(s, 0, [0], 1, 1),
        "reference": lambda s: reference.run(GRAPH, CODES, seed=s),
        "engine": lambda s: EngineModel(GRAPH, "onnxruntime-on").run(CODES, seed=s),
        "verify": lambda s: verify(GRAPH, CODES, {"onnx": engine_backend("onnxruntime-on")}, seed=s),
        "dead": lambda s: DeadNeurons(rate=0.5, seed=s),
        "stuck": lambda s: StuckAtOne(rate=0.5, seed=s),
        "flips": lambda s: WeightBitFlip(rate=0.5, seed=s),
        "recipe": lambda s: Recipe(seed=s).check(),
        "model": lambda s: build("mlp", load("digits8x8"), seed=s, hidden=(4,)),
    }


@pytest.mark.parametrize("door", doors())
def test_every_uint32_and_nothing_else_is_a_seed(door: str) -> None:
    for bad in BAD:
        with pytest.raises(SeedError, match=r"seed .* is not a uint32; give a whole number in 0\.\.4294967295$") as caught:
            doors()[door](bad)
        assert len(str(caught.value)) < 200
    for good in (0, MAX_SEED, np.uint32(7), np.int64(8)):
        doors()[door](good)


def test_quantize_takes_the_same_seeds() -> None:
    data = load("digits8x8")
    for method in ("ptq", "qat"):
        with pytest.raises(SeedError):
            quantize(build("mlp", data, hidden=(4,)), data, method=method, epochs=1, seed=-1)  # type: ignore[arg-type]


def test_a_plan_stores_python_integers() -> None:
    plan = FaultPlan((DeadNeurons(rate=0.5, seed=np.int64(3)),))  # type: ignore[arg-type]
    assert plan.id == FaultPlan((DeadNeurons(rate=0.5, seed=3),)).id


@pytest.mark.parametrize("seed", ["-1", "4294967296", "1.0", "true", "'1'"])
def test_a_campaign_names_the_seed(seed: str, tmp_path: Path) -> None:
    file = tmp_path / "campaign.toml"
    text = 'name = "x"\nseed = {}\n[[sweep]]\nfault = "dead"\nrates = [0.5]\n'
    file.write_text(text.format(seed))
    with pytest.raises(ConfigError, match="seed"):
        read_campaign(file)
    file.write_text(text.format(MAX_SEED))
    assert read_campaign(file).seed == MAX_SEED


@pytest.mark.parametrize("seed", ["-1", "4294967296", "1.0", "99999999999999999999999999"])
def test_commands_refuse_other_seeds(seed: str, tmp_path: Path) -> None:
    artifact.save(GRAPH, tmp_path / "x.ecm")
    model = str(tmp_path / "x.ecm")
    commands = (
        ("run", model, "--seed", seed),
        ("run", model, "--fault", f"dead=0.5@{seed}"),
        ("verify", model, "--seed", seed),
        ("train", "--seed", seed, "-o", model),
        ("quantize", model, "--seed", seed),
        ("prune", model, "--seed", seed),
    )
    for command in commands:
        result = CliRunner().invoke(main, list(command))
        assert result.exit_code in (1, 2), (command, result.output, result.stderr)
        assert "seed" in result.stderr.lower()
