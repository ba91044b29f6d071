"""The files of a case go up in parts: resumable, checked part by part, in memory that does not grow with them."""

import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from casedrop.answers import Meaning
from casedrop.errors import FolderChanged, Refused, Stopping, Unavailable, Unclear, Waits
from casedrop.grand_challenge import GrandChallenge, Upload
from casedrop.model import PlannedFile, UploadRef
from casedrop.near import shown
from casedrop.redrop import PERSON

CHUNK = 1 << 20
"""httpcore slices what is left after each send, so one large `bytes` would be copied over and over."""

FRESH = 20 * 3600
"""Seconds after which an upload is not trusted to outlive its use: the platform drops it after 24 h."""

URL_TRIES = 3

URL_SECONDS = 3000.0
"""An address lives one hour, and a part that is refused has gone out in vain: an older one is asked for anew."""

MOST_EXPIRED = 2
"""Uploads of one file that may grow too old before they are whole: the third would too."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What uploads share: the platform, the threads of files and of parts; a case may have `window` of each."""

    platform: GrandChallenge
    files: Executor
    parts: Executor
    window: int
    check: Callable[[], None]
    """Called before every read; raises Stopping."""
    allow: Callable[[int, Callable[[], None]], int] = lambda count, _: count
    """Waits until bytes of parts may go out: how many, at most so many; calls `check` meanwhile."""
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Source:
    """A planned file, how to open it, and who counts its bytes: those that are there, and all that go out."""

    file: PlannedFile
    open: Callable[[], io.RawIOBase | io.BytesIO]
    sent: Callable[[int], None]
    moved: Callable[[int], None] = lambda _: None
    arrived: Callable[[Upload], None] = lambda _: None
    """Told once it is there whole, with what the platform said of it."""


Made = Callable[[], Source]
"""Makes it when the file's turn comes: a copy may come with it, and goes with it."""


@dataclass(frozen=True, slots=True)
class _Address:
    """Where to PUT a part, and when that was asked (the lane's clock)."""

    number: int
    url: str
    asked: float


@dataclass(frozen=True, slots=True)
class _Case:
    """Its files, the earlier uploads of them by path, and who journals a new one."""

    files: Callable[[], list[PlannedFile]]
    refs: Mapping[str, UploadRef]
    note: Callable[[str, UploadRef], None]

    def known(self, file: PlannedFile) -> UploadRef | None:
        """The earlier upload of these very bytes."""
        ref = self.refs.get(file.path)
        return ref if ref and ref.sha256 == file.sha256 else None


class _Window(Executor):
    """The part threads for one case: who wants more of them than it may have waits, and small cases have room."""

    def __init__(self, threads: Executor, parts: int, failed: Callable[[BaseException], None]) -> None:
        """`failed` is told at once of a part that cannot be sent; of a cut line, others may still get through."""
        self._threads = threads
        self._room = threading.Semaphore(parts)
        self._failed = failed

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._room.acquire()
        try:
            part = self._threads.submit(work, *args, **kwargs)
        except RuntimeError:
            self._room.release()
            raise
        part.add_done_callback(self._ended)
        return part

    def _ended(self, part: Future[Any]) -> None:
        error = None if part.cancelled() else part.exception()
        if error and not isinstance(error, Unavailable):
            self._failed(error)
        self._room.release()


def upload_all(
    lane: Lane, sources: Sequence[Made], refs: Mapping[str, UploadRef], note: Callable[[str, UploadRef], None]
) -> None:
    """Bring the files of a case up, several at a time, going on where `refs` (by path) left off.

    `note` journals a new upload before its parts, for one file at a time. The first error ends all: the others
    stop before their next read, and it comes once none is under way any more. Raises FolderChanged where a file
    has become shorter, Refused with DAMAGED where it has other bytes, Waits where the line is too slow for them.
    """
    failed, noting = list[BaseException](), threading.Lock()

    def check() -> None:
        if failed:
            raise Stopping("Another file of the folder could not be sent.")
        lane.check()

    def noted(path: str, ref: UploadRef) -> None:
        with noting:
            note(path, ref)

    def send(made: Made) -> None:
        check()
        source = made()
        source.arrived(_upload(own, source, case))

    case = _Case(lambda: [made().file for made in sources], refs, noted)
    own = replace(lane, parts=_Window(lane.parts, lane.window, failed.append), check=check)
    try:
        _each(own, send, sources, failed)
    except BaseException:  # noqa: BLE001  what came of it is no news
        raise failed[0] from None
    finally:
        failed.clear()  # their tracebacks hold the copies that were to be sent


def _each(
    lane: Lane, send: Callable[[Made], None], sources: Sequence[Made], failed: list[BaseException]
) -> None:
    """The first error is in `failed` before any other, and none is under way when it comes."""
    waiting, running = iter(sources), set[Future[None]]()
    try:
        if len(sources) == 1:
            return send(*sources)
        while True:
            for one in islice(waiting, lane.window - len(running)):
                running.add(lane.files.submit(send, one))
            if not running:
                return None
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for ended in done:
                ended.result()
    except BaseException as error:
        failed.append(error)
        raise
    finally:
        wait(running)


def usable(platform: GrandChallenge, ref: UploadRef) -> Upload | None:
    """The upload as the platform knows it, None where it is gone or too old to build on."""
    upload = _known(platform, ref)
    return upload if upload and upload.status in ("Initialized", "Completed") and upload.age < FRESH else None


def is_whole(upload: Upload | None) -> bool:
    """Whether it may be named in a commit: complete, and young enough."""
    return upload is not None and upload.status == "Completed" and upload.age < FRESH


def _known(platform: GrandChallenge, ref: UploadRef) -> Upload | None:
    try:
        return platform.upload(ref.pk)
    except Refused as no:
        if no.meaning is not Meaning.GONE:
            raise
        return None


def _upload(lane: Lane, source: Source, case: _Case) -> Upload:
    """Bring one file up; what the platform last told of it."""
    file = source.file
    before = case.known(file)
    found = usable(lane.platform, before) if before else None
    etags = _arrived(lane.platform, found, file) if found and found.status == "Initialized" else {}
    if found is None:
        slow = _slowness(lane.platform, file, before, case) if before else None
        found = lane.platform.create_upload(file.upload_name)
        new = UploadRef(found.pk, file.sha256, file.part_size)
        case.note(file.path, replace(new, expired=slow.expired, hours=slow.hours) if slow else new)
    if found.status == "Completed":
        source.sent(file.sent_size)
        return found
    source.sent(_bytes_of(file, etags))
    missing = [number for number in range(1, len(file.md5s) + 1) if number not in etags]
    etags |= _send_parts(lane, source, found, missing)
    return _complete(lane.platform, found, etags)


def _slowness(platform: GrandChallenge, file: PlannedFile, ref: UploadRef, case: _Case) -> UploadRef:
    """`ref` with one more upload counted that grew too old before it was whole, if that is what it did.

    One that is gone says nothing of the line: the service may have been off. The files of a case share it, so
    that it is measured by all of them. Raises Waits at the second.
    """
    old = _known(platform, ref) if ref.expired < MOST_EXPIRED else None
    parts = _arrived(platform, old, file) if old and old.status == "Initialized" else {}
    if old and parts:
        ref = replace(ref, expired=ref.expired + 1, hours=_hours(platform, case, old.age))
    if ref.expired >= MOST_EXPIRED:
        case.note(file.path, ref)
        raise _too_slow(file, sum(one.sent_size for one in case.files()), ref)
    return ref


def _hours(platform: GrandChallenge, case: _Case, age: float) -> float:
    """How long the line takes for all files, by what has arrived of them since the first was begun.

    `age` (seconds) is that of one of them.
    """
    files, arrived = case.files(), 0
    for file, ref in ((file, case.known(file)) for file in files):
        there = _known(platform, ref) if ref else None
        if there and there.status in ("Initialized", "Completed"):
            is_whole = there.status == "Completed"
            arrived += file.sent_size if is_whole else _bytes_of(file, _arrived(platform, there, file))
            age = max(age, there.age)
    return sum(file.sent_size for file in files) / max(arrived, 1) * age / 3600


def _too_slow(file: PlannedFile, size: int, ref: UploadRef) -> Waits:
    megabits = size * 8 / 1e6 / (ref.hours * 3600)
    return Waits(
        f"{shown(file.path)} was begun {ref.expired} times and never was whole in {FRESH / 3600:.0f} h: at "
        f"{megabits:.2g} Mbit/s, as measured, all that is to be sent ({size / 1e9:.3g} GB) needs "
        f"{ref.hours:.0f} h, and Grand Challenge drops an upload after 24 h. Make the line faster or the files "
        "smaller; then move the folder out of drop/ and in again, or the administrator says "
        "`casedrop retry DROP/NAME`.",
        PERSON,
        person=True,
    )


def _arrived(platform: GrandChallenge, upload: Upload, file: PlannedFile) -> dict[int, str]:
    """The parts already there. An ETag that is no MD5 cannot be trusted after a restart: sent again."""
    return {
        number: etag
        for number, (etag, size) in platform.parts(upload).items()
        if number <= len(file.md5s) and (etag, size) == (file.md5s[number - 1], _size(file, number))
    }


def _send_parts(lane: Lane, source: Source, upload: Upload, missing: list[int]) -> dict[int, str]:
    etags: dict[int, str] = {}
    running: dict[Future[str], int] = {}
    try:
        for to in _addresses(lane, upload, missing):
            running[lane.parts.submit(_send_part, lane, source, upload, to)] = to.number
            etags |= _ended(running, 0)
        while running:
            etags |= _ended(running, None)
        return etags
    finally:
        for part in running:
            part.cancel()
        wait(running)


def _ended(running: dict[Future[str], int], timeout: float | None) -> dict[int, str]:
    """The ETags of the parts that are there, which are taken out of `running`."""
    done = wait(running, timeout, return_when=FIRST_COMPLETED).done
    return {running.pop(part): part.result() for part in done}


def _addresses(lane: Lane, upload: Upload, missing: list[int]) -> Iterator[_Address]:
    """Asked for in batches, shortly before they are used."""
    numbers = iter(missing)
    while batch := list(islice(numbers, 4 * lane.window)):
        if batch[0] != missing[0] and lane.platform.upload(upload.pk).age >= FRESH:
            raise Waits("The upload has grown too old before it was whole; it is begun anew.", 0)
        asked = lane.clock()
        for number, url in sorted(lane.platform.presign(upload, batch).items()):
            yield _Address(number, url, asked)


def _send_part(lane: Lane, source: Source, upload: Upload, to: _Address) -> str:
    """The files of a case share a line, so that it may take long until the part's turn comes."""
    file, number, url = source.file, to.number, to.url
    size, md5 = _size(file, number), bytes.fromhex(file.md5s[number - 1])
    if lane.clock() - to.asked > URL_SECONDS:
        url = lane.platform.presign(upload, [number])[number]
    for _ in range(URL_TRIES):
        try:
            etag = lane.platform.put_part(url, _bytes(lane, source, number), size, md5)
        except Refused as no:
            if no.meaning is not Meaning.URL_EXPIRED:
                raise
            url = lane.platform.presign(upload, [number])[number]
        else:
            source.sent(size)
            return etag
    raise Unavailable("The storage refuses addresses the platform has just given.", "storage")


def _bytes(lane: Lane, source: Source, number: int) -> Iterator[bytes]:
    left = _size(source.file, number)
    with source.open() as opened:
        opened.seek((number - 1) * source.file.part_size)
        while left:
            lane.check()
            chunk = opened.read(lane.allow(min(CHUNK, left), lane.check))
            if not chunk:
                raise FolderChanged("A file has become shorter.")
            left -= len(chunk)
            yield chunk
            source.moved(len(chunk))


def _bytes_of(file: PlannedFile, parts: Iterable[int]) -> int:
    return sum(_size(file, number) for number in parts)


def _size(file: PlannedFile, number: int) -> int:
    return min(file.part_size, file.sent_size - (number - 1) * file.part_size)


def _complete(platform: GrandChallenge, upload: Upload, etags: dict[int, str]) -> Upload:
    """A second "complete" is answered 500 although the first was done, so a doubt is settled by looking."""
    try:
        return platform.complete(upload, etags)
    except Unclear:
        found = platform.upload(upload.pk)
        if found.status != "Completed":
            raise
        return found
