"""A series becomes one zip: whole, in order, the same bytes every time, and nothing of it stays behind."""

import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom import dcmread

from casedrop import pack as packing
from casedrop import workers as workers_module
from casedrop.allowance import Allowance
from casedrop.errors import CaseProblem, FolderChanged, Stopping, Waits
from casedrop.grand_challenge import GrandChallenge
from casedrop.keys import uid_key
from casedrop.model import (
    Entry,
    EntryKind,
    Listing,
    Plan,
    PlannedFile,
    PlannedSocket,
    Problem,
    Procedure,
    SourceFile,
)
from casedrop.new_uids import new_uid
from casedrop.pack import Packer
from casedrop.prepare import prepare, unchanged
from casedrop.reading import part_size
from casedrop.sandbox import Sandbox
from casedrop.slices import Deidentified
from casedrop.strip import SPARE
from casedrop.upload import Lane, Source, upload_all
from casedrop.workers import Work, deidentified
from identifying import CT, US, image, series, texts, written
from waiting import wait_for

KEY = bytes(range(32))


def go_on() -> None:
    """Nobody wants it to stop."""


@pytest.fixture
def packer(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Packer]:
    """Of one worker, since each takes a second to start, unless a test asks for `two_workers`."""
    made = Packer(tmp_path / "spool", KEY, workers=getattr(request, "param", 1))
    yield made
    made.close()


two_workers = pytest.mark.parametrize("packer", [2], indirect=True, ids=["two workers"])


def source(folder: Path, name: str) -> SourceFile:
    found = (folder / name).stat()
    return SourceFile(name, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def planned(folder: Path, *, procedure: Procedure | None = None) -> PlannedFile:
    """The series of a folder as grouping plans it: in the order of slices."""
    names = sorted(
        (path.name for path in folder.iterdir()),
        key=lambda name: int(dcmread(folder / name, stop_before_pixels=True).InstanceNumber),
    )
    packed = tuple(source(folder, name) for name in names)
    how = procedure or Procedure()
    return PlannedFile("ct-image.zip", "ct-image.zip", 0, 0, 0, 0, packed=packed, procedure=how)


def zipped(packer: Packer, file: PlannedFile, case_id: int = 1) -> bytes:
    with packer.open(case_id, file) as opened:
        return opened.read()


@two_workers
def test_a_series_is_packed_whole_in_order_and_without_its_patient(tmp_path: Path, packer: Packer) -> None:
    files = series(tmp_path / "P1", 20)
    made = packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)
    data = zipped(packer, made)
    assert not [text for text in texts() if text in data]
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.namelist() == [f"{number:05}.dcm" for number in range(1, 21)]
        assert opened.testzip() is None
        assert {one.compress_type for one in opened.infolist()} == {zipfile.ZIP_STORED}
        sent = [dcmread(io.BytesIO(opened.read(name))) for name in opened.namelist()]
    assert [one.InstanceNumber for one in sent] == list(range(1, 21))
    assert [one.PixelData for one in sent] == [dcmread(io.BytesIO(one)).PixelData for one in files]
    assert len({one.SeriesInstanceUID for one in sent}) == 1
    assert [one.sha256 for one in made.packed] == [hashlib.sha256(one).hexdigest() for one in files]
    assert made.method.startswith("procedure of Grand Challenge, 20")


@two_workers
@pytest.mark.long
def test_its_sums_are_those_of_the_zip(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 3, Rows=1024, Columns=4096, PixelData=os.urandom(8 << 20))
    made = packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)
    data = zipped(packer, made)
    parts = [data[at : at + made.part_size] for at in range(0, len(data), made.part_size)]
    assert len(parts) == 4
    assert made.part_size == part_size(len(data))
    assert made.sent_size == len(data)
    assert made.sha256 == hashlib.sha256(data).hexdigest()
    assert made.md5s == tuple(hashlib.md5(part).hexdigest() for part in parts)


@pytest.mark.long
def test_the_same_files_give_the_same_bytes_wherever_they_lie(tmp_path: Path, packer: Packer) -> None:
    for folder in ("P1", "P2"):
        series(tmp_path / folder, 9)
    first = packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)
    other = Packer(tmp_path / "elsewhere", KEY, workers=1)
    second = other.pack(7, str(tmp_path / "P2"), planned(tmp_path / "P2"), go_on)
    assert zipped(packer, first) == zipped(other, second, 7)
    assert first.sha256 == second.sha256
    other.close()


def test_the_stack_is_known_to_compare_it_with_the_platforms_image(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 6)
    made = packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)
    assert made.geometry is not None
    assert made.geometry.size == (8, 8, 6)
    assert made.geometry.voxel_mm == pytest.approx((0.8, 0.7, 2.5))


def test_two_slices_at_one_place_are_compared_by_nothing(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 4, ImagePositionPatient=[0, 0, 1])
    assert packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on).geometry is None


@two_workers
def test_a_refused_series_leaves_nothing_in_the_spool(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 3, US, BurnedInAnnotation="NO")
    with pytest.raises(CaseProblem) as refused:
        packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)
    assert "The DICOM files of this series are Ultrasound Image Storage" in str(refused.value)
    assert not [text for text in texts() if text.decode() in str(refused.value)]
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]


@two_workers
def test_a_damaged_file_is_told_by_its_name(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 5)
    file = planned(tmp_path / "P1")
    name = file.packed[2].path
    (tmp_path / "P1" / name).write_bytes((tmp_path / "P1" / name).read_bytes()[:-60])
    packed = tuple(source(tmp_path / "P1", one.path) for one in file.packed)
    with pytest.raises(CaseProblem, match=f"{name} ends before"):
        packer.pack(1, str(tmp_path / "P1"), replace(file, packed=packed), go_on)


def test_a_file_that_changed_sends_the_folder_back(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 3)
    file = planned(tmp_path / "P1")
    path = tmp_path / "P1" / file.packed[1].path
    path.write_bytes(path.read_bytes())
    with pytest.raises(FolderChanged):
        packer.pack(1, str(tmp_path / "P1"), file, go_on)


def test_other_contents_than_were_packed_are_not_packed_again(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 2)
    file = planned(tmp_path / "P1")
    wrong = (replace(file.packed[0], sha256="0" * 64), file.packed[1])
    with pytest.raises(FolderChanged, match="other contents"):
        packer.pack(1, str(tmp_path / "P1"), replace(file, packed=wrong), go_on)


def test_no_link_is_followed(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 2)
    file = planned(tmp_path / "P1")
    path = tmp_path / "P1" / file.packed[0].path
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(FolderChanged):
        packer.pack(1, str(tmp_path / "P1"), file, go_on)


def test_without_room_it_waits(tmp_path: Path, packer: Packer, monkeypatch: pytest.MonkeyPatch) -> None:
    series(tmp_path / "P1", 2)
    monkeypatch.setattr(packing, "SPARE", 1 << 60)
    with pytest.raises(Waits, match="Waits for room"):
        packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)


def test_a_spool_that_fills_up_makes_it_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = tmp_path / "small"
    spool.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", spool], check=False).returncode:
        pytest.skip("may not mount here")
    packer = Packer(spool, KEY, workers=1)
    try:
        series(tmp_path / "P1", 4, Rows=512, Columns=512, PixelData=bytes(512 * 1024))
        monkeypatch.setattr(packing, "SPARE", -(1 << 40))
        with pytest.raises(Waits, match="Waits for room"):
            packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)
        assert not [path for path in spool.rglob("*") if path.is_file()]
    finally:
        packer.close()
        subprocess.run(["umount", spool], check=True)


def test_the_spool_is_for_the_service_alone(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 2)
    packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)
    for path in [tmp_path / "spool", *(tmp_path / "spool").rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


@pytest.mark.long
def test_what_no_case_needs_leaves_the_spool(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 2)
    file = planned(tmp_path / "P1")
    made = [packer.pack(case_id, str(tmp_path / "P1"), file, go_on) for case_id in (1, 2, 3)]
    packer.free(1)
    assert [packer.has(case_id, made[0]) for case_id in (1, 2, 3)] == [False, True, True]
    Packer(tmp_path / "spool", KEY).clear({3: {made[0].sha256}})
    assert [packer.has(case_id, made[0]) for case_id in (1, 2, 3)] == [False, False, True]


@pytest.mark.long
def test_a_spool_file_that_was_damaged_counts_as_gone(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 2)
    made = packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)
    (path,) = (one for one in (tmp_path / "spool").rglob("*") if one.is_file())
    later = Packer(tmp_path / "spool", KEY)
    assert later.has(1, made)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert not packer.has(1, made)
    assert not later.has(1, made)


@two_workers
def test_stopping_gives_up_between_files(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 30)
    calls = iter(range(1000))

    def stop_soon() -> None:
        if next(calls) > 12:
            raise Stopping("The service is stopping.")

    with pytest.raises(Stopping):
        packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), stop_soon)
    packer.close()
    with pytest.raises(Stopping):
        packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)


def children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = path.read_text().rsplit(")", 1)
        except OSError:
            continue
        if int(rest.split()[1]) == parent and rest.split()[0] != "Z":
            found.append(int(name.split()[0]))
    return found


def workers(parent: int) -> list[int]:
    """Child processes that de-identify; signals are sent to nobody else."""
    wanted = b"spawn_main"
    return [pid for pid in children(parent) if wanted in Path(f"/proc/{pid}/cmdline").read_bytes()]


def gone(*pids: int) -> bool:
    return not set(pids) & set(workers(os.getpid()))


@two_workers
@pytest.mark.long
def test_workers_that_were_ended_while_idle_are_replaced(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 3)
    file = planned(tmp_path / "P1")
    made = packer.pack(1, str(tmp_path / "P1"), file, go_on)
    ours = workers(os.getpid())
    for pid in ours:
        os.kill(pid, signal.SIGKILL)
    wait_for(partial(gone, *ours), what="they end")
    assert packer.pack(2, str(tmp_path / "P1"), file, go_on).sha256 == made.sha256


@two_workers
@pytest.mark.long
def test_only_their_service_stops_workers(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 3)
    file = planned(tmp_path / "P1")
    packer.pack(1, str(tmp_path / "P1"), file, go_on)
    ours = workers(os.getpid())
    for pid in ours:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    packer.pack(2, str(tmp_path / "P1"), file, go_on)
    assert workers(os.getpid()) == ours


POISON = bytes(range(100, 228))
"""The pixels of a file that brings its worker to an end, or keeps it from one."""


def crashing(data: bytes, procedure: Procedure, key: bytes, *, alone: bool) -> Deidentified | Problem:
    if POISON in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    return deidentified(data, procedure, key, alone=alone)


def lacking_memory(data: bytes, procedure: Procedure, key: bytes, *, alone: bool) -> Deidentified | Problem:
    if POISON in data:
        raise MemoryError
    return deidentified(data, procedure, key, alone=alone)


def hanging(data: bytes, procedure: Procedure, key: bytes, *, alone: bool) -> Deidentified | Problem:
    if POISON in data:
        os.kill(os.getpid(), signal.SIGSTOP)
    return deidentified(data, procedure, key, alone=alone)


def silent(data: bytes, procedure: Procedure, key: bytes, *, alone: bool) -> Deidentified | Problem:
    os.write(1, b"it speaks")
    os.write(2, b"it speaks")
    return deidentified(data, procedure, key, alone=alone)


def poisoned(folder: Path) -> PlannedFile:
    """A series of seven with one such file in the middle, called bad."""
    series(folder, 7)
    named = next(path for path in folder.iterdir() if dcmread(path).InstanceNumber == 4)
    (folder / "bad").write_bytes(written(image(4, PixelData=POISON)))
    named.unlink()
    return planned(folder)


@pytest.mark.long
@pytest.mark.parametrize("work", [crashing, lacking_memory, hanging])
def test_a_file_that_ends_its_worker_is_tried_again_and_then_ends_its_case(
    tmp_path: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "LEAST_SECONDS", 2.0)
    packer = Packer(tmp_path / "spool", KEY, workers=2, work=work)
    file = poisoned(tmp_path / "P1")
    for _ in range(2):
        with pytest.raises(Waits, match="was ended or did not come to an end"):
            packer.pack(1, str(tmp_path / "P1"), file, go_on)
    with pytest.raises(CaseProblem, match=r"^bad ended the process") as ended:
        packer.pack(1, str(tmp_path / "P1"), file, go_on)
    assert [one.word for one in ended.value.problems] == ["not-deidentified"]
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]
    packer.free(1)
    with pytest.raises(Waits):
        packer.pack(1, str(tmp_path / "P1"), file, go_on)
    packer.close()


@pytest.mark.long
def test_a_file_that_ends_its_worker_harms_no_other_case(tmp_path: Path) -> None:
    packer = Packer(tmp_path / "spool", KEY, workers=2, work=crashing)
    bad = poisoned(tmp_path / "bad")
    series(tmp_path / "good", 60)
    good = planned(tmp_path / "good")
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(packer.pack, 2, str(tmp_path / "good"), good, go_on)
        for _ in range(2):
            with pytest.raises(Waits):
                packer.pack(1, str(tmp_path / "bad"), bad, go_on)
        assert len(other.result().packed) == 60
    packer.close()


@pytest.mark.long
def test_a_worker_that_hangs_keeps_nothing_from_ending(tmp_path: Path) -> None:
    packer = Packer(tmp_path / "spool", KEY, workers=2, work=hanging)
    file = poisoned(tmp_path / "P1")
    with ThreadPoolExecutor(1) as threads:
        packing_it = threads.submit(packer.pack, 1, str(tmp_path / "P1"), file, go_on)
        wait_for(lambda: "T" in map(state, workers(os.getpid())), what="a worker hangs")
        ours = workers(os.getpid())
        packer.close()
        with pytest.raises(Stopping):
            packing_it.result(5)
    wait_for(partial(gone, *ours), what="workers end")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


@pytest.mark.long
def test_workers_say_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    packer = Packer(tmp_path / "spool", KEY, workers=1, work=silent)
    series(tmp_path / "P1", 2)
    packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)
    packer.close()
    assert capfd.readouterr() == ("", "")


def test_a_file_that_memory_does_not_hold_is_refused_by_name_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "largest_file", lambda: 2_000_000)
    packer = Packer(tmp_path / "spool", KEY)
    series(tmp_path / "P1", 2)
    (tmp_path / "P1" / "huge").write_bytes(
        written(image(3, Rows=1024, Columns=1536, PixelData=bytes(3 << 20)))
    )
    with pytest.raises(CaseProblem, match=r"^huge has 3 MB; files of up to 2 MB"):
        packer.pack(1, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)


@pytest.mark.long
def test_large_files_of_all_cases_are_in_hand_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "LARGE", 100)
    monkeypatch.setattr(packing, "MOST_LARGE", 100)
    packer = Packer(tmp_path / "spool", KEY, workers=2)
    for folder in ("P1", "P2", "P3"):
        series(tmp_path / folder, 6)
    plans = {folder: planned(tmp_path / folder) for folder in ("P1", "P2", "P3")}
    held: list[int] = []

    def look() -> None:
        held.append(packer._large._held)

    with ThreadPoolExecutor(3) as threads:
        made = [
            threads.submit(packer.pack, number, str(tmp_path / folder), file, look)
            for number, (folder, file) in enumerate(plans.items())
        ]
        assert len({one.result().sha256 for one in made}) == 1
    sizes = {source.size for file in plans.values() for source in file.packed}
    assert set(held) <= {0, *sizes}
    assert packer._large._held == 0
    packer.close()


def test_who_waits_for_memory_first_gets_it_first() -> None:
    allowance = Allowance(100)
    allowance.take(60, go_on)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(allowance.take, 90, go_on)
        wait_for(lambda: allowance._queue, what="it waits")
        assert not allowance.take_now(1)
        allowance.give(60)
        waiting.result(5)
    assert allowance.take_now(10)


def test_who_waits_for_memory_still_stops() -> None:
    allowance = Allowance(100)
    allowance.take(60, go_on)

    def stop() -> None:
        raise Stopping("The service is stopping.")

    with pytest.raises(Stopping):
        allowance.take(90, stop)
    assert allowance.take_now(40)


@pytest.mark.long
def test_room_is_not_promised_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packer = Packer(tmp_path / "spool", KEY, workers=1)
    for folder in ("P1", "P2"):
        series(tmp_path / folder, 3)
    first, second = (planned(tmp_path / folder) for folder in ("P1", "P2"))
    room = sum(source.size + packing.MORE for source in first.packed) + SPARE + 5000
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=room))
    tried: list[bool] = []

    def try_the_other() -> None:
        if not tried:
            tried.append(True)
            with pytest.raises(Waits, match="Waits for room"):
                packer.pack(2, str(tmp_path / "P2"), second, go_on)

    packer.pack(1, str(tmp_path / "P1"), first, try_the_other)
    assert tried
    assert packer.pack(2, str(tmp_path / "P2"), second, go_on).sha256
    packer.close()


@pytest.mark.long
def test_a_start_leaves_only_what_plans_name(tmp_path: Path, packer: Packer) -> None:
    series(tmp_path / "P1", 2)
    made = packer.pack(7, str(tmp_path / "P1"), planned(tmp_path / "P1"), go_on)
    spool = tmp_path / "spool"
    for left in ("7/making-140", "7/" + "0" * 64, "8/" + made.sha256):
        (spool / left).parent.mkdir(exist_ok=True)
        (spool / left).write_bytes(b"x")
    (spool / "stray").write_bytes(b"x")
    packer.clear({7: {made.sha256}, 9: set()})
    assert [path for path in spool.rglob("*") if path.is_file()] == [spool / "7" / made.sha256]


PARENT = """
import sys, time
from casedrop.pack import Packer
from casedrop.model import Procedure
from casedrop.workers import Task, new_sheet
if __name__ == "__main__":
    packer = Packer(__import__("pathlib").Path(sys.argv[1]), bytes(32), workers=2)
    task = Task(Procedure(), bytes(32), alone=True)
    futures = [packer._workers.submit(new_sheet(), task) for _ in range(8)]
    print([one.result().word for one in futures][0], flush=True)
    time.sleep(60)
"""


@pytest.mark.long
def test_a_killed_service_leaves_no_worker_behind(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "spool")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"not-dicom\n"
        left = workers(parent.pid)
        assert left
        parent.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), what="workers end")


UNCLOSED = PARENT.replace("time.sleep(60)", "")


@pytest.mark.long
def test_workers_that_nobody_closed_do_not_keep_a_process_from_ending(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(UNCLOSED)
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "spool")]
    ended = subprocess.run(command, capture_output=True, check=True, timeout=30)
    assert ended.stderr == b""


def plan_of(folder: Path, file: PlannedFile) -> Plan:
    entries = tuple(
        Entry(one.path, EntryKind.FILE, one.size, one.mtime_ns, one.ctime_ns, one.inode)
        for one in sorted(file.packed, key=lambda one: one.path)
    )
    socket = PlannedSocket("ct-image", "Image", "a series", (file,))
    return Plan(folder.name, folder.name, (socket,), entries=entries)


def listing(folder: Path) -> Listing:
    found = [source(folder, path.name) for path in sorted(folder.iterdir())]
    entries = tuple(
        Entry(one.path, EntryKind.FILE, one.size, one.mtime_ns, one.ctime_ns, one.inode) for one in found
    )
    return Listing(folder.name, entries)


@pytest.mark.long
def test_touched_files_of_a_packed_series_are_read_again(tmp_path: Path, packer: Packer) -> None:
    folder = tmp_path / "P1"
    series(folder, 3)
    plan = plan_of(folder, packer.pack(1, str(folder), planned(folder), go_on))
    path = folder / plan.entries[1].path
    os.utime(path)
    (kept,) = unchanged(str(folder), plan, listing(folder), go_on).sockets
    assert kept.fingerprint == plan.sockets[0].fingerprint
    assert kept.files[0].packed != plan.sockets[0].files[0].packed
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(FolderChanged, match="other contents"):
        unchanged(str(folder), plan, listing(folder), go_on)


def test_before_it_is_packed_any_change_sends_the_folder_back(tmp_path: Path) -> None:
    folder = tmp_path / "P1"
    series(folder, 2)
    plan = plan_of(folder, planned(folder))
    os.utime(folder / plan.entries[0].path)
    with pytest.raises(FolderChanged):
        unchanged(str(folder), plan, listing(folder), go_on)


def test_a_packed_series_is_made_once(tmp_path: Path, packer: Packer) -> None:
    folder = tmp_path / "P1"
    series(folder, 2)
    made: list[Any] = []

    def pack(file: PlannedFile) -> PlannedFile:
        made.append(file)
        return packer.pack(1, str(folder), file, go_on)

    socket = PlannedSocket("ct-image", "Image", "a series", (planned(folder),))
    once = prepare(str(folder), socket, go_on, pack)
    assert prepare(str(folder), once, go_on, pack) == once
    assert len(made) == 1


@pytest.mark.long
def test_what_arrives_on_the_platform_is_the_zip_and_names_nobody(
    tmp_path: Path, packer: Packer, sandbox: Sandbox
) -> None:
    folder = tmp_path / "P1"
    series(folder, 12)
    made = packer.pack(1, str(folder), planned(folder), go_on)
    with ThreadPoolExecutor(2) as threads:
        lane = Lane(GrandChallenge(sandbox.url, lambda: sandbox.token), threads, threads, 2, go_on)
        source = Source(made, lambda: packer.open(1, made), lambda _: None)
        upload_all(lane, [lambda: source], {}, lambda *_: None)
    (arrived,) = sandbox.state.uploads.values()
    data = arrived.whole.read_bytes()
    assert hashlib.sha256(data).hexdigest() == made.sha256
    assert arrived.filename == "ct-image.zip"
    assert not [text for text in texts() if text in data]


def test_uids_follow_the_key_of_the_state_directory(tmp_path: Path) -> None:
    key = uid_key(tmp_path)
    assert uid_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "uids.key").stat().st_mode) == 0o600
    assert new_uid(key, CT + ".1") == CT + ".1"
    assert new_uid(key, "1.2.3") != new_uid(KEY, "1.2.3")
