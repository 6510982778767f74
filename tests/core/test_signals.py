"""Sensor windows: scaling, layouts, codes equal on the host and in generated C, and a model of them through the whole pipeline."""

from __future__ import annotations

import ctypes
import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from edgechaos import data, reference
from edgechaos.cli import main
from edgechaos.continual.tasks import TaskStream
from edgechaos.data.signals import scaling_of
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.firmware_gen.projects.host import build_host
from edgechaos.firmware_gen.toolchain import compile_in
from edgechaos.graph import artifact, signals
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import ArtifactError, DataError, GraphError, ShapeError
from tests.helpers.firmware_host import GCC, ZIG
from tests.helpers.graphs import Spec, chaos_graph

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wundef", "-Werror")
MEAN, REACH = (0.0, float(np.float32(9.81)), float(np.float32(-1e-3))), (1.0, float(np.float32(0.3)), 2.0**-20)
ENCODING = Encoding("signals", mean=MEAN, reach=REACH)


def signal_graph(encoding: Encoding = ENCODING, times: int = 4) -> IntegerGraph:
    """A graph of 3 channels of samples."""
    graph = chaos_graph(Spec(sizes=(3 * times, 6, 4)))
    return replace(graph, heads=tuple(replace(head, encoding=encoding) for head in graph.heads))


def nearest(sample: float, mean: float, reach: float) -> int:
    """The rule of docs/semantics.md in exact arithmetic but for its two roundings."""
    difference = np.float32(Fraction(sample) - Fraction(mean))
    factor = np.float32(254.0 / reach)
    doubled = np.float32(float(Fraction(float(difference)) * Fraction(float(factor)))) if np.isfinite(difference) else difference
    return int(max(-127, min(127, (int(np.floor(max(-1000.0, min(1000.0, float(doubled))))) + 1) >> 1)))


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(sample=st.floats(-50, 50, width=32) | floats, mean=st.floats(-20, 20, width=32), reach=st.floats(2.0**-20, 100, width=32))
@example(sample=0.5, mean=0.0, reach=127.0)
@example(sample=-0.5, mean=0.0, reach=127.0)
@example(sample=126.5, mean=0.0, reach=127.0)
@example(sample=-1e-45, mean=0.0, reach=1.0)
@example(sample=3.4e38, mean=-20.0, reach=2.0**-20)
def test_codes_follow_the_rule_and_are_the_nearest(sample: float, mean: float, reach: float) -> None:
    (code,) = signals.codes(np.array([[[sample]]], np.float32), (mean,), (reach,)).ravel().tolist()
    assert code == nearest(sample, mean, reach)
    exact = 127 * (sample - mean) / reach
    assert abs(code - max(-127.0, min(127.0, exact))) <= 0.5 + 1e-4 * max(1.0, abs(mean) / reach), "half a code, and float32's rounding"


def test_ties_go_up_and_what_is_out_of_reach_saturates() -> None:
    samples = np.array([[[-1e30, -127.5, -127.0, -1.5, -0.5, 0.0, 0.5, 1.5, 126.5, 127.5, 1e30]]], np.float32)
    assert signals.codes(samples, (0.0,), (127.0,)).ravel().tolist() == [-127, -127, -127, -1, 0, 0, 1, 2, 127, 127, 127]


def awkward(mean: float, reach: float) -> np.ndarray:
    """float32 samples that rounding could get wrong: every half code and its neighbors, all exponents, zeros, denormals."""
    rng = np.random.default_rng(0)
    halves = np.float32(mean) + np.float32(reach) * np.arange(-260, 261).astype(np.float32) / np.float32(254)
    near = np.concatenate([halves, np.nextafter(halves, np.float32(np.inf)), np.nextafter(halves, np.float32(-np.inf))])
    bits = rng.integers(0, 1 << 32, 20_000, dtype=np.uint32).view(np.float32)
    special = np.array([0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38, np.inf, -np.inf], np.float32)
    samples = np.concatenate([near, bits[~np.isnan(bits)], rng.normal(mean, reach, 20_000).astype(np.float32), special])
    return samples[: len(samples) // 12 * 12]


@pytest.fixture(scope="module")
def encoder() -> Any:
    """encode(kind, window of (3, 4) or (4, 3) samples, channel_step, time_step) in C, as `generate` writes it."""
    library = ctypes.CDLL(str(build_host(signal_graph())))

    def encode(kind: str, window: np.ndarray, channel_step: int, time_step: int) -> np.ndarray:
        codes = np.empty((3, 4), np.int8)
        function = getattr(library, f"tiny_encode_main_{kind}")
        function(
            window.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_size_t(channel_step),
            ctypes.c_size_t(time_step),
            codes.ctypes.data_as(ctypes.c_void_p),
        )
        return codes

    return encode


def test_c_and_host_give_the_same_codes_of_floats(encoder: Any) -> None:
    channels = [awkward(m, r) for m, r in zip(MEAN, REACH, strict=True)]
    windows = np.stack([c.reshape(-1, 4) for c in channels], 1)
    expected = signals.codes(windows, MEAN, REACH)
    assert len(np.unique(expected)) == 255
    for window, codes in zip(windows, expected, strict=True):
        np.testing.assert_array_equal(encoder("float", np.ascontiguousarray(window), 4, 1), codes)
        np.testing.assert_array_equal(encoder("float", np.ascontiguousarray(window.T), 1, 3), codes)
    assert not encoder("float", np.full((3, 4), np.nan, np.float32), 4, 1).any(), "what is not a number becomes 0"


def test_c_and_host_give_the_same_codes_of_int16(encoder: Any) -> None:
    every = np.resize(np.arange(-32768, 32768).astype(np.int16), (5462, 3, 4))
    expected = reference.encode(signal_graph(), every).reshape(-1, 3, 4)
    for window, codes in zip(every, expected, strict=True):
        np.testing.assert_array_equal(encoder("int16", np.ascontiguousarray(window), 4, 1), codes)


def test_no_compiler_fuses_the_arithmetic(tmp_path: Path) -> None:
    """With fused multiply-add allowed and at hand, there is nothing to fuse: the codes do not depend on flags."""
    firmware = generate(signal_graph(), None)
    (tmp_path / "src").mkdir()
    for path, content in firmware.files.items():
        (tmp_path / path).write_bytes(content)
    for k, compiler in enumerate((ZIG, GCC)):
        target = ("-target", "x86_64-linux-musl", "-Wno-unused-command-line-argument") if compiler == ZIG else ()
        flags = (*STRICT, *target, "-O3", "-mfma", "-ffp-contract=fast", "-fno-sanitize=all", "-S")
        compile_in(compiler, [*flags, "src/tiny_encode.c", "-o", f"{k}.s"], tmp_path)
        assert not re.search(r"vfn?m(add|sub)", (tmp_path / f"{k}.s").read_text("latin-1"))


@pytest.mark.slow
def test_firmware_for_boards_offers_the_functions_and_builds(tmp_path: Path) -> None:
    for name in ("mps2-an386", "stm32l4r5"):
        built = build(generate(signal_graph(), load_board(name)), tmp_path)
        assert (built.elf.with_name(f"tiny-{name}") / "src" / "tiny_encode.c").is_file()
    files = generate(signal_graph(), load_board("mps2-an386")).files
    assert b"void tiny_encode_main_int16(const int16_t *samples, size_t channel_step" in files["src/tiny_encode.h"]
    assert not [path for path in generate(chaos_graph(), None).files if "encode" in path], "models of pixels have none"


def windows(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3, 8) float32 of three kinds, and labels."""
    rng, labels = np.random.default_rng(0), np.arange(count) % 3
    time = np.arange(8) / 8
    waves = np.sin(2 * np.pi * ((labels[:, None] + 1) * time + rng.random((count, 1))))
    noise = rng.normal(0, 0.01, (count, 8))
    return np.stack([9.81 + 3 * waves, 100 * labels[:, None] + 5 * waves, noise], 1).astype(np.float32), labels


def save(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_layouts_are_stated_and_mean_the_same(tmp_path: Path) -> None:
    items, labels = windows()
    one = data.load(save(tmp_path / "a.npz", items=items, labels=labels, layout="channels,time"))
    other = data.load(save(tmp_path / "a.npz", items=items.swapaxes(1, 2), labels=labels, layout="time,channels"))
    assert one.content_hash == other.content_hash
    assert (one.mean, one.std) == (other.mean, other.std)
    assert (one.signals, one.train_items.shape[1:], one.image, one.inputs) == (True, (3, 8), (), 24)
    flat = data.load(save(tmp_path / "f.npz", items=items[:, :, 0], labels=labels, layout="channels"))
    assert (flat.train_items.shape[1:], len(flat.mean)) == ((3, 1), 3)
    counts = (items * 10).astype(np.int16)
    assert data.from_signals(counts, labels, name="c", layout="channels,time").train_items.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": None}, r"items are float32: .* need a layout: .*channels,time; time,channels; channels"),
        ({"layout": "CT"}, "layout is 'CT'; state what the axes of one item are"),
        ({"layout": "channels"}, "layout 'channels' needs items of 2 axes"),
        ({"items": np.zeros((60, 3, 8))}, r"samples are float64; save them as float32 or int16"),
        ({"items": np.zeros((60, 3, 0), np.float32)}, "with samples; got"),
        ({"labels": np.arange(60) % 3 - 1}, r"labels must lie in 0..65535, not -1..1"),
        ({"labels": np.zeros(59, int)}, r"labels must be \(60,\) integers"),
        ({"labels": np.zeros(60)}, "labels must be a vector of integers|labels must be"),
    ],
)
def test_other_arrays_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    items, labels = windows()
    arrays = {"items": items, "labels": labels, "layout": "channels,time"} | change
    with pytest.raises(DataError, match=message):
        data.load(save(tmp_path / "a.npz", **{k: v for k, v in arrays.items() if v is not None}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_place(value: float) -> None:
    items, labels = windows()
    items[7, 2, 3] = value
    with pytest.raises(DataError, match="item 7, channel 2 has a sample that is NaN or infinite"):
        data.from_signals(items, labels, name="x", layout="channels,time")
    with pytest.raises(DataError, match="item 7, channel 2 has a sample that is NaN or infinite"):
        reference.encode(signal_graph(times=8), items)


def test_scaling_ignores_a_glitch_and_knows_constant_channels() -> None:
    samples = np.zeros((2000, 3, 1), np.float32)
    samples[:, 0, 0] = np.tile([-1, 1], 1000)
    samples[0, 0, 0] = 1e6
    samples[:, 1, 0] = 7
    samples[5, 2, 0] = 3
    mean, std = scaling_of(samples, "x")
    assert (mean[0], 4 * std[0]) == pytest.approx((0, 1), abs=1e-3), "the glitch counts for nothing"
    assert (mean[1], 4 * std[1]) == (7.0, 1.0)
    assert 4 * std[2] == pytest.approx(3, rel=0.01), "nearly constant: of all samples"
    assert all(signals.is_float32(v) for v in (*mean, *(4 * s for s in std)))
    with pytest.raises(DataError, match="channel 0 deviates by 1e-30 from its mean; use units"):
        scaling_of(np.tile(np.array([-1e-30, 1e-30], np.float32), 10).reshape(-1, 1, 1), "x")


def test_encode_takes_channels_first_or_flat_and_nothing_else() -> None:
    graph = signal_graph()
    items = np.random.default_rng(0).normal(0, 1, (5, 3, 4)).astype(np.float32)
    codes = reference.encode(graph, items)
    np.testing.assert_array_equal(codes, signals.codes(items, MEAN, REACH).reshape(5, 12))
    np.testing.assert_array_equal(reference.encode(graph, items.reshape(5, 12)), codes)
    for wrong in (items.swapaxes(1, 2), items.astype(float), items.astype(np.uint8), items[:, :, :3]):
        with pytest.raises(ShapeError, match=r"takes float32 or int16 samples \(channels, time\) = \(3, 4\) per item"):
            reference.encode(graph, wrong)


@pytest.mark.parametrize(
    "encoding",
    [
        Encoding("signals"),
        Encoding("signals", mean=(0.0,), reach=()),
        Encoding("signals", mean=(0.0,) * 5, reach=(1.0,) * 5),
        Encoding("pixels", mean=(0.0,), reach=(1.0,)),
        replace(ENCODING, reach=(1.0, 0.0, 1.0)),
        replace(ENCODING, reach=(1.0, -1.0, 1.0)),
        replace(ENCODING, reach=(1.0, 1e-40, 1.0)),
        replace(ENCODING, reach=(1.0, float("nan"), 1.0)),
        replace(ENCODING, mean=(1.0, float("inf"), 1.0)),
        replace(ENCODING, mean=(1.0, 0.1, 1.0)),
        replace(ENCODING, mean=(1.0, 1e300, 1.0)),
    ],
)
def test_encodings_that_no_target_could_follow_are_refused(encoding: Encoding) -> None:
    with pytest.raises(GraphError, match=r"encoding 'signals', and no other|a mean is not a float32"):
        signal_graph(encoding).validate()


def test_the_artifact_keeps_the_scaling_and_others_do_not_change(tmp_path: Path) -> None:
    artifact.save(signal_graph(), tmp_path / "s.ecm")
    assert artifact.load(tmp_path / "s.ecm").head().encoding == ENCODING
    assert b"reach" not in artifact.to_bytes(chaos_graph()), "the hash of a model of pixels is what it was"
    content = (tmp_path / "s.ecm").read_bytes()
    (tmp_path / "s.ecm").write_bytes(content.replace(json.dumps(REACH[1]).encode(), b"9" * len(json.dumps(REACH[1]))))
    with pytest.raises(ArtifactError, match=r"not a float32|content hash"):
        artifact.load(tmp_path / "s.ecm")


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.trains
@pytest.mark.parametrize("kind", ["mlp", "pixels", "dlm", "tnn"])
def test_signals_through_training_quantization_export_and_a_device(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    items, labels = windows(150)
    source = save(tmp_path / "imu.npz", items=items.swapaxes(1, 2), labels=labels, layout="time,channels")
    run("train", "--data", source, "--model", kind, "--hidden", 8, "--epochs", 2, "-o", tmp_path / "m.safetensors")
    run("quantize", tmp_path / "m.safetensors", "--method", "ptq", "-o", tmp_path / "m.ecm")
    graph, known = artifact.load(tmp_path / "m.ecm"), data.load(source)
    encoding = graph.head().encoding
    assert (encoding.kind, encoding.mean, encoding.reach) == ("signals", known.mean, tuple(4 * s for s in known.std))
    run("export", tmp_path / "m.ecm", "-o", tmp_path / "m.onnx")
    facts = {p.key: p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert tuple(map(float, facts["edgechaos.reach"].split())) == encoding.reach
    document = json.loads(run("run", tmp_path / "m.ecm", "--device", "fake", "--json"))
    answers = reference.run(graph, reference.encode(graph, known.test_items)).labels
    assert document["items"] == len(known.test_items)
    assert graph.metadata["accuracy"]["integer"] == (answers == known.test_labels).mean()


def test_channels_are_not_permuted() -> None:
    items, labels = windows()
    known = data.from_signals(items, labels, name="imu", layout="channels,time")
    assert len(TaskStream("split", known, 3).train(0)[0])
    with pytest.raises(DataError, match="only pixels are permuted"):
        TaskStream("permuted", known, 3)


@pytest.mark.parametrize("kind", ["cnn", "vision", "language"])
def test_models_of_images_and_texts_refuse_signals(kind: str, tmp_path: Path) -> None:
    items, labels = windows()
    source = save(tmp_path / "imu.npz", items=items, labels=labels, layout="channels,time")
    assert "data set 'imu'" in run("train", "--data", source, "--model", kind, "-o", tmp_path / "m.safetensors", code=1)
