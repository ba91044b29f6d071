"""What the ledger's records say to people: attempts, lines, a table for a spreadsheet, where data went. Pure."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from unicodedata import normalize

from casedrop.model import DEIDENTIFYING, Json
from casedrop.near import for_spreadsheet, several, shown

OPEN = "under way"

COLUMNS = (
    "attempt", "began", "ended", "fate", "why", "platform", "reader_study", "display_set", "drop", "case",
    "folder", "part", "title", "socket", "kind", "source_path", "source_bytes", "source_sha256", "sent_as",
    "sent_bytes", "sent_sha256", "procedure", "versions", "taken", "begun_before", "record_hash",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Account:
    """One attempt: the record of its beginning, and of its end where it has one.

    `display_set` is its web page, "" where nothing of it can be in one.
    """

    began: Json
    ended: Json
    display_set: str

    @property
    def fate(self) -> str:
        return str(self.ended["fate"]) if self.ended else OPEN

    @property
    def name(self) -> str:
        """The folder's, with its part."""
        return "/".join(shown(self.began[key]) for key in ("folder", "part") if key in self.began)

    @property
    def files(self) -> list[Json]:
        return [file for socket in self.began["sockets"] for file in socket["files"]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A name somebody asks for; `code` is what stands for a name under our key, None where there is no key."""

    name: str
    code: Callable[[str], str] | None

    def is_in(self, account: Account) -> bool:
        """Whether the folder or its display set has that name; letters may be composed or not."""
        names = {account.began["folder"], account.began["title"]}
        if account.began["hidden_by"]:
            return not names.isdisjoint(self._codes(account.began["hidden_by"]))
        return any(_same(self.name, name) for name in names)

    def readable(self, account: Account) -> bool:
        """Whether we can tell at all: not where another key than ours hid the names."""
        hidden_by = account.began["hidden_by"]
        return not hidden_by or (self.code is not None and self.code("") == hidden_by)

    def begins(self, account: Account) -> bool:
        """Whether the folder's name only begins like it, which may be another visit or another patient."""
        folder = str(account.began["folder"])
        return not account.began["hidden_by"] and not self.is_in(account) and folder.startswith(self.name)

    def _codes(self, hidden_by: str) -> set[str]:
        if self.code is None or self.code("") != hidden_by:
            return set()
        return {
            self.code(one) for one in (self.name, normalize("NFC", self.name), normalize("NFD", self.name))
        }


def accounts(records: Iterable[Json], addresses: Callable[[Json], str]) -> list[Account]:
    """The attempts in the order they began; `addresses` tells of one without an end where it has come to."""
    began, ended = {}, {}
    for record in records:
        if record["event"] == "began":
            began[record["seq"]] = record
        elif record["event"] == "ended":
            ended[record["attempt"]] = record
    return [_account(record, ended.get(seq), addresses) for seq, record in began.items()]


def lines(account: Account) -> Iterator[str]:
    """An attempt for people, the first line with its number, times, place and fate."""
    began, ended = account.began, account.ended
    until = f" to {ended['time']}" if ended else ""
    why = f" ({', '.join(ended['why'])})" if ended and ended["why"] else ""
    yield f"{began['seq']}  {began['time']}{until}  {began['drop']}/{account.name}: {account.fate}{why}"
    sent = sum(file["bytes"] for file in account.files)
    sockets = several(socket["socket"] for socket in began["sockets"])
    yield f"   {_counted(account.files)}, {sent} bytes, for {sockets}"
    yield f"   {account.display_set or 'in no display set'} ({began['study']} at {began['platform']})"


def _counted(files: list[Json]) -> str:
    series = [file for file in files if file["procedure"] or len(file["sources"]) > 1]
    plain = len(files) - len(series)
    said = [_number(plain, "file")] if plain or not series else []
    if series:
        made_of = _number(sum(len(file["sources"]) for file in series), "DICOM file")
        said.append(f"{_number(len(series), 'zip')} of {made_of}{' in all' if len(series) > 1 else ''}")
    return " and ".join(said)


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def table(found: Iterable[Account]) -> str:
    """CSV with a head line: a row for each source file of each file that was sent, and for each plain value."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for account in found:
        for row in _rows(account):
            writer.writerow({key: _cell(value) for key, value in row.items()})
    return out.getvalue()


def where(wanted: Wanted, every: list[Account]) -> str:
    """Every attempt of a patient, what is to be deleted by hand, and what we cannot know."""
    found = [account for account in every if wanted.is_in(account)]
    parts = ["\n".join(lines(account)) for account in found]
    if not found:
        since = f" (it begins on {every[0].began['time']})" if every else ", which is empty"
        parts.append(
            f'Nothing was sent of "{shown(wanted.name)}" by this ledger{since}. Only names of folders and titles '
            "of display sets are searched: the ledger holds no patient IDs."
        )
    else:
        parts.append(_by_hand(found))
    return "\n\n".join([*parts, *_caveats(wanted, every)])


def _account(began: Json, ended: Json, addresses: Callable[[Json], str]) -> Account:
    known = (ended or {}).get("display_set") or began["display_set"]
    return Account(began, ended, known or ("" if ended else addresses(began)))


def _same(pattern: str, name: str) -> bool:
    """The name itself, or a pattern with * ? [ ] that fits it."""
    one, other = normalize("NFC", pattern), normalize("NFC", name)
    return one == other or fnmatchcase(other, one)


def _by_hand(found: Iterable[Account]) -> str:
    sets = dict.fromkeys(account.display_set for account in found if account.display_set)
    gone = {account.display_set for account in found if account.fate == "display set deleted"}
    said = [f"  {address}{' (was deleted already)' if address in gone else ''}" for address in sets]
    return "\n".join(
        [
            "Casedrop cannot delete any of it: Grand Challenge's API deletes nothing. An editor of the reader",
            "study must delete these display sets by hand, on their web pages:",
            *(said or ["  none: no value of these attempts is in a display set"]),
            "What may be left for a while or is not seen there: files that were uploaded but not taken into a",
            "display set are dropped by Grand Challenge within 24 hours of their upload; ask its support whether",
            "images of a deleted display set are deleted with it, and about its backups. The folders here",
            "(in drop/, done/ or failed/), their receipts and this ledger stay until you remove them.",
        ]
    )


def _caveats(wanted: Wanted, every: Iterable[Account]) -> Iterator[str]:
    every = list(every)
    others = dict.fromkeys(str(one.began["folder"]) for one in every if wanted.begins(one))
    if others:
        yield f"Not counted, though their names begin alike: {several(others)}."
    unknown = sum(not wanted.readable(account) for account in every)
    if unknown:
        yield (
            f"The names of {_number(unknown, 'attempt')} were hidden with another key (names.key) than this one: "
            "whether that is this patient cannot be told. Put the old key in its place, from a backup, and ask "
            "again."
        )


def _rows(account: Account) -> Iterator[Json]:
    began, ended = account.began, account.ended or {}
    head = {
        "attempt": began["seq"],
        "began": began["time"],
        "ended": ended.get("time", ""),
        "fate": account.fate,
        "why": " ".join(ended.get("why", ())),
        "platform": began["platform"],
        "reader_study": began["study"],
        "display_set": account.display_set,
        "record_hash": began["hash"],
    } | {key: began.get(key, "") for key in ("drop", "case", "folder", "part", "title")}
    for socket in began["sockets"]:
        about = head | {"socket": socket["socket"], "kind": socket["kind"]}
        if not socket["files"]:
            yield about | {"sent_sha256": socket["contents"]}
        for file in socket["files"]:
            about_file = about | _of_file(file, began["versions"])
            yield from (about_file | _of_source(source) for source in file["sources"])


def _of_source(source: Json) -> Json:
    return {
        "source_path": source["path"],
        "source_bytes": source["bytes"],
        "source_sha256": source["sha256"],
    }


def _of_file(file: Json, versions: dict[str, str]) -> Json:
    """The versions only where they did something to the file."""
    procedure = (file["procedure"] or {}).get("name", "")
    packages = versions if procedure in DEIDENTIFYING else {}
    return {
        "sent_as": file["sent_as"],
        "sent_bytes": file["bytes"],
        "sent_sha256": file["sha256"],
        "procedure": procedure,
        "versions": "; ".join(f"{name} {version}" for name, version in packages.items()),
        "taken": "; ".join(file["taken"]),
        "begun_before": file["begun_before"],
    }


def _cell(value: Json) -> Json:
    return for_spreadsheet(shown(value)) if isinstance(value, str) else value
