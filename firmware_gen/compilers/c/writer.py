"""Writes C: indentation, comments, arrays, and names that no keyword, library or runtime has taken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from edgechaos.support.errors import BuildError

RESERVED_FILES = frozenset(
    (
        # sources beside the model's
        *("main", "startup", "survivor", "cortex_m", "riscv", "ec", "port"),
        # headers of C11 and POSIX, and of compilers: a model's <name>.h must not shadow them
        *("assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "math", "setjmp", "signal"),
        *(
            "stdalign",
            "stdarg",
            "stdatomic",
            "stdbool",
            "stddef",
            "stdint",
            "stdio",
            "stdlib",
            "stdnoreturn",
            "string",
            "tgmath",
            "threads",
        ),
        *(
            "time",
            "uchar",
            "wchar",
            "wctype",
            "aio",
            "alloca",
            "cpio",
            "dirent",
            "dlfcn",
            "endian",
            "fcntl",
            "features",
            "fmtmsg",
            "fnmatch",
        ),
        *(
            "ftw",
            "glob",
            "grp",
            "iconv",
            "langinfo",
            "libgen",
            "malloc",
            "memory",
            "monetary",
            "mqueue",
            "ndbm",
            "netdb",
            "nl_types",
            "poll",
        ),
        *("pthread", "pwd", "regex", "sched", "search", "semaphore", "spawn", "strings", "stropts", "syslog", "tar", "termios", "ulimit"),
        *("unistd", "utime", "utmpx", "wordexp", "arm_acle", "arm_neon", "cpuid", "immintrin", "x86intrin", "unwind", "varargs"),
        # files that Windows does not have
        *("aux", "con", "nul", "prn", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))),
    )
)
"""Names that a model's own <name>.c and <name>.h must not take, and `ec`: its functions would be called ec_run."""
KNOWN_NAMES = frozenset(
    (
        # keywords of C and C++ with an underscore inside, and what C libraries declare beside C99's names
        *("static_assert", "thread_local", "typeof_unqual", "static_cast", "const_cast", "dynamic_cast", "reinterpret_cast"),
        *("and_eq", "or_eq", "xor_eq", "not_eq", "co_await", "co_return", "co_yield", "atomic_cancel", "atomic_commit", "atomic_noexcept"),
        *(
            "strerror_r",
            "strtok_r",
            "strcoll_l",
            "strxfrm_l",
            "strerror_l",
            "explicit_bzero",
            "at_quick_exit",
            "quick_exit",
            "aligned_alloc",
        ),
    )
)
"""Names of the form that graphs allow, an underscore inside, that some C or C++ compiler knows."""
C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "uint32": "uint32_t"}
WIDTH = 120


def model_prefix(name: str) -> str:
    """What a model's files and functions begin with: its name, unless the runtime or a library owns that."""
    return f"m_{name}" if name in RESERVED_FILES or name.startswith(("ec_", "port_", "_")) else name


class Names:
    """Hands out C identifiers for one source: the wanted name where it is free, else a longer one."""

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)

    def take(self, wanted: str) -> str:
        """A new identifier. Raises BuildError where `wanted` is not of the form that graphs allow."""
        if not re.fullmatch("[a-z_][a-z0-9_]*", wanted):
            raise BuildError(f"{wanted!r} cannot become a C identifier; rename it to [a-z_][a-z0-9_]*")
        # Keywords and what compilers know by heart (`int`, `exp`, `memcpy`) have no underscore inside; typedefs end in _t.
        known = wanted in KNOWN_NAMES or wanted.startswith(("ec_", "_")) or wanted.endswith("_t")
        free = "_" in wanted.strip("_") and not known
        name = wanted if free else f"m_{wanted}_c"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


class Writer:
    """Collects lines at the current indentation."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._level = 0

    @property
    def count(self) -> int:
        """Lines so far."""
        return len(self._lines)

    def line(self, text: str = "") -> None:
        """One line; an empty one carries no blanks."""
        self._lines.append("    " * self._level + text if text and not text.startswith("#") else text)

    def lines(self, *texts: str) -> None:
        """Several lines."""
        for text in texts:
            self.line(text)

    def comment(self, *texts: str) -> None:
        """A block comment; text that would end it is defused."""
        safe = [t.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?") for text in texts for t in text.split("\n")]
        if len(safe) == 1:
            self.line(f"/* {safe[0]} */")
            return
        self.line(f"/* {safe[0]}".rstrip())
        for text in safe[1:]:
            self.line(f" * {text}".rstrip())
        self.line(" */")

    @contextmanager
    def block(self, opening: str, closing: str = "}") -> Iterator[None]:
        """Indented lines between `opening {` and `closing`; the brace of a function stands alone."""
        if opening.endswith(")") and self._level == 0:
            self.lines(opening, "{")
        else:
            self.line(f"{opening} {{")
        self._level += 1
        yield
        self._level -= 1
        self.line(closing)

    def array(self, name: str, values: NDArray[np.integer], dtype: str, attribute: str = "", constant: str = "const ") -> None:
        """static const <type> name[n] = {...}, decimal, filled to the line width."""
        flat = values.reshape(-1)
        with self.block(f"static {constant}{C_TYPES[dtype]} {name}[{max(len(flat), 1)}]{attribute} =", "};"):
            suffix = "u" if dtype == "uint32" else ""
            row = ""
            for value in flat.tolist() if len(flat) else [0]:
                # -2147483648 is not a constant in C: it is the negation of one that does not fit.
                text = "-2147483647 - 1," if value == -(2**31) else f"{value}{suffix},"
                if len(row) + len(text) + 5 > WIDTH:
                    self.line(row)
                    row = ""
                row += f" {text}" if row else text
            self.line(row)

    def bytes_initializer(self, data: bytes) -> str:
        """{0x01, 0x02, ...}"""
        return "{" + ", ".join(f"0x{b:02x}" for b in data) + "}"

    def text(self) -> str:
        """The whole file."""
        return "\n".join(self._lines) + "\n"
