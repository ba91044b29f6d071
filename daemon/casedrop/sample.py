"""A name that a regular expression takes, for examples. Pure."""

import re
from contextlib import suppress

COMMON = ("P001", "P001_1", "P001_v1", "001", "001_1", "patient001", "sub-001", "case_001")
"""Tried where no name can be read from the expression itself."""

GROUP = re.compile(r"\((?:\?P<\w+>|\?:)?([^()]*)\)([?*+]|\{\d+(?:,\d*)?\})?")
"""An innermost group: what is in it, and how often it comes."""

ATOM = re.compile(r"(\\.|\[\^?\]?[^\]]*\]|.)([?*+]|\{(\d+)(?:,\d*)?\})?\??", re.DOTALL)
"""A letter or a class of letters, how often it comes, and its least number."""


def name(expression: str) -> str:
    """The whole of it fits; "" where the simple ways give none."""
    tries = (_filled(expression), *COMMON)
    return next((one for one in tries if one and re.fullmatch(expression, one)), "")


def _filled(expression: str) -> str:
    """The first alternative of every group, without what need not be there."""
    while True:
        opened = GROUP.sub(
            lambda found: "" if (found[2] or "").startswith(("?", "*")) else _first(found[1]), expression
        )
        if opened == expression:
            return "".join(_letters(*found.groups()) for found in ATOM.finditer(_first(expression)))
        expression = opened


def _first(text: str) -> str:
    return text.split("|", 1)[0]


def _letters(atom: str, often: str | None, least: str | None) -> str:
    if often in ("?", "*"):
        return ""
    if atom in (r"\d", "[0-9]"):
        return "1".rjust(int(least or (3 if often else 1)), "0")
    return _letter(atom) * int(least or 1)


def _letter(atom: str) -> str:
    if atom in ("^", "$", r"\b", r"\A", r"\Z"):
        return ""
    if atom in (".", r"\w"):
        return "a"
    if atom.startswith("["):
        with suppress(re.error):  # half a class, where a bracket in it was taken for a group's
            return next((letter for letter in "Aa1-_ " if re.fullmatch(atom, letter)), "")
        return ""
    return atom.removeprefix("\\")
