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
RUNTIME = tuple(f"firmware_gen/runtime/{folder}/ec_*.[ch]" for folder in ("core", "server", "ports", "kernels/*"))
"""Left out: startup/, the registers of chips in ports/, and the server's main program of the host."""
NODES = ("limits", "bounds", "broken_nodes", "traits", "graph", "nodes", "node_faults", "reference")
TARGETS = (
    Target("semantics", ("edgechaos/reference.py", "edgechaos/graph/analysis.py"), _t("rules_apart", "vectors", *NODES)),
    Target(
        "semantics",
        ("edgechaos/graph/kinds/*.py", "edgechaos/arithmetic/windows.py"),
        _t("rules_apart", "vectors", *NODES, "thermal", "slots"),
    ),
    Target("semantics", RULES, _t("rules_apart", *NODES, "faults")),
    Target("semantics", ("edgechaos/arithmetic/random_bits.py",), _t("vectors", "random_bits", "rules_apart", "reference")),
    Target("semantics", ("edgechaos/graph/thermal.py",), _t("thermal", "vectors", "limits", "nodes")),
    Target("semantics", ("edgechaos/faults/plan.py",), _t("plan_rules", "vectors", "limits", "faults", "node_faults", "fault_names")),
    Target("semantics", ("edgechaos/arithmetic/rounding.py",), _t("limits", "rules_apart", "vectors", "rounding")),
    Target("c", RUNTIME, _t("runtime_rules", "runtime", "server", "firmware_protocol", "commit")),
    Target("protocol", ("devices/protocol/frames.py", "devices/protocol/client.py"), _t("frames", "protocol_edges", "link")),
    Target(
        "protocol", ("devices/protocol/plan_payloads.py", "firmware_gen/protocol.py"), _t("payloads", "protocol_edges", "link", "frames")
    ),
    Target(
        "protocol",
        ("devices/protocol/device.py",),
        (*_t("protocol_edges", "link", "frames", "commit"), "tests/devices/test_devices.py::TestFake"),
    ),
    Target("figures", ("edgechaos/support/statistics.py",), _t("statistics", "statistics_edges")),
    Target("figures", ("hil/energy/model.py",), _t("energy")),
    Target("figures", ("hil/execute/ledger.py",), _t("ledger_rules", "ledger", "ledger_damage")),
    Target("figures", ("hil/campaign/outcomes.py",), _t("outcomes")),
)
AREAS = tuple(dict.fromkeys(target.area for target in TARGETS))


def files_of(target: Target) -> list[str]:
    """Paths relative to the root, sorted. Raises FileNotFoundError where a glob finds none."""
    found = sorted({str(path.relative_to(ROOT)) for pattern in target.files for path in ROOT.glob(pattern)})
    if not found:
        raise FileNotFoundError(f"no file matches {target.files}")
    return found
