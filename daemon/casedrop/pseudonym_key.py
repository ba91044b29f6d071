"""The key of pseudonyms: made once, never replaced, readable by few."""

import os
import secrets
import stat
from pathlib import Path

from casedrop.errors import ConfigurationError
from casedrop.pseudonyms import KEY_BYTES


def make(path: Path) -> bytes:
    """Write a new key for its owner alone; never over a file. Raises ConfigurationError."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{key.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise ConfigurationError(
            [f"{path} is there already. A key is never replaced: every later title would be another one."]
        ) from None
    except OSError as error:
        raise ConfigurationError([f"{path}: no key can be written there ({error.strerror})."]) from None
    return key


def read(path: Path, *, private: bool) -> bytes:
    """The key in a file; a `private` one nobody else may read or write. Raises ConfigurationError."""
    try:
        text = path.read_text(errors="replace").strip()
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigurationError(
            [f"{path}: the key of pseudonyms cannot be read ({error.strerror}). `casedrop keygen` makes one."]
        ) from None
    if private and mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise ConfigurationError(
            [f"{path}: others can read or change the key of pseudonyms. Run: chmod 640 {path}"]
        )
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        text = (
            f"{path} holds no key of pseudonyms ({2 * KEY_BYTES} hexadecimal digits). Put it back from the "
            "backup; a new one would give every patient another pseudonym."
        )
        raise ConfigurationError([text])
    return key
