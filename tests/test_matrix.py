"""Which of the expected patients and visits are there."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casedrop.matrix import ABSENT, DONE, FAILED, STATES, WAITING, Seen, as_csv, merged, text
from lab import Lab, mha

NAMES = ["patient", "visit"]


def test_what_is_expected_and_not_there_is_absent() -> None:
    found = merged([("P1", "v1"), ("P1", "v2")], [(("P1", "v1"), Seen(DONE, "https://gc/1/"))])
    assert found == {("P1", "v1"): Seen(DONE, "https://gc/1/"), ("P1", "v2"): Seen(ABSENT)}


def test_a_grid_of_patients_and_visits() -> None:
    found = merged(
        [("P1", "v1"), ("P1", "v2"), ("P2", "v1")],
        [(("P1", "v1"), Seen(DONE)), (("P2", "v1"), Seen(FAILED)), (("P2", "v3"), Seen(WAITING))],
    )
    assert text(NAMES, found).splitlines() == [
        r"patient \ visit  v1      v2      v3",
        "P1               done    absent  -",
        "P2               failed  -       waiting",
        "",
        "-: nothing is there, and nothing is expected.",
        "",
        "1 done, 1 waiting, 1 failed, 1 absent.",
    ]


def test_one_key_is_a_line_for_each() -> None:
    found = merged([("P1",), ("P2",)], [(("P1",), Seen(DONE, "https://gc/1/"))])
    assert text(["folder"], found).splitlines() == [
        "folder  state   display set",
        "P1      done    https://gc/1/",
        "P2      absent",
        "",
        "1 done, 1 absent.",
    ]
    assert text(["folder"], {}).splitlines()[-1] == "nothing there."


KEYS = st.tuples(st.sampled_from(["P1", "P2", 'P;"3']), st.sampled_from(["v1", "v2\n"]))


@given(
    expected=st.sets(KEYS),
    seen=st.lists(st.tuples(KEYS, st.sampled_from(STATES[:-1]).map(Seen))),
)
def test_every_key_stands_once_with_its_best_state(
    expected: set[tuple[str, str]], seen: list[tuple[tuple[str, str], Seen]]
) -> None:
    found = merged(expected, seen)
    assert set(found) == expected | {key for key, _ in seen}
    for key, one in found.items():
        states = [each.state for other, each in seen if other == key]
        assert one.state == min(states, key=STATES.index, default=ABSENT)
    assert len(list(csv.reader(io.StringIO(as_csv(NAMES, found))))) == len(found) + 1
    assert ("-: nothing is there" in text(NAMES, found)) is any(
        (one, two) not in found for one, _ in found for _, two in found
    )


@pytest.mark.long
def test_a_study_tells_what_is_still_to_come(lab: Lab) -> None:
    expected = lab.top / "expected.csv"
    expected.write_text("Patient,Visit,Code\nP001,v1,A\nP001,v2,B\nP001,v3,C\nP002,v1,D\n")
    lab.configure(
        'split = { folders = "*/" }\ntitle = "{folder} {subfolder} {table.all.Code}"\n'
        f'[[drops.tables]]\nname = "all"\nfile = "{expected}"\n'
        'key_columns = { folder = "Patient", subfolder = "Visit" }\n'
    )
    for visit, side in (("v1", 8), ("v2", 9)):
        (lab.desk / "P001" / visit).mkdir(parents=True)
        (lab.desk / "P001" / visit / "ct.mha").write_bytes(mha(side))
    (lab.desk / "P001").rename(lab.drop / "P001")
    assert lab.once() == 0, lab.log.read_text()
    (lab.drop / "P002" / "v1").mkdir(parents=True)
    assert lab.output("matrix", "lung", "--expected", "all", code=1).splitlines() == [
        r"folder \ subfolder  v1       v2    v3",
        "P001                done     done  absent",
        "P002                waiting  -     -",
        "",
        "-: nothing is there, and nothing is expected.",
        "",
        "2 done, 1 waiting, 1 absent.",
    ]
    rows = list(csv.DictReader(io.StringIO(lab.output("matrix", "lung", "--csv", code=1))))
    assert [(one["folder"], one["subfolder"], one["state"]) for one in rows] == [
        ("P001", "v1", "done"),
        ("P001", "v2", "done"),
        ("P002", "v1", "waiting"),
    ]
    assert rows[0]["display_set"].startswith("http")
    assert "no table" in lab.command("matrix", "lung", "--expected", "nope", code=78)


@pytest.mark.long
def test_a_split_folder_that_was_refused_is_failed_in_all_its_visits(lab: Lab) -> None:
    lab.configure('split = { folders = "*/" }\ntitle = "{folder} {subfolder}"')
    (lab.desk / "P001" / "v1").mkdir(parents=True)
    (lab.desk / "P001" / "v1" / "ct.mha").write_bytes(mha(8))
    (lab.desk / "P001" / "v2").mkdir()
    (lab.desk / "P001" / "v2" / "odd.doc").write_bytes(b"x")
    (lab.desk / "P001").rename(lab.drop / "P001")
    assert lab.once() == 1
    assert lab.output("matrix", "lung", code=1).splitlines() == [
        r"folder \ subfolder  v1      v2",
        "P001                failed  failed",
        "",
        "2 failed.",
    ]


def test_no_name_becomes_a_formula() -> None:
    (_, row) = csv.reader(io.StringIO(as_csv(["folder"], {('=HYPERLINK("http://x")',): Seen(ABSENT)})))
    assert row[0] == '\'=HYPERLINK("http://x")'
