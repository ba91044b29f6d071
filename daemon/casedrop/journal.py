"""How far each case got: one row per case, written before and after every step that cannot be undone.

A case is changed by one thread at a time.
"""

import errno
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import cattrs

from casedrop import records, rights
from casedrop.database import Database
from casedrop.errors import ConfigurationError
from casedrop.model import Case, Failure, Json, Plan, Problem
from casedrop.near import shown
from casedrop.records import Record
from casedrop.redrop import held_now
from casedrop.stages import AT_REST, Stage, move
from casedrop.table_changes import Sent
from casedrop.writing import give_like_directory

NAME = "journal.sqlite"
"""In the state directory."""

SCHEMA = 5

SINCE_2 = """
CREATE TABLE wishes (case_id INTEGER PRIMARY KEY, wish TEXT NOT NULL) STRICT;
ALTER TABLE cases ADD COLUMN files TEXT;
CREATE INDEX cases_by_files ON cases (study, files) WHERE files IS NOT NULL;
"""

SINCE_3 = """
CREATE INDEX cases_by_set ON cases (json_extract(record, '$.set_pk'));
CREATE INDEX cases_to_look_at ON cases (root, json_extract(record, '$.since'))
    WHERE stage = 'done' AND json_extract(record, '$.late_looks') < 2;
"""

SINCE_4 = """
CREATE INDEX cases_by_head ON cases (json_extract(record, '$.head')) WHERE json_extract(record, '$.head') > 0;
"""

SINCE_5 = """
CREATE INDEX cases_filed_as ON cases (root, filed_as) WHERE filed_as NOT IN ('', folder);
"""

SINCE = {2: SINCE_2, 3: SINCE_3, 4: SINCE_4, 5: SINCE_5}
"""What each schema adds to the one before."""

OLDEST = 4
"""The oldest schema whose Casedrop can go on with a journal of this one, so that an upgrade can be taken back.

Raised only where a change is more than tables, indexes and columns that may be empty.
"""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE cases (
    id INTEGER PRIMARY KEY,
    root TEXT NOT NULL,
    folder TEXT NOT NULL,
    filed_as TEXT NOT NULL,
    stage TEXT NOT NULL,
    study TEXT NOT NULL,
    title TEXT,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX cases_by_folder ON cases (root, folder);
CREATE INDEX cases_by_stage ON cases (root, stage);
CREATE UNIQUE INDEX titles ON cases (study, title) WHERE title IS NOT NULL;
"""

LATE_LOOKS = 2
"""So often a folder in done/ is looked at again; the index of SINCE_3 knows that."""

KEPT = 256
"""Records kept: more than the newest of a root, which are shown and asked for again and again."""

WHOLE_SQL = "coalesce(json_extract(record, '$.head'), 0) = 0"
"""Cases of folders, not of their parts."""

NAMED_SQL = (
    "id IN (SELECT id FROM cases WHERE root = ?1 AND folder = ?2 UNION ALL"
    " SELECT id FROM cases WHERE root = ?1 AND filed_as = ?2 AND filed_as NOT IN ('', folder))"
)
"""Of a root (1) and a name (2) in drop/ or where it was filed: by two indexes, not by looking at every case."""

FIRST_NAMES_SQL = (
    "id IN (SELECT id FROM cases WHERE root = ?1 AND stage IN ('failed', 'settling')"
    " AND json_extract(record, '$.first_name') <> '' UNION SELECT id FROM cases WHERE root = ?1"
    " AND +stage IN ('done', 'failed') AND filed_as NOT IN ('', folder))"
)

AT_ONCE = 20
"""Cases read between two of others' turns at the journal."""

SENT_SQL = (
    "SELECT c.id, coalesce(w.stage, c.stage) = 'done' AND c.stage = 'done', coalesce(w.filed_as, c.filed_as),"
    " json_extract(c.record, '$.set_pk', '$.first_name', '$.folder', '$.plan.part', '$.plan.groups',"
    " '$.plan.title', '$.plan.order', '$.held')"
    " FROM cases c LEFT JOIN cases w ON w.id = json_extract(c.record, '$.head')"
    " WHERE +c.stage IN ('done', 'failed') AND coalesce(json_extract(c.record, '$.deleted'), 0) = 0 AND "
)
"""What `Sent` is made of, without decoding the records: they hold every file of their folders."""

NEXT_SENT_SQL = (
    f"{SENT_SQL} +c.root = ? AND c.study = ? AND json_extract(c.record, '$.set_pk') <> '' AND c.id > ?"
    f" ORDER BY c.id LIMIT {AT_ONCE}"
)
"""Without its plus signs SQLite would go through all cases for each few, and sort them."""

SENT_TO_SQL = f"{SENT_SQL} json_extract(c.record, '$.set_pk') = ? ORDER BY c.id"

SINCE_SQL = """CAST(substr(record, instr(record, '"since": ') + 9, 20) AS REAL)"""
"""When a case came to its stage, ten times as fast as by json_extract. No text in JSON holds a bare quote."""

SENT_BYTES_SQL = """(SELECT coalesce(sum(coalesce(
    nullif(json_extract(file.value, '$.stripped_size'), 0), json_extract(file.value, '$.size'))), 0)
    FROM json_each(record, '$.plan.sockets') AS socket, json_each(socket.value, '$.files') AS file
    WHERE coalesce(json_array_length(record, '$.plan.parts'), 0) = 0
    AND (coalesce(json_extract(record, '$.twin_of'), 0) = 0
    OR json_extract(socket.value, '$.socket') IN (SELECT value FROM json_each(record, '$.added'))))"""
"""As Case.sent_size of one that came to a display set, but for rewritten headers."""

FAILED_BEFORE_SQL = """instr(record, '"failed_before": [{') > 0"""

PUT_SQL = "INSERT OR REPLACE INTO meta VALUES (?, ?)"

SAVE_SQL = (
    "INSERT OR ABORT INTO cases (id, root, folder, filed_as, stage, study, title, record, files)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET folder = excluded.folder,"
    " filed_as = excluded.filed_as, stage = excluded.stage, study = excluded.study, title = excluded.title,"
    " record = excluded.record, files = excluded.files"
)

BRIEF = (
    "since",
    "folder",
    "first_name",
    "filed_as",
    "platform",
    "study",
    "set_pk",
    "archive",
    "committed",
    "amends",
    "asked",
    "problems",
    "head",
    "failed_before",
)
"""What is read of a record where its plan is not needed."""

UNDER_WAY_SQL = ", ".join(f"'{stage}'" for stage in Stage if stage not in AT_REST)


class TitleHeldError(Exception):
    """Another case of the journal holds this title in this reader study."""

    def __init__(self, holder: Case) -> None:
        super().__init__()
        self.holder = holder


@dataclass(frozen=True, slots=True)
class Ended:
    """A case when it came to rest in done/ or failed/, of its plan the part alone, and the bytes it sent."""

    case: Case
    bytes: int

    @property
    def is_failed(self) -> bool:
        return self.case.stage is Stage.FAILED


class Journal:
    """The narrow interface a journal of another kind would have to offer too."""

    def __init__(self, path: Path, *, looking: bool = False) -> None:
        """Open or make the journal at `path`; raises ConfigurationError where it cannot be used.

        Who is only `looking` leaves one of an older Casedrop, which may still run, as it is.
        """
        self._beginning = threading.Lock()
        self._under_way: dict[str, tuple[int, list[Case]]] = {}
        self._recent: dict[tuple[str, str, int], list[Case]] = {}
        self._ended: dict[str, dict[str, int]] = {}
        self._records: dict[int, Record] = {}
        self._path = path
        try:
            self._db = Database(_open(path, looking=looking), _connected(path))
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError([unusable(path, error)]) from None

    def close(self) -> None:
        self._db.close()

    def keep_copy(self) -> None:
        """Replace the copy beside the journal by one of now.

        Raises sqlite3.Error or OSError; the old copy is then kept.
        """
        hidden = self.copy_path.with_suffix(".tmp")
        snapshot(self._path, hidden)
        hidden.replace(self.copy_path)

    @property
    def schema(self) -> int:
        return int(self._db.read("PRAGMA user_version")[0][0])

    @property
    def version(self) -> int:
        """Another number than before where anything was written meanwhile, by whomever. Raises sqlite3.Error."""
        return self._db.version()

    @property
    def copied(self) -> float:
        """When the copy was made (seconds since 1970), 0 where there is none."""
        return self.copy_path.stat().st_mtime if self.copy_path.exists() else 0.0

    @cached_property
    def copy_path(self) -> Path:
        return copy_of(self._path)

    @cached_property
    def id(self) -> str:
        """Made with the journal: roots remember which journal is theirs."""
        return self._meta("id")

    def starts(self, root: str) -> int:
        """How often a service has started on this root with this journal."""
        return int(self._meta(f"starts {root}") or 0)

    def count_start(self, root: str, starts: int) -> None:
        self._db.write((PUT_SQL, (f"starts {root}", str(starts))))

    def ledger_head(self) -> str:
        """The last record of the ledger, as `note_ledger` was told; "" before the first."""
        return self._meta("ledger")

    def open_attempt(self, case_id: int) -> str:
        """The attempt of a case that the ledger has no end of, "" where there is none."""
        return self._meta(f"attempt {case_id}")

    def note_ledger(self, head: str, attempts: Mapping[int, str]) -> None:
        """The ledger's last record, and by case the attempt that is open now ("" for none), all at once."""
        noted = [("ledger", head), *((f"attempt {case}", attempt) for case, attempt in attempts.items())]
        ended = ("DELETE FROM meta WHERE value = '' AND key LIKE 'attempt %'", ())
        self._db.write(*((PUT_SQL, one) for one in noted), ended)

    @property
    def pseudonym_key(self) -> str:
        """The fingerprint of the key of pseudonyms used with this journal, "" while none was."""
        return self._meta("pseudonym key")

    def keep_pseudonym_key(self, fingerprint: str) -> None:
        self._db.write(("INSERT OR IGNORE INTO meta VALUES ('pseudonym key', ?)", (fingerprint,)))

    @property
    def storage(self) -> str:
        """The host of the platform's storage, by the last upload; "" before the first."""
        return self._meta("storage")

    def note_storage(self, host: str) -> None:
        if host and host != self.storage:
            self._remember("storage", host)

    def paused(self, root: str) -> bool:
        """Whether a person has paused the drop of this root."""
        return bool(self._meta(f"paused {root}"))

    def pause(self, root: str, *, paused: bool) -> None:
        self._remember(f"paused {root}", "yes" if paused else "")

    def released(self, root: str) -> dict[str, str]:
        """By folder (near.shown), what a person let go (status.released)."""
        start = f"released {root} "
        found = self._db.read(
            "SELECT key, value FROM meta WHERE key >= ? AND key < ?", (start, f"{start}\U0010ffff")
        )
        return {key.removeprefix(start): value for key, value in found}

    def release(self, root: str, folder: str, released: str) -> None:
        """`released` is what the person saw (status.released); "" takes it back."""
        self._remember(f"released {root} {shown(folder)}", released)

    def _remember(self, key: str, value: str) -> None:
        self._db.write((PUT_SQL, (key, value)), ("DELETE FROM meta WHERE key = ? AND value = ''", (key,)))

    def begin(self, case: Case) -> Case:
        """Add a case, giving it its id. Raises TitleHeldError."""
        with self._beginning:
            ((highest,),) = self._db.read("SELECT coalesce(max(id), 0) FROM cases")
            return self._put(replace(case, id=highest + 1))

    def save(self, case: Case, **changes: Any) -> Case:
        """The case with these changes, once they are on disk. Raises TitleHeldError, IllegalMoveError."""
        after = replace(case, **changes)
        move(case.stage, after.stage)
        saved = self._put(after)
        if after.stage != case.stage and {case.stage, after.stage} & AT_REST:
            self._ended = {}
        return saved

    def case(self, case_id: int) -> Case:
        return self._cases("id = ?", case_id)[0]

    def cases_of(self, root: str) -> list[Case]:
        """All cases of a root, oldest first."""
        return self._cases("root = ? ORDER BY id", root)

    def under_way(self, root: str) -> list[Case]:
        """All cases of a root that are not at rest, oldest first; read again only where anything was written."""
        version = self.version
        known = self._under_way.get(root)
        if known is None or known[0] != version:
            found = self._cases(f"root = ? AND stage IN ({UNDER_WAY_SQL}) ORDER BY id", root)
            self._under_way[root] = known = version, found
        return known[1]

    def unfinished(self) -> list[Case]:
        """All cases that are not at rest, of every root."""
        return self._cases(f"stage IN ({UNDER_WAY_SQL})")

    def latest(self, root: str, folder: str) -> Case | None:
        """The newest case of a folder, by its name in drop/ or by the name it was filed under."""
        found = self._cases(f"{NAMED_SQL} AND {WHOLE_SQL} ORDER BY id DESC LIMIT 1", root, folder)
        return found[0] if found else None

    def recent(self, root: str, stage: str, count: int) -> list[Case]:
        """The newest cases at rest in this stage; read again only when one came to rest or left it."""
        # What is read is stale once others are put in its place.
        known, key = self._recent, (root, stage, count)
        if key not in known:
            known[key] = self._cases(f"root = ? AND stage = ? AND {WHOLE_SQL} ORDER BY id DESC LIMIT ?", *key)
        return known[key]

    def at_rest(self, root: str) -> dict[str, int]:
        """How many folders are done, and how many failed; counted again only when one came to rest or left it.

        By the indexes, since records are long to read.
        """
        every = "SELECT count(*) FROM cases WHERE root = ? AND stage = ?"
        parts = every.replace(
            "WHERE", "INDEXED BY cases_by_head WHERE json_extract(record, '$.head') > 0 AND"
        )
        known = self._ended
        if root not in known:
            found = {}
            for stage in (Stage.DONE, Stage.FAILED):
                counts = [self._db.read(query, (root, stage))[0][0] for query in (every, parts)]
                found[str(stage)] = counts[0] - counts[1]
            known[root] = found
        return known[root]

    def ended(self, since: float, root: str = "") -> list[Ended]:
        """What came to rest in done/ or failed/ since then (seconds since 1970), in order; of one root or all.

        What failed then and was taken again is there too. It may take seconds, while nobody who writes waits for
        it. Raises sqlite3.Error.
        """
        keys = ", ".join(f"'$.{key}'" for key in (*BRIEF, "plan.part"))
        at_rest = f"stage IN ('done', 'failed') AND {SINCE_SQL} >= ?"
        with closing(sqlite3.connect(self._path)) as db:
            found = db.execute(
                f"SELECT id, root, stage, {SENT_BYTES_SQL}, json_extract(record, {keys}) FROM cases"  # noqa: S608
                f" WHERE ? IN ('', root) AND ({at_rest} OR {FAILED_BEFORE_SQL})",
                (root, since),
            )
            every = (
                one
                for case_id, place, stage, size, record in found
                for one in _ends(_brief(case_id, place, stage, json.loads(record)), size)
                if one.case.since >= since
            )
            return sorted(every, key=lambda one: (one.case.since, one.case.id))

    def sets_of_parts(self, head: Case) -> dict[str, tuple[str, int]]:
        """Of the committed parts of a split folder, by name: its display set's pk, and the bytes sent in all."""
        sets: dict[str, tuple[str, int]] = {}
        found = self._db.read(
            f"SELECT json_extract(record, '$.plan.part', '$.set_pk'), {SENT_BYTES_SQL}"  # noqa: S608
            " FROM cases WHERE json_extract(record, '$.head') > 0 AND json_extract(record, '$.head') = ?"
            " AND json_extract(record, '$.committed') ORDER BY id",
            (head.id,),
        )
        for facts, size in found:
            part, pk = json.loads(facts)
            sets[part] = pk, size + sets.get(part, ("", 0))[1]
        return sets

    def to_look_at(self, root: str, looks: int, before: float) -> list[Case]:
        """Cases done `before` (seconds since 1970) whose folder was looked at so often since."""
        return self._cases(
            "root = ? AND json_extract(record, '$.since') <= ? AND stage = 'done'"
            " AND json_extract(record, '$.late_looks') < 2 AND json_extract(record, '$.late_looks') = ?",
            root,
            before,
            looks,
        )

    def failed(self, root: str) -> dict[str, Case]:
        """All failed cases of a root by the name they were filed under."""
        return {
            case.filed_as: case
            for case in self._cases(f"root = ? AND stage = 'failed' AND {WHOLE_SQL}", root)
        }

    def renamed(self, root: str, device: int, inode: int) -> Case | None:
        """A failed folder by where it lies, whatever it is called now; none that has made a display set."""
        where = f"root = ? AND stage = 'failed' AND json_extract(record, '$.inode') = ? AND {WHOLE_SQL}"
        found = (one for one in self._cases(where, root, inode) if one.device == device)
        return next((one for one in found if not any(part.set_pk for part in (one, *self.parts(one)))), None)

    def wish(self, case_id: int, wish: Json) -> None:
        """What a person has decided about a case that waits; the service, which alone changes cases, does it."""
        wished = case_id, json.dumps(wish)
        self._db.write(("INSERT OR REPLACE INTO wishes (case_id, wish) VALUES (?, ?)", wished))

    def wishes(self) -> dict[int, Json]:
        found = self._db.read("SELECT case_id, wish FROM wishes")
        return {case_id: json.loads(wish) for case_id, wish in found}

    def granted(self, case_id: int) -> None:
        self._db.write(("DELETE FROM wishes WHERE case_id = ?", (case_id,)))

    def same_files(self, case: Case) -> list[Case]:
        """Other cases, done or under way, of another display set with the very same files, images among them."""
        found = self._cases(
            "id <> ? AND (study, files) = (SELECT study, files FROM cases WHERE id = ?)", case.id, case.id
        )
        return [one for one in found if not one.set_pk or one.set_pk != case.set_pk]

    def of_set(self, set_pk: str) -> list[Case]:
        """All cases that sent something to a display set, or found it sent, oldest first."""
        return self._cases("json_extract(record, '$.set_pk') = ? ORDER BY id", set_pk)

    def done(self, root: str, name: str) -> list[Case]:
        """The done cases of folders of that name, in drop/ or in done/, the newest first."""
        return self._cases(f"{NAMED_SQL} AND stage = 'done' AND {WHOLE_SQL} ORDER BY id DESC", root, name)

    def sent(self, root: str, platform: str, study_pk: str) -> Iterator[Sent]:
        """Every finished display set that folders of this root became there. It holds nobody up for long."""
        rows: list[Any] = []
        last, more = 0, True
        while more:
            found = self._sent_rows(NEXT_SENT_SQL, root, _study(platform, study_pk), last)
            rows += found
            last, more = found[-1][0] if found else last, len(found) == AT_ONCE
        return _merged(rows)

    def sent_to(self, set_pk: str) -> Iterator[Sent]:
        """The same of one display set."""
        return _merged(self._sent_rows(SENT_TO_SQL, set_pk))

    def _sent_rows(self, query: str, *values: str | int) -> list[Any]:
        return self._db.read(query, values)

    def there(self, platform: str, study_pk: str, title: str) -> frozenset[str]:
        """The sockets that the finished display set of this title holds by the journal."""
        holders = self._cases("study = ? AND title = ? AND stage = 'done'", _study(platform, study_pk), title)
        return frozenset(held_now(self.of_set(holders[0].set_pk))) if holders else frozenset()

    def parts(self, head: Case) -> list[Case]:
        """The newest case of each part of a split folder, in the order of their names; none of a whole one."""
        found = self._cases(
            "json_extract(record, '$.head') > 0 AND json_extract(record, '$.head') = ? ORDER BY id", head.id
        )
        newest = {case.part: case for case in found}
        return [newest[name] for name in sorted(newest)]

    def stages_of_parts(self, head: Case) -> list[str]:
        """Of the parts begun in the head's round, each once; asked often, so nothing is decoded."""
        found = self._db.read(
            "SELECT stage FROM cases WHERE json_extract(record, '$.head') > 0"
            " AND json_extract(record, '$.head') = ? AND json_extract(record, '$.round') = ?",
            (head.id, head.round),
        )
        return [stage for (stage,) in found]

    def first_names(self, root: str) -> dict[str, str]:
        """What folders were called that may come to drop/ under a name we gave them."""
        found = self._cases(f"{FIRST_NAMES_SQL} AND {WHOLE_SQL} ORDER BY id", root)
        names = {(case.filed_as or case.folder): case.name for case in found}
        return {name: first for name, first in names.items() if name != first}

    def _put(self, case: Case) -> Case:
        title = case.settled.title if case.holds_title else _amended(case)
        study = _study(case.platform, case.study_pk)
        there = (title or case.committed) and not case.deleted
        files = case.plan.files if case.plan and there else ""
        files_hash = hashlib.sha256(files.encode()).hexdigest() if files else None
        names = (_name(case.folder), _name(case.filed_as))
        kept = records.written(case, self._records.get(case.id))
        row = (case.id, case.root, *names, case.stage, study, title, kept.text, files_hash)
        try:
            self._db.write((SAVE_SQL, row))
        except sqlite3.IntegrityError:
            if holders := self._cases("study = ? AND title = ?", study, title):
                raise TitleHeldError(holders[0]) from None
            self._db.write((SAVE_SQL, row))  # whoever held it let it go right after this was tried
        self._keep(kept)
        if case.stage in AT_REST:
            self._records.pop(case.id, None)  # it is asked for less often from now on
        if case.stage in AT_REST or any(
            one.id == case.id for known in list(self._recent.values()) for one in known
        ):
            self._recent = {}
        return case

    def _cases(self, where: str, *values: str | float | None) -> list[Case]:
        names = [_name(value) if isinstance(value, str) else value for value in values]
        rows = self._db.read(f"SELECT id, record FROM cases WHERE {where}", names)  # noqa: S608
        return [self._case(case_id, text) for case_id, text in rows]

    def _case(self, case_id: int, text: str) -> Case:
        """Records of folders with many files take long to decode, and the loop asks for the same ones."""
        known = self._records.get(case_id)
        if known and known.text == text:
            return known.case
        found = records.read(text)
        if known is None or not known.plan_at:  # what was written meanwhile is newer
            self._keep(found)
        return found.case

    def _keep(self, known: Record) -> None:
        if len(self._records) >= KEPT:
            self._records = {}
        self._records[known.case.id] = known

    def _meta(self, key: str) -> str:
        found = self._db.read("SELECT value FROM meta WHERE key = ?", (key,))
        return str(found[0][0]) if found else ""


def _merged(rows: list[Any]) -> Iterator[Sent]:
    """Of rows of SENT_SQL, oldest first: the newest folder that is done, and what all of them sent.

    Title and order are those of the first: no later one has changed them.
    """
    found: dict[str, Sent] = {}
    held: dict[str, dict[str, str]] = {}
    called: dict[str, tuple[str, int]] = {}
    for _, is_done, filed_as, facts in rows:
        pk, first_name, folder, part, groups, title, order, values = json.loads(facts)
        of_set = held.setdefault(pk, {})
        of_set |= {socket: one["fingerprint"] for socket, one in values.items()}
        named = called.setdefault(pk, (title, order or 0))
        if is_done:
            found[pk] = Sent(
                pk, first_name or folder, filed_as, part or "", dict(groups or ()), *named, of_set
            )
    return iter(found.values())


def _brief(case_id: int, root: str, stage: str, record: list[Json]) -> Case:
    """Names come in JSON, which alone can hold odd bytes."""
    *values, part = record
    known = {key: value for key, value in zip(BRIEF, values, strict=True) if value is not None}
    known["problems"] = cattrs.structure(known.get("problems", ()), tuple[Problem, ...])
    known["failed_before"] = cattrs.structure(known.get("failed_before", ()), tuple[Failure, ...])
    plan = Plan("", "", (), part=part or "")
    return Case(case_id, root, study_pk="", study_slug="", stage=Stage(stage), plan=plan, **known)


def _ends(case: Case, size: int) -> Iterator[Ended]:
    """How a case ended each time; `size` is what its plan, which is that of the last time, would have sent."""
    for failure in case.failed_before:
        yield Ended(_as_it_failed(case, failure), failure.bytes)
    if case.stage in (Stage.DONE, Stage.FAILED):
        yield Ended(case, size if case.stage is Stage.DONE or case.came_to else 0)


def _as_it_failed(case: Case, failure: Failure) -> Case:
    called = {"folder": failure.folder, "first_name": ""} if failure.folder else {}
    came_to = {"set_pk": failure.set_pk, "committed": bool(failure.set_pk), "amends": False}
    problems = tuple(Problem(word, "") for word in failure.reasons)
    known: dict[str, Any] = called | came_to | {"problems": problems, "filed_as": failure.filed_as}
    return replace(case, stage=Stage.FAILED, since=failure.since, **known)


def of_service(directory: Path, *, looking: bool = False) -> "Journal":
    """The service's own, which it alone makes, in its state directory. Raises ConfigurationError."""
    if journal := if_there(directory, looking=looking):
        return journal
    raise ConfigurationError([f"There is no journal yet ({directory / NAME}): start the service once."])


def if_there(directory: Path, *, looking: bool = True) -> "Journal | None":
    """The service's own, None where it has made none yet: asking never makes one. Raises ConfigurationError."""
    path = directory / NAME
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError([_closed(path, error)]) from None
    return Journal(path, looking=looking)


def _closed(path: Path, error: OSError) -> str:
    said = f"The journal {path} cannot be looked at ({error.strerror})."
    return f"{said} This user may not read it; as root: {rights.as_root()} ..."


def copy_of(path: Path) -> Path:
    """Where the copy of a journal is kept."""
    return path.with_suffix(".copy.sqlite")


def snapshot(path: Path, target: Path) -> None:
    """Write what the journal at `path` holds now to `target`; nobody who writes to it waits for that.

    VACUUM INTO, as SQLite's backup API, takes one state of it; it is also the smallest, and reads every page.
    The snapshot counts one start less than the roots do, so that it is known for an old journal however soon it
    is put in the journal's place. Raises sqlite3.Error or OSError.
    """
    _create_anew(target)
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=10)) as db:
        db.execute("VACUUM INTO ?", (str(target),))
    with closing(sqlite3.connect(target)) as copy, copy:
        copy.execute("PRAGMA synchronous = FULL")
        copy.execute("UPDATE meta SET value = value - 1 WHERE key LIKE 'starts %'")


def restore(path: Path, now: float) -> Path:
    """Put the kept copy in the journal's place; what was there stays beside it, under the name returned.

    The copy stays too. Raises ConfigurationError where there is no copy, or one that cannot be used.
    """
    copy = copy_of(path)
    hidden = path.with_suffix(".tmp")
    try:
        _create_anew(hidden)
        shutil.copyfile(copy, hidden)
    except OSError as error:
        raise ConfigurationError(
            [f"There is no copy of the journal to restore ({copy}: {error.strerror})."]
        ) from None
    Journal(hidden).close()
    give_like_directory(hidden)
    aside = set_aside(path, now)
    hidden.rename(path)
    return aside


def set_aside(path: Path, now: float) -> Path:
    """Give what is there, a journal with its log, the name returned."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.replaced-{stamp}")
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside


def _create_anew(path: Path) -> None:
    path.unlink(missing_ok=True)
    _create(path)


def _create(path: Path) -> None:
    """Empty, and ours alone from its first moment. Raises OSError, FileExistsError where there is one."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _expect_usable(path: Path) -> None:
    """Not by opening it: who closes a descriptor takes the locks of all connections of this process (fcntl(2)).

    Raises OSError.
    """
    if stat.S_ISDIR(path.stat().st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        code = errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(code, os.strerror(code), path)


def _study(platform: str, pk: str) -> str:
    return f"{platform} {pk}"


def _amended(case: Case) -> str | None:
    """What keeps two cases from amending one display set at a time: no title has a line feed."""
    return f"\n{case.set_pk}" if case.amends and case.stage not in AT_REST else None


def _name(text: str) -> str:
    """File names may hold surrogates, which SQLite's UTF-8 does not take."""
    return text.encode("utf-8", "backslashreplace").decode()


def _open(path: Path, *, looking: bool) -> sqlite3.Connection:
    if not looking:
        with suppress(FileExistsError):
            _create(path)
    _expect_usable(path)
    db = _connected(path)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if looking and version == 0:
        raise sqlite3.DatabaseError("it is empty")
    if version > SCHEMA and _oldest(db) > SCHEMA:
        raise sqlite3.DatabaseError("it was written by a newer Casedrop")
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError("it is damaged")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    if looking or version >= SCHEMA:
        return db
    if version == 0:
        with db:
            db.executescript(f"BEGIN; {TABLES} {''.join(SINCE.values())} PRAGMA user_version = {SCHEMA};")
            db.execute("INSERT INTO meta VALUES ('id', ?)", (uuid.uuid4().hex,))
    else:
        missing = "".join(SINCE[later] for later in range(version + 1, SCHEMA + 1))
        with db:
            db.executescript(f"BEGIN; {missing} PRAGMA user_version = {SCHEMA};")
    with db:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('oldest', ?)", (str(OLDEST),))
    return db


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, check_same_thread=False, timeout=10)


def _oldest(db: sqlite3.Connection) -> int:
    """The schema from which on this journal, which a newer Casedrop wrote, can be gone on with."""
    try:
        found = db.execute("SELECT value FROM meta WHERE key = 'oldest'").fetchone()
    except sqlite3.OperationalError:  # no table of that name
        found = None
    return int(found[0]) if found else SCHEMA + 1


def unusable(path: Path, error: Exception) -> str:
    """What is said of a journal that cannot be used, and what there is to do."""
    if isinstance(error, PermissionError) and rights.is_stranger(path.parent):
        return _closed(path, error)
    said = error.strerror if isinstance(error, OSError) else str(error)
    copy = copy_of(path)
    kept = "the copy Casedrop keeps (`casedrop restore`) or " if os.path.exists(copy) else ""
    return (
        f"The journal {path} cannot be used ({said}). It is not touched. Restore it from {kept}a backup, "
        "install the newer Casedrop, or give the service rights to it; without its journal Casedrop does not "
        "start."
    )
