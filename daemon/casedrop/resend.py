"""Folders that `casedrop retry` moves back into drop/: failed ones, and done ones whose row has changed."""

from pathlib import Path

from casedrop import file_away
from casedrop.errors import FolderChanged
from casedrop.grand_challenge import ReaderStudy
from casedrop.journal import Journal
from casedrop.model import Case, Drop, SocketKind
from casedrop.near import shown
from casedrop.prepare import unchanged
from casedrop.settle import data
from casedrop.table_changes import Changed, compared, named, not_sent, why_not
from casedrop.titles import Naming
from casedrop.watch import list_folder

Finding = tuple[bool, str]


def moved_back(drop: Drop, place: str, name: str, case: Case) -> Finding:
    """From `place` ("done" or "failed"), where it is called `name`."""
    root = Path(drop.root)
    try:
        file_away.rename(root / place / name, root / "drop" / case.name)
    except FileExistsError:
        return False, f"{shown(name)}: drop/ already has a folder {shown(case.name)}."
    except OSError as error:
        return False, f"{shown(name)} cannot be moved ({error.strerror})."
    again = "" if name == case.name else f", as {shown(case.name)}"
    return True, f"{shown(name)} is in drop/ again{again}."


def with_new_row(
    drop: Drop,
    journal: Journal,
    found: list[Case],
    naming: Naming,
    goes_to: tuple[ReaderStudy, dict[str, SocketKind]],
) -> Finding:
    """Move a done folder back whose row has changed, where the drop lets its new values be sent.

    `found` are the done cases of a folder of that name, the newest first.
    """
    study, kinds = goes_to
    done = Path(drop.root) / "done"
    there = [one for one in found if file_away.is_folder(done / one.filed_as, (one.device, one.inode))]
    case = (there or found)[0]
    name = shown(case.filed_as)
    if case.study_pk != study.pk:
        return False, f"{name} went to {case.study}, and this drop does not go there any more."
    parts = _changed(drop, journal, case, naming, kinds)
    if not parts:
        return False, f"{name} is done, and no table says anything else of it than what was sent."
    if why := why_not(drop.existing_display_set, parts):
        return False, f"{name} stays as it is: {named(parts)} changed in a table. {why}"
    if not there:
        return (
            False,
            f"{name} is not in done/ any more. Copy it into drop/ again: only what has changed is sent.",
        )
    if why := _not_as_sent(done / case.filed_as, case):
        return False, f"{name} stays in done/: {why}"
    well, text = moved_back(drop, "done", case.filed_as, case)
    return well, f"{text}{_outlook(drop, parts)}" if well else text


def _changed(
    drop: Drop, journal: Journal, case: Case, naming: Naming, kinds: dict[str, SocketKind]
) -> list[Changed]:
    """By part."""
    sets = dict.fromkeys(one.set_pk for one in (case, *journal.parts(case)) if one.set_pk)
    sent = (one for pk in sets for one in journal.sent_to(pk))
    return list(compared(drop, naming, kinds, sent).values())


def _not_as_sent(folder: Path, case: Case) -> str:
    """Only values of tables are sent again: why more would be, "" where not."""
    try:
        listing = data(list_folder(str(folder)), case.settled.ignore)
        unchanged(str(folder), case.settled, listing, lambda: None)
    except OSError as error:
        return f"it cannot be read ({error.strerror})."
    except FolderChanged:
        return (
            "something in it changed or came after it had been filed away, so more than values of tables would be "
            "sent. Take that out; or, if all of it is to be sent, move the folder into drop/ by hand."
        )
    return ""


def _outlook(drop: Drop, parts: list[Changed]) -> str:
    rest = not_sent(change for one in parts for change in one.changes)
    kept = f" What cannot be sent: {rest}." if rest else ""
    asks = (
        f" It asks to be released first (`casedrop release {drop.name}/NAME`)."
        if drop.release == "ask"
        else ""
    )
    return f" Once it has settled, only what changed in a table is sent: {named(parts)}.{kept}{asks}"
