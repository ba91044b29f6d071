"""Random faults and kills over many small cases; `python tests/soak.py SECONDS [SEED]` prints how it ended."""

import hashlib
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from casedrop.sandbox import Sandbox
from lab import NO_IMAGE, Lab, mha
from waiting import wait_for

STATUSES = (500, 502, 503, 429)
BACKLOG = 100
"""Folders waiting in drop/ at most: kills and faults slow the service more than they slow who drops."""


@dataclass
class Day:
    """One run: what was done to the service, and every end that is wrong, in words."""

    lab: Lab
    chance: random.Random
    cases: int = 0
    kills: int = 0
    faults: int = 0
    changes: int = 0
    memory: tuple[float, float] = (0, 0)
    """MiB of the service once it runs, and of the one that is stopped at the end."""
    wrong: list[str] = field(default_factory=list)

    def live(self, seconds: float) -> None:
        """One random event after the other, then an undisturbed `run --once`."""
        self.lab.configure(quiet=0.2, incomplete=1)
        self.lab.start()
        wait_for((self.lab.state / "status.json").exists, what="the service runs")
        before = self._resident()
        end = time.monotonic() + seconds
        events = (
            *[self.drop] * 16,
            *[self.fault] * 6,
            self.kill,
            *[self.change] * 3,
            *[self.return_failed] * 2,
        )
        while time.monotonic() < end:
            self.chance.choice(events)()
            time.sleep(self.chance.uniform(0.02, 0.25))
        self.memory = (before, self._resident())
        self.lab.sandbox.faults.clear()
        self.lab.stop()
        wait_for(lambda: self.lab.once(within=900) in (0, 1), 900, "everything is at its end")

    def drop(self) -> None:
        if sum(1 for _ in self.lab.drop.iterdir()) >= BACKLOG:
            return
        name = f"P{self.cases:05}"
        self.cases += 1
        files = {"ct__mha": self._image()}
        if self.chance.random() < 0.1:
            files["ct__mha"] = NO_IMAGE + name.encode()
        if self.chance.random() < 0.5:
            files["score__json"] = b'{"score": %d}' % self.cases
        if self.chance.random() < 0.3:
            files["r__pdf"] = b"%PDF" + self.chance.randbytes(1000)
        if self.chance.random() < 0.1:
            del files["ct__mha"]
            files["odd__txt"] = b"no rule takes this"
        self.lab.move_in(name, **files)

    def fault(self) -> None:
        self.faults += 1
        self.lab.sandbox.faults.add(
            skip=self.chance.randrange(30),
            status=self.chance.choice(STATUSES),
            cut=self.chance.random() < 0.3,
            after=self.chance.random() < 0.5,
            headers={"Retry-After": "1"},
        )

    def kill(self) -> None:
        self.kills += 1
        self.lab.kill()
        assert self.lab.process is not None
        self.lab.process.wait()
        self.lab.start()

    def change(self) -> None:
        """A file is replaced under our feet, wherever its case is by now."""
        there = [path / "ct.mha" for path in self.lab.drop.iterdir() if path.is_dir()]
        if there:
            self.changes += 1
            path = self.chance.choice(there)
            try:
                if path.exists():
                    path.write_bytes(self._image())
            except FileNotFoundError:
                pass  # filed away at this very moment

    def return_failed(self) -> None:
        there = [path for path in self.lab.failed.iterdir() if path.is_dir()]
        if there:
            path = self.chance.choice(there)
            if (path / "odd.txt").exists():
                (path / "odd.txt").unlink()
            (path / "ct.mha").write_bytes(self._image())
            path.rename(self.lab.drop / path.name)

    def judge(self) -> None:
        """Each folder is in one place with its text; each done one is one display set of just its bytes."""
        holdings = self.lab.sandbox.display_sets("lung-2026")
        titled = {one.title: one for one in holdings}
        done = {path.name: path for path in self.lab.done.iterdir() if path.is_dir()}
        failed = {path.name: path for path in self.lab.failed.iterdir() if path.is_dir()}
        self._expect(len(titled) == len(holdings), "a title stands twice")
        self._expect(not any(self.lab.drop.iterdir()), "a folder is left in drop/")
        self._expect(
            len(done) + len(failed) == self.cases, f"{len(done)} + {len(failed)} of {self.cases} folders"
        )
        for name, path in done.items():
            values = titled[name].values if name in titled else {}
            self._expect((self.lab.done / f"{name}.receipt.json").exists(), f"{name} has no receipt")
            late = (self.lab.done / f"{name}.late.txt").exists()
            self._expect(late or self._matches(path, values), f"{name} is not what the platform holds")
        for name in failed:
            self._expect((self.lab.failed / f"{name}.reason.txt").exists(), f"{name} has no reason")
        for title, one in titled.items():
            known = title in done or title in failed or (title.startswith("casedrop-") and not one.values)
            self._expect(known, f"the display set {title} belongs to no folder")
        left = [
            path.name for folder in (self.lab.done, self.lab.failed) for path in folder.glob(".casedrop*")
        ]
        self._expect(not left, f"left behind: {left}")
        self._judge_ledger(done)

    def _judge_ledger(self, done: Iterable[str]) -> None:
        """It is whole, each attempt has one end, and each folder that is done has one that was confirmed."""
        self._expect("none missing or changed" in self.lab.command("ledger", "--verify"), "a broken ledger")
        records = self.lab.records()
        began = {one["seq"]: one["folder"] for one in records if one["event"] == "began"}
        ended = [one for one in records if one["event"] == "ended"]
        self._expect(sorted(began) == sorted(one["attempt"] for one in ended), "an attempt without one end")
        confirmed = {began[one["attempt"]] for one in ended if one["fate"] == "confirmed"}
        self._expect(confirmed >= set(done), f"done, and not in the ledger: {set(done) - confirmed}")

    def _resident(self) -> float:
        assert self.lab.process is not None
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.lab.process.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0

    def _expect(self, holds: object, what: str) -> None:
        if not holds:
            self.wrong.append(what)

    def _matches(self, folder: Path, values: dict[str, object]) -> bool:
        sockets = {"ct.mha": "ct-image", "r.pdf": "report-pdf"}
        wanted = {sockets[one.name]: _sha256(one) for one in folder.iterdir() if one.name in sockets}
        held = {slug: value["sha256"] for slug, value in values.items() if isinstance(value, dict)}
        score = (folder / "score.json").exists()
        return held == wanted and score == ("some-score" in values)

    def _image(self) -> bytes:
        return mha()[:-8] + self.chance.randbytes(8)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    seconds = float(sys.argv[1])
    seed = sys.argv[2] if len(sys.argv) > 2 else str(time.time())
    with Sandbox(import_seconds=0.1) as sandbox:
        sandbox.furnish()
        day = Day(Lab(Path(tempfile.mkdtemp()), sandbox), random.Random(seed))
        day.live(seconds)
        day.judge()
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(
            f"seed {seed}: {day.cases} cases, {len(sandbox.requests)} requests, {day.kills} kills, "
            f"{day.faults} faults, {day.changes} changes, {len(day.wrong)} wrong ends, "
            f"the service {day.memory[0]:.0f} MiB at the start, {day.memory[1]:.0f} at the end, {most:.0f} at most"
        )
        print("\n".join(day.wrong))
    return 1 if day.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
