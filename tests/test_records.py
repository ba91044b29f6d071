"""What the journal keeps of a case is all of it."""

import json
from dataclasses import asdict, replace
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from casedrop import records
from casedrop.model import (
    Case,
    Entry,
    Failure,
    Geometry,
    Held,
    Plan,
    PlannedFile,
    PlannedSocket,
    Problem,
    Procedure,
    SourceFile,
    UploadRef,
)
from casedrop.stages import Stage

T = TypeVar("T")
NAMES = st.text(st.characters(), max_size=4)
"""Bytes that are not UTF-8 stand in names as surrogates."""
NUMBERS = st.integers(0, 2**63)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NAMES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
SIDES = st.floats(0.1, 9)


def few(what: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(what, max_size=2).map(tuple)


GEOMETRIES = st.builds(Geometry, st.tuples(NUMBERS, NUMBERS, st.none() | NUMBERS), st.tuples(*[SIDES] * 3))
FILES = st.builds(
    PlannedFile,
    path=NAMES,
    content=st.none() | NAMES,
    md5s=few(NAMES),
    geometry=st.none() | GEOMETRIES,
    packed=few(st.builds(SourceFile, path=NAMES)),
    procedure=st.none() | st.builds(Procedure),
)
SOCKETS = st.builds(PlannedSocket, socket=NAMES, files=few(FILES), value=VALUES, segments=few(NUMBERS))
PLAN: dict[str, Any] = {
    "folder": NAMES,
    "sockets": few(SOCKETS),
    "entries": few(st.builds(Entry, path=NAMES)),
}
PLAN |= {"groups": few(st.tuples(NAMES, NAMES))}
PLANS = st.builds(Plan, **PLAN, parts=few(st.builds(Plan, **PLAN, parts=st.just(()))))
CASES = st.builds(
    Case,
    folder=NAMES,
    stage=st.sampled_from(Stage),
    since=st.floats(0, 4e9),
    plan=st.none() | PLANS,
    uploads=st.dictionaries(NAMES, st.builds(UploadRef), max_size=2),
    sessions=st.dictionaries(NAMES, few(NAMES), max_size=2),
    held=st.dictionaries(NAMES, st.builds(Held), max_size=2),
    problems=few(st.builds(Problem)),
    failed_before=few(st.builds(Failure, since=st.floats(0, 4e9))),
)


@settings(max_examples=30)
@given(CASES)
def test_a_case_comes_back_from_its_text_with_everything_in_it(case: Case) -> None:
    written = records.written(case)
    assert records.read(written.text).case == case
    assert json.loads(written.text) == json.loads(json.dumps(asdict(case)))


@settings(max_examples=20)
@given(CASES, CASES, st.booleans())
def test_a_record_that_takes_over_a_plan_is_the_same_to_the_letter(
    case: Case, other: Case, same: bool
) -> None:
    before = records.written(case)
    after = replace(other, plan=case.plan if same else other.plan)
    assert records.written(after, before) == records.written(after)
    assert records.written(after, records.read(before.text)) == records.written(after)
