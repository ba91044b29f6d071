"""What has ended: `casedrop history`, a line for each time a case of the journal did, the newest last."""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from casedrop import roots
from casedrop.config import Settings
from casedrop.errors import SetupProblem
from casedrop.journal import Ended, of_service
from casedrop.lines import size
from casedrop.near import for_spreadsheet, shown

COLUMNS = ("ended", "drop", "folder", "part", "outcome", "reasons", "display_set", "bytes", "filed_as")

ELSEWHERE = "?"
"""The drop of a case whose root no configured drop has, or cannot be read now."""


def listing(settings: Settings, since: datetime | None, *, failed: bool, as_csv: bool) -> str:
    """Of what ended since then (UTC), or failed since, lines for people or CSV. Raises ConfigurationError."""
    journal = of_service(settings.state.directory, looking=True)
    found = journal.ended(since.replace(tzinfo=UTC).timestamp() if since else 0.0)
    journal.close()
    chosen = [one for one in found if one.is_failed or not failed]
    drops = dict(_drops(settings))
    if as_csv:
        return table(chosen, drops)
    return "\n".join(line(one, drops) for one in chosen) or "Nothing has ended, as far as the journal goes."


def _drops(settings: Settings) -> Iterator[tuple[str, str]]:
    """The name of a drop by its root's id, where the root can be read."""
    for drop in settings.drops:
        try:
            yield roots.root_id(Path(drop.root)), drop.name
        except SetupProblem:
            continue


def line(one: Ended, drops: dict[str, str]) -> str:
    """``2026-11-28T09:30:00Z  lung/P001: done, 12.3 MB, https://…``."""
    outcome = f"{one.case.stage} ({', '.join(one.case.reasons)})" if one.is_failed else f"{one.case.stage}"
    facts = (outcome, size(one.bytes) if one.bytes else "", one.case.came_to)
    said = ", ".join(filter(None, facts))
    return f"{_time(one)}  {drops.get(one.case.root, ELSEWHERE)}/{shown(one.case.known_as)}: {said}"


def table(found: Iterable[Ended], drops: dict[str, str]) -> str:
    """CSV with a head line, times in UTC."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in found:
        case = one.case
        names = (drops.get(case.root, ELSEWHERE), case.name, case.part)
        facts = (case.stage, " ".join(case.reasons), case.came_to, str(one.bytes), case.filed_as)
        writer.writerow([for_spreadsheet(shown(cell)) for cell in (_time(one), *names, *facts)])
    return out.getvalue()


def _time(one: Ended) -> str:
    return datetime.fromtimestamp(one.case.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
