"""What `check` and `plan` say of pseudonyms, codes and tables; they change nothing, the journal least of all."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from casedrop.config import Settings
from casedrop.errors import CasedropError, ConfigurationError
from casedrop.journal import NAME, Journal
from casedrop.model import Drop
from casedrop.naming import NamingSource, expect_same_key, read_key
from casedrop.near import MOST_NAMED, several
from casedrop.pseudonyms import fingerprint
from casedrop.table_files import TableFile
from casedrop.tables import Table, TableProblemError
from casedrop.titles import Naming

Findings = list[tuple[bool, str]]


def naming_words(settings: Settings, environ: Mapping[str, str]) -> Findings:
    """The key's fingerprint, and the lab's tables: (is well, sentence)."""
    found: Findings = []
    try:
        found += _key_words(settings, environ)
    except CasedropError as problem:
        found.append((False, str(problem)))
    for drop in settings.drops:
        found += _table_words(drop)
    return found


def _key_words(settings: Settings, environ: Mapping[str, str]) -> Findings:
    key = read_key(settings, environ)
    if key is None:
        return []
    path = settings.state.directory / NAME
    if os.path.exists(path):
        journal = Journal(path, looking=True)
        try:
            expect_same_key(journal, key)
        finally:
            journal.close()
    return [(True, f"The key of pseudonyms has the fingerprint {fingerprint(key)}. Keep a copy of it apart.")]


def _table_words(drop: Drop) -> Findings:
    found: Findings = []
    for file in NamingSource(drop, None).files:
        try:
            found += _words(file, file.table())
        except TableProblemError as problem:
            found.append((False, f"{file} {problem}."))
        else:
            found += (
                _privacy_words(file.rule.file) if drop.codes and file.rule.file == drop.codes.file else []
            )
    return found


def _words(file: TableFile, table: Table) -> Findings:
    """What its keys are like; the rows that folders could not be told by are for its keeper to mend."""
    keys = several(column for _, column in table.rule.keys)
    by = f"a folder's row is found by {keys}" if keys else "its one row goes for every folder"
    count = sum(map(len, table.rows.values()))
    found = [(True, f"{file} can be read: {count} row{'' if count == 1 else 's'}; {by}.")]
    doubles = [several(map(str, numbers)) for numbers in table.doubles]
    if doubles:
        text = f"{file}: the same {keys} in rows {'; '.join(doubles[:MOST_NAMED])}"
        more = f"; and {len(doubles) - MOST_NAMED} more" if len(doubles) > MOST_NAMED else ""
        found.append((False, f"{text}{more}. Folders of these rows are refused; leave the right ones."))
    if table.keyless:
        text = f"{file}: {keys} cannot be read in row {several(map(str, table.keyless))}."
        found.append((False, f"{text} They are formulas without a result, or errors of the spreadsheet."))
    return found


def _privacy_words(path: str) -> Findings:
    if not Path(path).stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        return []
    text = f"{path}: everyone on this machine can read or change whose code is whose. Run: chmod 640 {path}"
    return [(False, text)]


def naming_for_plan(settings: Settings, environ: Mapping[str, str], drop: Drop, *, offline: bool) -> Naming:
    """Offline also without the key, which few may read: the title then only shows the form of a pseudonym."""
    try:
        key = read_key(settings, environ)
    except ConfigurationError:
        if not offline:
            raise
        key = None
    return NamingSource(drop, key)()
