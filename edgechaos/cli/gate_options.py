"""`--gate`, `--policy`, `--junit`: what a campaign and a comparison are held to, and how a build server is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgechaos.cli.file_kinds import POLICY, Output
from edgechaos.cli.show import say, say_error

if TYPE_CHECKING:
    from edgechaos.hil.analysis.compare import ComparedCurve
    from edgechaos.hil.analysis.gates import Policy, Verdict
    from edgechaos.hil.analysis.points import Curve
    from edgechaos.hil.report.junit import Case


def gate_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The three options; a command hands them to `policy_of` and `conclude`."""
    gate = "Demand of an interval's bound, or exit with 1: accuracy>=90%,fault=dead,at=0.5. Repeatable."
    for option in (
        click.option("--junit", type=Output(), help="Where to write JUnit XML."),
        click.option("--policy", type=POLICY, help="A file of gates and of demands on the run as a whole."),
        click.option("--gate", "gates", multiple=True, metavar="QUANTITY>=LIMIT[,FIELD=VALUE]", help=gate),
    ):
        command = option(command)
    return command


def policy_of(file: Path | None, gates: Sequence[str], *, compares: bool) -> Policy:
    """Both together. Raises ConfigError before the work; compares: whether there are two campaigns, which some gates are asked of."""
    from edgechaos.hil.analysis.gates import merged, parse_gate, read_policy
    from edgechaos.support.errors import ConfigError

    given = [parse_gate(text) for text in gates]
    for gate in given:
        if gate.compares and not compares:
            raise ConfigError(f"gate '{gate}' is asked of two campaigns; give it to edgechaos compare", "gate")
    return merged(read_policy(file) if file else None, given)


def gates_json(verdicts: Sequence[Verdict], problems: Sequence[str]) -> dict[str, Any]:
    """The verdicts for --json."""
    from dataclasses import asdict

    return {"passed": all(v.passed for v in verdicts) and not problems, "problems": [*problems], "gates": [asdict(v) for v in verdicts]}


def point_cases(curves: Sequence[Curve] | Sequence[ComparedCurve], statements: Sequence[str]) -> list[Case]:
    """A case for each point that has a result, with its statement, one for each that has none, and one for each further statement."""
    from edgechaos.hil.analysis.gates import curve_label
    from edgechaos.hil.analysis.quantities import setting
    from edgechaos.hil.report.junit import Case

    said = iter(statements)
    cases = []
    for curve in curves:
        cases += [Case(curve_label(curve), f"result at {setting(p.rate, curve.swept)}", next(said)) for p in curve.points]
        for rate in getattr(curve, "empty_rates", ()):
            cases.append(Case(curve_label(curve), f"result at {setting(rate, curve.swept)}", error="fewer than two masks have a result"))
    return [*cases, *(Case("samples", "result", text) for text in said)]


def conclude(
    suite: str,
    cases: Sequence[Case],
    verdicts: Sequence[Verdict],
    problems: Sequence[str],
    properties: Mapping[str, str],
    path: Path | None,
    *,
    quiet: bool,
) -> None:
    """Write the XML, say what holds and what does not; exits with 1 where a gate or the run fails."""
    from edgechaos.hil.analysis.gates import sentence
    from edgechaos.hil.report.junit import gate_cases, junit
    from edgechaos.support.files import write_atomic

    if path is not None:
        write_atomic(path, junit(suite, [*cases, *gate_cases(verdicts, problems)], properties))
    for verdict in verdicts:
        if not verdict.passed:
            say_error(sentence(verdict), label="gate failed:")
        elif not quiet:
            say(f"gate holds: {sentence(verdict)}")
    for problem in problems:
        say_error(problem, label="run failed:")
    if problems or not all(v.passed for v in verdicts):
        raise click.exceptions.Exit(1)
