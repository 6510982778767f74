"""JUnit XML: what a build server shows of a campaign or a comparison, a test case per point and per gate.

No times and no clock: equal results give equal bytes. Source: the schema that Jenkins, GitLab and GitHub's reporters read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from edgechaos.hil.analysis.gates import Verdict, sentence

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not have, escaped or not."""


@dataclass(frozen=True, slots=True)
class Case:
    """A test case. failure: why it failed; error: why there is no answer; both empty where it passed. out: what was measured."""

    group: str
    name: str
    out: str = ""
    failure: str = ""
    error: str = ""


def junit(suite: str, cases: Sequence[Case], properties: Mapping[str, str]) -> str:
    """One <testsuite>. Without a single case that was answered it holds a failing one: a run that tested nothing must not pass."""
    if not any(not case.error for case in cases):
        cases = [*cases, Case(suite, "something was tested", failure="no point has a result")]
    failures, errors = sum(bool(c.failure) for c in cases), sum(bool(c.error) for c in cases)
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": str(errors), "skipped": "0"}
    root = ElementTree.Element("testsuites", counts)
    element = ElementTree.SubElement(root, "testsuite", {"name": _text(suite), **counts})
    listed = ElementTree.SubElement(element, "properties")
    for name, value in properties.items():
        ElementTree.SubElement(listed, "property", {"name": _text(name), "value": _text(value)})
    for case in cases:
        made = ElementTree.SubElement(element, "testcase", {"classname": _text(case.group), "name": _text(case.name)})
        for tag, why in (("failure", case.failure), ("error", case.error)):
            if why:
                ElementTree.SubElement(made, tag, {"message": _text(why)}).text = _text(case.out or why)
        if case.out and not (case.failure or case.error):
            ElementTree.SubElement(made, "system-out").text = _text(case.out)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def gate_cases(verdicts: Iterable[Verdict], problems: Iterable[str]) -> Iterator[Case]:
    """A case for each gate at each point, and one for each problem of the run."""
    for v in verdicts:
        name = f"{v.gate} at {v.point}"
        if v.estimate is None:
            yield Case(v.curve, name, error=v.reason)
        else:
            yield Case(v.curve, name, sentence(v), failure=v.reason)
    for problem in problems:
        yield Case("run", problem, failure=problem)


def _text(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
