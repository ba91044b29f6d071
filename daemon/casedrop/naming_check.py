"""What `check` and `plan` say of pseudonyms and codes; they change nothing, the journal least of all."""

import stat
from collections.abc import Mapping
from pathlib import Path

from casedrop.config import Settings
from casedrop.errors import CasedropError, ConfigurationError
from casedrop.journal import NAME, Journal
from casedrop.model import Drop
from casedrop.naming import NamingSource, expect_same_key, read_key
from casedrop.pseudonyms import fingerprint
from casedrop.titles import Naming

Findings = list[tuple[bool, str]]


def naming_words(settings: Settings, environ: Mapping[str, str]) -> Findings:
    """The key's fingerprint, and the tables of codes: (is well, sentence)."""
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
    if path.exists():
        journal = Journal(path)
        try:
            expect_same_key(journal, key)
        finally:
            journal.close()
    return [(True, f"The key of pseudonyms has the fingerprint {fingerprint(key)}. Keep a copy of it apart.")]


def _table_words(drop: Drop) -> Findings:
    if drop.codes is None:
        return []
    try:
        codes = NamingSource(drop, None)().codes
        others = Path(drop.codes.file).stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)
    except CasedropError as problem:
        return [(False, str(problem))]
    except OSError as error:
        return [(False, f"{drop.codes.file} cannot be read ({error.strerror}).")]
    found = [(True, f"{drop.codes.file} has codes for {len(codes.of)} folders.")]
    if others:
        text = f"{drop.codes.file}: everyone on this machine can read or change whose code is whose."
        found.append((False, f"{text} Run: chmod 640 {drop.codes.file}"))
    return found


def naming_for_plan(settings: Settings, environ: Mapping[str, str], drop: Drop, *, offline: bool) -> Naming:
    """Offline also without the key, which few may read: the title then only shows the form of a pseudonym."""
    try:
        key = read_key(settings, environ)
    except ConfigurationError:
        if not offline:
            raise
        key = None
    return NamingSource(drop, key)()
