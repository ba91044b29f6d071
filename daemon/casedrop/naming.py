"""Where pseudonyms and codes come from: the key, and the drops' tables, read again when they change."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from casedrop import pseudonym_key
from casedrop.codes import Codes, TableProblemError, parse
from casedrop.config import Settings
from casedrop.errors import ConfigurationError, SetupProblem
from casedrop.journal import Journal
from casedrop.model import CodeTable, Drop
from casedrop.pseudonyms import fingerprint, pseudonym
from casedrop.titles import Naming, linked, without_key

CREDENTIAL = "casedrop-pseudonym-key"

Stamp = tuple[int, int, int]


def read_key(settings: Settings, environ: Mapping[str, str]) -> bytes | None:
    """The key, from ``pseudonyms.key_file`` or the systemd credential; None where no title needs one.

    Raises ConfigurationError.
    """
    needing = [drop.name for drop in settings.drops if linked(drop.title)]
    if not needing:
        return None
    found = _keys(settings.pseudonyms.key_file, environ)
    if len(found) > 1:
        text = f"pseudonyms.key_file and the credential {CREDENTIAL} hold different keys. Keep one."
        raise ConfigurationError([text])
    if not found:
        text = (
            f"Titles of {' and '.join(needing)} are pseudonyms, and there is no key for them. Make one with "
            f"`casedrop keygen FILE`, and name it as pseudonyms.key_file or as the credential {CREDENTIAL}."
        )
        raise ConfigurationError([text])
    return found.pop()


def _keys(file: Path | None, environ: Mapping[str, str]) -> set[bytes]:
    credential = Path(environ.get("CREDENTIALS_DIRECTORY", "")) / CREDENTIAL
    found = {pseudonym_key.read(file, private=True)} if file else set()
    if credential.is_absolute() and credential.exists():
        found.add(pseudonym_key.read(credential, private=False))
    return found


def expect_same_key(journal: Journal, key: bytes | None) -> None:
    """Raise ConfigurationError where the journal was used with another key: its titles are of that one."""
    if key is None:
        return
    mine, kept = fingerprint(key), journal.pseudonym_key
    if kept not in ("", mine):
        text = (
            f"The key of pseudonyms is not the one used so far: its fingerprint is {mine}, that one's {kept}. "
            "With it every patient would get a second pseudonym. Put the former key back from the backup."
        )
        raise ConfigurationError([text])


class NamingSource:
    """The naming of one drop as it is now; the same object as long as nothing has changed."""

    def __init__(self, drop: Drop, key: bytes | None) -> None:
        make = partial(pseudonym, key, drop.reader_study) if key else without_key
        self._table = drop.codes
        self._naming = Naming(make)
        self._read: Stamp | None = None
        self._seen: Stamp | None = None

    def __call__(self) -> Naming:
        """Raises SetupProblem where the table of codes cannot be used.

        A table that has changed counts once two looks in a row saw it alike: it may still be being saved.
        """
        if self._table is None:
            return self._naming
        stamp = _stamp(self._table)
        if stamp != self._read and (self._read is None or stamp == self._seen):
            self._naming = Naming(self._naming.pseudonym, _codes(self._table))
            self._read = stamp
        self._seen = stamp
        return self._naming


def _stamp(table: CodeTable) -> Stamp:
    try:
        looks = os.stat(table.file)
    except OSError as error:
        raise _unreadable(table, f"cannot be read ({error.strerror})") from None
    return looks.st_size, looks.st_mtime_ns, looks.st_ino


def _codes(table: CodeTable) -> Codes:
    try:
        return parse(Path(table.file).read_bytes(), table)
    except OSError as error:
        raise _unreadable(table, f"cannot be read ({error.strerror})") from None
    except TableProblemError as problem:
        raise _unreadable(table, str(problem)) from None


def _unreadable(table: CodeTable, why: str) -> SetupProblem:
    return SetupProblem(f"The table of codes {table.file} {why}. No folder is taken until it can be used.")
