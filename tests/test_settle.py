"""When a folder counts as settled."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casedrop import settle
from casedrop.model import Entry, EntryKind, Listing
from casedrop.settle import is_junk, is_placeholder, is_quiet, is_temporary, look, signature

FILE = Entry("ct.mha", EntryKind.FILE, 10, 1, 1, 7)


def listing(*entries: Entry) -> Listing:
    return Listing("P1", entries)


@pytest.mark.parametrize(
    "path", ["Thumbs.db", "a/.DS_Store", "._ct.mha", "@eaDir/x/y", "$RECYCLE.BIN/z", "DESKTOP.INI"]
)
def test_what_computers_leave_behind_is_junk(path: str) -> None:
    assert is_junk(path)
    assert signature(listing(FILE, Entry(path, EntryKind.FILE, 1, 9, 9, 9))) == signature(listing(FILE))


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("a/b.log", "*.log"),
        ("scratch/x.mha", "scratch"),
        ("a/Scratch/b/x.mha", "scratch/"),
        ("scratch/x.mha", "/scratch/"),
        ("a/b/x.mha", "a/**/x.mha"),
    ],
)
def test_what_the_drop_ignores_is_junk_a_folders_contents_included(path: str, pattern: str) -> None:
    assert is_junk(path, (pattern,))
    assert not is_junk(path)


@pytest.mark.parametrize(("path", "pattern"), [("scratch", "scratch/"), ("a/scratch/x", "/scratch")])
def test_a_slash_narrows_what_is_ignored(path: str, pattern: str) -> None:
    assert not is_junk(path, (pattern,))


@pytest.mark.parametrize("name", ["ct.mha.part", ".ct.mha.a1B2c3", "~$r.docx", ".~lock.r#", "x.crdownload"])
def test_names_of_unfinished_copies_are_known(name: str) -> None:
    assert is_temporary(f"sub/{name}")
    assert not is_temporary("ct.mha")


@pytest.mark.parametrize("name", ["New folder", "New folder (2)", "Neuer Ordner", "untitled folder 3"])
def test_a_folder_not_yet_named_waits(name: str) -> None:
    assert is_placeholder(name)
    assert not is_placeholder("New folder of Jane")


@pytest.mark.parametrize("sign", ["size", "mtime_ns", "ctime_ns", "inode", "path"])
def test_every_sign_of_a_change_counts(sign: str) -> None:
    changed = replace(FILE, **{sign: "other" if sign == "path" else 99})  # type: ignore[arg-type]
    assert signature(listing(changed)) != signature(listing(FILE))


def test_a_folders_own_times_do_not_count_since_junk_changes_them() -> None:
    before, after = (Entry("sub", EntryKind.FOLDER, 0, time, time, 1) for time in (1, 2))
    assert signature(listing(before)) == signature(listing(after))


NUMBERS = st.integers(0, 2**63)
NAMES = st.text(st.characters() | st.sampled_from("'\"\\{}\udcff\udc80é/"), min_size=1)
ENTRIES = st.builds(Entry, NAMES, st.sampled_from(EntryKind), NUMBERS, NUMBERS, NUMBERS, NUMBERS)


@given(st.lists(ENTRIES))
def test_a_signature_is_what_older_journals_hold(entries: list[Entry]) -> None:
    whole = hashlib.blake2b(digest_size=16)
    for one in entries:
        facts: tuple[object, ...] = (one.path, str(one.kind))
        if one.kind is not EntryKind.FOLDER:
            facts += (one.size, one.mtime_ns, one.ctime_ns, one.inode)
        whole.update(repr(facts).encode("utf-8", "backslashreplace"))
    assert settle.mark(listing(*entries)) == whole.hexdigest()


@given(
    st.lists(st.tuples(st.floats(0.01, 5), st.sampled_from("ab")), min_size=1, max_size=30),
    st.floats(0.1, 10),
)
def test_never_settled_before_the_quiet_period_since_the_last_change(
    scans: list[tuple[float, str]], quiet: float
) -> None:
    now, changed, state, last, seen = 0.0, 0.0, None, "", 0
    for step, mark in scans:
        now += step
        seen = seen + 1 if mark == last else 1
        if mark != last:
            changed, last = now, mark
        state = look(state, mark, now)
        assert is_quiet(state, now, quiet) == (seen > 1 and now - changed >= quiet)


@given(st.lists(st.sampled_from(["Thumbs.db", "._ct.mha", "sub/.DS_Store", "@eaDir/ct.mha"]), unique=True))
def test_junk_never_resets_the_clock_whatever_comes_or_goes(names: list[str]) -> None:
    junk = tuple(Entry(name, EntryKind.FILE, 1, when, when, when) for when, name in enumerate(names))
    first = look(None, signature(listing(FILE)), 0)
    then = look(first, signature(listing(*sorted((FILE, *junk), key=lambda one: one.path))), 30)
    assert is_quiet(then, 30, 30)
