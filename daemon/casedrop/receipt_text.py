"""A receipt for people: what its JSON says, in words. Pure."""

import json
from collections.abc import Iterator
from datetime import datetime

from casedrop.model import Json
from casedrop.near import MOST_NAMED, several, shown
from casedrop.receipts import for_notepad

MOST_LISTED = 100
LONGEST_VALUE = 200
"""Characters of a value that are shown."""


def receipt_text(receipt: str) -> str:
    """Plain words with Windows line ends, of a receipt's JSON alone."""
    record = json.loads(receipt)
    return for_notepad("\n".join(_lines(record)) + "\n")


def _lines(record: Json) -> Iterator[str]:
    when = datetime.fromisoformat(record["confirmed"]).astimezone().strftime("%d %B %Y, %H:%M")
    place = "archive" if "archive" in record else "reader study"
    slug = record.get("archive") or record["reader_study"]
    yield f'The folder "{shown(record["folder"])}" is on Grand Challenge (confirmed {when}).'
    yield f"It is in the {place} {slug}: {record['page']}"
    for one in record.get("display_sets", [record]):
        yield ""
        yield from _display_set(one, "archive item" if "archive" in record else "display set")
    yield ""
    if left_out := record["left_out"]:
        yield "Not sent:"
        yield from (f"- {shown(path)}" for path in left_out[:MOST_LISTED])
        if len(left_out) > MOST_LISTED:
            yield f"- and {len(left_out) - MOST_LISTED} more"
    else:
        yield "Not sent: nothing, all of the folder was taken."
    yield ""
    yield "The receipt beside this file (.receipt.json) says the same for programs, with all checksums."


def _display_set(one: Json, kind: str) -> Iterator[str]:
    part = f', of "{shown(one["part"])}"' if "part" in one else ""
    place = f", in place {one['order']}" if "order" in one else ""
    yield f'The {kind} "{shown(one["title"])}"{part}{place}: {one["display_set"]}'
    if one["already_uploaded"]:
        yield "An earlier folder is this very one, so nothing was sent again. It holds:"
    elif one["amended"]:
        yield "It holds:"
    else:
        yield "Sent:"
    for socket in one["sockets"]:
        yield from _socket(socket)
    if one["amended"]:
        yield f"Added or replaced in what was there: {', '.join(one['amended'])}"
    if one["not_confirmed"]:
        yield f"Grand Challenge does not tell what became of: {', '.join(one['not_confirmed'])}"


def _socket(socket: Json) -> Iterator[str]:
    yield f"- {socket['socket']}: {_contents(socket)}"
    files = socket.get("files", [])
    for file in files[:MOST_NAMED]:
        yield from (f"  {line}" for line in _file(file))
    if more := files[MOST_NAMED:]:
        yield f"  and {len(more)} more files, {sum(file['bytes'] for file in more):,} bytes"
    if isinstance(socket.get("compared"), str):
        yield f"  Compared: {socket['compared']}"


def _contents(socket: Json) -> str:
    source = shown(socket["source"])
    if "value" in socket:
        value = json.dumps(socket["value"], ensure_ascii=False)
        more = " ..." if len(value) > LONGEST_VALUE else ""
        return f"{shown(value[:LONGEST_VALUE])}{more} (from {source})"
    return source


def _file(file: Json) -> Iterator[str]:
    number = file.get("number", 0)
    packed = f"{number} file{'s' if number > 1 else ''} packed as " if number else ""
    yield f"{packed}{shown(file['path'])}, {file['bytes']:,} bytes"
    if "deidentify" in file:
        method = f": {file['method']}" if file["method"] else ""
        yield f"De-identified ({file['deidentify']}){method}"
    if taken := file.get("taken"):
        yield f"Taken away or replaced: {several(taken)}"
    if stripped := file.get("sent_without"):
        yield f"Sent without: {several(stripped)}"
