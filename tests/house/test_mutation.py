"""The mutation runner: what it changes, what it leaves alone, what it draws, and that it can tell killed from survived."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

import pytest

from tests.helpers.places import ROOT
from tests.mutation.__main__ import FACTOR, SPARE_S, Campaign, Outcome, summary, workers
from tests.mutation.c_mutants import c_mutants
from tests.mutation.draw import drawn, equivalents, mutants_of, pool
from tests.mutation.mutants import OPERATORS, Mutant
from tests.mutation.python_mutants import python_mutants
from tests.mutation.targets import AREAS, LEFT_OUT, TARGETS, WHOLE, Target, files_of


def changed(found: list[Mutant], source: str) -> set[str]:
    """The line of each mutant."""
    return {m.lines(source.encode())[1] for m in found}


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("a < b", {"a <= b", "a >= b"}),
        ("(a) not in (b)", {"(a) in (b)"}),
        ("a + b * c", {"a - b * c", "a + b // c"}),
        ("a >> b & c", {"a << b & c", "a >> b | c"}),
        ("x = a and b", {"x = a or b"}),
        ("x = -a", {"x = (a)"}),
        ("x = not a", {"x = (a)"}),
        ("x = 3", {"x = (3 + 1)", "x = (3 - 1)"}),
        ("x = True", {"x = False"}),
        ("x = max(a, b)", {"x = min(a, b)"}),
        ("x += a", {"x -= a", "pass"}),
        ("x = a[b:c]", {"x = a[((b) + 1):c]", "x = a[((b) - 1):c]", "x = a[b:((c) + 1)]", "x = a[b:((c) - 1)]"}),
        ("x = a if b else c", {"x = a if (not (b)) else c"}),
        ("x = [a for a in b if c]", {"x = [a for a in b if (not (c))]"}),
        ("def f(): return a", {"def f(): return None"}),
        ("f(a)", {"pass"}),
        ("raise E(f'{a + 1}')", {"pass"}),
        ('"""a < 1"""', set()),
        ("x: A | B", set()),
        ("assert a < 1", set()),
        ("@f(1)\ndef g(x: int | str): ...", set()),
        ("x = zip(a, strict=True)", set()),
        ("é = a < b", {"é = a <= b", "é = a >= b"}),
    ],
)
def test_changes_of_python(source: str, wanted: set[str]) -> None:
    found = python_mutants("x.py", source.encode())
    assert changed(found, source) - {"pass"} | ({"pass"} & wanted) == wanted


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("void f(void) { x = a < b; }", {"x = a <= b;", "x = a >= b;"}),
        ("void f(void) { x = a * b; }", {"x = a + b;"}),
        ("void f(void) { x = (int32_t)-a; }", {"x = (int32_t)a;"}),
        ("void f(void) { x = (int32_t)*p; }", set()),
        ("void f(void) { x = &a; }", set()),
        ("void f(void) { const uint8_t *const p = q; }", set()),
        ("void f(ec_server *server) { }", set()),
        ("void f(void) { int32_t sums[8] = {a}; }", set()),
        ("void f(void) { x = 4u; }", {"x = 5u;", "x = 3u;"}),
        ("void f(void) { x = 0xFFu; }", {"x = 0x100u;", "x = 0xfeu;"}),
        ("void f(void) { x = 0; }", {"x = 1;"}),
        ("void f(void) { x = a >> b; }", {"x = a << b;"}),
        ("void f(void) { x |= a; }", {"x &= a;"}),
        ("void f(void) { x = !a; }", {"x = a;"}),
        ("void f(void) { x = a && b; }", {"x = a || b;"}),
        ("void f(void) { if (a) ; }", {"if (!(a)) ;"}),
        ("int f(void) { return a; }", {"return 0;"}),
        ("int f(void) { return 0; }", {"return 1;"}),
        ("void f(void) { for (;;) continue; }", {"for (;;) ;"}),
        ("void f(void) { x = a ? b : c; }", set()),
        ("#define N (1 + \\\n 2)\n/* 1 < 2 */ // 3 < 4", set()),
    ],
)
def test_changes_of_c(source: str, wanted: set[str]) -> None:
    found = changed(c_mutants("x.c", source.encode()), source)
    body = {re.sub(r"^.*?\{ (.*) \}$", r"\1", line) for line in found} - {";"}
    assert body == wanted


def test_every_operator_is_drawn_from_every_kind_of_code() -> None:
    for area in AREAS:
        operators = Counter(m.operator for _, m in pool((area,)))
        missing = set(OPERATORS) - operators.keys()
        assert missing <= ({"extreme", "slice"} if area == "c" else {"unary", "bits"}), (area, missing)


def test_a_change_is_one_and_applies() -> None:
    for file in ("edgechaos/graph/thermal.py", "firmware_gen/runtime/core/ec_thermal.c"):
        source = (ROOT / file).read_bytes()
        for mutant in mutants_of(file):
            before, after = mutant.lines(source)
            assert before != after
            assert mutant.applied(source) != source
            assert len(mutant.applied(source)) == len(source) - (mutant.end - mutant.start) + len(mutant.becomes.encode())


def test_a_seed_decides_the_draw_and_areas_take_turns() -> None:
    first = [m for _, m in islice(drawn(5), 40)]
    assert first == [m for _, m in islice(drawn(5), 40)]
    assert first != [m for _, m in islice(drawn(6), 40)]
    assert Counter(t.area for t, _ in islice(drawn(5), 40)) == dict.fromkeys(AREAS, 40 // len(AREAS))
    assert len(set(first)) == 40


def test_every_target_has_files_and_tests() -> None:
    seen = [file for target in TARGETS for file in files_of(target)]
    assert len(seen) == len(set(seen))
    for target in TARGETS:
        assert all((ROOT / test.partition("::")[0]).is_file() for test in target.tests)


def test_no_module_is_forgotten() -> None:
    there = {str(path.relative_to(ROOT)) for folder in WHOLE for path in (ROOT / folder).rglob("*.py") if path.name != "__init__.py"}
    targets = {file for target in TARGETS for file in files_of(target)}
    assert there - targets == LEFT_OUT.keys()


def test_every_equivalent_change_exists_and_says_why() -> None:
    there = {(m.file, *m.lines((ROOT / m.file).read_bytes())) for _, m in pool()}
    listed = [(e.file, e.was, e.becomes) for e in equivalents()]
    assert len(listed) == len(set(listed))
    assert not [key for key in listed if key not in there], "gone with the code: remove them"
    assert all(len(e.reason) > 20 for e in equivalents())


@pytest.mark.slow
def test_killed_survived_and_timed_out() -> None:
    """Three changes of one function, against a test that looks at one value."""
    target = Target("semantics", ("edgechaos/arithmetic/windows.py",), ("tests/hil/test_outcomes.py",))
    file = "hil/campaign/outcomes.py"
    source = (ROOT / file).read_bytes()

    def mutant(was: bytes, becomes: str) -> Mutant:
        start = source.index(was)
        return Mutant(file, "statement", 1, start, start + len(was), becomes)

    with workers(1) as started:
        campaign = Campaign(started, say=False)
        campaign.measure(target.tests)
        assert campaign.limit(target.tests) == FACTOR * (campaign.start_s + campaign.cpu_s[target.tests[0]]) + SPARE_S
        assert 0 < campaign.cpu_s[target.tests[0]] < 30
        assert 0 < campaign.start_s < 30
        campaign.start_s, campaign.cpu_s[target.tests[0]] = -SPARE_S / 2 / FACTOR, 0.0  # 5 seconds
        killed = campaign.run(target, mutant(b"(clean_classes == labels)", "(clean_classes != labels)"))
        survived = campaign.run(target, mutant(b"Images per outcome, zeros left out.", "Images."))
        endless = campaign.run(target, mutant(b"answered = np.ones(len(labels), bool)", "while True: pass"))
        again = campaign.run(target, mutant(b"Images per outcome, zeros left out.", "Images."))
    assert (killed.status, "test_every_outcome" in killed.by) == ("killed", True)
    assert (survived.status, endless.status, again.status) == ("survived", "timed out", "survived")
    assert (ROOT / file).read_bytes() == source


def test_shares() -> None:
    mutant = Mutant("x", "unary", 1, 0, 1, "")
    done = [Outcome(mutant, status, 1.0) for status in ("killed", "killed", "timed out", "survived", "not applicable")]
    figures = summary(done)
    assert (figures["mutants"], figures["killed_share"], figures["not applicable"]) == (4, 0.75, 1)
