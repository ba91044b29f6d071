"""Random days: people, faults, kills and restarts in any order, against a model of what must be true at the end.

`--days 200` lives through more of them.
"""

import hashlib
import json
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from casedrop.sandbox import Sandbox
from forked import Forked
from lab import NO_IMAGE, RUN, Lab, mha

STEPS = 20
PATIENCE = 90
"""Seconds for the undisturbed end of a day."""

SOCKETS = {"ct.mha": "ct-image", "r.pdf": "report-pdf"}
PLACES = ("desk", "lung/drop", "lung/done", "lung/failed")
FOLDER = some.tuples(
    some.sampled_from(["good", "good", "good", "none at all", "missing"]),
    some.booleans(),
    some.integers(0, 7),
    some.integers(0, 3),
)
"""Its image, whether it has a report, an odd file (0), the first name again (0)."""


class Day(RuleBasedStateMachine):
    """The model: `files` is what people last left in each of their folders, by the folder's inode."""

    def __init__(self) -> None:
        super().__init__()
        self.top = tempfile.TemporaryDirectory()
        self.sandbox = Sandbox(import_seconds=0.02)
        self.sandbox.__enter__()
        self.sandbox.furnish()
        self.lab = Lab(Path(self.top.name), self.sandbox)
        self.lab.configure(quiet=0.1, incomplete=0.3)
        self.files: dict[int, dict[str, str]] = {}
        self.made = 0
        self.changed_in_done: frozenset[int] = frozenset()
        self.process: Forked | None = None

    @initialize(folders=some.lists(FOLDER, min_size=3, max_size=6))
    def morning(self, folders: list[tuple[str, bool, int, int]]) -> None:
        for folder in folders:
            self.drop(folder)
        self._start(once=False)

    @rule(folder=FOLDER)
    def drop(self, folder: tuple[str, bool, int, int]) -> None:
        """A folder, now and then of a name that was there before."""
        image, pdf, odd, again = folder
        self.made += 1
        name = f"P{self.made if again else 1:03}"
        if (self.lab.drop / name).exists() or (self.lab.desk / name).exists():
            return
        files = {}
        if image != "missing":
            files["ct__mha"] = self._image() if image == "good" else NO_IMAGE + b"%d" % self.made
        if pdf:
            files["r__pdf"] = b"%PDF" + os.urandom(1000)
        if not odd:
            files["odd__txt"] = b"no rule takes this"
        if not files:
            return
        made = self.lab.folder(name, **files)
        self._remember(made)
        made.rename(self.lab.drop / name)

    @rule(
        skip=some.integers(0, 12),
        status=some.sampled_from([500, 502, 503]),
        cut=some.booleans(),
        after=some.booleans(),
    )
    def fault(self, skip: int, status: int, *, cut: bool, after: bool) -> None:
        self.sandbox.faults.add(skip=skip, status=status, cut=cut, after=after)

    @rule(skip=some.integers(0, 12), after=some.booleans())
    def killed_at_a_request(self, skip: int, *, after: bool) -> None:
        self.sandbox.faults.add(skip=skip, cut=True, after=after, call=self._kill)
        self._work(skip + 1)
        self._end(signal.SIGKILL)
        self._start(once=False)

    @rule()
    def stopped_and_started(self) -> None:
        self._end(signal.SIGTERM)
        self._start(once=False)

    @rule(requests=some.integers(1, 15))
    def a_while(self, requests: int) -> None:
        self._work(requests)

    @rule(which=some.integers(0, 99))
    def file_replaced(self, which: int) -> None:
        self._change(self._in(self.lab.drop), which)

    @rule(skip=some.integers(0, 25), which=some.integers(0, 99))
    def file_replaced_at_a_request(self, skip: int, which: int) -> None:
        self.sandbox.faults.add(
            skip=skip, status=0, call=lambda: self._change(self._in(self.lab.drop), which)
        )

    @rule(skip=some.integers(0, 25), which=some.integers(0, 99))
    def folder_taken_away_at_a_request(self, skip: int, which: int) -> None:
        def take_away() -> None:
            self._move(_one(self._in(self.lab.drop), which), self.lab.desk)

        self.sandbox.faults.add(skip=skip, status=0, call=take_away)

    @rule(which=some.integers(0, 99))
    def file_replaced_in_done(self, which: int) -> None:
        self._change(self._in(self.lab.done), which)

    @rule(which=some.integers(0, 99), mended=some.booleans())
    def failed_folder_returned(self, which: int, *, mended: bool) -> None:
        folder = _one(self._in(self.lab.failed), which)
        if folder is None or (self.lab.drop / folder.name).exists():
            return
        if mended:
            (folder / "odd.txt").unlink(missing_ok=True)
            (folder / "ct.mha").write_bytes(self._image())
            self._remember(folder)
        folder.rename(self.lab.drop / folder.name)

    @rule(which=some.integers(0, 99))
    def folder_taken_away(self, which: int) -> None:
        self._move(_one(self._in(self.lab.drop), which), self.lab.desk)

    @rule(which=some.integers(0, 99))
    def folder_brought_back(self, which: int) -> None:
        self._move(_one(self._in(self.lab.desk), which), self.lab.drop)

    def teardown(self) -> None:
        try:
            if self.process:
                self._end(signal.SIGTERM)
                self.sandbox.faults.clear()
                self._judge(self._undisturbed_end())
        finally:
            if self.process:
                self.process.kill()
            self.sandbox.__exit__(None, None, None)
            self.top.cleanup()

    def _undisturbed_end(self) -> int:
        self._start(once=True)
        assert self.process
        return self.process.wait(PATIENCE)

    def _judge(self, code: int) -> None:
        said = self.lab.log.read_text()[-3000:]
        assert code in (0, 1), (code, self.lab.status(), said)
        self._expect_each_folder_once_as_people_left_it()
        assert not [*self.lab.drop.iterdir()], self.lab.status()
        held = {one.title: one.values for one in self.sandbox.display_sets("lung-2026")}
        assert len(held) == len(self.sandbox.display_sets("lung-2026"))
        for folder in self._in(self.lab.done):
            self._expect_uploaded(folder, held)
        for folder in self._in(self.lab.failed):
            assert (self.lab.failed / f"{folder.name}.reason.txt").read_text().strip()
        shells = [title for title, values in held.items() if title.startswith("casedrop-") and values]
        assert not shells
        hidden = [path for place in (self.lab.done, self.lab.failed) for path in place.glob(".casedrop*")]
        assert not hidden

    def _expect_each_folder_once_as_people_left_it(self) -> None:
        places = [self.lab.top / place for place in PLACES]
        there = [folder for place in places for folder in self._in(place)]
        assert sorted(folder.stat().st_ino for folder in there) == sorted(self.files)
        for folder in there:
            assert _contents(folder) == self.files[folder.stat().st_ino], folder

    def _expect_uploaded(self, folder: Path, held: dict[str, dict[str, dict[str, str]]]) -> None:
        """What changed after it was filed is said in a note beside it."""
        receipt = json.loads((self.lab.done / f"{folder.name}.receipt.json").read_text())
        values = {slug: value["sha256"] for slug, value in held[receipt["title"]].items()}
        wanted = {SOCKETS[name]: sha256 for name, sha256 in _contents(folder).items()}
        late = (self.lab.done / f"{folder.name}.late.txt").exists()
        changed = folder.stat().st_ino in self.changed_in_done
        assert late or changed or values == wanted, (folder.name, self.lab.log.read_text()[-3000:])

    def _start(self, *, once: bool) -> None:
        arguments = [*RUN, *(["--once"] if once else [])]
        environ = os.environ | {"CASEDROP_CONFIG": str(self.lab.config)}
        self.process = Forked(arguments, environ, self.lab.log)

    def _kill(self) -> None:
        assert self.process
        self.process.kill()

    def _end(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)
        self.process.wait(15)

    def _work(self, requests: int) -> None:
        """Until so many more requests have come, if they do."""
        until, deadline = len(self.sandbox.requests) + requests, time.monotonic() + 0.6
        while len(self.sandbox.requests) < until and time.monotonic() < deadline:
            time.sleep(0.01)

    def _in(self, place: Path) -> list[Path]:
        return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))

    def _change(self, there: list[Path], which: int) -> None:
        """Through a descriptor of the folder, which the service may be moving away."""
        folder = _one(there, which)
        if folder is None:
            return
        try:
            at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return
        try:
            inode = os.fstat(at).st_ino
            found = os.open("ct.mha", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=at)
            with os.fdopen(found, "wb") as file:
                content = self._image()
                file.write(content)
            self.files[inode] = self.files[inode] | {"ct.mha": hashlib.sha256(content).hexdigest()}
            self.changed_in_done |= self._now_in_done(inode)
        finally:
            os.close(at)

    def _now_in_done(self, inode: int) -> frozenset[int]:
        return frozenset(
            one for one in (path.stat().st_ino for path in self._in(self.lab.done)) if one == inode
        )

    def _move(self, folder: Path | None, to: Path) -> None:
        if folder is None or (to / folder.name).exists():
            return
        try:
            folder.rename(to / folder.name)
        except FileNotFoundError:
            return  # the service was faster

    def _remember(self, folder: Path) -> None:
        self.files[folder.stat().st_ino] = _contents(folder)

    def _image(self) -> bytes:
        return mha()[:-8] + os.urandom(8)


def _one(there: list[Path], which: int) -> Path | None:
    """No rule has a condition: what there is differs from run to run, and the steps must not."""
    return there[which % len(there)] if there else None


def _contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.long
@pytest.mark.timeout(0)
def test_whatever_happens_each_folder_ends_once_and_right(request: pytest.FixtureRequest) -> None:
    days = settings(
        max_examples=request.config.getoption("days"),
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # processes and clocks: the same steps need not fail again
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Day, settings=days)
