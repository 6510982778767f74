"""Which files are changed, and the tests that must notice: most killing first, because the first failure ends a run."""

from __future__ import annotations

from dataclasses import dataclass

from tests.helpers.places import ROOT


@dataclass(frozen=True, slots=True)
class Target:
    """files: globs relative to the root; tests: arguments of pytest."""

    area: str
    files: tuple[str, ...]
    tests: tuple[str, ...]


def _t(*names: str) -> tuple[str, ...]:
    """Test files by name, wherever they stand."""
    return tuple(str(one.relative_to(ROOT)) for name in names for (one,) in [list((ROOT / "tests").glob(f"*/test_{name}.py"))])


RULES = tuple(f"edgechaos/graph/{name}.py" for name in ("rules", "drawing", "weighted", "images", "validation"))
RUNTIME = tuple(f"firmware_gen/runtime/{name}.[ch]" for name in ("core/ec_[!g]*", "server/ec_*", "ports/ec_*", "kernels/*/ec_*"))
"""Left out: startup/, the registers of chips in ports/, and the server's main program of the host."""
SITES = ("edgechaos/faults/kinds/*.py", *(f"edgechaos/faults/{name}.py" for name in ("base", "injections", "machine", "sites")))
FINDING = tuple(f"hil/repair/{name}.py" for name in ("diagnose", "diagnosis", "driven", "layers", "responses"))
MENDING = ("edgechaos/faults/words.py", *(f"hil/repair/{name}.py" for name in ("damaged", "mend", "refit")))
NODES = ("limits", "bounds", "broken_nodes", "traits", "graph", "nodes", "node_faults", "reference")
TARGETS = (
    Target("semantics", ("edgechaos/reference.py", "edgechaos/graph/analysis.py"), _t("rules_apart", "graphs_apart", "vectors", *NODES)),
    Target(
        "semantics",
        ("edgechaos/graph/kinds/*.py", "edgechaos/arithmetic/windows.py"),
        _t("rules_apart", "graphs_apart", "vectors", *NODES, "thermal", "slots"),
    ),
    Target("semantics", RULES, _t("rules_apart", "graphs_apart", *NODES, "faults")),
    Target("semantics", ("edgechaos/arithmetic/random_bits.py",), _t("vectors", "random_bits", "rules_apart", "graphs_apart", "reference")),
    Target("semantics", ("edgechaos/graph/thermal.py",), _t("thermal", "vectors", "limits", "nodes")),
    Target("semantics", ("edgechaos/faults/plan.py",), _t("plan_rules", "vectors", "limits", "faults", "node_faults", "fault_names")),
    Target("semantics", ("edgechaos/arithmetic/check_words.py",), _t("check_words")),
    Target("semantics", ("edgechaos/arithmetic/rounding.py",), _t("limits", "rules_apart", "graphs_apart", "vectors", "rounding")),
    Target("semantics", ("edgechaos/arithmetic/streams.py", "edgechaos/arithmetic/seeds.py"), _t("streams", "seeds")),
    Target(
        "semantics",
        SITES,
        _t("fault_fields", "fault_kinds", "faults", "node_faults", "plan_rules", "fault_names", "stratified", "memory", "strikes"),
    ),
    Target("semantics", ("edgechaos/faults/strata.py",), _t("stratified", "samples")),
    Target("semantics", ("edgechaos/graph/signals.py", "edgechaos/graph/heads.py"), _t("signals", "graph", "nodes")),
    Target("c", RUNTIME, _t("runtime_rules", "runtime", "server", "firmware_protocol", "commit")),
    Target("c", ("firmware_gen/runtime/core/ec_guard.[ch]",), _t("guards")),
    Target("protocol", ("devices/protocol/frames.py", "devices/protocol/client.py"), _t("frames", "protocol_edges", "link", "sessions")),
    Target(
        "protocol",
        ("devices/protocol/plan_payloads.py", "firmware_gen/protocol.py"),
        _t("payloads", "protocol_edges", "link", "sessions", "frames"),
    ),
    Target(
        "protocol",
        ("devices/protocol/device.py",),
        (*_t("protocol_edges", "link", "sessions", "frames", "link_faults", "commit"), "tests/devices/test_devices.py::TestFake"),
    ),
    Target("protocol", ("devices/protocol/energy_runner.py", "devices/meters/simulated.py"), _t("energy_runner", "meters")),
    Target("protocol", ("devices/protocol/faulty_link.py",), _t("link_faults")),
    Target("protocol", ("devices/protocol/repairs.py",), _t("commit", "repair")),
    Target("figures", ("edgechaos/support/statistics.py",), _t("statistics", "statistics_edges")),
    Target("figures", ("edgechaos/support/sequences.py",), _t("sequences", "stopping")),
    Target("figures", ("edgechaos/support/stratified.py",), _t("stratified", "samples")),
    Target("figures", ("hil/energy/model.py",), _t("energy")),
    Target("figures", ("hil/energy/profile.py",), _t("profile")),
    Target("figures", ("hil/energy/measurement.py", "hil/energy/battery.py", "devices/meters/contract.py"), _t("measurement", "meters")),
    Target("figures", ("hil/execute/ledger.py", "hil/execute/ledger_file.py"), _t("ledger_rules", "ledger", "ledger_damage")),
    Target("figures", ("hil/campaign/plan.py", "hil/campaign/sampling.py"), _t("campaign", "samples", "stopping", "sweeps")),
    Target("figures", ("hil/analysis/sampled.py", "hil/analysis/stopping.py"), _t("points", "samples", "stopping")),
    Target("figures", ("hil/analysis/compare.py", "hil/analysis/gates.py"), _t("gates", "compare", "samples")),
    Target("figures", ("hil/analysis/results.py", "hil/analysis/quantities.py"), _t("points", "campaign", "tables", "compare", "report")),
    Target("figures", ("hil/campaign/outcomes.py",), _t("outcomes")),
    Target("repair", ("hil/repair/softmax.py",), _t("softmax", "refit", "repair")),
    Target("repair", FINDING, _t("diagnose", "repair")),
    Target("repair", MENDING, _t("refit", "repair", "diagnose", "commit")),
)
WHOLE = ("edgechaos/arithmetic", "edgechaos/faults", "devices/protocol", "hil/analysis", "hil/campaign", "hil/energy", "hil/repair")
"""Folders of which every module is a target, or stands here with the reason why it decides no integer, frame or figure."""
LEFT_OUT = {
    "edgechaos/arithmetic/torch_words.py": "draws what random_bits.py draws, in torch, while training",
    "hil/analysis/documents.py": "reads and checks what results.py has written",
    "hil/analysis/live.py": "what a terminal shows of a campaign that runs",
    "hil/analysis/model_facts.py": "describes a model",
    "hil/analysis/points.py": "names of fields",
    "hil/analysis/profiled.py": "reads and checks what a profile has written",
    "hil/analysis/tables.py": "rows of what results.py has computed",
    "hil/campaign/config.py": "what a campaign file may say",
    "hil/campaign/reading.py": "reads a campaign file",
    "hil/campaign/source.py": "writes a campaign file",
}
AREAS = tuple(dict.fromkeys(target.area for target in TARGETS))


def files_of(target: Target) -> list[str]:
    """Paths relative to the root, sorted. Raises FileNotFoundError where a glob finds none."""
    found = sorted({str(path.relative_to(ROOT)) for pattern in target.files for path in ROOT.glob(pattern)})
    if not found:
        raise FileNotFoundError(f"no file matches {target.files}")
    return found
