"""What the service last wrote of itself, and whether it still goes by what the configuration says now."""

import errno
import json
import os
from collections.abc import Mapping
from typing import Any

from casedrop import rights, status
from casedrop.config import Settings

Report = dict[str, Any]
"""As `board.gather` makes it."""


def report(settings: Settings) -> Report:
    """Raises OSError where no service has written one yet, or not whole."""
    text = (settings.state.directory / "status.json").read_text()
    try:
        found: Report = json.loads(text)
    except ValueError:
        raise OSError(errno.EIO, "status.json is not whole") from None
    return found


def whole(settings: Settings) -> Report:
    """With `outdated`, as `casedrop status` shows it. Raises OSError."""
    return report(settings) | {"outdated": outdated(settings)}


def no_status(settings: Settings, error: OSError) -> str:
    """What is said where there is none to read."""
    where = f"{settings.state.directory} ({error.strerror})"
    if isinstance(error, PermissionError):
        return f"The status cannot be read in {where}. As root: {rights.as_root('status')}"
    return f"There is no status yet in {where}. Is the service running?"


def runs(found: Mapping[str, Any]) -> bool:
    """Whether the service that wrote it is still there."""
    return os.path.exists(f"/proc/{found['pid']}")


def is_up(settings: Settings) -> bool:
    """Whether a service has written a status and is still there."""
    try:
        return runs(report(settings))
    except OSError:
        return False


def outdated(settings: Settings) -> list[str]:
    """The drops whose rules the running service has not read yet; none where no service runs, or none is known."""
    if not settings.drops:
        return []
    try:
        found = report(settings)
    except OSError:
        return []
    return status.outdated(found, settings.drops) if runs(found) else []
