"""The files of a case go up several at a time."""

import io
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import count
from typing import Any

import pytest

from casedrop.errors import FolderChanged, Stopping, Unavailable, Waits
from casedrop.grand_challenge import GrandChallenge
from casedrop.model import PlannedFile, UploadRef
from casedrop.sandbox import Sandbox
from casedrop.sums import Sums
from casedrop.upload import Lane, Made, Source, upload_all
from waiting import wait_for

WINDOW = 3
SECONDS = 30


@contextmanager
def lane(sandbox: Sandbox) -> Iterator[Lane]:
    with ThreadPoolExecutor(20) as files, ThreadPoolExecutor(20) as parts:
        yield Lane(GrandChallenge(sandbox.url, lambda: sandbox.token), files, parts, WINDOW, lambda: None)


def planned(number: int) -> tuple[PlannedFile, bytes]:
    """The first of three parts, the others of one."""
    content = bytes([number]) * (1 if number else 11 << 20)
    sums = Sums(5 << 20)
    sums.add(content)
    file = PlannedFile(f"{number:02}.mha", f"{number:02}.mha", len(content), 0, 0, 0)
    return replace(file, sha256=sums.sha256, part_size=sums.part_size, md5s=sums.md5s), content


class TooFew(Executor):
    """Threads of which no third can be started."""

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self.given: list[Future[Any]] = []

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if len(self.given) == WINDOW - 1:
            raise RuntimeError("can't start new thread")
        self.given.append(self._threads.submit(work, *args, **kwargs))
        return self.given[-1]


@dataclass(slots=True)
class Folder:
    """Its files are opened by part threads; `together` is how many are to meet before any goes on."""

    together: int = 1
    broken: str = ""
    noted: dict[str, UploadRef] = field(default_factory=dict)
    noting: threading.Lock = field(default_factory=threading.Lock)
    open: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    arrived: list[str] = field(default_factory=list)
    made: weakref.WeakSet[Callable[[], io.BytesIO]] = field(default_factory=weakref.WeakSet)
    most_made: int = 0
    met: threading.Barrier = field(init=False)

    def __post_init__(self) -> None:
        self.met = threading.Barrier(self.together)

    def sources(self, files: int) -> list[Made]:
        return [partial(self._source, *planned(number)) for number in range(files)]

    def _source(self, file: PlannedFile, content: bytes) -> Source:
        def opened() -> io.BytesIO:
            assert self.noted[file.path].sha256 == file.sha256
            with self.lock:
                self.open += 1
                self.most = max(self.most, self.open)
                self.most_made = max(self.most_made, len(self.made))
            self.met.wait(SECONDS)
            if file.path == self.broken:
                raise FolderChanged("A file is no longer there.")
            return Closing(content, self)

        with self.lock:
            self.made.add(opened)
        return Source(file, opened, lambda _: None, arrived=lambda _: self.arrived.append(file.path))

    def note(self, path: str, ref: UploadRef) -> None:
        assert self.noting.acquire(blocking=False)
        self.noted[path] = ref
        self.noting.release()


class Closing(io.BytesIO):
    def __init__(self, content: bytes, of: Folder) -> None:
        super().__init__(content)
        self._of = of

    def close(self) -> None:
        with self._of.lock:
            self._of.open -= not self.closed
        super().close()


def test_as_many_parts_go_up_at_once_as_a_case_may_have_and_no_more(sandbox: Sandbox) -> None:
    folder = Folder(together=WINDOW)
    with lane(sandbox) as wide:
        upload_all(wide, folder.sources(7), {}, folder.note)
    assert folder.most == WINDOW
    assert sorted(folder.arrived) == [f"{number:02}.mha" for number in range(7)]
    sent = {
        upload.pk: sha256(upload.whole.read_bytes()).hexdigest() for upload in sandbox.state.uploads.values()
    }
    assert sent == {ref.pk: ref.sha256 for ref in folder.noted.values()}


def test_files_that_are_there_already_are_not_sent_again(sandbox: Sandbox) -> None:
    folder, again = Folder(), Folder()
    with lane(sandbox) as wide:
        upload_all(wide, folder.sources(4), {}, folder.note)
        again.noted = {path: ref for path, ref in folder.noted.items() if path != "02.mha"}
        upload_all(wide, again.sources(4), dict(again.noted), again.note)
    assert len(sandbox.state.uploads) == 5
    assert sorted(again.arrived) == sorted(folder.arrived)


def test_a_copy_that_was_made_to_be_sent_goes_once_its_file_is_there(sandbox: Sandbox) -> None:
    """One for each file of a case, all at once, would fill the disk of the state directory."""
    folder = Folder()
    with lane(sandbox) as wide:
        upload_all(wide, folder.sources(60), {}, folder.note)
    assert folder.most_made < 30


@pytest.mark.parametrize(("between", "asked"), [(0, 1), (1000, 1), (4000, 1 + 3)])
def test_no_part_goes_out_in_vain_to_an_address_that_has_run_out_meanwhile(
    sandbox: Sandbox, between: float, asked: int
) -> None:
    """Sixteen for each of four files are asked for at once: more than an hour's work for a slow line."""
    folder, looks = Folder(), count(step=between)
    with lane(sandbox) as wide:
        upload_all(replace(wide, clock=lambda: next(looks), window=1), folder.sources(1), {}, folder.note)
    paths = [path for _, path, _ in sandbox.requests]
    assert sum("presigned" in path for path in paths) == asked


def test_a_stop_ends_a_case_before_the_next_file_be_it_there_already_or_not(sandbox: Sandbox) -> None:
    """Of a folder with a thousand files that are there the platform is asked a thousand times."""
    folder = Folder()
    with lane(sandbox) as wide:
        upload_all(wide, folder.sources(4), {}, folder.note)
        before = len(sandbox.requests)
        for files in (1, 4, 9):
            with pytest.raises(Stopping):
                upload_all(replace(wide, check=stopping), folder.sources(files), folder.noted, folder.note)
    assert len(sandbox.requests) == before


def stopping() -> None:
    raise Stopping("The service is stopping.")


def test_the_first_file_that_cannot_be_sent_ends_the_case_and_nothing_of_it_is_under_way_then(
    sandbox: Sandbox,
) -> None:
    folder = Folder(broken="00.mha")
    with lane(sandbox) as wide:
        with pytest.raises(FolderChanged):
            upload_all(wide, folder.sources(40), {}, folder.note)
        made = len(sandbox.state.uploads)
        assert wide.files.submit(lambda: len(sandbox.state.uploads)).result() == made
    assert len(sandbox.state.uploads) == made < 40
    assert "00.mha" not in folder.arrived


@pytest.mark.parametrize("files", [1, 4])
def test_what_else_of_a_case_is_under_way_stops_as_soon_as_a_part_cannot_be_sent(
    sandbox: Sandbox, files: int
) -> None:
    """A slow line takes minutes for a part."""
    asked, told = count(1), list[Stopping]()

    def line(_: int, check: Callable[[], None]) -> int:
        """The last of those that are under way cannot be read; the others wait for their turn to send."""
        if next(asked) == WINDOW:
            raise FolderChanged("A file has become shorter.")
        with pytest.raises(Stopping) as stop:
            wait_for(partial(check_once, check), SECONDS, "it is told to stop")
        told.append(stop.value)
        raise stop.value

    folder = Folder()
    with lane(sandbox) as wide, pytest.raises(FolderChanged):
        upload_all(replace(wide, allow=line), folder.sources(files), {}, folder.note)
    assert len(told) == WINDOW - 1


def check_once(check: Callable[[], None]) -> bool:
    check()
    return False


def test_parts_that_are_under_way_when_another_is_cut_off_still_arrive(sandbox: Sandbox) -> None:
    """On a line that often breaks nothing would get through otherwise."""
    asked, folder = count(1), Folder()

    def line(most: int, check: Callable[[], None]) -> int:
        """The others go on once the thread of the last is free again."""
        if next(asked) == WINDOW:
            raise Unavailable("The line was cut.", "storage")
        parts.submit(int).result(SECONDS)
        check()
        return most

    with lane(sandbox) as wide, ThreadPoolExecutor(WINDOW) as parts, pytest.raises(Unavailable):
        upload_all(replace(wide, parts=parts, allow=line), folder.sources(1), {}, folder.note)
    (made,) = sandbox.state.uploads.values()
    assert len(made.etags) == WINDOW - 1


def test_a_slow_line_is_measured_by_all_files_that_share_it(sandbox: Sandbox) -> None:
    """Of two files one is there each time, of the other two parts of three; then 21 hours pass."""
    folder = Folder()
    file, content = planned(0)
    both = [partial(folder._source, replace(file, path=path), content) for path in ("beside.mha", "slow.mha")]
    with lane(sandbox) as wide:
        for _ in range(2):
            sandbox.faults.add(method="PUT", path="/3$", cut=True, skip=1)
            with pytest.raises(Unavailable):
                upload_all(replace(wide, window=1), both, dict(folder.noted), folder.note)
            sandbox.age_uploads(21)
        with pytest.raises(Waits) as slow:
            upload_all(replace(wide, window=1), both, dict(folder.noted), folder.note)
    assert str(slow.value).startswith(
        "slow.mha was begun 2 times and never was whole in 20 h: at 0.0023 Mbit/s"
    )
    assert "all that is to be sent (0.0231 GB) needs 22 h" in str(slow.value)


def test_where_no_thread_can_be_started_the_files_that_have_begun_end_first(sandbox: Sandbox) -> None:
    """One that went on would journal its upload over what has become of the case since."""
    folder = Folder()
    with lane(sandbox) as wide:
        few = TooFew(wide.files)
        with pytest.raises(RuntimeError):
            upload_all(replace(wide, files=few), folder.sources(7), {}, folder.note)
        assert [one.done() for one in few.given] == [True, True]
