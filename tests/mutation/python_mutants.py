"""All mutants of a Python file, from its syntax tree.

Left alone: annotations, decorators, assertions, docstrings, the texts of messages, and `strict=` of zip, which asserts too.
"""

from __future__ import annotations

import ast
import re

from tests.mutation.mutants import Mutant

COMPARISON: dict[type[ast.cmpop], tuple[tuple[str, str], ...]] = {
    ast.Lt: (("boundary", "<="), ("comparison", ">=")),
    ast.LtE: (("boundary", "<"), ("comparison", ">")),
    ast.Gt: (("boundary", ">="), ("comparison", "<=")),
    ast.GtE: (("boundary", ">"), ("comparison", "<")),
    ast.Eq: (("comparison", "!="),),
    ast.NotEq: (("comparison", "=="),),
    ast.In: (("comparison", "not in"),),
    ast.NotIn: (("comparison", "in"),),
    ast.Is: (("comparison", "is not"),),
    ast.IsNot: (("comparison", "is"),),
}
BINARY: dict[type[ast.operator], tuple[str, str, str]] = {
    ast.Add: ("arithmetic", "+", "-"),
    ast.Sub: ("arithmetic", "-", "+"),
    ast.Mult: ("arithmetic", "*", "//"),
    ast.Div: ("arithmetic", "/", "*"),
    ast.FloorDiv: ("arithmetic", "//", "*"),
    ast.Mod: ("arithmetic", "%", "*"),
    ast.Pow: ("arithmetic", "**", "*"),
    ast.LShift: ("bits", "<<", ">>"),
    ast.RShift: ("bits", ">>", "<<"),
    ast.BitAnd: ("bits", "&", "|"),
    ast.BitOr: ("bits", "|", "&"),
    ast.BitXor: ("bits", "^", "|"),
}
TEXT: dict[type[ast.cmpop], str] = {
    **{ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="},
    **{ast.In: r"in\b", ast.NotIn: r"not\s+in\b", ast.Is: r"is\b", ast.IsNot: r"is\s+not\b"},
}
EXTREMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any"}


def python_mutants(file: str, source: bytes) -> list[Mutant]:
    """Every mutant, in the order of the file."""
    found = _Finder(file, source)
    found.visit(ast.parse(source))
    return sorted(set(found.mutants), key=lambda m: (m.start, m.end, m.operator, m.becomes))


class _Finder(ast.NodeVisitor):
    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source = file, source
        self.starts = [0, *(match.end() for match in re.finditer(rb"\n", source))]
        self.mutants: list[Mutant] = []

    def span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.source[start:end].decode()

    def put(self, operator: str, start: int, end: int, becomes: str) -> None:
        line = self.source.count(b"\n", 0, start) + 1
        self.mutants.append(Mutant(self.file, operator, line, start, end, becomes))

    def replace(self, operator: str, node: ast.AST, becomes: str) -> None:
        self.put(operator, *self.span(node), becomes)

    def between(self, operator: str, left: ast.AST, right: ast.AST, pattern: str, becomes: str) -> None:
        """Replaces the operator's text between two operands; brackets and line ends may stand there, too."""
        start, end = self.span(left)[1], self.span(right)[0]
        matches = list(re.finditer(pattern.encode(), self.source[start:end]))
        if len(matches) == 1:
            self.put(operator, start + matches[0].start(), start + matches[0].end(), becomes)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            for operator, becomes in COMPARISON[type(op)]:
                self.between(operator, left, right, TEXT[type(op)], becomes)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in BINARY:
            operator, text, becomes = BINARY[type(node.op)]
            self.between(operator, node.left, node.right, re.escape(text), becomes)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        was, becomes = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between("boolean", left, right, rf"\b{was}\b", becomes)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if not isinstance(node.op, ast.UAdd):
            self.replace("unary", node, f"({self.text(node.operand)})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.replace("constant", node, str(not node.value))
        elif isinstance(node.value, int | float):
            self.replace("constant", node, f"({self.text(node)} + 1)")
            self.replace("constant", node, f"({self.text(node)} - 1)")

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in BINARY:
            operator, text, becomes = BINARY[type(node.op)]
            self.between(operator, node.target, node.value, re.escape(text) + "=", becomes + "=")
        self.replace("statement", node, "pass")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        if not isinstance(node.value, ast.Yield | ast.YieldFrom | ast.Await):
            self.replace("statement", node, "pass")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.replace("statement", node, "pass")

    def visit_Continue(self, node: ast.Continue) -> None:
        self.replace("statement", node, "pass")

    def visit_Break(self, node: ast.Break) -> None:
        self.replace("statement", node, "pass")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            if not (isinstance(node.value, ast.Constant) and node.value.value is None):
                self.replace("return", node.value, "None")
            self.generic_visit(node)
        else:
            self.replace("statement", node, "pass")

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in self.text(node.test):
            self.negate(node.test)
            self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.negate(test)
        self.generic_visit(node)

    def negate(self, test: ast.expr) -> None:
        self.replace("condition", test, f"(not ({self.text(test)}))")

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in EXTREMES:
            end = self.span(node.func)[1]
            self.put("extreme", end - len(name), end, EXTREMES[name])
        self.visit(node.func)
        for argument in (*node.args, *(k.value for k in node.keywords if k.arg != "strict")):
            self.visit(argument)

    def visit_Slice(self, node: ast.Slice) -> None:
        for bound in filter(None, (node.lower, node.upper)):
            self.replace("slice", bound, f"(({self.text(bound)}) + 1)")
            self.replace("slice", bound, f"(({self.text(bound)}) - 1)")
            if not isinstance(bound, ast.Constant):
                self.visit(bound)
        if node.step is not None:
            self.visit(node.step)

    def visit_arguments(self, node: ast.arguments) -> None:
        for default in (*node.defaults, *filter(None, node.kw_defaults)):
            self.visit(default)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.visit(node.args)
        for statement in node.body:
            self.visit(statement)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assert(self, node: ast.Assert) -> None:
        """Assertions are tests themselves."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Messages."""

    def visit_Import(self, node: ast.Import) -> None:
        """Nothing to change."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Nothing to change."""
