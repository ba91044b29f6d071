"""Puts a backup back: all of it is looked at before anything is changed, and what was there is kept beside it."""

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from casedrop import __version__, journal, ledger
from casedrop.backup import CONFIG, FORMAT, JOURNAL, LEDGER, MAIN, MANIFEST, PSEUDONYMS, STATE
from casedrop.config import Settings
from casedrop.errors import ConfigurationError
from casedrop.file_away import fsync_directory
from casedrop.near import several
from casedrop.start import locked, state_directory
from casedrop.writing import give_like_directory

UNREADABLE = (tarfile.TarError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError)
"""What a file that is no backup, or only half of one, raises."""

CHUNK = 1 << 20

Load = Callable[[Path], Settings]


@dataclass(frozen=True, slots=True)
class Move:
    """A member of the backup that goes to `path`."""

    member: str
    path: Path

    @property
    def staged(self) -> Path:
        """A name that nothing else of ours has, and that no configuration reads."""
        return self.path.with_name(f".{self.path.name}.restored")


def put_back(source: Path, config: Path, load: Load, *, replace: bool, now: float) -> list[str]:
    """Put the backup `source` in place; what was done, in sentences.

    `config` is where the configuration belongs, `load` reads it. Raises ConfigurationError, and SetupProblem while
    a service runs.
    """
    manifest = _read_manifest(source)
    with _opened(source) as tar:
        said = _expect_whole(tar, manifest)
        settings, moves = _configured(tar, manifest, config, load)
        directory = state_directory(settings)
        lock = locked(directory)
        try:
            kept = _moves(tar, settings, manifest)
            said += [*kept.said, *_done(tar, [*moves, *kept.moves], replace=replace, now=now)]
        finally:
            os.close(lock)
    if not moves:
        said.append(f"The configuration {config} stays as it is.")
    return said


def _read_manifest(source: Path) -> dict[str, Any]:
    """Raises ConfigurationError for what is no backup, and for one that a newer Casedrop made."""
    with _opened(source) as tar:
        first = tar.next()
        if first is None or first.name != MANIFEST:
            raise ValueError
        manifest: dict[str, Any] = json.load(_content(tar, first))
        newer = manifest["format"] > FORMAT or manifest["schema"] > journal.SCHEMA
        if newer:
            text = (
                f"{source} was made by Casedrop {manifest['casedrop']}, whose journal this one ({__version__}) "
                "does not know. Install that Casedrop, or a newer one, and restore it then."
            )
            raise ConfigurationError([text])
        if JOURNAL not in manifest["files"] or MAIN not in manifest["files"]:
            raise ValueError
        return manifest


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(source, "r:gz") as tar:
            yield tar
    except UNREADABLE:
        raise ConfigurationError([f"{source} is no backup of Casedrop, or a damaged one."]) from None
    except OSError as error:
        if error.strerror is None:  # gzip's word for a file of another kind, or a wrong checksum
            raise ConfigurationError([f"{source} is no backup of Casedrop, or a damaged one."]) from None
        raise ConfigurationError([f"{error.filename or source}: {error.strerror}."]) from None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo | str) -> IO[bytes]:
    file = tar.extractfile(member)
    if file is None:
        raise ValueError
    return file


def _expect_whole(tar: tarfile.TarFile, manifest: dict[str, Any]) -> list[str]:
    for name, expected in manifest["files"].items():
        found = hashlib.sha256()
        file = _content(tar, name)
        while chunk := file.read(CHUNK):
            found.update(chunk)
        if found.hexdigest() != expected:
            raise ValueError
    return [f"The backup is of {manifest['made']}, made by Casedrop {manifest['casedrop']}."]


def _configured(
    tar: tarfile.TarFile, manifest: dict[str, Any], config: Path, load: Load
) -> tuple[Settings, list[Move]]:
    """The settings that will hold, and the configuration's files to be put back: none where there is one."""
    if config.exists():
        return load(config), []
    moves = [Move(MAIN, config)]
    moves += [
        Move(name, config.parent / _plain(name.removeprefix(CONFIG)))
        for name in manifest["files"]
        if name.startswith(CONFIG) and name != MAIN
    ]
    with tempfile.TemporaryDirectory() as hidden:
        there = Path(hidden) / config.name
        for move in moves:
            path = there.parent / move.path.relative_to(config.parent)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(_content(tar, move.member).read())
        return load(there), moves


def _plain(name: str) -> str:
    """A name of drops.d/ that leads nowhere else."""
    directory, _, file = name.rpartition("/")
    if directory != "drops.d" or not file.endswith(".toml") or file.startswith("."):
        raise ValueError
    return name


@dataclass(frozen=True, slots=True)
class _Kept:
    moves: list[Move]
    said: list[str]


def _moves(tar: tarfile.TarFile, settings: Settings, manifest: dict[str, Any]) -> _Kept:
    """Where the rest goes, the journal last; what is there already, to the byte, is let be."""
    state = settings.state.directory
    wanted = [
        Move(name, state / Path(name).name)
        for name in manifest["files"]
        if name.startswith(STATE) and name != JOURNAL
    ]
    said = []
    if PSEUDONYMS in manifest["files"]:
        if settings.pseudonyms.key_file:
            wanted.append(Move(PSEUDONYMS, settings.pseudonyms.key_file))
        else:
            said.append("The key of pseudonyms is not put back: pseudonyms.key_file names no place for it.")
    moves = [move for move in wanted if not _begins_alike(tar, move)]
    if LEDGER in manifest["files"] and LEDGER not in [move.member for move in moves]:
        said.append(f"{state / ledger.NAME} stays: it goes on from where the backup's ends.")
    return _Kept([*moves, Move(JOURNAL, state / journal.NAME)], said)


def _begins_alike(tar: tarfile.TarFile, move: Move) -> bool:
    """Whether what is there is the member; of the ledger, to which records are only added, its beginning."""
    if not move.path.exists():
        return False
    expected = _content(tar, move.member)
    with move.path.open("rb") as there:
        while chunk := expected.read(CHUNK):
            if there.read(len(chunk)) != chunk:
                return False
        return move.member == LEDGER or not there.read(1)


def _done(tar: tarfile.TarFile, moves: list[Move], *, replace: bool, now: float) -> Iterator[str]:
    there = [str(move.path) for move in moves if os.path.lexists(move.path)]
    if there and not replace:
        text = (
            f"There is already {several(there)}. Say --replace to put what the backup holds in its place; what is "
            "there is kept beside it under another name."
        )
        raise ConfigurationError([text])
    try:
        for move in moves:
            _stage(tar, move)
        journal.Journal(moves[-1].staged).close()
        yield from _exchange(moves, now)
    finally:
        for move in moves:
            with suppress(OSError):
                move.staged.unlink(missing_ok=True)


def _stage(tar: tarfile.TarFile, move: Move) -> None:
    """Raises ConfigurationError where there is no room or right for it."""
    try:
        _write(tar, move)
    except OSError as error:
        if error.errno is None:  # gzip's own
            raise
        text = f"{move.path} cannot be written ({error.strerror}). What is there is not changed."
        raise ConfigurationError([text]) from None


def _write(tar: tarfile.TarFile, move: Move) -> None:
    told = tar.getmember(move.member)
    move.path.parent.mkdir(parents=True, exist_ok=True)
    move.staged.unlink(missing_ok=True)
    with os.fdopen(os.open(move.staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(_content(tar, told), file, CHUNK)
        if move.member.startswith(STATE):
            give_like_directory(move.staged)
        else:
            with suppress(LookupError, PermissionError):
                shutil.chown(file.fileno(), told.uname or told.uid, told.gname or told.gid)
            os.fchmod(file.fileno(), told.mode & 0o777)
        file.flush()
        os.fsync(file.fileno())


def _exchange(moves: list[Move], now: float) -> Iterator[str]:
    """The journal goes first and comes last: wherever this is cut short, no service starts on half of it."""
    last = moves[-1].path
    for path in (last, journal.copy_of(last), *(move.path for move in moves[:-1])):
        if os.path.lexists(path):
            aside = journal.set_aside(path, now)
            yield f"What was {path} is {aside.name} beside it."
    for move in moves:
        move.staged.rename(move.path)
    for directory in {move.path.parent for move in moves}:
        fsync_directory(directory)
    yield f"Put back: {several(str(move.path) for move in moves)}."
