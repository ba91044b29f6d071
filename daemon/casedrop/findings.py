"""What `casedrop check` has found: how bad, of what, in words, and what mends it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from casedrop.model import Json

Level = Literal["ok", "attention", "problem"]

WRONG, LATER = 78, 75


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` was looked at, a word or a root; `mend` is a command or a sentence, "" where all is well.

    A problem that may pass by itself is one for `later`.
    """

    level: Level
    what: str
    text: str
    mend: str = ""
    later: bool = False

    @property
    def line(self) -> str:
        said = f"{self.text} {self.mend}".strip()
        return {"ok": "ok       ", "attention": "ATTENTION ", "problem": "PROBLEM  "}[self.level] + said


def ok(what: str, text: str) -> Finding:
    return Finding("ok", what, text)


def attention(what: str, said: str, mend: str = "") -> Finding:
    return _told("attention", what, said, mend)


def problem(what: str, said: str, mend: str = "", *, later: bool = False) -> Finding:
    return _told("problem", what, said, mend, later=later)


def _told(level: Level, what: str, said: str, mend: str, *, later: bool = False) -> Finding:
    """What is said anywhere tells in its first sentence what is wrong, in the others what mends it."""
    text, _, rest = said.partition(". ")
    return Finding(level, what, f"{text}." if rest else text, rest or mend, later)


def once(found: Iterable[Finding]) -> list[Finding]:
    """What is the same of several drops is said of the first."""
    said: dict[str, Finding] = {}
    for one in found:
        said.setdefault(one.line, one)
    return list(said.values())


def code(found: Iterable[Finding]) -> int:
    """The exit code of `casedrop check`: 0, 75 where something cannot be told now, 78 where something is wrong."""
    return max((LATER if one.later else WRONG for one in found if one.level == "problem"), default=0)


def as_json(found: Iterable[Finding]) -> Json:
    return [{"level": one.level, "what": one.what, "text": one.text, "mend": one.mend} for one in found]
