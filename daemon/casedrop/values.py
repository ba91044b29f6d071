"""Values as a socket's kind wants them; whether they fit its schema only the platform can tell. Pure."""

import json
import math
import re
from collections.abc import Callable

from casedrop.model import Decimal, Json
from casedrop.tables import Found, text


class ValueProblemError(Exception):
    """Why a value cannot be sent: the rest of a sentence that begins with its source."""


def plain(value: Json, kind: str | None) -> Json:
    """`value` if it is one that a socket of this kind (None: unknown) may hold.

    2 is a Float and 3.0 an Integer for the platform, 0 is no Bool (seen on a real server, recording 05).
    """
    if value is None:
        raise ValueProblemError("is null, which is no value")
    if "\\u0000" in _serialised(value):
        raise ValueProblemError("holds a NUL character, which Grand Challenge does not take")
    if kind in CHECKS and not CHECKS[kind](value):
        raise ValueProblemError(f"is not what a socket of kind {kind} holds")
    return value


def from_cell(found: Found, kind: str | None) -> Json:
    """What a table's cell holds, as the kind wants it; a number as people read it where that is String."""
    value = found.value
    if isinstance(value, str):
        return from_text(value.strip(), kind, found.decimal)
    if kind == "String":
        return text(value)
    value = plain(value, kind)
    return int(value) if kind == "Integer" else value


def from_text(text: str, kind: str | None, decimal: Decimal | None = None) -> Json:
    """Text as the kind wants it; as it is where the kind is String or not known.

    `decimal` is what a table was said to have as decimal point; without it, it is a point.
    """
    if kind in (None, "String"):
        return plain(text, kind)
    if kind == "Bool":
        if text.lower() not in ("true", "false"):
            raise ValueProblemError("is neither true nor false")
        return text.lower() == "true"
    if kind in ("Integer", "Float"):
        return plain(_number(text, kind, decimal), kind)
    return from_json(text.encode(), "", kind)


def _number(text: str, kind: str, decimal: Decimal | None) -> int | float:
    mark = re.escape(decimal or ".")
    pattern = r"[+-]?\d{1,999}" if kind == "Integer" else rf"[+-]?(\d+{mark}?\d*|{mark}\d+)([eE][+-]?\d+)?"
    if not re.fullmatch(pattern, text, re.ASCII):
        whole = "a whole number" if kind == "Integer" else "a number"
        raise ValueProblemError(f"is not {whole}{_hint(text, decimal)}")
    return int(text) if kind == "Integer" else float(text.replace(",", "."))


def _hint(text: str, decimal: Decimal | None) -> str:
    """Thousands are never parted, so a mark too many is taken for the other decimal point."""
    if decimal == "," and "." in text:
        return (
            '; the drop\'s table has decimal = ",", so write the decimal point as a comma, and no other point'
        )
    if decimal == "," or "," not in text:
        return ""
    option = ', or ask the data manager for decimal = "," at the table' if decimal else ""
    return f"; write the decimal point as a point, not a comma{option}"


def from_json(content: bytes, pointer: str, kind: str | None) -> Json:
    """The value at an RFC 6901 pointer of a JSON document."""
    found = document(content)
    for step in pointer.split("/")[1:]:
        found = _step(found, step.replace("~1", "/").replace("~0", "~"))
    return plain(found, kind)


def document(content: bytes) -> Json:
    """What a whole JSON file holds; NaN and infinity are no JSON."""
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ValueProblemError("is not valid JSON (or not UTF-8, or cut off)") from None


def _step(document: Json, step: str) -> Json:
    try:
        if isinstance(document, list) and re.fullmatch(r"0|[1-9]\d*", step, re.ASCII):
            return document[int(step)]
        return dict(document)[step]
    except (KeyError, IndexError, TypeError, ValueError):
        raise ValueProblemError("is not in the file") from None


def _refuse_constant(_: str) -> Json:
    raise ValueError


def _serialised(value: Json) -> str:
    """As it would be sent; infinite numbers, half characters and endless nesting cannot be."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
        return json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        raise ValueProblemError("cannot be sent as JSON") from None


def _is_number(value: Json) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


CHECKS: dict[str, Callable[[Json], bool]] = {
    "String": lambda value: isinstance(value, str),
    "Integer": lambda value: _is_number(value) and value == int(value),
    "Float": _is_number,
    "Bool": lambda value: isinstance(value, bool),
}
