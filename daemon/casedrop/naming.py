"""Where pseudonyms and codes come from: the key, and the drops' tables, read again when they change."""

import operator
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from casedrop import pseudonym_key
from casedrop.codes import as_table, counted
from casedrop.config import Settings
from casedrop.errors import ConfigurationError, SetupProblem
from casedrop.journal import Journal
from casedrop.model import Drop
from casedrop.pseudonyms import fingerprint, pseudonym
from casedrop.table_files import TableFile
from casedrop.tables import Table, TableProblemError, columns
from casedrop.titles import Naming, linked, without_key

CREDENTIAL = "casedrop-pseudonym-key"


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
        self._pseudonym = partial(pseudonym, key, drop.reader_study or drop.goes_to) if key else without_key
        self._codes = drop.codes
        self.files = [TableFile(one, columns(drop, one)) for one in drop.tables if one.file]
        if drop.codes:
            self.files.append(TableFile(as_table(drop.codes), (drop.codes.folder, drop.codes.code)))
        self._read: list[Table] = []
        self._naming = Naming(self._pseudonym)

    def __call__(self) -> Naming:
        """Raises SetupProblem where a table cannot be used, with all that is wrong."""
        found, problems = [], []
        for file in self.files:
            try:
                found.append(file.table())
            except TableProblemError as problem:
                problems.append(f"{file} {problem}. No folder is taken until it can be used.")
        if problems:
            raise SetupProblem(*problems)
        if len(found) != len(self._read) or any(map(operator.is_not, found, self._read)):
            self._read, self._naming = found, self._made_of(found)
        return self._naming

    def _made_of(self, found: list[Table]) -> Naming:
        if self._codes is None:
            return Naming(self._pseudonym, tables={one.rule.name: one for one in found})
        *tables, codes = found
        named = {one.rule.name: one for one in tables}
        return Naming(self._pseudonym, counted(codes, self._codes.code), named)
