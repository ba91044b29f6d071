"""What `casedrop status` prints: a table on a terminal, lines in a pipe; once, or live."""

import sys
import time
from collections.abc import Iterator
from datetime import datetime

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from casedrop import running
from casedrop.config import Settings
from casedrop.lines import Told, lines, news
from casedrop.table import fitting, table

EVERY = 1.0
"""Seconds between two looks at the status."""


def once(report: running.Report, *, every: bool) -> None:
    """As it is now."""
    runs, now = running.runs(report), time.time()
    console = _console()
    if console.is_terminal:
        console.print(table(report, now, runs=runs, width=console.width, least=sys.maxsize if every else 0))
    else:
        print(lines(report, now, runs=runs), flush=True)  # noqa: T201


def watch(settings: Settings, *, every: bool) -> None:
    """Until Ctrl-C: a table that is drawn anew each second, or a line for each change."""
    console = _console()
    if not console.is_terminal or console.is_dumb_terminal:
        for line in changes(settings):
            print(f"{datetime.now():%H:%M:%S} {line}", flush=True)  # noqa: T201, DTZ005  the reader's clock
        return
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while True:
            live.update(_drawn(settings, console, every=every), refresh=True)
            time.sleep(EVERY)


def changes(settings: Settings) -> Iterator[str]:
    """Each as it comes, without end."""
    told: Told = {}
    missing = ""
    while True:
        try:
            report = running.whole(settings)
        except OSError as error:
            words = running.no_status(settings, error)
            if words != missing:
                yield words
            missing = words
        else:
            yield from news(report, time.time(), told, runs=running.runs(report))
            missing = ""
        time.sleep(EVERY)


def _drawn(settings: Settings, console: Console, *, every: bool) -> Group:
    """What of it does not fit on the screen is counted."""
    try:
        report = running.whole(settings)
    except OSError as error:
        return Group(Text(running.no_status(settings, error)))
    least = console.height if every else 0
    whole = table(report, time.time(), runs=running.runs(report), width=console.width, least=least)
    return fitting(whole, console)


def _console() -> Console:
    """Colours and control codes only for a terminal, whatever the environment says."""
    return Console(force_terminal=sys.stdout.isatty(), highlight=False)
