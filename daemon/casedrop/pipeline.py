"""The way of a case in two straight lines, deliver and confirm, and the filing that ends it.

Every line may be entered again at any point: it looks at the journal and the platform first and goes on
from there. A restart, a lost answer and a second try are the same thing.
"""

import errno
import io
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import structlog

from casedrop import commit, file_away, receipts, redrop, split_cases
from casedrop import confirm as look
from casedrop.admission import Admission, Need
from casedrop.answers import Meaning
from casedrop.errors import CaseProblem, FolderChanged, Lacks, Refused, Unavailable, Waits
from casedrop.grand_challenge import DisplaySet, GrandChallenge, Upload, Value
from casedrop.journal import LATE_LOOKS, Journal, TitleHeldError
from casedrop.ledger import Ledger
from casedrop.model import (
    Case,
    Held,
    Listing,
    Plan,
    PlannedFile,
    PlannedSocket,
    Problem,
    UploadRef,
    Weight,
    with_copied,
)
from casedrop.near import shown
from casedrop.pace import Milestones, Pace, figures
from casedrop.pack import Packer
from casedrop.prepare import opener, prepare, unchanged
from casedrop.receipt_text import receipt_text
from casedrop.settle import composed, signature
from casedrop.stages import Stage
from casedrop.throttle import Throttle
from casedrop.upload import Lane, Made, Source, is_whole, upload_all, usable
from casedrop.watch import boot_clock, boot_id

TITLES_SECONDS = 30.0
"""How long a study's list of titles is good for; the commit checks the title again, for certain."""

SESSION_SECONDS = 10.0

SEEN_SECONDS = 600.0
"""How long an upload that was seen whole counts as whole: to ask again is a request for each of them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a case folder is: its root, how to list what is there besides what its plan ignores, and who writes.

    `expect_root` raises SetupProblem where the root itself is not there: an unmounted share says nothing of
    its folders.
    """

    root: Path
    listing: Callable[[Path, Plan | None], Listing]
    expect_root: Callable[[], None]
    written: Callable[[Path, Listing], bool]

    def folder(self, case: Case) -> Path:
        return self.root / "drop" / case.folder

    def holds(self, case: Case) -> bool:
        """Whether the case's folder is in drop/. Raises SetupProblem."""
        if file_away.is_folder(self.folder(case), (case.device, case.inode)):
            return True
        self.expect_root()
        return False


@dataclass(slots=True)
class Progress:
    """Bytes of a case that are on the platform, and that went out; written by part threads, read by the status.

    `tell` is called with the percent at each tenth of an upload that takes long. One of the `uploads` may hold
    several of the folder's `files`.
    """

    total: int = 0
    tell: Callable[[int], None] = lambda _: None
    uploads: int = 1
    files: int = 1
    sent_files: int = 0
    whole: dict[str, float] = field(default_factory=dict)
    """When the platform said of which file's upload that it can be committed (boot clock)."""
    sent: int = 0
    moved: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    pace: Pace = field(default_factory=Pace)
    milestones: Milestones = field(default_factory=Milestones)

    def add(self, count: int) -> None:
        with self.lock:
            self.sent += count
            percent = 100 * self.sent // max(self.total, 1)
            due = self.milestones.due(boot_clock(), percent)
        if due:
            self.tell(percent)

    def move(self, count: int) -> None:
        with self.lock:
            self.moved += count

    def arrive(self, path: str, files: int, found: Upload) -> None:
        """The upload of `path`, in which so many of the folder's files are, is there."""
        with self.lock:
            self.sent_files += files
            if is_whole(found):
                self.whole[path] = boot_clock()

    def saw_whole(self, path: str) -> bool:
        """Whether the platform said within SEEN_SECONDS that the upload of this file can be committed."""
        return boot_clock() - self.whole.get(path, -SEEN_SECONDS) < SEEN_SECONDS

    def figures(self, now: float) -> dict[str, int]:
        """As `pace.figures`, and of several uploads sent_files and total_files; for the status alone."""
        said = figures(self.pace.speed(now, self.moved), self.total - self.sent)
        if self.uploads > 1:
            said |= {"sent_files": self.sent_files, "total_files": self.files}
        return said


@dataclass(slots=True)
class Pipeline:
    """`import_seconds` and `reassign_seconds` are the configured limits of waiting for the platform."""

    drop: str
    platform: GrandChallenge
    journal: Journal
    ledger: Ledger
    lane: Lane
    admission: Admission
    throttle: Throttle
    import_seconds: float
    reassign_seconds: float
    quiet_seconds: float
    packer: Packer
    expect_sending: Callable[[], None] = lambda: None
    """Raises Stopping where the drop may send nothing just now."""
    contact: str = ""
    """Whom reasons name for questions."""
    restless: dict[int, tuple[str, float]] = field(default_factory=dict)
    """What a changed folder looked like, and since when (boot clock)."""
    progress: dict[int, Progress] = field(default_factory=dict)
    moved: dict[int, float] = field(default_factory=dict)
    """When a case in a thread last read a byte or began a line (boot clock)."""
    titles: dict[str, tuple[float, frozenset[str]]] = field(default_factory=dict)

    def of(self, case: Case) -> "Pipeline":
        """The same one for the kind of place the case goes to, which may not be the drop's any more."""
        return replace(self, platform=self.platform.of(archive=case.archive))

    def deliver(self, case: Case, place: Place) -> Case:
        """Prepare, upload and commit; the case is CONFIRMING afterwards."""
        try:
            return self._delivered(case, place)
        except (FolderChanged, Lacks):
            self.ledger.ended(self.journal.case(case.id), "given back")
            raise

    def _delivered(self, case: Case, place: Place) -> Case:
        save = self.journal.save
        self._moves(case.id)
        if case.settled.parts:
            return split_cases.divided(self.journal, self.platform, case)
        if case.patch:
            self.ledger.began(case, self.drop, commit.next_request(case))
            return commit.settle_doubt(self.platform, case, save)
        if commit.lacks_only_copies(case):
            return self._with_copies(case)
        case = self._still(case, place)
        if case.stage is Stage.PLANNED and case.sessions:
            case = self._sessions_ended(case)
        if case.committed and not case.twin_of:
            case = self._continued(case)
        case = self._prepared(case, place)
        if case.twin_of:
            case = self._beside_its_twin(case)
            if case.stage is Stage.FILING:
                return case
        split_cases.wait_for_other_parts(self.journal, case)
        self._refuse_same_files(case)
        if case.set_pk and not case.committed:
            case = commit.still_empty(self.platform, case, save)
        if not case.set_pk:
            _expect_whole(case)
            self._refuse_held_title(case)
        try:
            case = self._uploaded(case, place)
        finally:
            self.throttle.leave(case.id)
        if not commit.to_send(case):
            return save(case, stage=Stage.CONFIRMING, **_from_now())
        self.expect_sending()
        case = commit.shell(self.platform, case, save)
        case = self._still(case, place)
        self._expect_uploads(case)
        case = commit.sessions(self.platform, case, lambda path: self._upload_address(case, path), save)
        return commit.commit(self.platform, self._frozen(case), save)

    def _with_copies(self, case: Case) -> Case:
        """The images of other sockets' are asked for, whatever becomes of the folder meanwhile.

        Raises Waits where an editor has changed those others: they are then sent again first.
        """
        case = self.journal.save(case, held=_held_still(case.held, self._current(case)))
        if not commit.lacks_only_copies(case):
            raise Waits("An editor changed an image on Grand Challenge; it is sent again.", 0)
        self.expect_sending()
        self.ledger.began(case, self.drop, commit.next_request(case))
        return commit.commit(self.platform, self._frozen(case), self.journal.save)

    def confirm(self, case: Case, place: Place) -> Case:
        """Look once. FILING when everything is decided; raises Waits while something is still to come."""
        try:
            current = self._current(case)
        except Waits as gone:
            if place.holds(case):
                raise
            return self.journal.save(case, stage=Stage.FILING, target="failed", problems=(_deleted(gone),))
        outcomes = {
            socket.socket: (socket, look.confirm(self.platform, case, current, socket))
            for socket in commit.awaited(case)
        }
        held = {
            name: Held(socket.fingerprint, outcome.pk)
            for name, (socket, outcome) in outcomes.items()
            if isinstance(outcome, look.Arrived)
        }
        return self._decided(case, case.held | held, [outcome for _, outcome in outcomes.values()])

    def file(self, case: Case, place: Place) -> Case:
        """The rename to done/ or failed/ with its text; DONE or FAILED afterwards."""
        self._moves(case.id)
        if case.head:
            self.ledger.ended(case, _fate(case))
            return self._at_rest(case)
        case = self._checked_before_filing(case, place)
        self.ledger.ended(case, _fate(case))
        target = place.root / case.target
        suffix = file_away.SUFFIXES[case.target]
        if not case.filed_as:
            with suppress(OSError):  # a start may have come between its return and this
                file_away.forget_texts(place.root / "failed", case.folder)
            now = time.time()
            case = self.journal.save(case, filed_as=_name_in(target, case, place, now), since=now)
        identity = (case.device, case.inode)
        text = receipts.text(case, self.journal.parts(case), case.since, self.contact)
        try:
            file_away.file_away(place.folder(case), target, case.filed_as, identity, text)
        except FileExistsError:
            self.journal.save(case, filed_as="")
            raise Waits(
                "Its name in the target folder has just been taken; another one is found.", 1
            ) from None
        except FolderChanged:
            file_away.write_beside(target, case.filed_as, suffix, text)
        except OSError as error:
            raise _not_moved(case.target, error) from None
        if case.target == "done":
            self._tell_people(target, case.filed_as, text)
            self.late(case, place)
        return self._at_rest(case)

    def _tell_people(self, target: Path, name: str, receipt: str) -> None:
        """The receipt in words. The case rests only once it stands there, so a restart makes up for it."""
        try:
            file_away.write_once(target, name, file_away.FOR_PEOPLE, receipt_text(receipt))
        except OSError as error:
            raise Waits(f"Its receipt in words cannot be written ({error.strerror}).", 30) from None

    def _at_rest(self, case: Case) -> Case:
        """A part is not looked at later: the whole folder is."""
        stage = Stage.DONE if case.target == "done" else Stage.FAILED
        looks = LATE_LOOKS if case.head else case.late_looks
        return self.journal.save(case, stage=stage, since=time.time(), late_looks=looks)

    def late(self, case: Case, place: Place) -> None:
        """Look once whether something in a filed folder has changed or come, and say so beside it."""
        target = place.root / case.target
        filed = target / case.filed_as
        if case.plan is not None and file_away.is_folder(filed, (case.device, case.inode)):
            try:
                unchanged(str(filed), case.plan, place.listing(filed, case.plan), self.lane.check)
            except FolderChanged:
                text = receipts.late_text(case)
                file_away.write_beside(target, case.filed_as, file_away.LATE, text)

    def _beside_its_twin(self, case: Case) -> Case:
        """Of a title that is done: the same again is FILING without a byte, another amends it or is refused."""
        twin = self.journal.case(case.twin_of)
        family = self.journal.of_set(twin.set_pk)
        try:
            current = self.platform.display_set(twin.set_pk)
        except Refused as no:
            if no.meaning is Meaning.GONE:
                raise redrop.twin_deleted(twin) from None
            raise
        if not case.added and redrop.already_there(case, family, current.values):
            held = redrop.held_of(family, current.values)
            known = {"set_pk": twin.set_pk, "committed": True}
            known["held"] = {name: held[name] for name in case.settled.contents if name in held}
            return self.journal.save(
                case, stage=Stage.FILING, target="done", filed_as="", problems=(), **known
            )
        if case.settled.existing == "refuse":
            raise CaseProblem(redrop.title_held(twin))
        return self._amending(case, family, current)

    def _amending(self, case: Case, family: list[Case], current: DisplaySet) -> Case:
        """The case with what it may change of a finished display set. Raises CaseProblem, Waits."""
        held = _held_still(redrop.held_now([*family, case]), current)
        try:
            case = self.journal.save(case, amends=True, set_pk=current.pk, committed=True, held=held)
        except TitleHeldError as other:
            raise Waits(
                f'Waits for the folder "{shown(other.holder.name)}", which changes the same {case.kind}.', 10
            ) from None
        wanted = commit.to_send(case)
        if problems := redrop.not_to_amend(case, current.values, wanted):
            raise CaseProblem(*problems)
        self._wait_for_sessions([one for one in family if one.stage is Stage.FAILED])
        self._expect_open(case)
        added = tuple(sorted({*case.added, *(socket.socket for socket in wanted)}))
        return self.journal.save(case, added=added)

    def _refuse_same_files(self, case: Case) -> None:
        """Asked once the files stand in the journal: of two at the same time at least one sees the other."""
        sent = {ref.sha256 for ref in case.uploads.values()}
        asked_before = {file.sha256 for socket in case.settled.sockets for file in socket.files} <= sent
        if not case.twins_allowed and not asked_before:
            for other in self.journal.same_files(case):
                raise redrop.same_files(case, other)

    def _continued(self, case: Case) -> Case:
        """A set of ours that was never finished: what it holds as planned stays, the rest is sent again."""
        current = self._current(case)
        extra = sorted(current.values.keys() - {socket.socket for socket in case.settled.sockets})
        if extra:
            raise CaseProblem(_extra_sockets(case, extra))
        self._expect_open(case)
        return self.journal.save(case, held=_held_still(case.held, current))

    def _sessions_ended(self, case: Case) -> Case:
        """A case that begins again: what its earlier try started is waited for, never overtaken."""
        self._wait_for_sessions([case])
        return self.journal.save(case, sessions={})

    def _wait_for_sessions(self, cases: list[Case]) -> None:
        for pk in (pk for case in cases for made in case.sessions.values() for pk in made):
            if self.platform.session(pk).status in ("Started", "Re-Queued"):
                raise Waits("Grand Challenge is still working on the earlier try.", SESSION_SECONDS)

    def _expect_open(self, case: Case) -> None:
        """An archive's items are always open."""
        if case.archive:
            return
        try:
            self.platform.update_display_set(case.set_pk, {})
        except Refused as no:
            if no.meaning is Meaning.CLOSED:
                raise commit.closed(case) from None
            raise

    def _current(self, case: Case) -> DisplaySet:
        try:
            return self.platform.display_set(case.set_pk)
        except Refused as no:
            if no.meaning is Meaning.GONE:
                raise commit.deleted(case) from None
            raise

    def _prepared(self, case: Case, place: Place) -> Case:
        folder = str(place.folder(case))
        check = partial(self._moves, case.id)
        pack = partial(self._packed, case, folder)
        sockets: list[PlannedSocket] = []
        problems: list[Problem] = []
        for socket in case.settled.sockets:
            try:
                sockets.append(prepare(folder, socket, check, pack))
            except CaseProblem as no:
                problems += no.problems
        if problems:
            is_wrong = any(problem.weight is Weight.WRONG for problem in problems)
            raise CaseProblem(*problems) if is_wrong else Lacks(*problems)
        plan = replace(case.settled, sockets=with_copied(sockets))
        return self.journal.save(case, stage=Stage.UPLOADING, plan=plan)

    def _packed(self, case: Case, folder: str, file: PlannedFile) -> PlannedFile:
        return self.packer.pack(case.id, folder, file, partial(self._moves, case.id))

    def _in_spool(self, case: Case, place: Place) -> Case:
        """What is to be sent is there again, whatever became of the spool.

        Another release may de-identify to other bytes: the plan then goes by these.
        """
        sent = {socket.socket for socket in commit.to_send(case)}
        folder = str(place.folder(case))

        def made(file: PlannedFile) -> PlannedFile:
            there = not file.packed or self.packer.has(case.id, file)
            return file if there else self._packed(case, folder, file)

        sockets = tuple(
            replace(socket, files=tuple(map(made, socket.files))) if socket.socket in sent else socket
            for socket in case.settled.sockets
        )
        plan = replace(case.settled, sockets=with_copied(sockets))
        return case if plan == case.settled else self.journal.save(case, plan=plan)

    def _opener(self, case: Case, folder: str, file: PlannedFile) -> Callable[[], io.RawIOBase | io.BytesIO]:
        return partial(self.packer.open, case.id, file) if file.packed else opener(folder, file)

    def _refuse_held_title(self, case: Case) -> None:
        at, titles = self.titles.get(case.study_pk, (-TITLES_SECONDS, frozenset()))
        good_for = redrop.PERSON / 2 if case.settled.title in titles else TITLES_SECONDS
        if time.monotonic() - at > good_for:
            at = time.monotonic()
            titles = frozenset(composed(one.title) for one in self.platform.display_sets(case.study_pk))
            self.titles[case.study_pk] = at, titles
        if case.settled.title in titles:
            raise commit.title_held(case)

    def _uploaded(self, case: Case, place: Place) -> Case:
        folder = str(place.folder(case))
        case = self._in_spool(case, place)
        wanted = commit.to_send(case)
        files = [file for socket in wanted for file in socket.files]
        total = sum(file.sent_size for file in files)
        of_folder = sum(len(file.packed) or 1 for file in files)
        progress = Progress(total, partial(self._told, case), len(files), of_folder)
        if files:
            self._expect_hours(case, files, lambda: total - progress.sent)
            need = Need(len(files), total, _begun(case, files))
            self.admission.enter(case.id, need, self.platform.uploads_there)
        if wanted:
            self.ledger.began(case, self.drop, wanted)
        self.progress[case.id] = progress
        try:
            case = self._sent(case, [partial(self._source, case, folder, file, progress) for file in files])
        except Unavailable as pause:
            if pause.host == "quota":
                made = _begun(self.journal.case(case.id), files)
                self.admission.refused(case.id, self.platform.uploads_there(), made)
            elif pause.host == "uploads":
                self.admission.leave(case.id)
            raise
        except (Refused, OSError):  # what was packed may be damaged by now
            self.packer.doubt(case.id)
            raise
        self.journal.note_storage(self.lane.platform.storage)
        return case

    def _source(self, case: Case, folder: str, file: PlannedFile, progress: Progress) -> Source:
        there = partial(progress.arrive, file.path, len(file.packed) or 1)
        return Source(file, self._opener(case, folder, file), progress.add, progress.move, there)

    def _expect_hours(self, case: Case, files: list[PlannedFile], left: Callable[[], int]) -> None:
        """Raises Waits while the configured hours and rates leave no time for it; what was begun goes on.

        One that is up whole waits for no hours: it would grow too old.
        """
        if self.throttle.schedule.limits:
            there = [self._there(case, file) for file in files]
            if not all(map(is_whole, there)):
                self.throttle.enter(case.id, left, begun=any(there))

    def _there(self, case: Case, file: PlannedFile) -> Upload | None:
        self._moves(case.id)
        ref = case.uploads.get(file.path)
        return usable(self.platform, ref) if ref and ref.sha256 == file.sha256 else None

    def _told(self, case: Case, percent: int) -> None:
        structlog.get_logger().info("uploading", drop=self.drop, case=case.called, percent=percent)

    def _sent(self, case: Case, sources: list[Made]) -> Case:
        """A new upload stands in the journal before its first part."""

        def note(path: str, ref: UploadRef) -> None:
            nonlocal case
            case = self.journal.save(case, uploads=case.uploads | {path: ref})

        lane = replace(self.lane, check=partial(self._sends, case.id))
        upload_all(lane, sources, case.uploads, note)
        return case

    def _still(self, case: Case, place: Place) -> Case:
        folder = place.folder(case)
        if not place.holds(case):
            raise FolderChanged("The folder is no longer in drop/.")
        listing = place.listing(folder, case.plan)
        settled = self._with_entries(case)
        plan = unchanged(str(folder), settled, listing, partial(self._moves, case.id))
        if plan is settled:
            return case
        return self.journal.save(case, plan=replace(plan, entries=() if case.head else plan.entries))

    def _with_entries(self, case: Case) -> Plan:
        """What a folder held stands once in the journal: with the head, where it is split."""
        if not case.head:
            return case.settled
        return replace(case.settled, entries=self.journal.case(case.head).settled.entries)

    def _moves(self, case_id: int) -> None:
        """Before every read of a file: notes that the case moves. Raises Stopping."""
        self.moved[case_id] = boot_clock()
        self.lane.check()

    def _sends(self, case_id: int) -> None:
        self._moves(case_id)
        self.expect_sending()

    def _expect_uploads(self, case: Case) -> None:
        """Before the commit every upload is seen complete and young enough: just now, or as its sending ended."""
        progress = self.progress[case.id]
        for file in (file for socket in commit.to_send(case) for file in socket.files):
            self._moves(case.id)
            if not progress.saw_whole(file.path) and not is_whole(
                usable(self.platform, case.uploads[file.path])
            ):
                raise Waits("An upload has grown too old; it is sent anew.", 0)

    def _frozen(self, case: Case) -> Case:
        """The request stands in the journal before it is sent."""
        wanted = {socket.socket for socket in commit.next_request(case)}
        there = self._current(case).values if case.committed else {}
        replaced = {name: value.pk for name, value in there.items() if name in wanted}
        addresses = commit.Addresses(
            partial(self._upload_address, case),
            lambda pk: f"{self.platform.url}cases/upload-sessions/{pk}/",
            partial(_image_address, case, there),
        )
        body = commit.body(case, addresses)
        return self.journal.save(
            case,
            stage=Stage.COMMITTING,
            patch=json.dumps(body),
            asked=tuple(sorted(wanted)),
            replaced=replaced,
            **_from_now(),
        )

    def _upload_address(self, case: Case, path: str) -> str:
        return f"{self.platform.url}uploads/{case.uploads[path].pk}/"

    def _decided(self, before: Case, held: dict[str, Held], outcomes: list[look.Outcome]) -> Case:
        """What is confirmed is written with what follows from it, or before more is waited for."""
        case = replace(before, held=held)
        bad = [outcome for outcome in outcomes if isinstance(outcome, Problem)]
        pending = [outcome for outcome in outcomes if isinstance(outcome, look.Pending)]
        if case.boot != boot_id():  # how long the machine was off is not known: the time begins anew
            case = self.journal.save(case, **_from_now())
        waited = boot_clock() - case.committed_at
        if pending and waited <= self.import_seconds:
            under_way = any(outcome.under_way for outcome in pending)
            if case.unclear and waited > self.reassign_seconds and not under_way:
                return self.journal.save(case, stage=Stage.UPLOADING, unclear=False)
            if case != before:
                self.journal.save(case)
            raise Waits("", 0)
        case = self._given_up(case, [one for one in pending if one.late.weight is Weight.NOTE])
        problems = (*bad, *(one.late for one in pending if one.late.weight is not Weight.NOTE))
        if not problems and commit.to_send(case):
            return self.journal.save(case, stage=Stage.UPLOADING, unclear=False)
        target = "failed" if problems else "done"
        return self.journal.save(case, stage=Stage.FILING, target=target, filed_as="", problems=problems)

    def _given_up(self, case: Case, unknown: list[look.Pending]) -> Case:
        """What was accepted and can never be confirmed counts as there; the receipt says so."""
        if not unknown:
            return case
        sets = [
            socket for socket in commit.awaited(case) if socket.image_name and socket.socket not in case.held
        ]
        return self.journal.save(
            case, held=case.held | {one.socket: Held(one.fingerprint, 0) for one in sets}
        )

    def _checked_before_filing(self, case: Case, place: Place) -> Case:
        """Changed after the commit: what was sent is confirmed, but the folder is not what was sent.

        A folder refused unsent that has changed since it was judged may be right by now: FolderChanged.
        """
        folder = place.folder(case)
        there = place.holds(case)
        if case.judged and there and signature(place.listing(folder, case.plan)) != case.judged:
            raise FolderChanged("The folder was changed after it had been refused.")
        if not there:
            return case
        if case.target == "done":
            try:
                self._still(case, place)
            except FolderChanged:
                changed = {"target": "failed", "filed_as": "", "problems": (_changed_after(case),)}
                case = self.journal.save(case, **changed)
        if case.target == "failed":
            self._expect_quiet(case, place)
        return case

    def _expect_quiet(self, case: Case, place: Place) -> None:
        """A folder that was changed since it settled is not moved under a copy. Raises Waits."""
        folder = place.folder(case)
        listing = place.listing(folder, case.plan)
        if case.plan is None or listing.entries == case.plan.entries:
            return
        mark, now = signature(listing), boot_clock()
        seen, since = self.restless.get(case.id, ("", now))
        if mark != seen or place.written(folder, listing):
            self.restless[case.id] = (mark, now)
        elif now - since >= self.quiet_seconds:
            return
        raise Waits("It is moved to failed/ once nobody changes it any more.", self.quiet_seconds / 4)


def _begun(case: Case, files: list[PlannedFile]) -> int:
    """How many have an upload of these very bytes, as far as the journal knows."""
    known = {(path, ref.sha256) for path, ref in case.uploads.items()}
    return sum((file.path, file.sha256) in known for file in files)


def _image_address(case: Case, there: Mapping[str, Value], socket: str) -> str:
    """That of an image of ours. Raises Waits where an editor has changed it since it was confirmed."""
    if socket not in there or there[socket].pk != case.held[socket].pk:
        raise Waits("An image that another socket holds, too, was changed meanwhile; it is sent anew.", 0)
    return str(there[socket].image)


def _name_in(target: Path, case: Case, place: Place, now: float) -> str:
    """One that is free, unless the very folder lies there already: the journal may be an older one."""
    identity = (case.device, case.inode)
    is_there = case.inode and file_away.is_folder(target / case.name, identity)
    return case.name if is_there and not place.holds(case) else file_away.free_name(target, case.name, now)


def _from_now() -> dict[str, float | str]:
    """By the boot clock: the machine's date may be set at any time."""
    return {"committed_at": boot_clock(), "boot": boot_id()}


def _not_moved(target: str, error: OSError) -> Waits:
    """A right that is missing comes by a person alone; all else may pass."""
    text = f"It cannot be moved to {target}/ ({error.strerror})."
    if error.errno not in (errno.EACCES, errno.EPERM):
        return Waits(text, 30)
    return Waits(
        f"{text} `casedrop check` prints the command that gives the service this right.", 30, person=True
    )


def _fate(case: Case) -> str:
    if case.target != "done":
        return "failed"
    return "confirmed" if all(value.pk for value in case.held.values()) else "accepted"


def _held_still(held: Mapping[str, Held], current: DisplaySet) -> dict[str, Held]:
    """What of `held` the display set holds unchanged."""
    return {
        name: value
        for name, value in held.items()
        if name in current.values and current.values[name].pk == value.pk
    }


def _expect_whole(case: Case) -> None:
    if problems := redrop.lacking(case, {}):
        raise CaseProblem(*problems)


def _deleted(gone: Waits) -> Problem:
    return Problem(
        "deleted", f"{gone} The folder has been moved out of drop/, so Casedrop leaves it at that."
    )


def _extra_sockets(case: Case, extra: list[str]) -> Problem:
    return Problem(
        "extra-socket",
        f"The {case.item} already holds {', '.join(extra)}, for which this folder has "
        "nothing. Casedrop removes nothing from Grand Challenge. Put the missing file back into the folder, "
        f"or ask an editor of the {case.home} to remove that value.",
    )


def _changed_after(case: Case) -> Problem:
    where = f" as the {case.item}" if case.set_pk else ""
    return Problem(
        "changed-after-upload",
        f"Everything was uploaded and confirmed{where}, but the folder was changed afterwards, so "
        "what lies here is not what Grand Challenge holds. Move the folder back into drop/ to send it again.",
    )
