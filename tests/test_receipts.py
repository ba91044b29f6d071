"""What stands beside a filed folder, in the words of people who know neither rules nor formats."""

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from casedrop.decisions import _has_reason
from casedrop.ledger import ended
from casedrop.model import (
    Case,
    Geometry,
    Held,
    Plan,
    PlannedFile,
    PlannedSocket,
    Problem,
    Procedure,
    SourceFile,
    Weight,
)
from casedrop.receipt_text import receipt_text
from casedrop.receipts import COLUMNS, reason, receipt
from casedrop.stages import Stage
from casedrop.status import of_case
from lab import RECEIPT

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
    assert "(For the administrator's `casedrop retry --reason`: burned-in, missing-file)" in text(
        *failed.problems
    )
    assert _has_reason(failed, "burned-in")
    assert _has_reason(failed, "")
    assert not _has_reason(failed, "metadata")
    assert of_case(failed, "")["reasons"] == ["burned-in", "missing-file"]
    assert of_case(failed, "")["why"] == f"{MISSING.text} {BURNED.text}"
    assert ended(failed, "failed")["why"] == ["missing-file", "burned-in"]


def test_a_word_that_is_noted_and_a_cause_is_a_reason() -> None:
    assert _has_reason(case(TEXTS, replace(TEXTS, weight=Weight.WRONG)), "metadata")


def test_each_cause_says_who_acts_and_what_to_do() -> None:
    said = text(MISSING, BURNED)
    assert (
        "Who acts: whoever copied the folder or the data manager What to do: Put the file into the fo" in said
    )
    assert "Who acts: the data manager What to do: Look at the images." in said
    assert "Once it is put right, move the folder back into drop/." in said


def test_many_findings_of_one_kind_are_explained_once() -> None:
    again = replace(MISSING, text="There is no file for report-pdf.")
    said = text(MISSING, BURNED, again)
    assert f"A required file is missing - {MISSING.text} - {again.text} Who acts" in said
    assert said.count("A required file is missing") == 1


def test_a_reason_names_whom_to_ask_where_the_drop_does() -> None:
    assert "Questions: Jo, phone 4711" in " ".join(reason(case(MISSING), (), 0.0, "Jo, phone 4711").split())
    assert "Questions" not in text(MISSING)


def test_a_reason_of_an_earlier_release_is_still_told() -> None:
    assert "What happened - It was odd. What is on" in text(Problem("no-longer-said", "It was odd."))


@pytest.mark.parametrize(("file", "path"), [(SERIES, "ct-image.zip"), (TIFF, "ct.tif")])
def test_a_path_is_that_of_a_file(file: PlannedFile, path: str) -> None:
    assert socket(file)["files"][0]["path"] == path


def test_what_was_not_compared_is_said_in_plain_words() -> None:
    only = "only that an image arrived, not its size and spacing"
    assert socket(TIFF)["compared"] == f"{only}: they are not read of this format"
    assert socket(SERIES)["compared"] == f"{only}: the headers of this series do not give them simply"
    known = replace(TIFF, geometry=Geometry((4, 5, None)))
    assert socket(known)["compared"]["size"] == [4, 5, None]


DEIDENTIFIED = replace(
    SERIES,
    procedure=Procedure("dicom-standard"),
    method="the profile of PS3.15",
    taken=tuple(f"Attribute{number}" for number in range(12)),
)


def in_words(said: Case, *parts: Case) -> str:
    """The receipt for people as one line."""
    text = receipt_text(receipt(said, parts, 0.0))
    assert "\n" not in text.replace("\r\n", "")
    assert all(len(line) <= COLUMNS or " " not in line.strip() for line in text.split("\r\n"))
    return " ".join(text.split())


def planned(said: Case, **changes: Any) -> Case:
    return replace(said, plan=replace(said.settled, **changes))


def test_a_receipt_in_words_tells_what_went_where_and_what_was_left() -> None:
    score = PlannedSocket("some-score", "Value", "score.json, /score", value=2.5)
    sent = planned(case(), left_out=("notes.txt", "Thumbs.db"))
    sent = planned(replace(sent, set_pk="5e7"), sockets=(*sent.settled.sockets, score))
    said = in_words(sent)
    assert said.startswith('The folder "P001" is on Grand Challenge (confirmed 01 January 1970')
    assert "It is in the reader study lung: https://gc.org/s/ " in said
    assert (
        'The display set "P001": https://gc.org/s/display-sets/5e7/ Sent: - ct-image: ct.tif ct.tif, 90 bytes'
        in said
    )
    assert "- some-score: 2.5 (from score.json, /score)" in said
    assert "Not sent: - notes.txt - Thumbs.db" in said
    assert "Not sent: nothing" in in_words(case())


def test_a_receipt_tells_the_place_that_its_folder_asked_for() -> None:
    """A display set that was there before keeps its own."""
    placed = planned(replace(case(), set_pk="5e7"), order=30)
    assert 'The display set "P001", in place 30: https' in in_words(placed)
    assert json.loads(receipt(placed, (), 0.0))["order"] == 30
    for other in (case(), replace(placed, twin_of=2), replace(placed, twin_of=2, added=("ct-image",))):
        assert "order" not in json.loads(receipt(other, (), 0.0))


def test_a_receipt_in_words_tells_how_dicom_was_deidentified() -> None:
    said = in_words(case(file=DEIDENTIFIED))
    assert "1 file packed as ct-image.zip, 500 bytes" in said
    assert "De-identified (dicom-standard): the profile of PS3.15" in said
    assert "Taken away or replaced: Attribute0, Attribute1" in said
    assert "Attribute9 and 2 more" in said
    assert "Sent without: descrip" in in_words(case(file=replace(TIFF, stripped=("descrip",))))


def test_a_receipt_in_words_tells_of_each_part() -> None:
    parts = [planned(replace(case(), set_pk=pk), part=pk, title=f"P001 {pk}") for pk in ("v1", "v2")]
    head = planned(case(), parts=tuple(part.settled for part in parts), sockets=())
    said = in_words(head, *parts)
    for pk in ("v1", "v2"):
        assert f'The display set "P001 {pk}", of "{pk}": https://gc.org/s/display-sets/{pk}/ Sent:' in said


def test_a_receipt_in_words_tells_what_was_known_before_and_what_is_not_known() -> None:
    again = in_words(replace(case(), twin_of=2))
    assert "An earlier folder is this very one, so nothing was sent again. It holds: - ct-image" in again
    added = in_words(replace(case(), twin_of=2, added=("ct-image",)))
    assert "Added or replaced in what was there: ct-image" in added
    unknown = in_words(replace(case(), held={"ct-set": Held("", 0)}))
    assert "Grand Challenge does not tell what became of: ct-set" in unknown


def test_a_receipt_in_words_stays_short_whatever_it_holds() -> None:
    files = tuple(replace(TIFF, path=f"{number}.tif") for number in range(500))
    many = PlannedSocket("ct-set", "Image", "series 3", files)
    notes = PlannedSocket("notes", "Value", "n.json", value=["ä\n\x85" * 400])
    said = planned(case(), sockets=(many, notes), left_out=tuple(f"{number}.txt" for number in range(500)))
    text = in_words(said)
    assert "and 490 more files, 44,100 bytes" in text
    assert "- and 400 more" in text
    assert len(text) < 5000


def test_the_schema_takes_receipts_of_both_kinds_and_nothing_less_or_more() -> None:
    jsonschema.Draft202012Validator.check_schema(RECEIPT)
    summed = replace(TIFF, sha256="be" * 32)
    one = replace(case(file=summed), set_pk="5e7")
    part = planned(one, part="v1")
    head = planned(one, parts=(part.settled,), sockets=())
    whole, split = (json.loads(receipt(said, (part,), 0.0)) for said in (one, head))
    ordered = json.loads(receipt(planned(one, order=3), (), 0.0))
    jsonschema.validate(ordered, RECEIPT)
    for record in (whole, split, json.loads(receipt(replace(one, archive=True), (), 0.0))):
        jsonschema.validate(record, RECEIPT)
        for key in record:
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({name: said for name, said in record.items() if name != key}, RECEIPT)
    for odd in (whole | split, whole | {"archive": "lung"}, whole | {"odd": 1}, whole | {"version": 2}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(odd, RECEIPT)
