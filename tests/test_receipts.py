"""What stands beside a filed folder, in the words of people who know neither rules nor formats."""

import json
from dataclasses import replace
from typing import Any

import pytest

from casedrop.decisions import _has_reason
from casedrop.ledger import ended
from casedrop.model import Case, Geometry, Plan, PlannedFile, PlannedSocket, Problem, SourceFile, Weight
from casedrop.receipts import reason, receipt
from casedrop.stages import Stage
from casedrop.status import of_case

NEAR = Problem("near-miss", "Nearly: ct.mh has another extension.", Weight.NOTE)
TEXTS = Problem("metadata", "a.nii: descrip may name somebody: a copy without it is sent.", Weight.NOTE)
MISSING = Problem("missing-file", "There is no file for ct-image.", Weight.LACKING)
BURNED = Problem("burned-in", "Names may be burned in. The data manager can set allow.")
SERIES = PlannedFile(
    "ct-image.zip/", "ct.zip", 500, 1, 1, 0, sha256="5e", packed=(SourceFile("1.dcm", 2, 1, 1, 1, "a1"),)
)
TIFF = PlannedFile("ct.tif", "ct.tif", 90, 1, 1, 3, sha256="be")


def case(*problems: Problem, file: PlannedFile = TIFF) -> Case:
    plan = Plan("P001", "P001", (PlannedSocket("ct-image", "Image", file.path, (file,)),))
    where = ("https://gc.org/api/v1/", "https://gc.org/s/", "pk", "lung")
    return Case(3, "r", "P001", *where, Stage.FAILED, 1.0, plan=plan, problems=problems, target="failed")


def text(*problems: Problem) -> str:
    """The reason as one line."""
    return " ".join(reason(case(*problems), (), 0.0).split())


def socket(file: PlannedFile) -> dict[str, Any]:
    return dict(json.loads(receipt(case(file=file), (), 0.0))["sockets"][0])


def test_what_stopped_a_folder_stands_before_what_is_only_noted() -> None:
    said = text(NEAR, MISSING, TEXTS, BURNED)
    happened, also = said.index("What happened"), said.index("Also noted")
    assert happened < said.index(MISSING.text) < said.index(BURNED.text) < also
    assert also < said.index(NEAR.text) < said.index(TEXTS.text) < said.index("What is on Grand Challenge")
    assert "Also noted" not in text(MISSING)


def test_a_note_is_no_reason_to_try_a_folder_again_by() -> None:
    failed = case(NEAR, MISSING, TEXTS, BURNED)
    assert "(For `casedrop retry --reason`: burned-in, missing-file)" in text(*failed.problems)
    assert _has_reason(failed, "burned-in")
    assert _has_reason(failed, "")
    assert not _has_reason(failed, "metadata")
    assert of_case(failed, "")["reasons"] == ["burned-in", "missing-file"]
    assert of_case(failed, "")["why"] == f"{MISSING.text} {BURNED.text}"
    assert ended(failed, "failed")["why"] == ["missing-file", "burned-in"]


def test_a_word_that_is_noted_and_a_cause_is_a_reason() -> None:
    assert _has_reason(case(TEXTS, replace(TEXTS, weight=Weight.WRONG)), "metadata")


def test_where_to_put_it_right_may_be_the_rules() -> None:
    assert (
        "Put right what is named above (in this folder, or in the rules, where a text says that the data manager "
        "must act), then move the folder back into drop/."
    ) in text(BURNED)


@pytest.mark.parametrize(("file", "path"), [(SERIES, "ct-image.zip"), (TIFF, "ct.tif")])
def test_a_path_is_that_of_a_file(file: PlannedFile, path: str) -> None:
    assert socket(file)["files"][0]["path"] == path


def test_what_was_not_compared_is_said_in_plain_words() -> None:
    only = "only that an image arrived, not its size and spacing"
    assert socket(TIFF)["compared"] == f"{only}: they are not read of this format"
    assert socket(SERIES)["compared"] == f"{only}: the headers of this series do not give them simply"
    known = replace(TIFF, geometry=Geometry((4, 5, None)))
    assert socket(known)["compared"]["size"] == [4, 5, None]
