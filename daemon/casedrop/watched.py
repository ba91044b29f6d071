"""One drop as the service sees it: its scanner, its root and study, and why it stands still."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from casedrop import status
from casedrop.breaker import Brake
from casedrop.errors import Stopping
from casedrop.grand_challenge import ReaderStudy
from casedrop.model import Case, Drop, Finding, FindingState, Grouping
from casedrop.near import shown
from casedrop.pipeline import Pipeline
from casedrop.roots import Root
from casedrop.scan import Scanner
from casedrop.table_watch import TableWatch
from casedrop.tally import Rested, Tally
from casedrop.watch import boot_clock

RECHECK = 30.0
"""Seconds until a held drop is checked again."""


REHEARSES = (
    'This drop rehearses (mode = "rehearse"): each folder says what it would become, and nothing is sent.'
)
PAUSED = (
    "A person has paused this drop: nothing of it is sent until the administrator says `casedrop resume {}`."
)
HELD, REHEARSING, BY_A_PERSON = "held", "rehearses", "paused"
HUNG = 30.0
"""Seconds after which a look at a drop, or a step of a case, is called hung."""


@dataclass(frozen=True, slots=True)
class Threads:
    """Each drop has its own, so that a share that hangs stops no other; filing and page are one thread each."""

    cases: ThreadPoolExecutor
    confirming: ThreadPoolExecutor
    filing: ThreadPoolExecutor
    page: ThreadPoolExecutor

    def shutdown(self) -> None:
        for pool in (self.cases, self.confirming, self.filing, self.page):
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True)
class Watched:
    """`held` is why nothing of the drop moves, "" when it moves; times are boot-clock seconds."""

    drop: Drop
    scanner: Scanner
    pipeline: Pipeline
    threads: Threads
    tables: TableWatch
    root: Root | None = None
    study: ReaderStudy | None = None
    inodes: bool = False
    """Whether a folder of the share keeps its inode number."""
    held: str = ""
    next_check: float = 0.0
    checking: Future[None] | None = None
    full: str = ""
    """Why the state directory has no room for new cases, "" while it has."""
    brake: Brake = field(default_factory=Brake)
    paused: bool = False
    """A person has paused the drop: nothing of it is sent."""
    released: Mapping[str, str] = field(default_factory=dict)
    """By folder, what a person let go where the drop asks for that (status.released)."""
    failures: set[int] = field(default_factory=set)
    """Cases that have failed since the service began, and are not done since."""
    rested: dict[str, float] = field(default_factory=dict)
    """When a folder's case came to rest: only a scan begun later speaks of that name again."""

    next_late: float = 0.0
    """When done/ is next asked for folders that are to be looked at again."""
    tally: Tally = field(default_factory=Tally)
    counting: Future[list[Rested]] | None = None
    """What came to rest before this start, being read from the journal."""
    rested_cases: list[list[Case]] = field(default_factory=list)
    rested_said: list[dict[str, Any]] = field(default_factory=list)
    """What the status says of `rested_cases`."""
    becomes: dict[str, tuple[Grouping, str]] = field(default_factory=dict)
    """By folder in drop/ what the status said it would become, and of what it said so."""
    page_problem: str = ""
    """Why the status page is not written, "" while it is."""

    @property
    def no_new(self) -> str:
        """Why no new folder is taken, "" while they are."""
        if self.drop.mode == "rehearse":
            return REHEARSES
        return (PAUSED.format(self.drop.name) if self.paused else "") or self.full or self.brake.why

    def stands(self, now: float) -> str:
        """In a word why it takes no new folder, "" while it does."""
        if self.hung(now) or self.held:
            return HELD
        if self.sends_nothing:
            return REHEARSING if self.drop.mode == "rehearse" else BY_A_PERSON
        return HELD if self.no_new else ""

    @property
    def sends_nothing(self) -> bool:
        return self.paused or self.drop.mode == "rehearse"

    def expect_sending(self) -> None:
        """Raises Stopping where nothing may be sent: what was begun goes on later."""
        if self.sends_nothing:
            raise Stopping("Nothing of this drop is sent now.")

    def asks(self, finding: Finding) -> bool:
        """Whether a person must let this folder go, as it is and would be sent now."""
        if self.drop.release == "auto" or finding.state is not FindingState.READY:
            return False
        as_it_is = status.released(finding.signature, self.scanner.rules)
        return self.released.get(shown(finding.folder)) != as_it_is

    @property
    def path(self) -> Path:
        return Path(self.drop.root)

    def hold(self, why: str, now: float) -> None:
        if why != self.held:
            structlog.get_logger().error("drop held", drop=self.drop.name, why=why)
        self.held = why
        self.next_check = now + RECHECK

    def hung(self, now: float) -> str:
        """What is said of a share that does not answer, "" while it does."""
        since = self.scanner.silent_since
        if since is None or now - since < HUNG:
            return ""
        return (
            f"{self.path / 'drop'} has not answered for {now - since:.0f} s: is the share's server there? Nothing "
            "is lost; Casedrop goes on by itself once it answers."
        )

    def stuck(self, case_id: int, now: float) -> str:
        """What is said of a case whose thread hangs on a line or a disk, "" while it moves."""
        silent = now - self.pipeline.moved.get(case_id, now)
        if silent < HUNG:
            return ""
        return (
            f"Nothing of it has moved for {silent:.0f} s: is the line to Grand Challenge, or the share, stuck? "
            "Nothing is lost; it goes on by itself."
        )

    def move_again(self, now: float) -> None:
        if self.held and not self.scanner.problem:
            structlog.get_logger().info("drop moves again", drop=self.drop.name)
            self.held = ""
        self.next_check = now + RECHECK

    def release(self, folder: str) -> None:
        """The folder is filed away, or it is the scanner's again. A look under way has passed it over."""
        self.becomes.pop(folder, None)
        self.scanner.in_hand -= {folder}
        self.rested[folder] = boot_clock()
        self.scanner.stir()

    def fresh(self) -> list[Finding]:
        """What the last scan found, without names whose case came to rest since that scan began."""
        snapshot = self.scanner.latest
        if snapshot is None:
            return []
        return [one for one in snapshot.findings if snapshot.started > self.rested.get(one.folder, 0.0)]
