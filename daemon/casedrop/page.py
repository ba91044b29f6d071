"""The status page of one drop, for the people at its share: one HTML file that asks for nothing else. Pure.

Every text of others is escaped, with its invisible characters (such as right-to-left marks) made visible.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from html import escape
from typing import Any

from casedrop import status
from casedrop.chart import Bar, bars
from casedrop.expects import Wanted, expected
from casedrop.lines import size
from casedrop.model import Drop, FindingState
from casedrop.near import shown
from casedrop.page_style import POLICY, SCRIPT, STYLE
from casedrop.stages import Stage

MOST_LINKS = 20
"""Display sets of one folder that are linked to."""
OPEN = 20
"""Cases of a section that are not folded."""

BUDGET = 120_000
"""Bytes of a section's cases, so that the page stays below 1 MB whatever they are called."""

LONGEST = 1500
"""Characters of a reason that are shown."""

DAY = 86400

CHECKED = status.WORDS[Stage.CONFIRMING]
UPLOADING = status.WORDS[Stage.UPLOADING]

PAGE = """<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<noscript><meta http-equiv="refresh" content="15"></noscript>
<title>{title}</title>
<style>{style}</style>
</head>
<body data-seen="{seen:.0f}"{stopped}>
<header>
<h1>{heading}</h1>
{head}
</header>
<main>
{main}
</main>
<footer>
<p>Written by Casedrop, which takes these folders to Grand Challenge. It replaces this file all the time; nothing
else in this folder is changed by it.</p>
</footer>
<script>{script}</script>
</body>
</html>
"""

Case = dict[str, Any]
"""As status.of_case and status.of_finding say it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the page needs besides the drop and its report: `now` (seconds since 1970), the times of [settle].

    `hide` gives the code that stands for a name where none is shown; then no reason is, either. `zone` is that
    of the days and of times where no script runs, None for this machine's.
    """

    now: float
    quiet_seconds: float
    incomplete_seconds: float
    hide: Callable[[str], str] | None = None
    stopped: bool = False
    zone: tzinfo | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """`id` is its place on the page, `count` the word for its number at the top, `tone` its colour there."""

    id: str
    title: str
    count: str
    tone: str
    about: str
    cases: list[Case]
    more: str = ""
    """What is said of those that are not listed."""
    number: int = 0
    """How many there are, where not all are listed."""


def page(drop: Drop, report: dict[str, Any], facts: Facts) -> str:
    """`report` is the drop's part of status.json."""
    found = _sections(drop, report)
    main = [
        *_boxes(drop, report, facts),
        *(_section(one, facts) for one in found if one.cases),
        "" if any(one.cases for one in found) else _nothing(),
        _days(report["days"]),
        _belongs(drop, facts),
    ]
    return PAGE.format(
        policy=escape(POLICY),
        title=f"Casedrop: {escape(shown(drop.name))}",
        style=STYLE,
        seen=facts.now,
        stopped=" data-stopped" if facts.stopped else "",
        heading=f"What becomes of the folders in {_text(drop.name)}",
        head=_head(drop, found, facts),
        main="\n".join(filter(None, main)),
        script=SCRIPT,
    )


def _head(drop: Drop, found: Sequence[Section], facts: Facts) -> str:
    kind = "an archive" if drop.archive else "a reader study"
    counts = "".join(
        f'<li class="{one.tone}"><a href="#{one.id}"><b>{one.number or len(one.cases)}</b>{one.count}</a></li>'
        for one in found
        if one.cases
    )
    contact = f"<p>Questions: {_text(drop.contact)}</p>" if drop.contact else ""
    state = "The service was stopped" if facts.stopped else "As of"
    return (
        f"<p>They go to {_text(drop.archive or drop.reader_study)}, {kind} on Grand Challenge.</p>{contact}"
        f'<p class="soft">{state} {_time(facts.now, facts)}<span id="age"></span>. '
        f'<button id="refresh" type="button" hidden>Stop refreshing</button></p>'
        + (f'<nav aria-label="On this page"><ul class="counts">{counts}</ul></nav>' if counts else "")
    )


def _boxes(drop: Drop, report: dict[str, Any], facts: Facts) -> Iterator[str]:
    """What stands in everybody's way, first of all."""
    who = f"Please tell {_text(drop.contact)}." if drop.contact else "Please tell the administrator."
    yield (
        '<div id="down" class="box bad" role="status" hidden><h2>The service may be down</h2>'
        "<p>While it runs, this page is written anew at least once a minute; the last time is long ago (or the "
        f"clock of this computer is wrong). Folders wait meanwhile, and nothing is lost. {who}</p></div>"
    )
    if facts.stopped:
        yield _box("The service is stopped", f"Nothing moves until it is started again. {who}", "bad")
    else:
        yield (
            "<noscript><p>While the service runs, this page is written anew at least once a minute. If the time "
            "above is more than 3 minutes ago, the service may be down.</p></noscript>"
        )
    if report["held"] and drop.mode == "rehearse":
        yield _box("This is a rehearsal", _text(report["held"]))
    elif report["held"] and report.get("stands") == "paused":
        yield _box("Paused", _with_commands(report["held"]))
    elif report["held"]:
        yield _box("Held", f"{_with_commands(report['held'])} This is for the administrator. {who}", "bad")
    if limits := report.get("limits"):
        title = "Uploads are closed" if limits["opens"] else "Uploads have a limit"
        yield _box(title, f"{_text(limits['says'])} Nothing needs to be done here.")
    if report["paused"]:
        yield _box(
            "Uploads are paused",
            f"{_text(report['paused'])} Nothing needs to be done here: they go on by themselves.",
        )
    if report.get("table_changes", {}).get("folders"):
        yield _box("A table has changed", _changed(drop, report["table_changes"], facts))


def _changed(drop: Drop, changes: dict[str, Any], facts: Facts) -> str:
    """Which finished folders' rows say something else by now, and who can send that."""
    found = changes["first"][:MOST_LINKS]
    rest = changes["folders"] - len(found)
    more = f" and {rest} more" if rest else ""
    kept = [_name(one["folder"], facts) for one in found if not one["retry"]]
    can = "send the new values" if len(kept) < len(found) else "find out why the new values are not sent"
    but = f", which also says why it sends none of {', '.join(kept)}" if 0 < len(kept) < len(found) else ""
    named = ", ".join(_what_changed(one, facts) for one in found)
    who = f"{_text(drop.contact)}: the administrator" if drop.contact else "the administrator, who"
    return (
        "Since these folders were done, a table of the lab has come to say something else of them: "
        f"{named}{more}. Grand Challenge still holds what was sent. If the table is right as it is now, please "
        f"tell {who} can {can} with <code>casedrop retry {_text(drop.name)}/NAME</code>{but}."
    )


def _what_changed(one: dict[str, Any], facts: Facts) -> str:
    """What has changed may name the part of a folder, so it is not told where names are hidden."""
    what = "" if facts.hide else f" ({_text(one['what'])})"
    return f"{_name(one['folder'], facts)}{what}"


def _box(title: str, html: str, tone: str = "") -> str:
    return f'<section class="box {tone}"><h2>{title}</h2><p>{html}</p></section>'


def _sections(drop: Drop, report: dict[str, Any]) -> list[Section]:
    """All there are, empty ones too, each with its cases newest first."""
    by_state: dict[str, list[Case]] = {}
    for case in sorted(report["cases"], key=lambda one: -float(one["since"])):
        by_state.setdefault(case["state"], []).append(case)
    person = by_state.pop(status.WAITS_FOR_A_PERSON, [])
    failed, done = by_state.pop("failed", []), by_state.pop("done", [])
    alone = by_state.pop(str(FindingState.LEFT_ALONE), [])
    under_way = [case for state in status.MOVING & by_state.keys() for case in by_state.pop(state)]
    under_way.sort(key=lambda one: (one["state"] != UPLOADING, -float(one["since"])))
    waiting = [case for cases in by_state.values() for case in cases]
    waiting.sort(key=lambda one: -float(one["since"]))
    newest = f"These are the newest {status.NEWEST}."
    return [
        Section("person", "Waiting for a person", "waiting for a person", "mind", "", person),
        Section(
            "failed",
            "Failed",
            "failed",
            "bad",
            _try_again(),
            failed,
            f"{newest} Older ones lie in failed/, too.",
            report.get("ended", {}).get("failed", 0),
        ),
        Section("under-way", "On its way to Grand Challenge", "on the way", "", "", under_way),
        Section("waiting", "Waiting in drop/", "waiting", "", "", waiting),
        Section("alone", "Left alone in drop/", "left alone", "mind", "", alone),
        Section(
            "done",
            "Done",
            "done lately" if len(done) < status.NEWEST else "newest done",
            "good",
            _done_words(report["days"], f"{drop.kind}s"),
            done,
            f"{newest} Older ones lie in done/, each with its receipt.",
        ),
    ]


def _try_again() -> str:
    return (
        "To try again, put right what is said here in the folder in <code>failed/</code>, then move the folder "
        "back into <code>drop/</code>. Beside it lies the same reason as a text file."
    )


def _done_words(days: Sequence[dict[str, Any]], kind: str) -> str:
    """Of today and of the last seven days, that one among them."""
    spans = (("Today", days[-1:]), ("In the last 7 days", days[-7:]))
    said = (
        f"{span}: <b>{sum(day['done'] for day in found)}</b> ({size(sum(day['bytes'] for day in found))})"
        for span, found in spans
    )
    return f"{'. '.join(said)}. The links lead to the {kind}."


def _nothing() -> str:
    return (
        "<p>There is no folder here now. Copy one into <code>drop/</code>, and it shows up on this page.</p>"
    )


def _section(one: Section, facts: Facts) -> str:
    rows = [_case(case, facts) for case in one.cases]
    first, folded, left = _parted(rows, _lately(one, facts))
    parts = [f'<section aria-labelledby="{one.id}"><h2 id="{one.id}">{one.title}</h2>']
    if one.about:
        parts.append(f"<p>{one.about}</p>")
    if first:
        parts.append(_list(first))
    if folded:
        older = f"{len(folded)} older"
        parts.append(f'<details id="{one.id}-older"><summary>{older}</summary>{_list(folded)}</details>')
    if left:
        parts.append(f'<p class="soft">And {left} more.</p>')
    if one.more and len(one.cases) >= status.NEWEST:
        parts.append(f'<p class="soft">{one.more}</p>')
    return "".join([*parts, "</section>"])


def _lately(one: Section, facts: Facts) -> int:
    """How many of a section's cases need not be folded: at most OPEN, and of what is at rest only a week's."""
    if one.id not in ("done", "failed"):
        return OPEN
    return sum(case["since"] > facts.now - 7 * DAY for case in one.cases[:OPEN])


def _parted(rows: Sequence[str], lately: int) -> tuple[list[str], list[str], int]:
    """The rows to see, those to fold, and how many there is no room for."""
    room, kept = BUDGET, list[str]()
    for row in rows:
        length = len(row.encode("utf-8", "backslashreplace"))
        if length <= room:
            kept.append(row)
            room -= length
    return kept[:lately], kept[lately:], len(rows) - len(kept)


def _list(rows: Iterable[str]) -> str:
    return f'<ul class="cases">{"".join(rows)}</ul>'


def _case(case: Case, facts: Facts) -> str:
    parts = [*_facts(case, facts), *_way(case, facts), *_reason(case, facts), *_links(case, facts)]
    return f"<li><strong>{_name(case['folder'], facts)}</strong><div>{''.join(parts)}</div></li>\n"


def _facts(case: Case, facts: Facts) -> Iterator[str]:
    state = "uploaded, being checked by Grand Challenge" if case["state"] == CHECKED else case["state"]
    said = [escape(state)]
    if "until" in case:
        said.append(f'until {_time(case["until"], facts)}<span data-until="{case["until"]:.0f}"></span>')
    else:
        since = "" if case["state"] in ("done", "failed") else "since "
        said.append(f"{since}{_time(case['since'], facts)}")
    if case.get("bytes"):
        said.append(size(case["bytes"]))
    if "total_parts" in case:
        said.append(f"{case['done_parts']} of {case['total_parts']} parts done")
    if case.get("filed_as", case["folder"]) != case["folder"]:
        said.append(f"filed as {_name(case['filed_as'], facts)}")
    yield f'<p class="facts">{", ".join(said)}</p>'


def _way(case: Case, facts: Facts) -> Iterator[str]:
    """How far an upload is."""
    total = case.get("total_bytes")
    if not total:
        return
    sent = min(case["sent_bytes"], total)
    speed = case.get("speed", 0)
    said = f"{size(sent)} of {size(total)} ({100 * sent // total} %)"
    if "total_files" in case:
        said += f", {case['sent_files']} of {case['total_files']} files"
    if speed:
        left = (total - sent) / speed
        ends = facts.now + left
        said += f', {size(speed)}/s, ready about {_time(ends, facts)}<span data-until="{ends:.0f}"></span>'
    label = f"Upload of {_plain(case['folder'], facts)}"
    yield f'<progress max="{total}" value="{sent}" aria-label="{escape(label)}">{100 * sent // total} %</progress>'
    yield f'<p class="facts">{said}</p>'


def _reason(case: Case, facts: Facts) -> Iterator[str]:
    """A reason names files, so where names are hidden only its words in the catalogue are given."""
    if facts.hide is None and case["why"]:
        text = case["why"]
        cut = text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
        yield f'<p class="why">{_with_commands(cut)}</p>'
    elif facts.hide is not None and case.get("reasons"):
        yield f'<p class="why">{escape(", ".join(case["reasons"]))}</p>'


def _links(case: Case, facts: Facts) -> Iterator[str]:
    found = case.get("display_sets") or [case] * ("display_set" in case)
    links = [
        _link(one["display_set"], one.get("part", ""), case["folder"], facts) for one in found[:MOST_LINKS]
    ]
    if len(found) > MOST_LINKS:
        links.append(f"and {len(found) - MOST_LINKS} more, which the text beside the folder names")
    if links:
        what = "Readers may see what came through of it: " if case["state"] == "failed" else ""
        yield f"<p>{what}{', '.join(links)}</p>"


def _link(address: str, part: str, folder: str, facts: Facts) -> str:
    """It is read out with the name of the folder behind its words, since all are called alike."""
    if not address.startswith(("https://", "http://")):
        return _text(address)
    words = f"display set {_name(part, facts)}" if part else "display set"
    which = f" {_plain(part, facts)}" if part else ""
    whole = f"display set{which} of {_plain(folder, facts)}"
    return f'<a href="{escape(shown(address))}" rel="noreferrer noopener" aria-label="{escape(whole)}">{words}</a>'


def _days(days: Sequence[dict[str, Any]]) -> str:
    """Two charts, and the same as numbers; nothing while there is nothing to count."""
    if not any(day["done"] or day["failed"] for day in days):
        return ""
    labels = [_short(day["day"]) for day in days]
    counts = [Bar(label, day["done"], day["failed"]) for label, day in zip(labels, days, strict=True)]
    sizes = [Bar(label, day["bytes"]) for label, day in zip(labels, days, strict=True)]
    done, failed, whole = (sum(day[key] for day in days) for key in ("done", "failed", "bytes"))
    most, largest = max(day["done"] + day["failed"] for day in days), max(day["bytes"] for day in days)
    folders = (
        f"Folders a day in the last {len(days)} days: {done} done, {failed} failed, at most {most} on one day"
    )
    volume = (
        f"Size a day in the last {len(days)} days: {size(whole)} in all, at most {size(largest)} on one day"
    )
    rows = "".join(
        f'<tr><th scope="row">{day["day"]}</th><td class="number">{day["done"]}</td>'
        f'<td class="number">{day["failed"]}</td><td class="number">{size(day["bytes"])}</td></tr>'
        for day in reversed(days)
    )
    head = "".join(
        f'<th scope="col"{kind}>{name}</th>'
        for name, kind in (("Day", ""), *((one, ' class="number"') for one in ("Done", "Failed", "Size")))
    )
    return (
        f'<section aria-labelledby="days"><h2 id="days">The last {len(days)} days</h2><div class="charts">'
        f"<figure>{bars(folders, str(most), counts)}<figcaption>Folders done (below) and failed (on top)"
        f"</figcaption></figure><figure>{bars(volume, size(largest), sizes)}<figcaption>Size of what is done"
        f'</figcaption></figure></div><details id="numbers"><summary>The numbers</summary><table><thead><tr>{head}'
        f"</tr></thead><tbody>{rows}</tbody></table></details></section>"
    )


def _belongs(drop: Drop, facts: Facts) -> str:
    """The rules, in the words of those who copy folders."""
    found = expected(drop, facts.quiet_seconds, facts.incomplete_seconds)
    rows = "".join(
        f'<tr><th scope="row">{_text(one.socket)}</th><td>{_text(one.what)}</td><td>{_needed(one)}</td></tr>'
        for one in found.wanted
    )
    rules = "".join(f"<li>{_text(rule)}</li>" for rule in found.rules)
    example = "\n".join(map(shown, found.tree))
    tree = f"<h3>For example</h3><pre>{escape(example)}</pre>" if example else ""
    return (
        '<section aria-labelledby="belongs"><h2 id="belongs">What belongs in a folder</h2>'
        '<details id="rules"><summary>Files, names and an example</summary>'
        '<table class="wanted"><thead><tr><th scope="col">Becomes</th><th scope="col">From</th>'
        f'<th scope="col">Needed</th></tr></thead><tbody>{rows}</tbody></table><ul>{rules}</ul>{tree}</details>'
        "</section>"
    )


def _needed(one: Wanted) -> str:
    if one.by_itself:
        return "comes by itself"
    return "yes" if one.required else "optional"


def _name(name: str, facts: Facts) -> str:
    return f"<bdi>{escape(_plain(name, facts))}</bdi>"


def _plain(name: str, facts: Facts) -> str:
    return facts.hide(name) if facts.hide else shown(name)


def _text(text: str) -> str:
    return f"<bdi>{escape(shown(text))}</bdi>"


def _with_commands(text: str) -> str:
    """What stands in backquotes on a terminal is set as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", _text(text))


def _time(when: float, facts: Facts) -> str:
    """The moment for scripts, and in words where none runs."""
    there = datetime.fromtimestamp(when, UTC)
    words = f"{there.astimezone(facts.zone):%Y-%m-%d %H:%M:%S %Z}"
    return f'<time datetime="{there:%Y-%m-%dT%H:%M:%SZ}">{words}</time>'


def _short(day: str) -> str:
    found = date.fromisoformat(day)
    return f"{found.day} {found:%b}"
