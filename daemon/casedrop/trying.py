"""One look of `casedrop check`: whatever it raises is a finding, and hides no other. And with whose rights."""

import os
import pwd
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from casedrop.errors import CasedropError, ConfigurationError, SetupProblem
from casedrop.findings import Finding, ok, problem

MEND = "Mend that, then run `casedrop check` again."
WAIT = "Try again later; if it stays, ask whoever runs the network or Grand Challenge."


def tried(what: str, look: Callable[[], str | Iterable[Finding]], mend: str = MEND) -> list[Finding]:
    """What `look` says is well, or its own findings; "" says nothing. `mend` is for problems that do not tell."""
    try:
        said = look()
        return ([ok(what, said)] if said else []) if isinstance(said, str) else list(said)
    except (SetupProblem, ConfigurationError) as wrong:
        return [problem(what, text, mend) for text in wrong.problems]
    except CasedropError as error:
        return [problem(what, str(error), WAIT, later=True)]
    except sqlite3.Error as error:
        return [problem(what, f"The journal cannot be read ({error}).", mend)]
    except OSError as error:
        where = os.fsdecode(error.filename) if error.filename else what
        return [problem(what, f"{where}: {error.strerror}.", mend)]


def service_user(state: Path) -> int:
    """Whose the state directory is; before there is one, who asks."""
    return state.stat().st_uid if os.path.isdir(state) else os.geteuid()


@contextmanager
def as_service(state: Path) -> Iterator[None]:
    """Root, who may do everything, sees with the rights of the service's user."""
    number = service_user(state)
    if os.geteuid() or not number:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    try:
        name = pwd.getpwuid(number)
        os.setgroups(os.getgrouplist(name.pw_name, name.pw_gid))
        os.setegid(name.pw_gid)
    except KeyError:
        os.setgroups([])
        os.setegid(state.stat().st_gid)
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
