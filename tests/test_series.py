"""Headers become series, rules say which is sent, and what is doubtful of it is said."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casedrop.dicom_model import (
    DicomHeader,
    DicomRule,
    DicomTest,
    fits,
    holds_dicom,
    looks_like_dicom,
)
from casedrop.group import check_rules, group
from casedrop.model import (
    Drop,
    Entry,
    EntryKind,
    Grouping,
    Listing,
    Procedure,
    ProcedureName,
    SocketKind,
    SocketRule,
    TextValue,
    Weight,
)
from casedrop.series import common_folder, series_of
from casedrop.series_rules import procedure_of, sorted_out

CT, MR, US = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.6.1"
ACROSS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ANY = SocketRule("ct", dicom=())
KINDS = {
    "ct": SocketKind("ct", "Image", "Image"),
    "b": SocketKind("b", "Image", "Image"),
    "pdf": SocketKind("pdf", "PDF file", "File"),
    "v": SocketKind("v", "Anything", "Value"),
}
Headers = dict[str, DicomHeader]


def header(**changed: object) -> DicomHeader:
    plain = DicomHeader(
        sop_class=CT,
        class_name="CT Image Storage",
        study="1.1",
        series="1.1.1",
        patient="p",
        modality="CT",
        description="Thorax of Mrs Doe",
        number=3,
        instance=1,
        position=(0.0, 0.0, 0.0),
        orientation=ACROSS,
        spacing=(0.7, 0.7),
        size=(512, 512),
        taken="20260102101112",
    )
    return replace(plain, **changed)  # type: ignore[arg-type]


def stack(count: int, folder: str = "a", step: float = 2.5, **changed: object) -> Headers:
    """A series of slices along z, numbered from 1."""
    return {
        f"{folder}/{n + 1:04}": header(
            **{"instance": n + 1, "position": (0.0, 0.0, n * step), "instance_uid": f"{folder}.{n}"} | changed
        )
        for n in range(count)
    }


def ct(*tests: DicomTest, **changed: object) -> SocketRule:
    return replace(ANY, dicom=tests, **changed)  # type: ignore[arg-type]


def made(
    headers: Headers, *rules: SocketRule, others: Mapping[str, int] | None = None, **drop: object
) -> Grouping:
    entries = [Entry(path, EntryKind.FILE, size) for path, size in (others or {}).items()]
    entries += [Entry(path, EntryKind.FILE, 1000, 1, 2, 3) for path in headers]
    listing = Listing("P1", tuple(sorted(entries, key=lambda one: one.path)))
    rules_of = Drop("lung", "/lab", "lung", rules or (ANY,), **drop)  # type: ignore[arg-type]
    return group(listing, rules_of, {}, KINDS, headers=headers)


def said(grouping: Grouping) -> list[tuple[str, Weight]]:
    return [(problem.word, problem.weight) for problem in grouping.problems]


def words(grouping: Grouping) -> set[str]:
    return {problem.word for problem in grouping.problems}


def text(grouping: Grouping) -> str:
    return " ".join(problem.text for problem in grouping.problems)


def values(**given: str | tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((key, (one,) if isinstance(one, str) else one) for key, one in given.items())


THORAX = DicomTest("SeriesDescription", ("*thorax*",))


@pytest.mark.parametrize(
    ("test", "shown", "fit"),
    [
        (DicomTest("K", ("*thorax*",)), ("CT THORAX 1.0",), True),
        (DicomTest("K", ("head", "th?rax")), ("Thorax",), True),
        (DicomTest("K", ("thorax",)), ("Thorax 1.0",), False),
        (DicomTest("K", ("*",)), (), False),
        (DicomTest("K", ("",)), (" ",), True),
        (DicomTest("K", ("AXIAL",)), ("ORIGINAL", "PRIMARY", "AXIAL"), True),
        (DicomTest("K", unlike=("*scout*",)), ("Scout",), False),
        (DicomTest("K", unlike=("LOCALIZER",)), ("ORIGINAL", "LOCALIZER"), False),
        (DicomTest("K", unlike=("*scout*",)), (), True),
        (DicomTest("K", maximum=3), ("3.0",), True),
        (DicomTest("K", maximum=3), ("3.1",), False),
        (DicomTest("K", minimum=1, maximum=3), ("0.5", "2"), False),
        (DicomTest("K", minimum=3, maximum=3), ("3",), True),
        (DicomTest("K", minimum=1), (), False),
        (DicomTest("K", minimum=1), ("nan",), False),
        (DicomTest("K", maximum=1), ("thin",), False),
    ],
)
def test_a_rule_asks_each_element(test: DicomTest, shown: tuple[str, ...], fit: bool) -> None:
    assert fits((test,), header(values=(("K", shown),))) is fit


@pytest.mark.parametrize(
    ("head", "is_dicom"),
    [
        (bytes(128) + b"DICM", True),
        (b"\x08\x00\x05\x00CS\x0a\x00", True),
        (b"\x02\x00\x00\x00UL\x04\x00", True),
        (b"\x08\x00\x05\x00\x0a\x00\x00\x00", True),
        (b"\x00\x08\x00\x05CS\x00\x0a", True),
        (b"\x08\x00\x05\x00\xff\xff\xff\xff", False),
        (b"NDims = 3\n", False),
        (b"", False),
    ],
)
def test_dicom_is_known_by_its_first_bytes(head: bytes, is_dicom: bool) -> None:
    assert looks_like_dicom(head) is is_dicom


@pytest.mark.parametrize("tag", [b"\x10\0\x10\0", b"\x10\0\x20\0"])
def test_dicom_without_its_beginning_is_known_by_the_patient(tag: bytes) -> None:
    assert holds_dicom(b"rest of what stood before" + tag + b"\x08\0\0\0Doe^Jane")
    assert not holds_dicom(b"voxels, 16 bits each, all small" + tag + b"\x08\0\x09\0\x07\0\x01\0")


def test_a_series_goes_whole_into_its_socket_under_a_name_no_file_can_have() -> None:
    grouping = made(stack(3))
    assert grouping.plan
    (socket,) = grouping.plan.sockets
    (file,) = socket.files
    assert (socket.super_kind, socket.source) == ("Image", "series 3 (CT, 3 files in a)")
    assert (file.path, file.upload_name, file.size) == ("ct.zip/", "ct.zip", 0)
    assert [one.path for one in file.packed] == ["a/0001", "a/0002", "a/0003"]
    assert [(one.size, one.mtime_ns, one.ctime_ns, one.inode) for one in file.packed] == [(1000, 1, 2, 3)] * 3
    assert file.procedure == Procedure()


def test_a_series_is_chosen_by_its_headers_and_the_rest_left_out_as_configured() -> None:
    scout = stack(1, "s", series="1.1.9", number=1, values=values(SeriesDescription="Scout"))
    thorax = stack(3, values=values(SeriesDescription="Thorax 1.0"))
    grouping = made(scout | thorax, ct(THORAX), leave_out=((DicomTest("SeriesDescription", ("scout",)),),))
    assert grouping.plan
    assert grouping.plan.left_out == ("series 1 (CT, the file s/0001)",)
    assert [one.fate for one in grouping.series] == ["taken", "left out as configured (leave_out)"]
    alone = made(scout, ct(THORAX), leave_out=((DicomTest("SeriesDescription", ("scout",)),),))
    assert said(alone) == [("missing-series", Weight.LACKING)]


def test_what_is_left_out_is_taken_by_no_rule() -> None:
    scouts = stack(1, values=values(SeriesDescription="Scout"))
    rules = (ct(), replace(ANY, socket="b", dicom=None, files=("**/*",), required=False))
    grouping = made(scouts, *rules, leave_out=((DicomTest("SeriesDescription", ("scout",)),),))
    assert grouping.claims == {"a/0001": ()}
    assert words(grouping) == {"missing-series"}


def test_a_series_no_rule_takes_is_one_problem_whatever_it_counts() -> None:
    grouping = made(stack(300), ct(THORAX, required=False))
    assert said(grouping) == [("unmatched-series", Weight.WRONG)]
    assert "series 3 (CT, 300 files in a)" in text(grouping)
    ignoring = made(
        stack(300) | stack(2, "b", series="1.1.2"), ct(DicomTest("K", unlike=("x",))), unmatched="ignore"
    )
    assert words(ignoring) == {"several-series"}


def test_left_out_series_are_named_in_few_words() -> None:
    thorax = stack(2, values=values(SeriesDescription="Thorax"))
    grouping = made(thorax | stack(300, "b", series="1.1.2", number=None), ct(THORAX), unmatched="ignore")
    assert grouping.plan
    assert grouping.plan.left_out == ("a series without number (CT, 300 files in b)",)


def test_a_missing_series_says_what_there_is_and_why_it_does_not_fit() -> None:
    report = {"r": header(image=False, class_name="Basic Text SR Storage", modality="SR")}
    grouping = made(
        stack(3) | report, ct(DicomTest("SeriesDescription", ("*thorax*",)), DicomTest("K", ("",)))
    )
    assert ("missing-series", Weight.LACKING) in said(grouping)
    assert "series 3 (CT, 3 files in a), whose SeriesDescription" in text(grouping)


def test_a_series_of_which_only_some_files_fit_does_not_fit_and_that_is_said() -> None:
    mixed = stack(3, values=values(SeriesDescription="Thorax")) | {"a/0004": header(instance=4)}
    assert "of which 3 of 4 files fit" in text(made(mixed, ct(THORAX)))


def test_two_fitting_series_are_wrong_and_all_named_unless_one_is_picked() -> None:
    both = stack(3) | stack(4, "b", series="1.1.2", number=4, taken="20260101000000")
    grouping = made(both)
    assert said(grouping) == [("several-series", Weight.WRONG)]
    assert "series 3 (CT, 3 files in a) and series 4 (CT, 4 files in b)" in text(grouping)
    for pick, source in (
        ("largest", "series 4 (CT, 4 files in b)"),
        ("latest", "series 3 (CT, 3 files in a)"),
    ):
        picked = made(both, ct(pick=pick))
        assert picked.plan
        assert picked.plan.sockets[0].source == source
        assert len(picked.plan.left_out) == 1
        assert "left out: another is picked" in [one.fate for one in picked.series]


@pytest.mark.parametrize("pick", ["largest", "latest"])
def test_a_tie_is_not_picked_from(pick: str) -> None:
    grouping = made(stack(3) | stack(3, "b", series="1.1.2"), ct(pick=pick))
    assert said(grouping) == [("several-series", Weight.WRONG)]
    assert "alike" in text(grouping)


def test_a_series_of_two_rules_is_wrong_once_and_a_fallback_gives_way() -> None:
    narrow = ct(THORAX, socket="b")
    thorax = stack(30, values=values(SeriesDescription="Thorax"))
    clash = made(thorax, ct(), narrow)
    assert ("two-rules", Weight.WRONG) in said(clash)
    assert "all take series 3 (CT, 30 files in a)" in text(clash)
    head = stack(2, "h", series="1.1.7", values=values(SeriesDescription="Head"))
    grouping = made(thorax | head, ct(fallback=True), narrow)
    assert grouping.plan
    assert {one.socket: one.source for one in grouping.plan.sockets} == {
        "b": "series 3 (CT, 30 files in a)",
        "ct": "series 3 (CT, 2 files in h)",
    }


def test_a_files_rule_of_an_image_socket_takes_a_series_whole() -> None:
    rule = SocketRule("ct", ("a/*",))
    grouping = made(stack(3), rule)
    assert grouping.plan
    assert len(grouping.plan.sockets[0].files[0].packed) == 3
    part = made(stack(5), SocketRule("ct", ("*[123]",)))
    assert ("part-of-series", Weight.WRONG) in said(part)
    assert "3 of the 5 files" in text(part)
    two = made(stack(3) | stack(3, "a/b", series="1.1.2"), SocketRule("ct", ("a/**/*",)))
    assert said(two) == [("several-series", Weight.WRONG)]
    beside = made(stack(3), rule, others={"a/x.mha": 5})
    assert said(beside) == [("two-files", Weight.WRONG)]
    assert "a/x.mha" in text(beside)


@pytest.mark.parametrize(
    "rule", [SocketRule("pdf", ("**/*",)), SocketRule("v", value_from=TextValue("0001"))]
)
def test_dicom_is_never_sent_as_a_file_or_a_value(rule: SocketRule) -> None:
    grouping = made(stack(3), rule, unmatched="ignore")
    assert ("dicom", Weight.WRONG) in said(grouping)
    assert grouping.plan is None


def test_objects_that_are_no_images_are_left_out_with_a_note() -> None:
    objects = {
        "DICOMDIR": header(image=False, class_name="Media Storage Directory", series=""),
        "r1": header(image=False, class_name="Basic Text SR Storage", series="9"),
        "r2": header(image=False, class_name="Basic Text SR Storage", series="9"),
    }
    for rule in (ANY, SocketRule("ct", ("**/*",))):
        grouping = made(stack(3) | objects, rule)
        assert said(grouping) == [("dicom-object", Weight.NOTE)]
        assert "2 x Basic Text SR, 1 x DICOMDIR" in text(grouping)
        assert grouping.plan
        assert grouping.plan.left_out == (
            "the file DICOMDIR (DICOMDIR)",
            "2 files (Basic Text SR)",
        )
    alone = made(objects, replace(ANY, required=False))
    assert alone.plan is None
    assert "nothing-to-send" in words(alone)


def test_an_object_alone_is_not_sent_by_a_rule_for_files() -> None:
    report = {"r": header(image=False, class_name="Basic Text SR Storage")}
    assert ("missing-file", Weight.LACKING) in said(made(report, SocketRule("ct", ("**/*",))))
    assert ("dicom", Weight.WRONG) in said(made(report, SocketRule("pdf", ("**/*",))))


def test_the_lost_slice_is_named_with_its_neighbours() -> None:
    lost = stack(240)
    del lost["a/0118"]
    grouping = made(lost)
    assert said(grouping) == [("missing-slices", Weight.LACKING)]
    assert "slice 118 of 240 (between a/0117 and a/0119) is missing" in text(grouping)
    for path in ("a/0119", "a/0120"):
        del lost[path]
    assert "slices 118 to 120 of 240" in text(made(lost))


def test_slices_are_counted_in_the_order_of_their_numbers() -> None:
    headers = stack(10, step=-2.5)
    del headers["a/0003"]
    assert "slice 3 of 10" in text(made(headers))


def test_of_three_slices_the_lost_one_in_the_middle_is_told_by_the_numbers() -> None:
    headers = stack(3)
    del headers["a/0002"]
    assert "slice 2 of 3" in text(made(headers))


def test_tilted_and_rounded_slices_are_whole() -> None:
    tilted = {
        path: replace(
            one, position=(0.0, 0.3 * n, round(n * 0.6249, 2)), orientation=(1.0, 0.0, 0.0, 0.0, 0.94, -0.34)
        )
        for n, (path, one) in enumerate(stack(200).items())
    }
    assert made(tilted).plan


@pytest.mark.parametrize(
    ("step", "digits"), [(0.625, 1), (0.75, 1), (0.33, 1), (0.5, 1), (1.25, 1), (0.3, 2)]
)
def test_thin_slices_whose_positions_an_exporter_rounded_are_whole(step: float, digits: int) -> None:
    headers = rounded(40, step, -123.45, digits)
    assert made(headers).plan
    del headers["a/0017"]
    assert "slice 17 of 40 (between a/0016 and a/0018)" in text(made(headers))


@pytest.mark.parametrize("step", [0.1, 0.2])
def test_a_lost_slice_is_missed_where_thin_steps_are_exact_and_the_files_numbered_anew(step: float) -> None:
    """Such positions look rounded to 0.1 mm, but rounding would leave other distances too."""
    headers = stack(12, step=step)
    del headers["a/0007"]
    anew = {path: replace(one, instance=n) for n, (path, one) in enumerate(headers.items(), 1)}
    assert "slice 7 of 12 (between a/0006 and a/0008)" in text(made(anew))


def test_positions_that_rounding_put_at_two_distances_are_whole() -> None:
    """0.3 mm from -64.25 on, to 0.1 mm: 0.2 and 0.4 mm apart by turns."""
    headers = rounded(4, 0.3, -64.25, 1)
    assert made(headers).plan


@pytest.mark.parametrize("uid", ["a.1", "other"])
def test_a_slice_that_is_there_twice_is_wrong_and_named(uid: str) -> None:
    twice = stack(5)
    twice["b/copy"] = replace(twice["a/0002"], instance_uid=uid)
    grouping = made(twice)
    assert said(grouping) == [("missing-slices", Weight.WRONG)]
    assert "slice 2 of 5 is there more than once (a/0002 and b/copy)" in text(grouping)


def test_a_series_that_is_there_twice_is_not_taken_for_two_echoes() -> None:
    once = stack(5)
    again = {path.replace("a/", "b/"): one for path, one in once.items()}
    assert said(made(once | again)) == [("missing-slices", Weight.WRONG)]


def test_several_echoes_are_called_what_they_are() -> None:
    echoes = stack(5, echo=10.0) | stack(5, "b", echo=20.0)
    grouping = made(echoes)
    assert said(grouping) == [("several-images", Weight.WRONG)]
    assert "2 echoes" in text(grouping)
    phases = made(stack(5) | stack(5, "b") | stack(5, "c"))
    assert said(phases) == [("several-images", Weight.WRONG)]
    assert "3 of each slice" in text(phases)
    del echoes["b/0003"]
    assert said(made(echoes)) == [("missing-slices", Weight.LACKING)]
    assert "slice 3 of 5" in text(made(echoes))


@pytest.mark.parametrize(
    ("odd", "what"),
    [
        ({"size": (64, 64)}, "sizes"),
        ({"orientation": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)}, "orientations"),
        ({"spacing": (0.8, 0.8)}, "pixel spacings"),
        ({"position": None}, "positions"),
        ({"position": (0.0, 0.0, 6.1)}, "apart"),
    ],
)
def test_what_does_not_belong_to_an_image_is_said(odd: dict[str, object], what: str) -> None:
    headers = stack(6)
    headers["a/0003"] = replace(headers["a/0003"], **odd)  # type: ignore[arg-type]
    grouping = made(headers)
    assert said(grouping) == [("mixed-geometry", Weight.WRONG)]
    assert what in text(grouping)


def test_without_positions_the_numbers_count() -> None:
    plain = stack(5, position=None, orientation=None)
    assert made(plain).plan
    del plain["a/0004"]
    assert "slice 4 of 5 (between a/0003 and a/0005)" in text(made(plain))
    assert said(made(stack(2, position=None, instance=7))) == [("several-images", Weight.WRONG)]
    assert said(made(plain | {"x": plain["a/0002"]})) == [("missing-slices", Weight.WRONG)]
    nothing = made(stack(2, position=None, orientation=None, instance=None))
    assert said(nothing) == [("missing-slices", Weight.WRONG)]
    assert "nobody can tell" in text(nothing)


def test_a_multi_frame_file_is_an_image_and_two_are_two() -> None:
    assert made(stack(1, frames=30)).plan
    assert said(made(stack(2, frames=30))) == [("several-images", Weight.WRONG)]


def test_a_whole_slide_image_is_many_files_of_many_frames() -> None:
    slide = "1.2.840.10008.5.1.4.1.1.77.1.6"
    assert made(stack(4, sop_class=slide, frames=30, position=None, orientation=None)).plan


def test_what_is_cut_off_waits_and_what_is_burned_in_does_not() -> None:
    headers = stack(3)
    headers["a/0002"] = replace(headers["a/0002"], broken=True)
    assert said(made(headers)) == [("cut-off", Weight.LACKING)]
    assert "a/0002" in text(made(headers))
    assert said(made(stack(3, burned_in=True))) == [("burned-in", Weight.WRONG)]
    unreadable = stack(3) | {"a/x": DicomHeader(broken=True)}
    assert said(made(unreadable)) == [("cut-off", Weight.LACKING)]
    assert "a/x" in text(made(unreadable))


def test_a_damaged_file_is_never_sent_as_it_is() -> None:
    rule = SocketRule("ct", ("**/*",), allow=("cut-off",))
    for unmatched in ("fail", "ignore"):
        grouping = made({"x": DicomHeader(broken=True)}, rule, allow=("cut-off",), unmatched=unmatched)
        assert grouping.plan is None


def test_a_class_the_procedure_does_not_take_is_named_with_the_way_out() -> None:
    scan = stack(1, sop_class=US, class_name="Ultrasound Image Storage", modality="US")
    grouping = made(scan)
    assert said(grouping) == [("unsupported-class", Weight.WRONG)]
    assert "Ultrasound Image Storage" in text(grouping)
    assert 'deidentify = "dicom-standard"' in text(grouping)
    assert made(scan, procedure=Procedure("dicom-standard")).plan
    private = made(stack(1, sop_class="1.2.3.4", class_name=""))
    assert "is of an unknown class" in text(private)
    assert "1 x DICOM of an unknown class" in text(made(stack(3) | {"r": header(image=False, class_name="")}))


def test_several_patients_are_found_whoever_claims_their_files() -> None:
    strangers = {"x/r": header(image=False, class_name="Basic Text SR Storage", patient="q")}
    grouping = made(stack(3) | strangers)
    assert ("several-patients", Weight.WRONG) in said(grouping)
    assert "3 files in a (a/0001 ...) and the file x/r" in text(grouping)
    nameless = {"x/r": header(image=False, series="9", patient="", patient_name="someone")}
    known = stack(3, patient_name="someone")
    assert words(made(known | nameless)) == {"dicom-object"}
    assert "several-patients" in words(made(stack(3, patient_name="another") | nameless))
    assert words(made(stack(3, patient="", patient_name=""))) == set()


@pytest.mark.parametrize(
    "odd", [{"patient": ""}, {"birth_date": "x"}, {"family_given": "x"}, {"patient": "q"}]
)
def test_a_series_is_of_one_patient_in_every_file(odd: dict[str, str]) -> None:
    """A file without an id is as doubtful as one of another patient: half of a series may be somebody else's."""
    headers = stack(6, family_given="doe", birth_date="b", patient_name="doe")
    headers["a/0003"] = replace(headers["a/0003"], **odd)  # type: ignore[arg-type]
    assert said(made(headers)) == [("several-patients", Weight.WRONG)]
    assert "a/0003" in text(made(headers))
    assert made(stack(6, patient="", family_given="", birth_date="")).plan


def test_several_studies_are_found_among_what_is_sent() -> None:
    both = stack(3, values=values(K="1")) | stack(3, "b", series="2.1", study="2", values=values(K="2"))
    rules = ct(DicomTest("K", ("1",))), ct(DicomTest("K", ("2",)), socket="b")
    assert said(made(both, *rules)) == [("several-studies", Weight.WRONG)]
    assert made(both, rules[0], unmatched="ignore").plan
    allowed = made(both, *rules, allow=("several-studies",))
    assert allowed.plan
    assert said(allowed) == [("several-studies", Weight.NOTE)]


GUARDED: dict[str, Headers] = {
    "burned-in": stack(3, burned_in=True),
    "cut-off": stack(3, broken=True),
    "missing-slices": {path: one for path, one in stack(5).items() if path != "a/0002"},
    "mixed-geometry": stack(3) | {"a/9": header(size=(64, 64), position=(0, 0, 7.5))},
    "several-images": stack(3) | stack(3, "b"),
}


@pytest.mark.parametrize("word", GUARDED)
def test_each_guard_can_be_let_pass_by_a_rule_or_a_drop_and_is_still_said(word: str) -> None:
    assert made(GUARDED[word]).plan is None
    for grouping in (made(GUARDED[word], ct(allow=(word,))), made(GUARDED[word], allow=(word,))):
        assert grouping.plan
        assert said(grouping) == [(word, Weight.NOTE)]
    assert made(GUARDED[word], ct(allow=tuple(GUARDED.keys() - {word}))).plan is None


def lacking(headers: Headers, *lost: str) -> Headers:
    return {path: one for path, one in headers.items() if path not in lost}


TURNED = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
ECHOES = stack(10, echo=10.0) | stack(10, "b", echo=20.0)
HIDING: dict[str, tuple[str, Headers]] = {
    "echoes": ("several-images", lacking(ECHOES, "a/0006", "b/0006")),
    "scouts": ("mixed-geometry", lacking(stack(10), "a/0006") | stack(1, "s", orientation=TURNED)),
    "sizes": (
        "mixed-geometry",
        lacking(stack(10), "a/0006") | stack(1, "s", step=0, size=(64, 64), position=None),
    ),
    "a slice beside the others": (
        "mixed-geometry",
        lacking(stack(10), "a/0006") | {"a/0003": header(instance=3, position=(9.0, 0.0, 5.0))},
    ),
    "frames of reference": (
        "mixed-geometry",
        lacking(stack(10), "a/0006") | {"a/0003": replace(stack(3)["a/0003"], frame_of_reference="9")},
    ),
    "a film beside the slices": ("several-images", lacking(stack(10), "a/0006") | stack(1, "f", frames=30)),
    "a file without slices": (
        "cut-off",
        lacking(stack(10), "a/0006") | {"a/0003": header(broken=True, size=None)},
    ),
}


@pytest.mark.parametrize(("allowed", "headers"), HIDING.values(), ids=HIDING)
def test_what_is_let_pass_hides_nothing_behind_it(allowed: str, headers: Headers) -> None:
    assert words(made(headers)) == {allowed}
    behind = made(headers, ct(allow=(allowed,)))
    assert behind.plan is None
    assert (allowed, Weight.NOTE) in said(behind)
    assert words(behind) == {allowed, "mixed-geometry" if allowed == "cut-off" else "missing-slices"}


def test_several_images_of_each_place_that_are_let_pass_need_only_all_places() -> None:
    allow = ct(allow=("several-images",))
    assert made(ECHOES, allow).plan
    assert made(stack(30, step=0), allow).plan
    assert "slice 6 of 10" in text(made(lacking(ECHOES, "a/0006", "b/0006"), allow))
    one_echo_less = lacking(ECHOES, "b/0006")
    assert said(made(one_echo_less)) == [("missing-slices", Weight.LACKING)]
    assert ("several-images", Weight.WRONG) in said(made(one_echo_less, ct(allow=("missing-slices",))))


def test_orientations_that_are_let_pass_are_looked_at_one_by_one() -> None:
    """A localizer of three planes, numbered through all of them."""
    planes = {
        f"{n}/{path}": replace(one, instance=3 * k + n)
        for n, turned in enumerate((ACROSS, TURNED, (0.0, 0.0, -1.0, 1.0, 0.0, 0.0)), 1)
        for k, (path, one) in enumerate(across_planes(turned).items())
    }
    assert made(planes, ct(allow=("mixed-geometry",))).plan


def across_planes(orientation: tuple[float, ...]) -> Headers:
    """Two slices 20 mm apart along any axis."""
    positions = {"a": (0.0, 0.0, 0.0), "b": (20.0, 20.0, 20.0)}
    return {
        path: header(orientation=orientation, position=at, instance_uid="") for path, at in positions.items()
    }


def frames(*places: float, **changed: object) -> Headers:
    positions = tuple((0.0, 0.0, at) for at in places)
    return {
        "enh": header(frames=len(places), position=None, instance=None, frame_positions=positions, **changed)
    }


def test_a_hole_between_the_frames_of_one_file_is_missed() -> None:
    assert made(frames(0, 2.5, 5, 7.5)).plan
    holed = made(frames(0, 2.5, 7.5, 10))
    assert said(holed) == [("missing-slices", Weight.WRONG)]
    assert "slice 3 of 5 (between frame 2 and frame 3)" in text(holed)
    echoes = 0, 0, 2.5, 2.5, 7.5, 7.5, 10, 10
    assert words(made(frames(*echoes))) == {"missing-slices"}
    assert made(frames(*echoes, 10)).plan, "frames of several kinds say nothing"
    assert made(frames(5, 5, 5)).plan, "time points of one place"


@pytest.mark.parametrize(
    "file",
    [
        frames(0, 2.5, 50, 52.5, 100, 102.5),
        frames(0, 2.5, 5, 7.5, 107.5, 110, 112.5, 115),
        frames(0, 4, 8, 12, 25.8, 29.8, 33.8, 37.8),
        frames(0, 4, 8, 28, 32, 36, 56, 60, 64),
        frames(0, 2.5, 7.5, 10, 15, 17.5, 22.5, 25),
        frames(0, 20, 60),
        frames(0, 20, 40, 80, 100, 120, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")),
        frames(0, 5, 10, 15, 20, 22.5, 25, 27.5, 30),
        frames(0, 5, 10, *(12.5 + 2.5 * n for n in range(20))),
        frames(0, 2.5, 6.1, 7.5, 9),
    ],
    ids=[
        "slabs of 2",
        "slabs of 4",
        "off the step",
        "slabs of 3",
        "pairs",
        "three frames",
        "localizer",
        "thick and thin",
        "few thick",
        "uneven",
    ],
)
def test_frames_of_one_file_that_lie_apart_on_purpose_are_whole(file: Headers) -> None:
    assert made(file).plan
    assert not said(made(file))


def test_three_frames_of_one_file_may_lie_beside_each_other() -> None:
    scout = replace(frames(0, 20, 40)["enh"], frame_positions=((0, 0, 0), (30, 0, 20), (0, 0, 40)))
    assert not said(made({"enh": scout}))


def test_what_rule_and_drop_allow_goes_into_the_procedure() -> None:
    drop = Drop(
        "d", "/d", "d", (), procedure=Procedure("dicom-standard"), allow=("changed-size", "several-studies")
    )
    assert procedure_of(drop, ct(allow=("burned-in", "cut-off"))) == Procedure(
        "dicom-standard", ("burned-in", "changed-size", "cut-off")
    )


def test_all_that_is_doubtful_is_said_at_once() -> None:
    headers = stack(5, burned_in=True, sop_class=US) | {"x": header(image=False, patient="q")}
    del headers["a/0002"]
    found = words(made(headers, ANY, ct(THORAX, socket="b")))
    assert found == {
        "burned-in",
        "unsupported-class",
        "missing-slices",
        "several-patients",
        "dicom-object",
        "missing-series",
    }


def test_a_dicom_rule_needs_an_image_socket() -> None:
    drop = Drop("lung", "/lab", "lung", (ct(socket="pdf"), ct(socket="ct"), ct(socket="v")))
    assert len(check_rules(drop, dict(KINDS))) == 2


@pytest.mark.parametrize(
    ("globs", "procedure", "wrong"),
    [
        (("US",), "grand-challenge", True),
        (("us", "PT"), "grand-challenge", True),
        (("ct", "US"), "grand-challenge", False),
        (("*",), "grand-challenge", False),
        (("US",), "dicom-standard", False),
    ],
)
def test_check_tells_a_modality_that_the_procedure_never_takes(
    globs: tuple[str, ...], procedure: ProcedureName, wrong: bool
) -> None:
    rule = SocketRule("ct", dicom=(DicomTest("Modality", globs),))
    drop = Drop("lung", "/lab", "lung", (rule,), procedure=Procedure(procedure))
    assert bool(check_rules(drop, dict(KINDS))) is wrong


def test_the_folder_of_a_series_is_the_deepest_that_holds_it() -> None:
    assert common_folder(["a/b/1", "a/b/2"]) == "a/b"
    assert common_folder(["a/b/1", "a/c/2"]) == "a"
    assert common_folder(["1", "a/2"]) == ""


def test_no_description_stands_in_what_is_said_or_in_a_repr() -> None:
    headers = stack(5, burned_in=True, values=values(PatientName="Doe^Jane"))
    grouping = made(headers, ct(DicomTest("PatientName", ("x",))))
    assert "Doe" not in text(grouping) + repr(grouping) + repr(headers)
    assert grouping.series[0].description == "Thorax of Mrs Doe"


ENTRIES = st.tuples(
    st.sampled_from(["1", "2", "3", ""]),
    st.sampled_from(["a", "b/c"]),
    st.sampled_from(["image", "object", "unreadable"]),
    st.sampled_from(["Thorax", "Scout", "Head"]),
)


@st.composite
def folders(draw: st.DrawFn) -> Headers:
    found = {}
    for n, (series, folder, what, description) in enumerate(draw(st.lists(ENTRIES, max_size=12))):
        one = header(
            series=series,
            instance=n,
            position=(0.0, 0.0, float(n)),
            image=what == "image",
            values=values(SeriesDescription=description),
        )
        found[f"{folder}/{n}"] = DicomHeader(broken=True) if what == "unreadable" else one
    return found


@given(
    folders(), st.sampled_from(["fail", "ignore"]), st.booleans(), st.sampled_from(["", "largest", "latest"])
)
def test_every_file_is_sent_or_left_out_or_reported_exactly_once(
    headers: Headers, unmatched: str, required: bool, pick: str
) -> None:
    scouts: tuple[DicomRule, ...] = ((DicomTest("SeriesDescription", ("scout",)),),)
    drop = Drop("d", "/d", "d", (ANY,), leave_out=scouts)
    files = {path: Entry(path, EntryKind.FILE, 1) for path in headers}
    kept = sorted_out(headers, files, drop)
    every = [path for one in (*kept.series, *kept.left_out) for path in one.paths]
    assert sorted([*every, *kept.objects, *kept.unreadable]) == sorted(headers)
    rules = (
        ct(THORAX, required=required, pick=pick),
        ct(DicomTest("SeriesDescription", ("head",)), socket="b"),
    )
    grouping = made(headers, *rules, unmatched=unmatched, leave_out=scouts)
    assert sorted(path for one in grouping.series for path in one.paths) == sorted(every)
    unclaimed = [one for one in grouping.series if one.fate == "no rule takes it"]
    assert [word for word, _ in said(grouping)].count("unmatched-series") == (
        len(unclaimed) if unmatched == "fail" else 0
    )
    if grouping.plan:
        packed = [
            one.path for socket in grouping.plan.sockets for file in socket.files for one in file.packed
        ]
        taken = [path for one in grouping.series if one.fate == "taken" for path in one.paths]
        assert sorted(packed) == sorted(taken)
        assert not kept.unreadable


@given(st.integers(3, 40), st.data(), st.floats(0.3, 10), st.sampled_from([1, -1]))
def test_whatever_inner_slice_is_lost_it_is_said(
    count: int, data: st.DataObject, step: float, way: int
) -> None:
    headers = stack(count, step=step * way)
    assert made(headers).plan
    lost = data.draw(st.integers(2, count - 1))
    del headers[f"a/{lost:04}"]
    assert f"slice {lost} of {count}" in text(made(headers))


def rounded(count: int, step: float, start: float, digits: int, **changed: Any) -> Headers:
    return {
        path: replace(one, position=(0.0, 0.0, round(start + n * step, digits)))
        for n, (path, one) in enumerate(stack(count, **changed).items())
    }


@given(st.integers(3, 40), st.data(), st.floats(0.3, 10), st.floats(-500, 500), st.sampled_from([1, 2]))
def test_rounded_positions_are_whole_and_still_tell_which_slice_is_lost(
    count: int, data: st.DataObject, step: float, start: float, digits: int
) -> None:
    headers = rounded(count, step, start, digits)
    assert made(headers).plan
    lost = data.draw(st.integers(2, count - 1))
    del headers[f"a/{lost:04}"]
    assert f"slice {lost} of {count}" in text(made(headers))


@given(st.integers(6, 40), st.data(), st.floats(0.4, 10), st.floats(-500, 500), st.sampled_from([1, 2]))
def test_a_lost_slice_is_missed_without_numbers_too(
    count: int, data: st.DataObject, step: float, start: float, digits: int
) -> None:
    headers = rounded(count, step, start, digits, instance=None)
    assert made(headers).plan
    del headers[f"a/{data.draw(st.integers(2, count - 1)):04}"]
    assert words(made(headers)) & {"missing-slices", "mixed-geometry"}


@given(st.sets(st.integers(1, 20), min_size=2), st.randoms(use_true_random=False))
def test_the_order_of_files_and_their_names_change_nothing(kept: set[int], random: Random) -> None:
    numbers = sorted(kept)
    names = [f"n{n}" for n in range(len(numbers))]
    random.shuffle(names)
    headers = {
        name: header(instance=n, position=(0.0, 0.0, n * 2.0), instance_uid=str(n))
        for name, n in zip(names, numbers, strict=True)
    }
    gaps = {b - a for a, b in pairwise(numbers)}
    whole = len(gaps) == 1 if len(numbers) > 2 else gaps == {1}
    smallest_divides = all(gap % min(gaps) == 0 for gap in gaps)
    found = words(made(headers))
    if whole or smallest_divides:
        assert found == (set() if whole else {"missing-slices"})
    else:  # distances may vary by a part of themselves, so many steps can look like a whole number of them
        assert found in ({"missing-slices"}, {"mixed-geometry"})


@given(st.lists(st.sampled_from(["1", "2"]), min_size=1, max_size=8))
def test_series_are_told_apart_by_their_uid_alone(uids: list[str]) -> None:
    headers = {f"{n}": header(series=uid) for n, uid in enumerate(uids)}
    found = series_of(headers, dict.fromkeys(headers, 1))
    assert len(found) == len(set(uids))
    assert sum(one.bytes for one in found) == len(uids)


def test_two_names_under_one_id_are_two_patients() -> None:
    headers = stack(3, patient_name="a", family_given="a") | stack(
        3, "b", series="2", patient_name="b", family_given="b"
    )
    assert "several-patients" in words(made(headers))
    renamed = {path: replace(one, family_given="a") for path, one in headers.items()}
    assert "several-patients" not in words(made(renamed))


def test_a_name_that_only_lacks_words_of_the_other_is_the_same_under_one_id() -> None:
    short: dict[str, Any] = {"family_given": "a b", "beginnings": ("a b",)}
    long: dict[str, Any] = {"family_given": "a b c", "beginnings": ("a b", "a b c")}
    one_series = stack(6, patient_name="a b", **short)
    one_series["a/0003"] = replace(one_series["a/0003"], patient_name="a b c", **long)
    assert made(one_series).plan
    other = replace(one_series["a/0003"], family_given="a b d", beginnings=("a b", "a b d"))
    assert made(one_series | {"a/0004": replace(other, instance=4, position=(0, 0, 7.5))}).plan
    apart = stack(6, patient_name="a b d", family_given="a b d", beginnings=("a b", "a b d"))
    apart["a/0003"] = replace(apart["a/0003"], patient_name="a b c", **long)
    assert words(made(apart)) == {"several-patients"}
    nameless = {path: replace(one, patient="") for path, one in one_series.items()}
    assert words(made(nameless)) == {"several-patients"}


def test_each_second_slice_is_missed_where_the_headers_tell_the_distance() -> None:
    headers = {
        path: one for n, (path, one) in enumerate(stack(9, between=2.5, thickness=2.5).items()) if n % 2 == 0
    }
    assert "slice 2 of 9" in text(made(headers))
    assert made(stack(9, between=0.5, thickness=2.5)).plan


@pytest.mark.parametrize("between", [1e-320, 1e-9, -1e-9])
def test_a_distance_that_is_none_tells_nothing(between: float) -> None:
    assert made(stack(9, between=between, thickness=0)).plan


@pytest.mark.parametrize(
    ("step", "elements"),
    [
        (10.0, {"modality": "MR", "thickness": 5.0, "between": 5.0}),
        (6.0, {"modality": "MR", "thickness": 5.0, "between": 1.0}),
        (6.0, {"modality": "MR", "thickness": 2.0, "between": 4.0}),
        (3.0, {"thickness": 1.0, "between": 1.0, "image_type": ("DERIVED", "SECONDARY", "MPR")}),
    ],
    ids=["MR gap 5", "MR gap 1", "MR gap 4", "MPR"],
)
def test_a_gap_between_slices_and_a_reformat_are_not_taken_for_lost_slices(
    step: float, elements: dict[str, Any]
) -> None:
    assert made(stack(10, step=step, **elements)).plan


def test_an_mr_at_twice_its_distance_is_missed_where_thickness_and_gap_do_not_make_it() -> None:
    assert "slice 2 of 19" in text(made(stack(10, step=6.0, modality="MR", thickness=1.0, between=3.0)))


def test_a_slice_beside_the_others_and_another_frame_of_reference_are_no_one_image() -> None:
    aside = stack(5) | {"a/0003": replace(stack(5)["a/0003"], position=(500.0, 0.0, 5.0))}
    assert words(made(aside)) == {"mixed-geometry"}
    turned = stack(5) | {"a/0003": replace(stack(5)["a/0003"], frame_of_reference="9")}
    assert "2 frames of reference" in text(made(turned))
