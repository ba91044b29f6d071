"""What is there, who still writes, where data ends, what is DICOM: on real folders and files."""

import errno
import gzip
import io
import os
import resource
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casedrop import opening, watch
from casedrop.model import EntryKind, Listing
from casedrop.wake import Wake
from waiting import wait_for

DICOM = bytes(128) + b"DICM" + b"\2\0\0\0UL\4\0" + bytes(40)
BARE = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + bytes(40)


def leases(tmp_path: Path) -> None:
    if not watch.file_system(str(tmp_path)).lease:
        pytest.skip("the temporary directory is on a file system without leases")


@contextmanager
def another_writer(path: Path, how: str = "open(path, 'r+b')") -> Iterator[None]:
    """Another process that has the file open for writing."""
    code = f"import sys, mmap; path = sys.argv[1]; f = {how}; print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        yield
        process.stdin.close()
        process.wait(10)


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return packed.getvalue()


def tarred(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as file:
        member = tarfile.TarInfo("1.dcm")
        member.size = len(content)
        file.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_a_listing_names_everything_below_and_follows_no_link(tmp_path: Path) -> None:
    folder = tmp_path / "P1"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "ct.mha").write_bytes(b"12345")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x").touch()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "socket"))
        listing = watch.list_folder(str(folder))
    assert {one.path: one.kind for one in listing.entries} == {
        "link": EntryKind.SYMLINK,
        "loop": EntryKind.SYMLINK,
        "pipe": EntryKind.FIFO,
        "socket": EntryKind.SOCKET,
        "sub": EntryKind.FOLDER,
        "sub/ct.mha": EntryKind.FILE,
    }
    assert [one.path for one in listing.entries] == sorted(one.path for one in listing.entries)
    file = next(one for one in listing.entries if one.kind is EntryKind.FILE)
    looks = (folder / "sub" / "ct.mha").stat()
    assert (file.size, file.mtime_ns, file.ctime_ns) == (5, looks.st_mtime_ns, looks.st_ctime_ns)
    assert (listing.folder, listing.inode) == ("P1", folder.stat().st_ino)


def test_names_that_are_no_utf8_are_listed_and_can_be_opened(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mha")).write_bytes(b"here")
    (entry,) = watch.list_folder(str(tmp_path)).entries
    assert os.fsencode(entry.path) == b"\xff.mha"
    assert watch.read_head(str(tmp_path), entry.path, 10) == b"here"


def test_a_folder_that_is_gone_raises_and_is_not_read_as_empty(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        watch.list_folder(str(tmp_path / "gone"))


def nest(top: Path, depth: int, *beside: str, name: str = "m") -> set[str]:
    """Folders of one name in each other, with what is `beside` each; the paths of them all."""
    made, path = set[str](), ""
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        for one in (name, *beside):
            os.mkdir(one, dir_fd=here)
            made.add(path + one)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here, path = below, f"{path}{name}/"
    os.close(here)
    return made


def test_a_folder_nested_deeper_than_our_stack_is_listed(tmp_path: Path) -> None:
    made = nest(tmp_path, 1100)
    began = time.process_time()
    try:
        assert {one.path for one in watch.list_folder(str(tmp_path)).entries} == made
    finally:  # too deep for what clears temporary directories
        subprocess.run(["rm", "-r", tmp_path / "m"], check=True)
    assert time.process_time() - began < 1, "each folder was reached from the top"


def test_folders_beside_nested_ones_are_listed_and_no_descriptor_is_kept(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    made = nest(tmp_path, 2 * opening.MOST_OPEN, "a", "z")
    assert {one.path for one in watch.list_folder(str(tmp_path)).entries} == made
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_cannot_be_named_is_said_and_no_descriptor_is_kept(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    long = 250 * "m"
    nest(tmp_path, opening.LONGEST // len(long) + 1, name=long)
    try:
        with pytest.raises(OSError, match="name too long"):
            watch.list_folder(str(tmp_path))
    finally:
        subprocess.run(["rm", "-r", tmp_path / long], check=True)
    assert len(os.listdir("/proc/self/fd")) == before


TREES = st.recursive(
    st.none(), lambda below: st.dictionaries(st.sampled_from("abc."), below, max_size=4), max_leaves=20
)
Tree = dict[str, "Tree | None"]


def plant(top: Path, tree: Tree | None) -> None:
    """None is a file."""
    if tree is None:
        top.touch()
        return
    top.mkdir()
    for name, below in tree.items():
        plant(top / f"{name}-", below)


@given(st.dictionaries(st.sampled_from("abc."), TREES))
@settings(max_examples=50)
def test_a_listing_is_what_a_plain_walk_sees(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory) / "P1"
        plant(top, tree)
        seen = {str(one.relative_to(top)): one.lstat().st_ino for one in top.rglob("*")}
        assert {one.path: one.inode for one in watch.list_folder(str(top)).entries} == seen


def test_links_and_pipes_are_never_opened_for_reading(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError, match=r".") as refused:
            watch.read_head(str(tmp_path), name, 10)
        assert refused.value.errno in (errno.ELOOP, errno.EINVAL)


def test_a_folder_swapped_for_a_link_is_neither_listed_nor_read_through(tmp_path: Path) -> None:
    (tmp_path / "P1" / "v1").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "ct.mha").write_bytes(b"secret")
    walk = watch._walk(str(tmp_path / "P1"), inodes=True)
    assert next(walk).path == "v1"
    (tmp_path / "P1" / "v1").rmdir()
    (tmp_path / "P1" / "v1").symlink_to(tmp_path / "outside")
    reads = (lambda: list(walk), lambda: watch.read_head(str(tmp_path / "P1"), "v1/ct.mha", 10))
    for read in reads:
        with pytest.raises(OSError, match=r"P1/v1") as refused:
            read()
        assert refused.value.errno in (errno.ELOOP, errno.ENOTDIR)
    (tmp_path / "P2").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=r"P2"):
        watch.list_folder(str(tmp_path / "P2"))


WRITABLE_MAP = "(lambda f: mmap.mmap(f.fileno(), 0))(open(path, 'r+b'))"


@pytest.mark.parametrize("how", ["open(path, 'r+b')", "open(path, 'ab')", WRITABLE_MAP])
def test_a_file_open_for_writing_elsewhere_is_named_until_it_is_closed(tmp_path: Path, how: str) -> None:
    leases(tmp_path)
    for name in ("ct.mha", "other.mha"):
        (tmp_path / name).write_bytes(b"data")
    listing = watch.list_folder(str(tmp_path))
    with another_writer(tmp_path / "ct.mha", how):
        assert watch.writers(str(tmp_path), listing) == ["ct.mha"]
    assert watch.writers(str(tmp_path), listing) == []


def test_readers_links_pipes_and_vanished_files_are_no_writers(tmp_path: Path) -> None:
    leases(tmp_path)
    (tmp_path / "ct.mha").write_bytes(b"data")
    (tmp_path / "gone.mha").write_bytes(b"data")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("ct.mha")
    listing = watch.list_folder(str(tmp_path))
    (tmp_path / "gone.mha").unlink()
    with (tmp_path / "ct.mha").open("rb"):
        assert watch.writers(str(tmp_path), listing) == []


def test_writers_are_named_in_whatever_folder_they_write(tmp_path: Path) -> None:
    leases(tmp_path)
    for name in ("a", "b/a", "b/c/a", "b/d", "e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listing = watch.list_folder(str(tmp_path))
    with another_writer(tmp_path / "b" / "c" / "a"), another_writer(tmp_path / "b" / "d"):
        assert watch.writers(str(tmp_path), listing) == ["b/c/a", "b/d"]
        (tmp_path / "b" / "c").rename(tmp_path / "gone")
        (tmp_path / "b" / "c").symlink_to(tmp_path / "gone")
        assert watch.writers(str(tmp_path), listing) == ["b/d"]


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """So many files more can be opened by this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open("/", os.O_PATH) for _ in range(count + 1)]
    for one in taken:
        os.close(one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[count], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("count", [0, 1], ids=["folder", "file"])
@pytest.mark.parametrize("ask", [watch.writers, watch.cut_off])
def test_what_cannot_be_asked_for_want_of_descriptors_is_an_error_and_no_answer(
    tmp_path: Path, ask: Callable[[str, Listing], list[str]], count: int
) -> None:
    (tmp_path / "ct.mha").write_bytes(b"data")
    listing = watch.list_folder(str(tmp_path))
    with descriptors_left(count), pytest.raises(OSError, match="Too many open files"):
        ask(str(tmp_path), listing)
    assert ask(str(tmp_path), listing) == []


def test_a_lease_is_given_back_at_once_so_that_writers_are_not_held_up(tmp_path: Path) -> None:
    leases(tmp_path)
    (tmp_path / "ct.mha").write_bytes(b"data")
    watch.writers(str(tmp_path), watch.list_folder(str(tmp_path)))
    os.close(os.open(tmp_path / "ct.mha", os.O_WRONLY | os.O_NONBLOCK))


def killed_copy(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 20)
        file.write(b"x" * 5000)


def hole_in_the_middle(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"x")
        file.seek(1 << 20)
        file.write(b"x")


def only_a_hole(path: Path) -> None:
    os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 10)


def whole(path: Path) -> None:
    path.write_bytes(bytes(1 << 20))


@pytest.mark.parametrize(
    ("write", "cut"),
    [
        (killed_copy, True),
        (only_a_hole, True),
        (hole_in_the_middle, False),
        (whole, False),
        (Path.touch, False),
    ],
)
def test_data_that_ends_before_the_size_is_told_from_data_with_holes(
    tmp_path: Path, write: Callable[[Path], None], cut: bool
) -> None:
    if not watch.file_system(str(tmp_path)).holes:
        pytest.skip("the temporary directory is on a file system whose holes say nothing")
    write(tmp_path / "ct.mha")
    found = watch.cut_off(str(tmp_path), watch.list_folder(str(tmp_path)))
    assert found == (["ct.mha"] if cut else [])


@pytest.mark.parametrize(
    "content",
    [
        DICOM,
        BARE,
        b"\x02\x00\x00\x00UL\x04\x00" + bytes(40),
        b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100\x08\x00\x08\x00" + bytes(40),
        b"\x00\x08\x00\x05CS\x00\x0aISO_IR 100" + bytes(40),
        gzip.compress(DICOM),
        zipped(a=b"text", b=DICOM),
        zipped(a=BARE),
        zipped(inner=zipped(a=DICOM)),
        b"#!/bin/sh\n" + zipped(a=DICOM),
        zipped(inner=zipped(deep=zipped(a=b"text")), a=DICOM),
    ],
    ids=[
        "preamble",
        "bare",
        "bare-meta",
        "bare-implicit",
        "bare-big-endian",
        "gzip",
        "zip",
        "bare-in-zip",
        "zip-in-zip",
        "zip-behind-a-script",
        "beside-a-deep-zip",
    ],
)
def test_dicom_is_known_by_its_content_whatever_its_name_and_wrapping(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ct.mha").write_bytes(content)
    assert watch.is_dicom(str(tmp_path), "ct.mha") is True


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"D",
        b"ObjectType = Image\nNDims = 3\n" + bytes(1000),
        gzip.compress(b"\x5c\x01\x00\x00" + bytes(348)),
        gzip.compress(bytes(1000))[:-20],
        zipped(a=b"ObjectType = Image", b=b""),
        zipped(),
        bytes(1000),
        b"\x89PNG\r\n\x1a\n" + bytes(1000),
        b"%PDF-1.7" + bytes(1000),
    ],
    ids=["empty", "short", "mha", "nii.gz", "cut-gzip", "zip", "empty-zip", "zeros", "png", "pdf"],
)
def test_other_data_is_not_taken_for_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ct.mha").write_bytes(content)
    assert watch.is_dicom(str(tmp_path), "ct.mha") is False


def damaged() -> bytes:
    packed = bytearray(zipped(a=os.urandom(2000) + bytes(2000)))
    packed[40:80] = b"\xff" * 40
    return bytes(packed)


def encrypted() -> bytes:
    """The flag of an encrypted member, in its own header and in the list at the end."""
    packed = bytearray(zipped(a=b"text"))
    for start, flag in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        packed[packed.index(start) + flag] |= 1
    return bytes(packed)


@pytest.mark.parametrize(
    "content",
    [
        zipped(a=b"text" * 1000)[:-30],
        damaged(),
        encrypted(),
        zipped(inner=zipped(deep=zipped(a=b"text"))),
        tarred(b"text"),
        gzip.compress(tarred(DICOM)),
        zipped(inner=tarred(DICOM)),
    ],
    ids=["cut-zip", "damaged-zip", "encrypted-zip", "deep-zip", "tar", "tar.gz", "tar-in-zip"],
)
def test_an_archive_that_cannot_be_looked_into_is_in_doubt(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert watch.is_dicom(str(tmp_path), "a.zip") is None


def test_a_zip_of_more_members_than_are_looked_at_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MAX_ZIP_MEMBERS", 1)
    (tmp_path / "a.zip").write_bytes(zipped(a=b"text", b=DICOM))
    assert watch.is_dicom(str(tmp_path), "a.zip") is None


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("ext4", (True, True, True)),
        ("btrfs", (True, True, False)),
        ("overlay", (True, False, False)),
        ("cifs", (False, False, False)),
        ("nfs4", (False, False, False)),
        ("fuse.sshfs", (False, False, False)),
    ],
)
def test_what_may_be_asked_goes_by_the_file_systems_type_at_the_longest_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, asked: tuple[bool, bool, bool]
) -> None:
    root = os.fsencode(tmp_path.resolve())
    lines = [
        b"1 0 8:1 / / rw - ext4 /dev/a rw",
        b"2 1 8:2 / /srv/\xc5\x81\xc3\xb3d\xc5\xba\xff rw - xfs /dev/b rw",
        b"3 1 8:3 / " + root + b"/my\\040share rw shared:7 - " + kind.encode() + b" //server/s rw",
        b"4 1 8:4 / " + root + b"/my rw - tmpfs none rw",
    ]
    (tmp_path / "mountinfo").write_bytes(b"\n".join(lines))
    monkeypatch.setattr(watch, "MOUNTS", str(tmp_path / "mountinfo"))
    found = watch.file_system(str(tmp_path / "my share" / "drop"))
    assert (found.type, (found.events, found.lease, found.holes)) == (kind, asked)
    assert watch.file_system(str(tmp_path / "my shares")).type == "ext4"


def test_inode_numbers_of_a_network_mount_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be others at each look, and the folder would never settle."""
    (tmp_path / "ct.mha").touch()
    monkeypatch.setattr(watch, "LEASES", frozenset())
    assert [one.inode for one in watch.list_folder(str(tmp_path)).entries] == [0]


def test_changes_wake_and_our_own_reading_does_not(tmp_path: Path) -> None:
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "old").write_bytes(b"data")
    woken = threading.Event()
    wake = Wake(str(tmp_path), woken.set)
    try:
        watch.list_folder(str(tmp_path))
        watch.read_head(str(tmp_path / "P1"), "old", 4)
        assert not woken.wait(0.3)
        (tmp_path / "P1" / "new").write_bytes(b"data")
        wait_for(woken.is_set, what="the new file wakes")
    finally:
        wake.stop()


def test_a_long_write_wakes_when_it_begins_and_ends_and_not_at_each_piece(tmp_path: Path) -> None:
    woken: list[None] = []
    wake = Wake(str(tmp_path), lambda: woken.append(None))
    try:
        with (tmp_path / "ct.mha").open("wb", buffering=0) as file:
            for _ in range(1000):
                file.write(b"piece")
        (tmp_path / "last").mkdir()
        wait_for(lambda: len(woken) >= 3, what="what was made and closed wakes")
    finally:
        wake.stop()
    assert len(woken) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "new").touch(),
        lambda folder: (folder / "old").write_bytes(b"more"),
        lambda folder: (folder / "old").unlink(),
        lambda folder: (folder / "old").rename(folder / "new"),
        lambda folder: (folder / "below").mkdir(),
        lambda folder: (folder / "empty").rmdir(),
        lambda folder: folder.rename(folder.parent.parent / "out"),
    ],
)
def test_whatever_changes_in_a_folder_wakes(tmp_path: Path, change: Callable[[Path], object]) -> None:
    folder = tmp_path / "drop" / "P1"
    (folder / "empty").mkdir(parents=True)
    (folder / "old").write_bytes(b"data")
    woken = threading.Event()
    wake = Wake(str(tmp_path / "drop"), woken.set)
    try:
        change(folder)
        wait_for(woken.is_set, what="it wakes")
    finally:
        wake.stop()


@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_without_inotify_there_are_no_events_one_log_line_and_no_error(limit: str) -> None:
    """In a user namespace of its own, where the limit can be set to none."""
    code = f"""
import sys, tempfile
from casedrop.wake import Wake
open("/proc/sys/user/{limit}", "w").write("0")
wake = Wake(tempfile.mkdtemp(), lambda: None)
wake.stop()
"""
    command = ["unshare", "-Ur", sys.executable, "-c", code]
    if subprocess.run(["unshare", "-Ur", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("rescans only") == 1
    assert "Traceback" not in ran.stderr
