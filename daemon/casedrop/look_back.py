"""Whose pseudonym or code it is: folders and their titles, told on this machine alone."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from casedrop import roots
from casedrop.config import Settings
from casedrop.errors import ConfigurationError
from casedrop.journal import if_there
from casedrop.model import Drop
from casedrop.naming import NamingSource, read_key
from casedrop.near import shown
from casedrop.settle import composed
from casedrop.split import unknown
from casedrop.titles import title

Row = tuple[str, str, str]
"""A folder's first name, its title, and where it is or the display set's address."""


def pseudonyms(settings: Settings, environ: Mapping[str, str], which: str, name: str) -> list[str]:
    """A line for each folder of a drop that bears that name, or whose title holds it; "" means all.

    Raises ConfigurationError where there is no such drop.
    """
    drop = next((drop for drop in settings.drops if drop.name == which), None)
    if drop is None:
        known = ", ".join(drop.name for drop in settings.drops)
        raise ConfigurationError([f'There is no drop "{which}"; known are {known}.'])
    rows = {(folder, said): where for folder, said, where in _rows(settings, environ, drop)}
    wanted = composed(name).casefold()
    return [
        "\t".join((shown(folder), shown(said) or "-", where))
        for (folder, said), where in sorted(rows.items())
        if wanted == composed(folder).casefold() or wanted in said.casefold()
    ]


def _rows(settings: Settings, environ: Mapping[str, str], drop: Drop) -> Iterator[Row]:
    """What lies there first: what the journal knows of the same folder is said in its place."""
    root = Path(drop.root)
    journal = if_there(settings.state.directory)
    cases = journal.cases_of(roots.root_id(root)) if journal else []
    if journal:
        journal.close()
    first = {case.filed_as or case.folder: case.name for case in cases}
    naming = NamingSource(drop, read_key(settings, environ))()
    for place in roots.FOLDERS:
        for name in roots.folders_in(root / place, drop.ignore):
            folder = first.get(name, name)
            yield folder, title(drop, folder, naming, unknown(drop.split))[0], f"{place}/"
    for case in (one for one in cases if one.plan is None or not one.plan.parts):
        said = case.plan.title if case.plan else title(drop, case.name, naming, unknown(drop.split))[0]
        yield case.name, said, case.address if case.committed else f"{case.stage}"
