"""What `casedrop check` looks at in a drop's root: it changes nothing but a probe, no case to any scan."""

import errno
import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from casedrop import page_file, roots
from casedrop.config import Settings
from casedrop.errors import SetupProblem
from casedrop.findings import Finding, attention, ok, problem
from casedrop.journal import NAME, Journal
from casedrop.model import Drop
from casedrop.near import several
from casedrop.rights import user_name
from casedrop.settle import is_junk
from casedrop.trying import tried
from casedrop.wake import events_arrive
from casedrop.watch import file_system, lease_works, movable

DEFAULT_ACL = "system.posix_acl_default"
PROC = "/proc/sys"
WATCHES = ("fs/inotify/max_user_watches", "user/max_inotify_watches")
INSTANCES = ("fs/inotify/max_user_instances", "user/max_inotify_instances")
FULL = 0.75
"""Of a limit of inotify: the rest is for whatever else this user runs."""

MOUNT = "Mount the share, or make a new root by `casedrop init`."
QUIET = "Use a longer settle.quiet_seconds, or a marker file (`ready`)."


def root_findings(settings: Settings, drop: Drop) -> list[Finding]:
    """Of one root; all that can be told though something else is wrong."""
    path, what = Path(drop.root), f"root {drop.root}"
    found = tried(what, lambda: f"{path} is a root of Casedrop." if roots.root_id(path) else "", MOUNT)
    found += tried(what, lambda: _probe(settings, path, what))
    if os.path.exists(path / roots.IDENTITY):
        found += tried(what, lambda: _owner_words(settings, path))
    if os.path.isdir(path / "drop"):
        found += tried(what, lambda: _lease_findings(path, what))
        found += tried(what, lambda: _people(path, what, drop))
    if drop.page != "off":
        found += tried(what, lambda: _page(path, what))
    return found


def _probe(settings: Settings, path: Path, what: str) -> Iterator[Finding]:
    """Moves a folder from drop/ to both targets, and hears whether the system tells of it."""
    try:
        events = events_arrive(str(path / "drop"), lambda: roots.expect_folders(path))
    except SetupProblem as wrong:
        yield from (problem(what, text, _writable(path)) for text in wrong.problems)
        return
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            yield problem(what, f"{path}/drop cannot be watched ({error.strerror}).", MOUNT)
            return
        yield from tried(what, lambda: _renames(path), _writable(path))
        yield _at_a_limit(what, error)
        return
    yield ok(what, f"{path}: folders can be moved to done/ and failed/.")
    yield _told_of_changes(settings, path, what, events=events)


def _renames(path: Path) -> str:
    roots.expect_folders(path)
    return f"{path}: folders can be moved to done/ and failed/."


def _told_of_changes(settings: Settings, path: Path, what: str, *, events: bool) -> Finding:
    kind = file_system(str(path))
    every = f"{settings.settle.rescan_seconds:g} s"
    if events and kind.events:
        return ok(what, f"{path}: the system tells of changes as they happen ({kind.type}).")
    who = "of what other machines change" if events else "of changes"
    return attention(
        what,
        f"{path}: this mount ({kind.type}) does not tell {who}: they are seen by the rescan, every {every}.",
        "Have the share's own server run Casedrop, or set settle.rescan_seconds as short as the mount bears.",
    )


def _at_a_limit(what: str, error: OSError) -> Finding:
    name = WATCHES[0] if error.errno == errno.ENOSPC else INSTANCES[0]
    return attention(
        what,
        f"Changes are seen by rescans only: a limit of inotify is met ({error.strerror}).",
        _sysctl(name, 2 * _limit((name,))),
    )


def _owner_words(settings: Settings, path: Path) -> str:
    known = settings.state.directory / NAME
    journal = Journal(known, looking=True) if os.path.exists(known) else None
    try:
        roots.expect_owner(path, journal.id if journal else "")
    finally:
        if journal:
            journal.close()
    return f"{path} belongs to this journal, or to none yet."


def _lease_findings(path: Path, what: str) -> Iterator[Finding]:
    if not file_system(str(path)).lease:
        text = f"{path}: this file system cannot tell whether a file is still being written."
        yield attention(what, text, QUIET)
    elif lease_works(str(path / "drop")) is False:
        yield attention(what, f"{path}: a lease, tried on a file of ours, did not see who writes.", QUIET)
    else:
        yield ok(what, f"{path}: whether a file is still being written can be asked of the file system.")


def _people(path: Path, what: str, drop: Drop) -> Iterator[Finding]:
    around = os.stat(path / "drop")
    with os.scandir(path / "drop") as found:
        folders = [one for one in found if one.is_dir(follow_symlinks=False)]
    meant = [one for one in folders if not is_junk(one.name, drop.ignore)]
    stuck = sorted(one.name for one in meant if not movable(one.path))
    if stuck:
        yield problem(
            what,
            f"{path}/drop: {several(stuck)} cannot be read or moved by {user_name(os.geteuid())}: it "
            "belongs to who copied it, and moving a folder needs the right to write in the folder itself.",
            _writable(path),
        )
    elif meant:
        yield ok(what, f"{path}/drop: each folder there now can be moved ({len(meant)}).")
    if not stuck and _is_open(around) and not _hands_down(path / "drop", around):
        yield attention(
            what,
            f"{path}/drop: others may copy there, but what they copy will be of their own group: neither a "
            "default ACL nor setgid is set.",
            _writable(path),
        )


def _is_open(around: os.stat_result) -> bool:
    """With an access ACL the group's bits are its mask."""
    return bool(around.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _hands_down(path: Path, around: os.stat_result) -> bool:
    if around.st_mode & stat.S_ISGID:
        return True
    try:
        return bool(os.getxattr(path, DEFAULT_ACL))
    except OSError:
        return False


def _page(path: Path, what: str) -> Iterator[Finding]:
    try:
        page_file.expect_ours(path)
    except page_file.ForeignError:
        yield problem(what, page_file.foreign(path))


def watch_findings(drops: Iterable[Drop]) -> Iterator[Finding]:
    """The limits of inotify, which all roots of one user share, against the folders there now."""
    paths = [Path(drop.root) / "drop" for drop in drops]
    needed = sum(_folders(path) for path in paths)
    watches, instances = _limit(WATCHES), _limit(INSTANCES)
    if needed > FULL * watches:
        yield attention(
            "inotify",
            f"{needed} folders under drop/ are to be watched, and this server allows each user {watches}: changes "
            "in the others are seen by rescans only.",
            _sysctl(WATCHES[0], max(2 * needed, 524288)),
        )
    elif len(paths) > FULL * instances:
        text = f"{len(paths)} roots are to be watched, and this server allows each user {instances} watchers."
        yield attention("inotify", text, _sysctl(INSTANCES[0], 4 * len(paths)))
    else:
        yield ok(
            "inotify", f"Folders to be watched, drop/ among them: {needed}; this server allows {watches}."
        )


def _folders(path: Path) -> int:
    return sum(1 for _ in os.walk(path))


def _limit(names: Iterable[str]) -> int:
    return min(int(Path(PROC, name).read_text()) for name in names if Path(PROC, name).exists())


def _sysctl(name: str, value: int) -> str:
    setting = f"{name.replace('/', '.')}={value}"
    return f"echo {setting} | sudo tee /etc/sysctl.d/60-casedrop.conf && sudo sysctl --system"


def _writable(path: Path) -> str:
    """For what is there and what will come; it takes no right from anybody."""
    folders = " ".join(shlex.quote(str(path / name)) for name in roots.FOLDERS)
    user = user_name(os.geteuid())
    return f"sudo setfacl -R -m u:{user}:rwX,d:u:{user}:rwX {folders}"
