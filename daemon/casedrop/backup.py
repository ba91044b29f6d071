"""One file of all that another server needs to go on, but the token; made while the service runs."""

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from casedrop import __version__, config_files, journal, ledger
from casedrop.config import Settings
from casedrop.errors import ConfigurationError
from casedrop.file_away import fsync_directory, rename
from casedrop.model import Json
from casedrop.near import several
from casedrop.titles import linked

MANIFEST = "manifest.json"
"""The first member: format, casedrop (version), made (time), schema (of the journal), files (SHA-256 of each)."""

FORMAT = 1
STATE, CONFIG = "state/", "config/"
"""What members of the state directory and of the configuration begin with."""

JOURNAL = STATE + journal.NAME
LEDGER = STATE + ledger.NAME
PSEUDONYMS = "pseudonyms.key"
MAIN = CONFIG + "casedrop.toml"
KEYS = ("names.key", "uids.key")
"""In the state directory."""

HIDDEN = ".casedrop-backup-"
DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


@dataclass(frozen=True, slots=True)
class Piece:
    """A file that goes into a backup under the name `member`."""

    member: str
    path: Path


def make(settings: Settings, config: Path, target: Path, now: float) -> list[str]:
    """Write the backup `target`, whole or not at all; what it holds, and what not, in sentences.

    Raises ConfigurationError.
    """
    found = settings.state.directory / journal.NAME
    try:
        _expect_own_place(settings, target)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=HIDDEN) as hidden:
            pieces = list(_pieces(settings, config))
            written = Path(hidden) / "backup"
            _pack(written, pieces, _copied(pieces, Path(hidden)), now)
            rename(written, target)
        fsync_directory(target.parent)
    except sqlite3.Error as error:
        raise ConfigurationError([_no_snapshot(found, target, error)]) from None
    except FileExistsError:
        raise ConfigurationError(
            [f"{target} is there already, and is not replaced: give the backup another name."]
        ) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename and HIDDEN not in str(error.filename) else ""
        raise ConfigurationError(
            [f"The backup {target} cannot be made ({where}{error.strerror}). Nothing was written."]
        ) from None
    held = [piece.member for piece in pieces]
    return [f"{target} holds {several(held)}.", *_not_held(settings, held)]


def _no_snapshot(found: Path, target: Path, error: sqlite3.Error) -> str:
    """It is written beside the backup, so that the journal is not to blame for a full disk."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in DISK:
        return f"The backup {target} cannot be made ({error}). Nothing was written."
    return journal.unusable(found, error)


def _expect_own_place(settings: Settings, target: Path) -> None:
    there = Path(os.path.realpath(target))
    for drop in settings.drops:
        if there.is_relative_to(os.path.realpath(drop.root)):
            raise ConfigurationError(
                [
                    f"{target} lies on the share of {drop.name}. A backup holds names and keys: keep it elsewhere."
                ]
            )
    if not (settings.state.directory / journal.NAME).exists():
        raise ConfigurationError(
            [f"There is no journal in {settings.state.directory}, so there is nothing to keep yet."]
        )


def _pieces(settings: Settings, config: Path) -> Iterator[Piece]:
    """The journal before the ledger, which may then only be ahead of it: that is taken over."""
    state = settings.state.directory
    yield Piece(JOURNAL, state / journal.NAME)
    for name in (ledger.NAME, *KEYS):
        if (state / name).exists():
            yield Piece(STATE + name, state / name)
    if settings.pseudonyms.key_file:
        yield Piece(PSEUDONYMS, settings.pseudonyms.key_file)
    yield Piece(MAIN, config)
    for path in config_files.pieces(config):
        yield Piece(f"{CONFIG}{config_files.PIECES}/{path.name}", path)


def _copied(pieces: list[Piece], hidden: Path) -> list[Path]:
    """Each as it is now: what is packed must be what was summed."""
    copies = [hidden / str(number) for number in range(len(pieces))]
    for piece, copy in zip(pieces, copies, strict=True):
        if piece.member == JOURNAL:
            journal.snapshot(piece.path, copy)
        else:
            shutil.copyfile(piece.path, copy)
        if piece.member == LEDGER:
            _end_at_a_line(copy)
    return copies


def _end_at_a_line(path: Path) -> None:
    """A record that is just being written is left out."""
    with path.open("r+b") as file:
        text = file.read()
        file.truncate(text.rfind(b"\n") + 1)


def _pack(target: Path, pieces: list[Piece], copies: list[Path], now: float) -> None:
    sums = {piece.member: _sum(copy) for piece, copy in zip(pieces, copies, strict=True)}
    with closing(sqlite3.connect(copies[0])) as db:
        (schema,) = db.execute("PRAGMA user_version").fetchone()
    told: Json = {
        "format": FORMAT,
        "casedrop": __version__,
        "made": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "schema": schema,
        "files": sums,
    }
    manifest = target.with_suffix(".json")
    manifest.write_text(json.dumps(told, indent=2))
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz", dereference=True) as tar:
            _add(tar, Piece(MANIFEST, manifest), manifest)
            for piece, copy in zip(pieces, copies, strict=True):
                _add(tar, piece, copy)
        file.flush()
        os.fsync(file.fileno())


def _add(tar: tarfile.TarFile, piece: Piece, copy: Path) -> None:
    """What the copy holds, with the owner, mode and time of the file itself."""
    told = tar.gettarinfo(piece.path, piece.member)
    told.type, told.linkname, told.size = tarfile.REGTYPE, "", copy.stat().st_size
    with copy.open("rb") as file:
        tar.addfile(told, file)


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _not_held(settings: Settings, held: list[str]) -> Iterator[str]:
    yield "It does not hold the token: keep that apart, or make a new one on Grand Challenge."
    others = [str(one.url_file) for one in settings.notify]
    others += map(str, filter(None, (settings.platform.proxy_credentials_file, settings.platform.ca_file)))
    others += [drop.codes.file for drop in settings.drops if drop.codes]
    others += [table.file for drop in settings.drops for table in drop.tables if table.file]
    if others:
        yield f"Nor does it hold files that the configuration names: {', '.join(dict.fromkeys(others))}."
    if PSEUDONYMS not in held and any(linked(drop.title) for drop in settings.drops):
        yield (
            "Nor does it hold the key of pseudonyms, which is given as a credential: keep a copy of it apart; "
            "without it the next time point of a patient would get another title."
        )
    yield "It holds names of patients' folders and keys: keep it where nobody else reads it."
