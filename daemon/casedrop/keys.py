"""Keys in the state directory, each made at the first start and never sent anywhere."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from casedrop.errors import SetupProblem

KEY_BYTES = 32


def kept_key(state_directory: Path, name: str, purpose: str, if_damaged: str) -> bytes:
    """The key of this name, made where there is none; raises SetupProblem when it cannot be had.

    `purpose` goes on "The key that …", `if_damaged` says what to do about a damaged one.
    """
    path = state_directory / f"{name}.key"
    try:
        if not path.exists():
            _make_key(path)
        key = path.read_bytes()
    except OSError as error:
        raise SetupProblem(
            f"The key that {purpose} ({path}) cannot be read or made: {error.strerror}. "
            "Give the service's account the state directory."
        ) from None
    if len(key) != KEY_BYTES:
        raise SetupProblem(f"The key that {purpose} ({path}) is damaged. {if_damaged}")
    return key


def uid_key(state_directory: Path) -> bytes:
    """The key from which new DICOM UIDs are made. Raises SetupProblem."""
    return kept_key(
        state_directory,
        "uids",
        "makes new DICOM UIDs",
        "Put it back from a backup. If it is lost, remove it: a new one is made, and what was sent earlier of "
        "a patient can no longer be linked with what is sent from now on.",
    )


def _make_key(path: Path) -> None:
    """Write the whole key under a temporary name, then give it its own: no start ever sees half a key."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was faster: its key counts
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
