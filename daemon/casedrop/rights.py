"""What is said to a user who may not read what is the service's, and who that is."""

import grp
import os
import pwd
import shlex
import stat
import sys
from pathlib import Path


def program() -> Path:
    """The command beside the Python that runs this: sudo looks for none in a virtual environment."""
    return Path(sys.executable).parent / "casedrop"


def as_root(*command: str) -> str:
    """What root types for it."""
    return f"sudo {shlex.join([str(program()), *command])}"


def user_name(number: int) -> str:
    """As commands take it."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def is_stranger(state: Path) -> bool:
    """Neither root nor whose the state directory is: what this user may not do tells nothing of the service."""
    try:
        return os.geteuid() not in (0, state.stat().st_uid)
    except PermissionError:
        return True
    except OSError:
        return False


def closed(path: Path) -> str:
    """Who may read a configuration that this user may not, and how one becomes that."""
    shut = next(one for one in (path, *path.parents) if os.path.exists(one))
    here = shut.stat()
    if not here.st_mode & stat.S_IRGRP:
        return f"{shut} may not be read by this user. Say it as root: {as_root()} ..."
    group = _group_name(here.st_gid)
    return (
        f"{shut} may be read by root and the group {group} alone. Say it as root ({as_root()} ...), or join the "
        f"group and log in again: {shlex.join(['sudo', 'usermod', '-aG', group, user_name(os.geteuid())])}"
    )


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
