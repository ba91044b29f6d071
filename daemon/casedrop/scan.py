"""The scanner of one root: list, settle, probe, group; in one thread that cannot die.

A share that hangs holds up its own scanner only; the service reads the last result and its age.
"""

import contextlib
import errno
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import structlog

from casedrop import roots, settle, status, watch
from casedrop.contents import Headers, group_folder, not_to_group, read_headers
from casedrop.errors import SetupProblem
from casedrop.file_away import OWN_TEXTS
from casedrop.group import There, nothing_there
from casedrop.model import (
    Drop,
    EntryKind,
    Finding,
    FindingState,
    Grouping,
    Listing,
    Problem,
    Snapshot,
    SocketKind,
    Weight,
)
from casedrop.settle import Settling
from casedrop.titles import NAMELESS, Naming
from casedrop.wake import Wake
from casedrop.watch import boot_clock

WAITS_FOR_KINDS = "settled; waiting for Grand Challenge to tell which sockets there are"
EMPTY = "empty"
STUCK = (
    "It has settled, but nothing is sent yet: the service could not move it afterwards, since it may not write in "
    "this folder. The administrator gives it that right by the command that `casedrop check` prints."
)
MANY_LEFT = 20
BURST = 0.2
"""Seconds over which a burst of events is one wake-up."""
REST = 3
"""Times as long as the last look took until the next, while something stirs all the time and many folders wait.

Not past what is due; where something is due at every moment, once as long, so that looks take half of the time.
"""


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """Times in seconds, and the most files a folder may have."""

    quiet_seconds: float
    rescan_seconds: float
    incomplete_seconds: float
    files: int = 50_000


@dataclass(frozen=True, slots=True)
class Known:
    """A folder's settling, and what its files mean once it is quiet under these `kinds` and this `naming`.

    `read_ahead`: its headers have been read before that.
    """

    settling: Settling
    read_ahead: bool = False
    grouping: Grouping | None = None
    kinds: Mapping[str, SocketKind] | None = None
    naming: Naming | None = None


class Scanner:
    """`scan(now)` is one look at everything; the thread only decides when."""

    def __init__(self, drop: Drop, limits: ScanLimits, wake: Callable[[], None]) -> None:
        self.drop = drop
        self.rules = status.rules(drop)
        self.limits = limits
        self.latest: Snapshot | None = None
        self.problem: str | None = None
        self.in_hand: frozenset[str] = frozenset()
        self.kinds: Mapping[str, SocketKind] | None = None
        self.first_names: Mapping[str, str] = {}
        """What a folder was called before it was filed under another name: the rules go by that."""
        self.there: There = nothing_there
        self.naming: Callable[[], Naming] = lambda: NAMELESS
        """Asked once a scan; raises SetupProblem."""
        self.silent_since: float | None = None
        """When the look under way last got an answer (boot clock): a share that hangs gives none."""
        self.named = NAMELESS
        """What `naming` said at the last look."""
        self.free: int | None = None
        """Bytes that were free in the root at the last look."""
        self._tell = wake
        self._known: dict[str, Known] = {}
        self._headers: dict[str, Headers] = {}
        self._forgotten: set[str] = set()
        self._lacks: dict[str, tuple[str, tuple[Problem, ...]]] = {}
        self._puzzling: set[str] = set()
        self._stirred = threading.Event()
        self._stopping = threading.Event()
        self._waker: Wake | None = None
        self._heard = (0, 0)
        self._names: frozenset[str] = frozenset()
        self._left = 0
        self._path = os.path.join(drop.root, "drop")
        self._there = watch.FileSystem("", events=False, lease=False, holes=False, inodes=False)
        """As it was at the beginning of the look: to ask at each folder takes longer than to list it."""

    def start(self) -> None:
        threading.Thread(target=self._turn, name=f"scan {self.drop.name}", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        self._stirred.set()

    def stir(self) -> None:
        """Look again soon."""
        self._stirred.set()

    def forget(self, folder: str) -> None:
        """Let a folder settle from the beginning."""
        self._forgotten.add(folder)
        self._stirred.set()

    def lacks(self, folder: str, mark: str, problems: tuple[Problem, ...]) -> None:
        """What was found lacking when its files were read whole; true as long as its signature is `mark`."""
        known_mark, known = self._lacks.get(folder, ("", ()))
        before = known if known_mark == mark else ()
        self._lacks[folder] = mark, tuple(dict.fromkeys((*before, *problems)))
        self._stirred.set()

    def scan(self, now: float) -> Snapshot:
        """One look at every name under drop/, as if it took no time.

        Raises OSError where drop/ cannot be read, SetupProblem where titles cannot be made.
        """
        return self._scan(lambda: now)

    def _scan(self, clock: Callable[[], float]) -> Snapshot:
        started = clock()
        while self._forgotten:
            self._known.pop(self._forgotten.pop(), None)
        self.named = self.naming()
        self._there = watch.file_system(self._path)
        in_hand = self.in_hand
        names = dict(_names(self._path))
        before = {one.folder: one for one in self.latest.findings} if self.latest else {}
        findings = [
            _as_old_as(before.get(name), self._look(name, kind, clock))
            for name, kind in sorted(names.items())
            if name not in in_hand and not settle.is_junk(name, self.drop.ignore)
        ]
        self._tell_stuck(before, findings)
        for name in ((self._known.keys() | self._headers.keys()) - names.keys()) | in_hand:
            self._known.pop(name, None)
            self._headers.pop(name, None)
        self._lacks = {name: one for name, one in self._lacks.items() if name in names}
        self._puzzling &= names.keys()
        self._left += len(self._names - names.keys())
        self._names = frozenset(names)
        self.latest = Snapshot(started, tuple(findings))
        return self.latest

    def _turn(self) -> None:
        while not self._stopping.is_set():
            self._stirred.clear()
            self.silent_since = began = boot_clock()
            try:
                os.stat(os.path.join(self.drop.root, roots.IDENTITY))
                self.free = shutil.disk_usage(self.drop.root).free
                self._scan(boot_clock)
                self._listen()
                self.problem = None
            except OSError as error:
                self.problem = self._unreadable(error)
            except SetupProblem as problem:
                self.problem = str(problem)
            except Exception as error:  # noqa: BLE001  this thread may not end, whatever a folder holds
                structlog.get_logger().error("scan surprised us", drop=self.drop.name, exc_info=error)
                self.problem = f"{self.drop.root} could not be looked through because of a fault in Casedrop."
            took, self.silent_since = boot_clock() - began, None
            self._tell()
            self._wait(took)
        if self._waker:
            self._waker.stop()

    def _answered(self) -> None:
        self.silent_since = boot_clock()

    def _wait(self, took: float) -> None:
        """Until the next look is due; after something stirred for the rest of a burst, longer where looks are."""
        ended = boot_clock()
        pause = self._pause(ended)
        if self._stirred.wait(pause):
            passed = boot_clock() - ended
            quarter = self.limits.quiet_seconds / 4
            rest = max(min(REST * took, quarter) - passed, min(BURST, quarter))
            self._stopping.wait(min(rest, max(pause, took) - passed))

    def _listen(self) -> None:
        """Anew where another directory is mounted there since, and where many folders have left.

        watchdog goes on watching folders that were moved away, until the system's limit of watches.
        """
        found = os.stat(self._path)
        if self._waker and (self._heard != (found.st_dev, found.st_ino) or self._left >= MANY_LEFT):
            self._waker.stop()
            self._waker, self._left = None, 0
        if self._waker is None and watch.file_system(self._path).events:
            self._heard = (found.st_dev, found.st_ino)
            self._waker = Wake(self._path, self._stirred.set)

    def _pause(self, now: float) -> float:
        """A quarter of the quiet period while something settles, else the rescan interval."""
        settling = (FindingState.SETTLING, FindingState.LACKING)
        findings = self.latest.findings if self.latest else ()
        due = [one.until - now for one in findings if one.state in settling and one.until is not None]
        quarter = self.limits.quiet_seconds / 4
        if not due:
            return self.limits.rescan_seconds
        return min(
            max(min(*due, quarter) if len(due) > 1 else min(due[0], quarter), 0.05),
            self.limits.rescan_seconds,
        )

    def _unreadable(self, error: OSError) -> str:
        said = os.strerror(error.errno or errno.EIO)
        return (
            f"{self._path} cannot be read ({said}). Is the share mounted? Nothing is moved until it is back. "
            "(A new root is made by `casedrop init`.)"
        )

    def _look(self, name: str, kind: EntryKind, clock: Callable[[], float]) -> Finding:
        now = clock()
        if kind is not EntryKind.FOLDER:
            return Finding(name, FindingState.LEFT_ALONE, _left_alone(name, kind), now)
        if self.drop.folder and not re.fullmatch(self.drop.folder, settle.composed(self._first(name))):
            why = f"its name is not what this drop takes ({self.drop.folder})"
            return Finding(name, FindingState.LEFT_ALONE, why, now)
        try:
            listing = watch.list_folder(os.path.join(self._path, name), self._there)
            self._answered()
            finding = self._settle(listing, now, clock())
        except Exception as error:  # noqa: BLE001  one folder's surprise must not stop the others
            self._known.pop(name, None)
            return Finding(name, FindingState.SETTLING, self._unseen(name, error), now)
        self._puzzling.discard(name)
        return finding

    def _unseen(self, name: str, error: Exception) -> str:
        if isinstance(error, OSError):
            path = os.fsdecode(error.filename or "").removeprefix(os.path.join(self._path, name)).strip("/")
            said = os.strerror(error.errno or errno.EIO)
            return f"{path} cannot be read ({said})".strip()
        if name not in self._puzzling:
            self._puzzling.add(name)
            structlog.get_logger().error(
                "folder surprised us", drop=self.drop.name, folder=name, exc_info=error
            )
        return "could not be looked through because of a fault in Casedrop; its log says where"

    def _settle(self, listing: Listing, now: float, listed: float) -> Finding:
        """`now` is when this look began, `listed` when it ended: on a slow share they are far apart."""
        name = listing.folder
        kept = settle.data(listing, self.drop.ignore)
        mark = settle.mark(kept)
        before = self._known.get(name)
        settling = settle.look(before.settling if before else None, mark, listed)
        same = before if before and before.settling.signature == mark else None
        self._known[name] = replace(same, settling=settling) if same else Known(settling)
        finding = Finding(
            name,
            FindingState.SETTLING,
            "waiting until copying has finished",
            settling.since,
            max(settling.since + self.limits.quiet_seconds, now + 0.01),
            signature=mark,
            device=listing.device,
            inode=listing.inode,
        )
        if why := self._not_ready(kept):
            return replace(finding, why=why, until=None)
        if not settle.is_quiet(settling, now, self.limits.quiet_seconds):
            self._read_ahead(kept, now)
            return finding
        return self._quiet(finding, kept, now)

    def _read_ahead(self, listing: Listing, now: float) -> None:
        """Headers, halfway through the quiet period: a series then waits for nothing but that once it has settled.

        A file that is changed after all looks otherwise then, and is read again. That holds where nobody has any
        open for writing, which must be certain: through a mapping it may be changed and look the same.
        """
        known, half = self._known[listing.folder], self.limits.quiet_seconds / 2
        if known.read_ahead or not self._there.lease or not settle.is_quiet(known.settling, now, half):
            return
        if not_to_group(listing, self.limits.files):
            return
        headers = self._headers.setdefault(listing.folder, {})
        with contextlib.suppress(OSError):  # told of once the folder has settled
            path = os.path.join(self._path, listing.folder)
            if watch.writers(path, listing, passed_over=()):
                return
            read_headers(path, listing, self.drop, headers, self._answered)
        self._known[listing.folder] = replace(known, read_ahead=True)

    def _not_ready(self, listing: Listing) -> str:
        if not any(one.kind is not EntryKind.FOLDER for one in listing.entries):
            return EMPTY
        if settle.is_placeholder(listing.folder):
            return "waiting for its name: this one is what a computer gives to a new folder"
        if self.drop.ready and not any(
            settle.is_ready_mark(one.path, self.drop) and one.kind is EntryKind.FILE
            for one in listing.entries
        ):
            return f"waiting for the file {self.drop.ready}, which says that the copy is complete"
        return ""

    def _quiet(self, finding: Finding, listing: Listing, now: float) -> Finding:
        """Nothing has changed for the quiet period: what the system knows, then what the files mean."""
        again = now + self.limits.quiet_seconds / 4
        if busy := self._busy(listing):
            return replace(finding, why=busy, until=again)
        if self._is_stuck(finding.folder):
            return replace(finding, state=FindingState.STUCK, why=STUCK, until=None)
        kinds = self.kinds
        if kinds is None:
            return replace(finding, why=WAITS_FOR_KINDS, until=None)
        grouping = not_to_group(listing, self.limits.files) or self._grouped(finding.folder, listing, kinds)
        grouping = self._with_lacks(grouping, finding)
        wrong = [one for one in grouping.problems if one.weight is Weight.WRONG]
        lacking = [one for one in grouping.problems if one.weight is Weight.LACKING]
        until = finding.since + self.limits.incomplete_seconds
        if not wrong and lacking and now < until:
            why = " ".join(one.text for one in lacking)
            return replace(finding, state=FindingState.LACKING, why=why, until=until, grouping=grouping)
        state = FindingState.WRONG if wrong or lacking else FindingState.READY
        why = " ".join(one.text for one in (*wrong, *lacking)) or "settled; waits for its turn"
        return replace(finding, state=state, why=why, until=None, grouping=grouping)

    def _with_lacks(self, grouping: Grouping, finding: Finding) -> Grouping:
        mark, problems = self._lacks.get(finding.folder, ("", ()))
        if mark != finding.signature:
            return grouping
        return replace(grouping, plan=None, problems=(*grouping.problems, *problems))

    def _busy(self, listing: Listing) -> str:
        folder = os.path.join(self._path, listing.folder)
        writing = watch.writers(folder, listing) if self._there.lease else []
        return f"{writing[0]} is still being written" if writing else ""

    def _is_stuck(self, name: str) -> bool:
        """Where drop/ itself cannot be written (a mount that is read-only), it is not for the folder to say."""
        path = os.path.join(self._path, name)
        return not watch.movable(path) and os.access(self._path, os.W_OK, effective_ids=True)

    def _tell_stuck(self, before: Mapping[str, Finding], findings: list[Finding]) -> None:
        """Once for each folder, as long as it is."""
        for one in findings:
            was = before.get(one.folder)
            if one.state is FindingState.STUCK and (was is None or was.state is not FindingState.STUCK):
                structlog.get_logger().warning("waits for a person", drop=self.drop.name, case=one.folder)

    def _grouped(self, name: str, listing: Listing, kinds: Mapping[str, SocketKind]) -> Grouping:
        """Once per signature: reading values and looking for DICOM is not done at every scan."""
        known = self._known[name]
        naming = self.named
        if known.grouping is None or known.kinds != kinds or known.naming is not naming:
            called = replace(listing, folder=self._first(name))
            path = os.path.join(self._path, name)
            headers = self._headers.setdefault(name, {})
            read_headers(path, called, self.drop, headers, self._answered)
            grouping = group_folder(path, called, self.drop, kinds, self.there, naming=naming, known=headers)
            grouping = self._sealed(grouping, listing, known.settling.signature)
            self._known[name] = known = replace(known, grouping=grouping, kinds=kinds, naming=naming)
        assert known.grouping is not None
        return known.grouping

    def _first(self, name: str) -> str:
        return self.first_names.get(name, name)

    def _sealed(self, grouping: Grouping, listing: Listing, mark: str) -> Grouping:
        if grouping.plan is None:
            return grouping
        sealed = replace(grouping.plan, signature=mark, entries=listing.entries, rules=self.rules)
        return replace(grouping, plan=sealed)


def _as_old_as(before: Finding | None, now: Finding) -> Finding:
    """What was not listed has no age of its own: it has been so since the look that first said the same."""
    if now.signature or before is None or (before.state, before.why) != (now.state, now.why):
        return now
    return replace(now, since=before.since)


def _left_alone(name: str, kind: EntryKind) -> str:
    if name.endswith(OWN_TEXTS):
        return "a text of Casedrop's about a folder that was filed: it may be deleted"
    what = "a loose file" if kind is EntryKind.FILE else f"a {kind}"
    return f"{what}: only folders are taken, so put it into one"


def _names(path: str) -> Iterator[tuple[str, EntryKind]]:
    with os.scandir(path) as found:
        for one in found:
            with contextlib.suppress(FileNotFoundError):  # gone since: moved away by a person or by us
                yield one.name, watch.kind_of(one.stat(follow_symlinks=False).st_mode)
