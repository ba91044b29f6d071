"""Which file goes to which socket, and what people are told where it does not work out."""

import string
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casedrop.compound import MAX_READ
from casedrop.group import check_rules, group, needed
from casedrop.model import (
    Drop,
    Entry,
    EntryKind,
    FolderValue,
    Grouping,
    Json,
    JsonValue,
    LabTable,
    Listing,
    Plan,
    SocketKind,
    SocketRule,
    TableValue,
    TextValue,
    Weight,
)

CT = SocketRule("ct-image", ("**/*.mha",), fallback=True)
AIRWAYS = SocketRule("airway-segmentation", ("*_airways.nii.gz", "*_airways.mha"), required=False)
SCORE = SocketRule("some-score", value_from=JsonValue("score.json", "/score"))
KINDS = {
    "ct-image": SocketKind("ct-image", "Image", "Image"),
    "airway-segmentation": SocketKind("airway-segmentation", "Segmentation", "Image"),
    "some-score": SocketKind("some-score", "Float", "Value"),
    "report-pdf": SocketKind("report-pdf", "PDF file", "File"),
}


def drop(
    *rules: SocketRule,
    title: str = "{folder}",
    folder: str | None = None,
    ready: str = "",
    ignore: tuple[str, ...] = (),
) -> Drop:
    return Drop("lung", "/lab", "lung-2026", rules, folder=folder, title=title, ready=ready, ignore=ignore)


def lenient(*rules: SocketRule) -> Drop:
    return replace(drop(*rules), unmatched="ignore")


def listing(*paths: str, folder: str = "P1", sizes: Mapping[str, int] | None = None) -> Listing:
    """Files of 5 bytes, unless `sizes` says otherwise, and the folders they lie in."""
    size = sizes or {}
    found = {path: Entry(path, EntryKind.FILE, size.get(path, 5), 11, 12, 13) for path in paths}
    for path in paths:
        for end in [at for at, letter in enumerate(path) if letter == "/"]:
            found[path[:end]] = Entry(path[:end], EntryKind.FOLDER)
    return Listing(folder, tuple(found[path] for path in sorted(found)))


def said(grouping: Grouping) -> list[tuple[str, Weight]]:
    return [(problem.word, problem.weight) for problem in grouping.problems]


def text_of(grouping: Grouping, word: str) -> str:
    return " ".join(problem.text for problem in grouping.problems if problem.word == word)


def planned(grouping: Grouping) -> Plan:
    assert grouping.plan is not None, grouping.problems
    return grouping.plan


def value(source: JsonValue | TextValue, content: bytes, kind: str) -> Grouping:
    path = source.json if isinstance(source, JsonValue) else source.text
    rule = SocketRule("v", value_from=source)
    return group(listing(path), drop(rule), {path: content}, {"v": SocketKind("v", kind, "Value")})


def test_one_image_per_patient_needs_one_rule() -> None:
    plan = planned(group(listing("scan 1.MHA", folder="patient1_folder"), drop(CT), {}, KINDS))
    (socket,) = plan.sockets
    (file,) = socket.files
    assert (plan.title, socket.socket, socket.super_kind) == ("patient1_folder", "ct-image", "Image")
    assert (file.path, file.upload_name) == ("scan 1.MHA", "ct-image.mha")
    assert (file.size, file.mtime_ns, file.ctime_ns, file.inode) == (5, 11, 12, 13)


def test_image_segmentation_and_score_make_one_display_set() -> None:
    files = listing("ct.mha", "ct_airways.mha", "score.json")
    plan = planned(group(files, drop(SCORE, CT, AIRWAYS), {"score.json": b'{"score": 2}'}, KINDS))
    sent = {one.socket: [file.path for file in one.files] or one.value for one in plan.sockets}
    assert sent == {"some-score": 2, "ct-image": ["ct.mha"], "airway-segmentation": ["ct_airways.mha"]}
    assert [one.socket for one in plan.sockets] == ["some-score", "ct-image", "airway-segmentation"]


def test_an_optional_socket_without_a_file_is_left_out() -> None:
    plan = planned(group(listing("ct.mha"), drop(CT, AIRWAYS), {}, KINDS))
    assert [one.socket for one in plan.sockets] == ["ct-image"]


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.mha", "deep/in/ct.mha", True),
        ("**/*.mha", "ct.mha", True),
        ("*.mha", "CT.MHA", True),
        ("*.mha", ".hidden/.ct.mha", True),
        ("/*.mha", "ct.mha", True),
        ("/*.mha", "sub/ct.mha", False),
        ("sub/*.mha", "sub/ct.mha", True),
        ("sub/*.mha", "deep/sub/ct.mha", False),
        ("sub/**/*.mha", "sub/ct.mha", True),
        ("ct?.mha", "ct/.mha", False),
    ],
)
def test_patterns_work_as_in_gitignore(pattern: str, path: str, fits: bool) -> None:
    grouping = group(listing(path), lenient(SocketRule("ct-image", (pattern,))), {}, KINDS)
    assert grouping.claims[path] == (("ct-image",) if fits else ())


def test_a_file_of_two_rules_is_wrong_and_names_both() -> None:
    grouping = group(listing("a.mha"), drop(replace(CT, fallback=False), SocketRule("b", ("a.*",))), {}, None)
    text = text_of(grouping, "two-rules")
    assert "a.mha" in text
    assert "ct-image" in text
    assert '"b"' in text
    assert grouping.plan is None


def test_two_fallbacks_on_one_file_are_wrong_as_well() -> None:
    grouping = group(listing("a.mha"), drop(CT, SocketRule("b", ("*",), fallback=True)), {}, None)
    assert ("two-rules", Weight.WRONG) in said(grouping)


def test_two_files_for_one_socket_are_wrong_and_both_named() -> None:
    grouping = group(listing("a.mha", "b.mha"), drop(CT), {}, KINDS)
    assert said(grouping) == [("two-files", Weight.WRONG)]
    assert "a.mha and b.mha" in text_of(grouping, "two-files")


def test_a_missing_required_file_is_lacking_not_wrong() -> None:
    grouping = group(listing("score.json"), drop(CT, SCORE), {"score.json": b'{"score": 1}'}, KINDS)
    assert said(grouping) == [("missing-file", Weight.LACKING)]
    assert "ct-image" in text_of(grouping, "missing-file")


def test_an_empty_image_is_lacking_while_an_empty_file_may_be_sent() -> None:
    pdf = SocketRule("report-pdf", ("*.pdf",))
    files = listing("ct.mha", "r.pdf", sizes={"ct.mha": 0, "r.pdf": 0})
    assert said(group(files, drop(CT, pdf), {}, KINDS)) == [("empty-file", Weight.LACKING)]


def test_an_unclaimed_file_is_wrong_or_left_out_as_configured() -> None:
    files = listing("ct.mha", "notes.doc")
    grouping = group(files, drop(CT), {}, KINDS)
    assert said(grouping) == [("unmatched-file", Weight.WRONG)]
    assert "notes.doc" in text_of(grouping, "unmatched-file")
    assert planned(group(files, lenient(CT), {}, KINDS)).left_out == ("notes.doc",)


def test_a_nearly_fitting_file_is_said_even_where_unclaimed_files_are_ignored() -> None:
    grouping = group(listing("ct.mha", "ct_airway.nii.gz"), lenient(CT, AIRWAYS), {}, KINDS)
    assert said(grouping) == [("near-miss", Weight.NOTE)]
    assert "ct_airway.nii.gz" in text_of(grouping, "near-miss")
    assert grouping.plan is not None


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("/ct.mha", "sub/ct.mha"), ("ct.mha", "ct.nii.gz"), ("*_airways.mha", "ct_airway.mha")],
)
def test_a_missing_file_is_told_with_its_near_miss(pattern: str, path: str) -> None:
    grouping = group(listing(path), drop(SocketRule("ct-image", (pattern,))), {}, KINDS)
    assert path in text_of(grouping, "missing-file")


def test_a_folder_of_folders_is_asked_whether_it_is_one_level_too_high() -> None:
    grouping = group(listing("P1/ct.mha"), drop(SocketRule("ct-image", ("/*.mha",))), {}, KINDS)
    assert "one level too high" in text_of(grouping, "unmatched-file")


def test_a_long_list_is_counted_not_named() -> None:
    grouping = group(listing("ct.mha", *(f"{number:03}.doc" for number in range(300))), drop(CT), {}, KINDS)
    assert "and 290 more" in text_of(grouping, "unmatched-file")


@pytest.mark.parametrize("kind", [EntryKind.SYMLINK, EntryKind.FIFO, EntryKind.SOCKET, EntryKind.DEVICE])
def test_what_is_no_file_is_refused_by_name(kind: EntryKind) -> None:
    files = Listing("P1", (Entry("a.mha", EntryKind.FILE, 5), Entry("b.mha", kind)))
    grouping = group(files, drop(CT), {}, KINDS)
    assert said(grouping) == [("not-a-file", Weight.WRONG)]
    assert f"b.mha ({kind})" in text_of(grouping, "not-a-file")


def test_junk_and_the_ready_marker_are_never_data() -> None:
    files = listing("ct.mha", "Thumbs.db", "._ct.mha", "READY", "my.log")
    grouping = group(files, drop(CT, ready="READY", ignore=("*.log",)), {}, KINDS)
    assert planned(grouping).left_out == ()
    assert set(grouping.claims) == {"ct.mha"}


def test_all_problems_are_said_at_once() -> None:
    files = listing("a.mha", "b.mha", "x.doc", folder="P<1>")
    words = {word for word, _ in said(group(files, drop(CT, SCORE), {}, KINDS))}
    assert words == {"two-files", "missing-file", "unmatched-file", "bad-title"}


@pytest.mark.parametrize(
    ("path", "name"),
    [("Doe.NII.GZ", "s.nii.gz"), ("a.jpeg", "s.jpeg"), ("scan.doe-1950", "s"), ("noextension", "s")],
)
def test_a_file_goes_up_under_its_sockets_name(path: str, name: str) -> None:
    plan = planned(group(listing(path), drop(SocketRule("s", ("*",))), {}, None))
    assert plan.sockets[0].files[0].upload_name == name


def test_an_upload_name_is_never_longer_than_the_platform_takes() -> None:
    plan = planned(group(listing("a.mha"), drop(SocketRule("s" * 200, ("*",))), {}, None))
    assert len(plan.sockets[0].files[0].upload_name) == 128


MHD = SocketRule("ct-image", ("*.mhd",))


@pytest.mark.parametrize("patterns", [("*.mhd",), ("scan.*",)])
@pytest.mark.parametrize("ending", ["raw", "zraw"])
def test_a_header_takes_the_data_it_names(patterns: tuple[str, ...], ending: str) -> None:
    """Whether the rule matches the header alone or both; the copy that is sent names the data anew."""
    header = f"NDims = 3\nElementDataFile = scan.{ending}\n".encode()
    files = listing("d/scan.mhd", f"d/scan.{ending}")
    rules = drop(SocketRule("ct-image", patterns))
    assert needed(files, rules) == ("d/scan.mhd",)
    first, second = planned(group(files, rules, {"d/scan.mhd": header}, KINDS)).sockets[0].files
    assert (first.upload_name, second.upload_name) == ("ct-image.mhd", f"ct-image.{ending}")
    assert first.content == f"NDims = 3\nElementDataFile = ct-image.{ending}\n"
    assert (second.path, second.content) == (f"d/scan.{ending}", None)


def test_a_header_may_name_its_data_with_a_dot_slash_and_in_composed_letters() -> None:
    """A Mac writes the file's name decomposed, the header's text is as it was typed."""
    raw = unicodedata.normalize("NFD", "Müller.raw")
    files = listing("c.mhd", raw)
    header = "ElementDataFile = ./Müller.raw\n".encode()
    (socket,) = planned(group(files, drop(MHD), {"c.mhd": header}, KINDS)).sockets
    assert [file.path for file in socket.files] == ["c.mhd", raw]


def test_patterns_fit_names_a_mac_has_decomposed() -> None:
    path = unicodedata.normalize("NFD", "Übersicht.mha")
    rules = drop(SocketRule("ct-image", ("Übersicht.*",)))
    assert group(listing(path), rules, {}, KINDS).claims[path] == ("ct-image",)


def test_many_files_of_the_same_two_rules_are_one_problem() -> None:
    rules = drop(replace(CT, fallback=False), SocketRule("b", ("*",)))
    grouping = group(listing(*(f"{number}.mha" for number in range(30))), rules, {}, None)
    assert [word for word, _ in said(grouping)].count("two-rules") == 1
    assert "and 20 more" in text_of(grouping, "two-rules")


def test_a_header_without_its_data_is_lacking() -> None:
    grouping = group(listing("c.mhd"), drop(MHD), {"c.mhd": b"ElementDataFile = c.raw\n"}, KINDS)
    assert said(grouping) == [("missing-raw", Weight.LACKING)]
    assert "c.raw" in text_of(grouping, "missing-raw")


@pytest.mark.parametrize("named", [b"LOCAL", b"LIST", b"../c.raw", b"C:\\c.raw", b"c%03d.raw 1 9 1"])
def test_a_header_that_names_no_one_file_beside_it_is_refused(named: bytes) -> None:
    grouping = group(listing("c.mhd"), drop(MHD), {"c.mhd": b"ElementDataFile = " + named + b"\n"}, KINDS)
    assert said(grouping) == [("mhd-header", Weight.WRONG)]


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("  word\n", "String", "word"),
        ("12", "Integer", 12),
        ("2.5", "Float", 2.5),
        ("TRUE", "Bool", True),
        ("false", "Bool", False),
        ('{"a": [1]}', "Anything", {"a": [1]}),
    ],
)
def test_text_is_converted_by_the_sockets_kind(text: str, kind: str, expected: Json) -> None:
    (socket,) = planned(value(TextValue("v.txt"), text.encode(), kind)).sockets
    assert (socket.value, type(socket.value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"1,5", "Float"),
        (b"nan", "Float"),
        (b"inf", "Float"),
        (b"x", "Integer"),
        (b"9" * 5000, "Integer"),
        (b"yes", "Bool"),
        (b"\xff", "String"),
    ],
)
def test_text_that_does_not_fit_is_wrong(text: bytes, kind: str) -> None:
    assert said(value(TextValue("v.txt"), text, kind)) == [("bad-value", Weight.WRONG)]


def test_a_decimal_comma_gets_a_hint() -> None:
    assert "comma" in text_of(value(TextValue("v.txt"), b"1,5", "Float"), "bad-value")


@pytest.mark.parametrize(
    ("document", "pointer", "kind", "expected"),
    [
        (b"2", "", "Float", 2),
        (b"3.0", "", "Integer", 3.0),
        (b'\xef\xbb\xbf{"a/b": {"~": [true]}}', "/a~1b/~0/0", "Bool", True),
    ],
)
def test_a_json_value_is_found_by_its_pointer(
    document: bytes, pointer: str, kind: str, expected: Json
) -> None:
    assert planned(value(JsonValue("v.json", pointer), document, kind)).sockets[0].value == expected


@pytest.mark.parametrize(
    ("document", "pointer", "kind"),
    [
        (b'{"a": 1', "", "Anything"),
        (b"NaN", "", "Anything"),
        (b'{"a": 1}', "/b", "Anything"),
        (b"[1]", "/1", "Anything"),
        (b"\xff", "", "Anything"),
        (b'"a\\u0000b"', "", "String"),
        (b"0", "", "Bool"),
        (b"true", "", "Integer"),
        (b"2.5", "", "Integer"),
        (b'"2"', "", "Float"),
        (b"1" * (MAX_READ + 1), "", "Integer"),
    ],
)
def test_json_that_cannot_be_sent_is_wrong(document: bytes, pointer: str, kind: str) -> None:
    ((word, weight),) = said(value(JsonValue("v.json", pointer), document, kind))
    assert word in ("bad-value", "value-too-large")
    assert weight is Weight.WRONG


def test_a_value_file_that_is_missing_is_lacking_and_two_are_wrong() -> None:
    rule = SocketRule("some-score", value_from=JsonValue("*.json"))
    assert said(group(listing(), drop(rule), {}, KINDS)) == [("missing-file", Weight.LACKING)]
    files = listing("a.json", "b.json")
    assert needed(files, drop(rule)) == ("a.json", "b.json")
    assert said(group(files, drop(rule), {}, KINDS)) == [("two-files", Weight.WRONG)]


def test_a_value_comes_from_the_folders_name() -> None:
    rule = SocketRule("some-score", value_from=FolderValue(r"_(?P<value>\d+)$"))
    assert planned(group(listing(folder="P1_7"), drop(rule), {}, KINDS)).sockets[0].value == 7.0
    assert said(group(listing(folder="P1"), drop(rule), {}, KINDS)) == [("folder-value", Weight.WRONG)]
    optional = replace(rule, required=False)
    assert planned(group(listing("a.mha"), drop(CT, optional), {}, KINDS)).sockets[0].socket == "ct-image"


def test_a_title_is_rendered_stripped_and_composed() -> None:
    """As macOS writes it, e and an accent are two characters."""
    rules = drop(CT, title=" {folder} of {patient} ", folder=r"(?P<patient>P\d+) .*")
    assert (
        planned(group(listing("a.mha", folder="P1 Rene\u0301"), rules, {}, KINDS)).title
        == "P1 Ren\u00e9 of P1"
    )


@pytest.mark.parametrize("folder", ["a<b", "a\nb", "a" * 256, " ", "a\udcff"])
def test_a_title_the_platform_would_not_keep_is_wrong(folder: str) -> None:
    assert said(group(listing("a.mha", folder=folder), drop(CT), {}, KINDS)) == [("bad-title", Weight.WRONG)]


def test_bytes_that_are_no_utf8_are_shown_as_such() -> None:
    grouping = group(listing("ct.mha", "x\udcff\n.doc"), drop(CT), {}, KINDS)
    assert r"x\xff\x0a.doc" in text_of(grouping, "unmatched-file")


@pytest.mark.parametrize(
    ("rule", "kind", "part"),
    [
        (CT, None, "no socket"),
        (CT, SocketKind("ct-image", "String", "Value"), "`value`"),
        (CT, SocketKind("ct-image", "DICOM Image Set", "Image"), "experimental = true"),
        (SCORE, SocketKind("some-score", "PDF file", "File"), "`files`"),
    ],
)
def test_a_rule_that_does_not_fit_its_socket_is_a_setup_finding(
    rule: SocketRule, kind: SocketKind | None, part: str
) -> None:
    (sentence,) = check_rules(drop(rule), {rule.socket: kind})
    assert part in sentence
    assert rule.socket in sentence


def test_rules_that_fit_find_nothing() -> None:
    assert check_rules(drop(CT, AIRWAYS, SCORE, SocketRule("report-pdf", ("*.pdf",))), KINDS) == []


NAMES = st.text(st.sampled_from("ab_.\n \u00e9\udcff"), min_size=1, max_size=6).map(lambda name: f"n{name}")
ENDINGS = st.sampled_from(["", ".mha", ".nii.gz", ".raw", ".json", ".txt", ".x"])
PATHS = st.lists(st.builds(str.__add__, NAMES, ENDINGS), min_size=1, max_size=2).map("/".join)
PATTERNS = st.sampled_from(["*.mha", "na*", "**/*.nii.gz", "/n*", "*", "n?.json", "*.raw", "*.txt", "n*/*"])
SOURCES = st.one_of(
    st.lists(PATTERNS, min_size=1, max_size=2).map(lambda globs: SocketRule("", tuple(globs))),
    PATTERNS.map(lambda glob: SocketRule("", value_from=JsonValue(glob))),
    PATTERNS.map(lambda glob: SocketRule("", value_from=TextValue(glob))),
    st.just(SocketRule("", value_from=TableValue("scores", "x"))),
)


@st.composite
def rules_and_files(draw: st.DrawFn) -> tuple[Drop, Listing, dict[str, bytes]]:
    sources = draw(st.lists(SOURCES, max_size=4))
    rules = [
        replace(rule, socket=f"socket-{letter}", fallback=draw(st.booleans()), required=draw(st.booleans()))
        for rule, letter in zip(sources, string.ascii_uppercase, strict=False)
    ]
    tables = (LabTable("scores", csv=draw(PATTERNS)),)
    rule_set = replace(drop(*rules), unmatched=draw(st.sampled_from(["fail", "ignore"])), tables=tables)
    paths = draw(st.lists(PATHS, max_size=6, unique=True))
    files = Listing("P1", tuple(Entry(path, EntryKind.FILE, 5) for path in sorted(paths)))
    return (
        rule_set,
        files,
        {path: draw(st.binary(max_size=8) | st.just(b"x\n1\n")) for path in needed(files, rule_set)},
    )


@given(rules_and_files(), st.randoms(use_true_random=False))
def test_the_order_of_rules_never_matters(
    case: tuple[Drop, Listing, dict[str, bytes]], random: Random
) -> None:
    rules, files, contents = case
    shuffled = list(rules.sockets)
    random.shuffle(shuffled)
    one = group(files, rules, contents, None)
    other = group(files, replace(rules, sockets=tuple(shuffled)), contents, None)
    assert {path: set(names) for path, names in one.claims.items()} == {
        path: set(names) for path, names in other.claims.items()
    }
    assert sorted(said(one)) == sorted(said(other))
    assert (one.plan is None) == (other.plan is None)
    if one.plan and other.plan:
        assert {socket.socket: socket for socket in one.plan.sockets} == {
            socket.socket: socket for socket in other.plan.sockets
        }


@given(rules_and_files())
def test_no_file_is_forgotten_and_none_is_sent_twice(case: tuple[Drop, Listing, dict[str, bytes]]) -> None:
    rules, files, contents = case
    grouping = group(files, rules, contents, None)
    assert set(grouping.claims) == {entry.path for entry in files.entries}
    stops = [problem for problem in grouping.problems if problem.weight is not Weight.NOTE]
    assert (grouping.plan is None) == bool(stops)
    if grouping.plan is None:
        return
    sent = [file.path for socket in grouping.plan.sockets for file in socket.files]
    read = {path for path, names in grouping.claims.items() if names} - set(sent)
    assert len(sent) == len(set(sent))
    assert {*sent, *read, *grouping.plan.left_out} == set(grouping.claims)
    assert read <= set(contents)


@given(rules_and_files())
def test_an_upload_name_never_holds_a_piece_of_the_original(
    case: tuple[Drop, Listing, dict[str, bytes]],
) -> None:
    """The socket's name and a known extension are all there is."""
    rules, files, contents = case
    plan = group(files, rules, contents, None).plan
    for socket in plan.sockets if plan else ():
        for file in socket.files:
            rest = file.upload_name.removeprefix(socket.socket)
            assert rest in ("", ".mha", ".nii.gz", ".raw", ".json", ".txt")
