"""What the settings say of DICOM: ``dicom`` and ``leave_out`` tables by keyword, and how it is de-identified.

pydicom is loaded only where such a table stands in the file.
"""

import difflib
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from casedrop import config_checks as checks
from casedrop.config_across import Location, Tables, tables
from casedrop.dicom_model import FOLDER_GUARDS, SERIES_GUARDS, DicomTest
from casedrop.model import ALLOW, ANNEX_E_OPTIONS, Procedure, ProcedureName

NUMBERS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "US or SS"})
BINARY = frozenset({"OB", "OW", "OB or OW", "OD", "OF", "OL", "OV", "UN", "SQ", "AT"})
"""Value representations (PS3.5, 6.2) that hold numbers, and those that a rule cannot compare."""

FILE_META = 0x0002

RULE_ALLOW = tuple(sorted({*SERIES_GUARDS, *ALLOW}))
DROP_ALLOW = tuple(sorted({*RULE_ALLOW, *FOLDER_GUARDS}))
SHAPE = 'a pattern such as "*thorax*", a list of them, { min = 1, max = 3 } or { not = "*scout*" }'


def rule_of(table: object) -> object:
    """A table as a rule; what of it is malformed is left out here and said by `mistakes`."""
    if not isinstance(table, dict):
        return table if isinstance(table, tuple) else ()
    return tuple(test for keyword, value in table.items() if (test := _test(keyword, value)))


def rules_of(listed: object) -> object:
    return tuple(rule_of(table) for table in listed) if isinstance(listed, list | tuple) else ()


def _test(keyword: str, value: object) -> DicomTest | None:
    if _shape(value):
        return None
    if isinstance(value, dict):
        return DicomTest(
            keyword,
            minimum=value.get("min"),
            maximum=value.get("max"),
            unlike=_globs(value.get("not", ())),
        )
    if isinstance(value, int | float):
        return DicomTest(keyword, minimum=value, maximum=value)
    return DicomTest(keyword, globs=_globs(value))


def _globs(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _shape(value: object) -> str:
    """What is wrong with what a keyword is to be, whatever the keyword; "" where nothing is."""
    if isinstance(value, dict):
        if not value or value.keys() - {"min", "max", "not"}:
            return "takes min, max and not, nothing else"
        limits = [value[key] for key in ("min", "max") if key in value]
        if not all(map(_is_number, limits)):
            return "takes numbers as min and max"
        if len(limits) == 2 and limits[0] > limits[1]:  # noqa: PLR2004
            return "has a min above its max"
        return (
            "takes a pattern, or a list of them, as not"
            if "not" in value and not _are_globs(value["not"])
            else ""
        )
    return "" if _is_number(value) or _are_globs(value) else f"must be {SHAPE}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_globs(value: object) -> bool:
    listed = [value] if isinstance(value, str) else value
    return isinstance(listed, list) and bool(listed) and all(isinstance(one, str) for one in listed)


def mistakes(data: Tables) -> Iterator[tuple[Location, str]]:
    """Everything wrong with the DICOM settings of the raw file, beside what pydantic says of it."""
    for n, drop in tables(data, "drops"):
        at: Location = ("drops", n)
        yield from _left_out(drop, (*at, "leave_out"))
        for m, socket in tables(drop, "sockets"):
            if "dicom" in socket:
                yield from _rule(socket["dicom"], (*at, "sockets", m, "dicom"))
            yield from _companions(socket, (*at, "sockets", m))
        for key, way in (("already_done", "already-done"), ("dicom_standard", "dicom-standard")):
            if key in drop and drop.get("deidentify") != way:
                yield (*at, key), f'goes only with deidentify = "{way}"'


def _left_out(drop: Tables, at: Location) -> Iterator[tuple[Location, str]]:
    listed = drop.get("leave_out", [])
    if not isinstance(listed, list):
        yield at, 'must be a list of tables such as [{ SeriesDescription = "*scout*" }]'
        return
    for n, table in enumerate(listed):
        if table == {}:
            yield (*at, n), "names no keyword and would leave out every series"
        yield from _rule(table, (*at, n))


def _companions(socket: Tables, at: Location) -> Iterator[tuple[Location, str]]:
    if "pick" in socket and "dicom" not in socket:
        yield (*at, "pick"), "goes only with dicom"
    if "allow" in socket and "dicom" not in socket and "files" not in socket:
        yield (*at, "allow"), "goes only with dicom or files"


def _rule(table: object, at: Location) -> Iterator[tuple[Location, str]]:
    if not isinstance(table, dict):
        yield at, 'must be a table such as { Modality = "CT", SeriesDescription = "*thorax*" }'
        return
    for keyword, value in table.items():
        representation = _representation(keyword)
        if not representation:
            yield at, _unknown(keyword)
        elif problem := _shape(value) or _kind(representation, value):
            yield (*at, keyword), problem


def _representation(keyword: str) -> str:
    """The VR of a public keyword (PS3.6), "" where there is none of that name."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword  # noqa: PLC0415

    tag = tag_for_keyword(keyword)
    if tag is None:
        return ""
    return "OB" if tag >> 16 == FILE_META else dictionary_VR(tag)


def _unknown(keyword: str) -> str:
    from pydicom.datadict import keyword_dict  # noqa: PLC0415

    known = {word.lower(): word for word in keyword_dict if word}
    near = difflib.get_close_matches(keyword.lower(), known, 1)
    hint = f'"{known[near[0]]}" may be meant' if near else "they are written like SeriesDescription"
    return f"{checks.shown(keyword) or 'a key (not a short word)'} is no DICOM keyword; {hint}"


def _kind(representation: str, value: object) -> str:
    if representation in BINARY:
        return "holds what no rule can compare; take another element"
    has_limits = _is_number(value) or (isinstance(value, dict) and bool(value.keys() & {"min", "max"}))
    if has_limits and representation not in NUMBERS:
        return "holds text: give a pattern in quotes"
    return ""


Dicom = Annotated[Any, BeforeValidator(rule_of), Field(description='a table such as { Modality = "CT" }')]
LeaveOut = Annotated[
    Any, BeforeValidator(rules_of), Field(description='a list such as [{ SeriesDescription = "*scout*" }]')
]
PickOption = Annotated[
    Literal["", "largest", "latest"],
    Field(description='"largest" or "latest"; without it one series may fit'),
]


def _known(words: tuple[str, ...]) -> AfterValidator:
    def check(given: tuple[str, ...]) -> tuple[str, ...]:
        if set(given) - set(words):
            raise ValueError(f"takes only {', '.join(words)}")
        return given

    return AfterValidator(check)


_LIST = BeforeValidator(checks.one_or_more, json_schema_input_type=str | list[str])
RuleAllow = Annotated[
    tuple[str, ...], _LIST, _known(RULE_ALLOW), Field(description=f"a list of {', '.join(RULE_ALLOW)}")
]
DropAllow = Annotated[
    tuple[str, ...], _LIST, _known(DROP_ALLOW), Field(description=f"a list of {', '.join(DROP_ALLOW)}")
]
Options = Annotated[
    tuple[str, ...],
    _LIST,
    _known(ANNEX_E_OPTIONS),
    Field(description=f"a list of {', '.join(ANNEX_E_OPTIONS)}"),
]
Patterns = Annotated[
    tuple[Annotated[str, AfterValidator(checks.expression)], ...],
    _LIST,
    Field(description="a list of regular expressions"),
]
Deidentify = Annotated[
    ProcedureName,
    Field(description='"grand-challenge", "dicom-standard", "already-done" or "send-identifiable"'),
]


def procedure(
    name: ProcedureName, allow: tuple[str, ...], patterns: tuple[str, ...], options: tuple[str, ...]
) -> Procedure:
    """The drop's way of de-identifying."""
    return Procedure(name, tuple(word for word in ALLOW if word in allow), patterns, options)
