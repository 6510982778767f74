"""All mutants of a C file, from its tokens. Comments, strings, preprocessor lines, declarators and integer suffixes are left alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.mutation.mutants import Mutant

TOKEN = re.compile(
    rb"(?P<space>\s+|/\*.*?\*/|//[^\n]*)"
    rb"|(?P<preprocessor>\#(?:[^\n\\]|\\.|\\\n)*)"
    rb'|(?P<string>"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\')'
    rb"|(?P<number>(?:0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*)"
    rb"|(?P<name>[A-Za-z_]\w*)"
    rb"|(?P<sign><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[-+*/%&|^~!<>=?:;,.(){}\[\]])",
    re.DOTALL,
)
BINARY: dict[str, tuple[tuple[str, str], ...]] = {
    "<": (("boundary", "<="), ("comparison", ">=")),
    "<=": (("boundary", "<"), ("comparison", ">")),
    ">": (("boundary", ">="), ("comparison", "<=")),
    ">=": (("boundary", ">"), ("comparison", "<")),
    "==": (("comparison", "!="),),
    "!=": (("comparison", "=="),),
    "+": (("arithmetic", "-"),),
    "-": (("arithmetic", "+"),),
    "*": (("arithmetic", "+"),),
    "/": (("arithmetic", "*"),),
    "%": (("arithmetic", "/"),),
    "&&": (("boolean", "||"),),
    "||": (("boolean", "&&"),),
    "&": (("bits", "|"),),
    "|": (("bits", "&"),),
    "^": (("bits", "|"),),
    "<<": (("bits", ">>"),),
    ">>": (("bits", "<<"),),
    "+=": (("arithmetic", "-="),),
    "-=": (("arithmetic", "+="),),
    "*=": (("arithmetic", "+="),),
    "|=": (("bits", "&="),),
    "&=": (("bits", "|="),),
    "^=": (("bits", "|="),),
    "<<=": (("bits", ">>="),),
    ">>=": (("bits", "<<="),),
    "++": (("arithmetic", "--"),),
    "--": (("arithmetic", "++"),),
}
QUALIFIERS = {"const", "static", "inline", "extern", "volatile", "restrict", "unsigned", "signed", "struct", "union", "enum", "typedef"}
BASIC = {"void", "char", "short", "int", "long", "float", "double", "bool"}
KEYWORDS = {"if", "else", "for", "while", "do", "switch", "case", "default", "goto", "return", "break", "continue", "sizeof"}


@dataclass(frozen=True, slots=True)
class Token:
    """kind: a group of TOKEN; start, end: bytes."""

    kind: str
    text: str
    start: int
    end: int


def tokens(source: bytes) -> list[Token]:
    """Without space, comments and preprocessor lines. Raises ValueError at a byte that begins no token."""
    found, at = [], 0
    while at < len(source):
        match = TOKEN.match(source, at)
        if match is None:
            raise ValueError(f"no token begins at byte {at}: {source[at : at + 20]!r}")
        kind = str(match.lastgroup)
        if kind not in ("space", "preprocessor"):
            found.append(Token(kind, match.group().decode(), match.start(), match.end()))
        at = match.end()
    return found


def c_mutants(file: str, source: bytes) -> list[Mutant]:
    """Every mutant, in the order of the file."""
    finder = _Finder(file, source)
    return sorted(set(finder.find()), key=lambda m: (m.start, m.end, m.operator, m.becomes))


class _Finder:
    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source = file, source
        self.tokens = tokens(source)
        self.match = self._brackets()
        self.mutants: list[Mutant] = []

    def find(self) -> list[Mutant]:
        for k, token in enumerate(self.tokens):
            if token.kind == "number" and not self.is_array_size(k):
                self.number(token)
            elif token.kind == "sign":
                self.sign(k, token)
            elif token.text in ("if", "while"):
                self.condition(k)
            if self.begins_statement(k):
                self.statement(k)
        return self.mutants

    def put(self, operator: str, start: int, end: int, becomes: str) -> None:
        self.mutants.append(Mutant(self.file, operator, self.source.count(b"\n", 0, start) + 1, start, end, becomes))

    def at(self, k: int) -> Token:
        return self.tokens[k] if 0 <= k < len(self.tokens) else Token("sign", "", 0, 0)

    def _brackets(self) -> dict[int, int]:
        pairs, open_ = {}, []
        for k, token in enumerate(self.tokens):
            if token.text in ("(", "[", "{"):
                open_.append(k)
            elif token.text in (")", "]", "}"):
                other = open_.pop()
                pairs[k], pairs[other] = other, k
        return pairs

    def is_type(self, k: int) -> bool:
        token = self.at(k)
        if token.kind != "name":
            return False
        follows = self.at(k + 1)
        # `ec_server *server`: a name after a name, or before a star that a name follows, in a place where a type may stand.
        return (
            token.text in QUALIFIERS | BASIC
            or token.text.endswith("_t")
            or (token.text not in KEYWORDS and follows.kind == "name" and follows.text not in KEYWORDS)
            or (follows.text == "*" and self.at(k - 1).text in ("const", "struct", "static", "extern", "sizeof"))
            or (follows.text == "*" and self.at(k - 1).text in (";", "{", "}", "(", ",") and self._pointer_follows(k + 1))
        )

    def _pointer_follows(self, k: int) -> bool:
        """Whether a declarator, and not a product, begins at the star at k: `* name`, `*const name`, `* name =`, `*)`."""
        while self.at(k).text in ("*", "const", "restrict"):
            k += 1
        return self.at(k).text == ")" or (self.at(k).kind == "name" and self.at(k + 1).text in ("=", ";", ",", ")", "[", "("))

    def is_cast(self, close: int) -> bool:
        """Whether the bracket that closes here is (type)."""
        inside = range(self.match[close] + 1, close)
        words = [self.at(k) for k in inside]
        names = [w.text for w in words if w.kind == "name"]
        return (
            bool(names)
            and all(w.kind == "name" or w.text == "*" for w in words)
            and (names[-1].endswith("_t") or names[0] in QUALIFIERS | BASIC or words[-1].text == "*" or names[-1] in BASIC)
            and self.at(self.match[close] - 1).kind != "name"
        )

    def is_operand_end(self, k: int) -> bool:
        token = self.at(k)
        if token.text == ")":
            return not self.is_cast(k)
        if token.kind == "name":
            return token.text not in KEYWORDS and not self.is_type(k)
        return token.kind in ("number", "string") or token.text in ("]", "++", "--")

    def is_array_size(self, k: int) -> bool:
        """`int32_t sums[8]`: one more is as good, and one less is the sanitizers' business."""
        return self.at(k - 1).text == "[" and self.at(k + 1).text == "]" and self.is_type(k - 3)

    def number(self, token: Token) -> None:
        digits = re.match(r"0[xX][0-9a-fA-F]+|[0-9]+", token.text)
        assert digits is not None
        value, suffix = int(digits.group(), 0), token.text[digits.end() :]
        for other in (value + 1, value - 1):
            if other >= 0:
                self.put("constant", token.start, token.end, (hex(other) if "x" in token.text.lower() else str(other)) + suffix)

    def sign(self, k: int, token: Token) -> None:
        if token.text in ("!", "~") or (token.text == "-" and not self.is_operand_end(k - 1)):
            self.put("unary", token.start, token.end, "")
        elif token.text in ("++", "--") or (token.text in BINARY and self.is_operand_end(k - 1)):
            for operator, becomes in BINARY[token.text]:
                self.put(operator, token.start, token.end, becomes)

    def condition(self, k: int) -> None:
        first, last = self.at(k + 1), self.at(self.match[k + 1])
        inside = self.source[first.end : last.start].decode()
        self.put("condition", first.end, last.start, f"!({inside})")

    def begins_statement(self, k: int) -> bool:
        before = self.at(k - 1)
        if before.text in (";", "{", "}", "else", "do") or (before.text == ":" and self.is_label(k - 1)):
            inside = self.enclosing(k)
            return inside is not None and self.at(inside).text == "{" and not self.is_type(k)
        return before.text == ")" and self.at(self.match[k - 1] - 1).text in ("if", "for", "while")

    def is_label(self, colon: int) -> bool:
        """Whether the colon ends `case ...:` or `default:`, and is not half of `?:`."""
        k = colon - 1
        while self.at(k).text not in (";", "{", "}", ":", "?", ""):
            if self.at(k).text in ("case", "default"):
                return True
            k -= 1
        return False

    def enclosing(self, k: int) -> int | None:
        """The innermost bracket that is open before token k."""
        opened = [i for i, close in self.match.items() if i < k < close and self.at(i).text in ("(", "[", "{")]
        return max(opened) if opened else None

    def statement(self, k: int) -> None:
        first = self.at(k)
        if first.text in ("if", "for", "while", "do", "switch", "case", "default", "{", "}", ";", "else", ")", "]"):
            return
        end = k
        while self.at(end).text != ";":
            end = self.match[end] + 1 if self.at(end).text in ("(", "[", "{") else end + 1
            if end >= len(self.tokens) or self.at(end).text in ("}", ")"):
                return  # an initializer, or what is no statement
        last = self.at(end)
        if first.text == "return":
            value = self.source[first.end : last.start].decode().strip()
            if value:
                self.put("return", first.end, last.start, " 1" if value in ("0", "0u") else " 0")
                return
        self.put("statement", first.start, last.start, "")
