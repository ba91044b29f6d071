"""What the sandbox holds, as web pages: plain HTML that asks for nothing else. Pure.

Every text of others is escaped, with its invisible characters (such as right-to-left marks) made visible.
"""

import json
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from casedrop.model import Geometry
from casedrop.near import shown
from casedrop.sandbox.state import DisplaySet, Image, Session, Socket, Stored, Study

STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: break-word; }
header { border-bottom: 1px solid; padding-bottom: .5rem; }
h1, h2 { font-size: 1.4rem; line-height: 1.25; }
h2 { font-size: 1.15rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid; padding: .4rem .8rem .4rem 0; text-align: start; vertical-align: top; }
th, td, h1 { overflow-wrap: anywhere; }
tbody th { font-weight: normal; }
tr > :last-child { padding-right: 0; }
.number { text-align: end; font-variant-numeric: tabular-nums; white-space: nowrap; }
.slug { overflow-wrap: normal; }
@media (min-width: 40rem) { .slug { white-space: nowrap; } }
"""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>A local Grand Challenge to try rules against. Nothing is kept when it ends.
<nav aria-label="Way back">{way}</nav></header>
<main>
<h1>{heading}</h1>
{main}
</main>
</body>
</html>
"""
KINDS = dict.fromkeys(("Order", "Display sets", "Items"), "number")
KINDS |= dict.fromkeys(("Socket", "Sockets", "Status"), "slug")
"""How columns are set; any other may break its words anywhere."""


def index(studies: Iterable[tuple[Study, int]], archives: Iterable[tuple[Study, int]]) -> str:
    """Of each also how many display sets or items it has."""
    main = (
        f"<h2>Reader studies</h2>\n{_counted('Display sets', studies)}\n"
        f"<h2>Archives</h2>\n{_counted('Items', archives)}"
    )
    return _page("Casedrop sandbox", main)


def study(one: Study, sets: Sequence[DisplaySet]) -> str:
    """In the order of `sets`; an archive's items have none to show."""
    what = "item" if one.archive else "display set"
    if not sets:
        return _page(one.slug, f"<p>It has no {what} yet.</p>", INDEX)
    columns = ["Title", *([] if one.archive else ["Order"]), "Sockets"]
    rows = [
        (_link(_set(each), _title(each)), *([] if one.archive else [str(each.order)]), _slugs(each))
        for each in sets
    ]
    return _page(one.slug, _table(columns, rows), INDEX)


def display_set(
    one: DisplaySet, sockets: dict[str, Socket], images: dict[str, Image], sessions: Sequence[Session]
) -> str:
    """`sessions` are all that were to bring it an image; those that have need no word."""
    parts = [] if one.study.archive else [f"<p>Order: {one.order}</p>"]
    rows = [(_socket(sockets[slug]), _value(one, value, images)) for slug, value in one.values.items()]
    parts.append(_table(("Socket", "Value"), rows) if rows else "<p>It holds no value yet.</p>")
    if lacking := [each for each in sessions if each.status != "Succeeded"]:
        told = [(_text(each.socket), _text(each.status), _text(each.error_message)) for each in lacking]
        parts += ["<h2>Imports that have not succeeded</h2>", _table(("Socket", "Status", "Error"), told)]
    return _page(_title(one), "\n".join(parts), INDEX, _link(_study(one.study), one.study.slug))


def missing() -> str:
    text = "Nothing is here now. Perhaps the address is from an earlier run: each begins empty."
    return _page("Not there", f"<p>{text}</p>", INDEX)


def _counted(what: str, studies: Iterable[tuple[Study, int]]) -> str:
    return _table(("Name", what), ((_link(_study(one), one.slug), str(number)) for one, number in studies))


def _socket(one: Socket) -> str:
    return f"{_text(one.slug)}<br><small>{_text(one.kind)}</small>"


def _value(of: DisplaySet, value: Stored, images: dict[str, Image]) -> str:
    if value.image:
        image = images[value.image]
        return f"{_text(image.name)}<br>{_size(image.shape)}"
    if value.path:
        return _link(f"{_set(of)}files/{value.pk}/", value.name)
    return f"<code>{_text(json.dumps(value.value, ensure_ascii=False))}</code>"


def _size(shape: Geometry) -> str:
    width, height, depth = shape.size
    size = f"{width} x {height} x {depth} voxels" if depth else f"{width} x {height} pixels"
    if not any(shape.voxel_mm):
        return size
    return f"{size} of {' x '.join(f'{each:g}' if each else '?' for each in shape.voxel_mm)} mm"


def _page(heading: str, main: str, *way: str) -> str:
    title = escape(shown(heading))
    return PAGE.format(title=title, style=STYLE, way=" / ".join(way), heading=_text(heading), main=main)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Of cells that are HTML already; the first of a row names it."""
    kinds = [f' class="{KINDS[name]}"' if name in KINDS else "" for name in columns]
    head = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in zip(columns, kinds, strict=True))
    body = "\n".join(_row(cells, kinds) for cells in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _row(cells: Sequence[str], kinds: Sequence[str]) -> str:
    first, *rest = (f"{kind}>{cell}" for cell, kind in zip(cells, kinds, strict=True))
    return f'<tr><th scope="row"{first}</th>{"".join(f"<td{cell}</td>" for cell in rest)}</tr>'


def _slugs(one: DisplaySet) -> str:
    return "<br>".join(map(_text, one.values)) or "none"


def _title(one: DisplaySet) -> str:
    return one.title or "(no title)"


def _study(one: Study) -> str:
    return f"/{one.kind}/{quote(one.slug, safe='')}/"


def _set(one: DisplaySet) -> str:
    return f"{_study(one.study)}{one.study.sets}/{one.pk}/"


def _link(path: str, text: str) -> str:
    return f'<a href="{escape(path)}">{_text(text)}</a>'


def _text(text: str) -> str:
    return f"<bdi>{escape(shown(text))}</bdi>"


INDEX = _link("/", "All reader studies and archives")
