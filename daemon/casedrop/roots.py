"""A drop's root: its folders, its identity file, and whose it is."""

import errno
import fcntl
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from casedrop.errors import SetupProblem
from casedrop.settle import is_junk
from casedrop.writing import write_anew

IDENTITY = ".casedrop.json"
FOLDERS = ("drop", "done", "failed")


@dataclass(frozen=True, slots=True)
class Root:
    """An opened root: `id` is its own, `descriptor` holds the lock on drop/.

    `restored` tells that the journal is behind the root: an older copy was put in its place.
    """

    path: Path
    id: str
    descriptor: int
    restored: bool = False

    def close(self) -> None:
        os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity file: the root's id, the journal it belongs to ("" for none yet), and its starts."""

    root: str
    journal: str
    starts: int


def init(path: Path) -> bool:
    """Make the folders and the identity file where they are missing; whether anything was made."""
    made = not (path / IDENTITY).exists()
    for name in FOLDERS:
        (path / name).mkdir(parents=True, exist_ok=True)
    if made:
        _write(path, Identity(uuid.uuid4().hex, "", 0))
    return made


def open_root(path: Path, journal: str, starts: int, remember: Callable[[str, int], None]) -> Root:
    """Lock the root and count this start.

    `starts` is what the journal remembers of this root; it is told the new count by `remember` first, so
    that only a restored copy can ever be behind the root. Raises SetupProblem where the root is not
    there, is in use, or belongs to another journal.
    """
    descriptor = _locked(path)
    try:
        identity = _read(path)
        _expect_journal(path, identity, journal)
        expect_folders(path)
        count = max(identity.starts, starts) + 1
        remember(identity.root, count)
        _write(path, Identity(identity.root, journal, count))
    except BaseException:
        os.close(descriptor)
        raise
    return Root(path, identity.root, descriptor, restored=starts < identity.starts)


def expect_owner(path: Path, journal: str) -> None:
    """Raise SetupProblem where the root belongs to another journal ("" for one not made yet)."""
    _expect_journal(path, _read(path), journal)


def root_id(path: Path) -> str:
    """The id of a root, to look up what the journal remembers of it. Raises SetupProblem."""
    return _read(path).root


def take_over(path: Path, journal: str, starts: int) -> None:
    """Give the root to this journal; what another journal had under way is left to people."""
    _write(path, Identity(root_id(path), journal, starts))


def expect_folders(path: Path) -> None:
    """One real rename from drop/ to each target: two mounts of one disk already cannot do that."""
    probe = path / "drop" / ".casedrop-probe"  # one name for all, so that what a crash leaves is cleared
    try:
        for target in ("done", "failed"):
            probe.mkdir(exist_ok=True)
            there = path / target / probe.name
            probe.rename(there)
            there.rmdir()
    except OSError as error:
        probe_left = probe.is_dir() and not any(probe.iterdir())
        if probe_left:
            probe.rmdir()
        raise SetupProblem(_rename_text(path, error)) from None


def expect_there(path: Path, root: str) -> None:
    """Raise SetupProblem unless the root of that id is there: a bare mount point does not carry its identity."""
    if root_id(path) != root:
        raise SetupProblem(f"{path} carries another root's identity file. Is the right share mounted?")


def _rename_text(path: Path, error: OSError) -> str:
    if error.errno == errno.EXDEV:
        return (
            f"{path}: drop/, done/ and failed/ are not on one file system (or are separate mounts), so a "
            "folder cannot be moved in one step. Mount their parent instead."
        )
    if error.errno == errno.ENOENT:
        return f"{path}: drop/, done/ or failed/ is missing. Is the share mounted? Else run `casedrop init`."
    return f"{path}: a test folder cannot be moved from drop/ to done/ and failed/ ({error.strerror})."


def _locked(path: Path) -> int:
    try:
        descriptor = os.open(path / "drop", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SetupProblem(_missing(path, error)) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SetupProblem(f"{path} is in use by another Casedrop service. Stop one of the two.") from None
    return descriptor


def _read(path: Path) -> Identity:
    try:
        found = json.loads((path / IDENTITY).read_text())
        return Identity(str(found["root"]), str(found["journal"]), int(found["starts"]))
    except OSError as error:
        raise SetupProblem(_missing(path, error)) from None
    except (ValueError, TypeError, KeyError):
        raise SetupProblem(f"{path / IDENTITY} is damaged. Restore it from a backup.") from None


def _missing(path: Path, error: OSError) -> str:
    return (
        f"{path} is no root of Casedrop ({error.strerror}). Is the share mounted? A new root is made by "
        "`casedrop init`; the service itself never makes one, lest it fill a bare mount point."
    )


def _expect_journal(path: Path, identity: Identity, journal: str) -> None:
    if identity.journal not in ("", journal):
        raise SetupProblem(
            f"{path} belongs to another journal. If that one is lost for good, run `casedrop init "
            "--take-over`: titles Grand Challenge already holds then wait for a person."
        )


def _write(path: Path, identity: Identity) -> None:
    hidden = path / f"{IDENTITY}.tmp"
    write_anew(hidden, json.dumps(asdict(identity)))
    hidden.replace(path / IDENTITY)


def folders_in(path: Path, ignore: tuple[str, ...]) -> list[str]:
    """The names of the folders that are no junk, sorted. Raises SetupProblem."""
    try:
        with os.scandir(path) as found:
            return sorted(one.name for one in found if one.is_dir() and not is_junk(one.name, ignore))
    except OSError as error:
        raise SetupProblem(f"{path} cannot be read ({error.strerror}). Is the share mounted?") from None
