"""A chain of records, one JSON object a line, each with the hash of the one before: nothing changes unseen. Pure.

The text of a record is JSON with sorted keys, no spaces, ASCII only, no fractions, so that a record has one
text only. `hash` is the SHA-256 of that text without `hash`, `prev` the hash of the record before, `seq`
counts from 1.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from casedrop.model import Json

NONE = "0" * 64
"""Before the first record."""

Finding = tuple[bool, str]
"""Whether it is well, and a sentence."""


@dataclass(frozen=True, slots=True)
class Head:
    """A record of a chain, and from which byte of the file to which its line stands."""

    seq: int = 0
    hash: str = NONE
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file, numbered from 1; `record` is None where it is no whole, unchanged record."""

    number: int
    raw: bytes
    head: Head
    record: Json


def text(record: Json) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sealed(record: Json, seq: int, prev: str) -> Json:
    """The record in its place in the chain."""
    whole = record | {"seq": seq, "prev": prev}
    return whole | {"hash": hashlib.sha256(text(whole)).hexdigest()}


def lines(raw: Iterable[bytes], start: int = 0) -> Iterator[Line]:
    """The lines of a file, read from byte `start` on."""
    for number, one in enumerate(raw, 1):
        record, end = _read(one), start + len(one)
        seq, digest = (record["seq"], record["hash"]) if record else (0, NONE)
        yield Line(number, one, Head(seq, digest, start, end), record)
        start = end


def unread(junk: bytes) -> Json:
    """What the record after a torn line tells of it."""
    return {"bytes": len(junk), "sha256": hashlib.sha256(junk).hexdigest()}


def check(found: Iterable[Line], known: Head) -> tuple[Head, list[Finding]]:
    """The last record, and everything there is to say of a whole file.

    `known` is the last record that the journal remembers: that it stands where it stood tells that the end of
    the file is not missing.
    """
    findings: list[Finding] = []
    last, junk, met = Head(), list[Line](), not known.seq
    for line in found:
        if line.record is None:
            junk.append(line)
            continue
        findings += [*_before(junk, line), *_link(last, line)]
        last, junk = line.head, []
        met = met or last == known
    if junk:
        findings.append((met, f"{_which(junk)} unfinished; the service says so when it next writes."))
    if not met:
        findings.append((False, _end_missing(known, last)))
    return last, findings


def _read(raw: bytes) -> Json:
    try:
        record = json.loads(raw)
        whole = isinstance(record, dict) and text(record) + b"\n" == raw
    except (ValueError, RecursionError):
        return None
    if not whole or not isinstance(record.get("seq"), int) or not isinstance(record.get("prev"), str):
        return None
    rest = {key: value for key, value in record.items() if key != "hash"}
    return record if record.get("hash") == hashlib.sha256(text(rest)).hexdigest() else None


def _before(junk: list[Line], line: Line) -> Iterator[Finding]:
    """Lines that are no records are in order only where the next record tells of just these bytes."""
    told = {key: line.record.get(key) for key in ("bytes", "sha256")}
    if junk and told == unread(b"".join(one.raw for one in junk)):
        yield True, f"{_which(junk)} unfinished (a crash or a full disk), as record {line.head.seq} tells."
    elif junk:
        yield False, f"{_which(junk)} changed or damaged."
    elif told["bytes"]:
        yield False, f"Before line {line.number} an unfinished line is missing, of which that line tells."


def _link(last: Head, line: Line) -> Iterator[Finding]:
    record, seq = line.record, line.head.seq
    if record["prev"] != last.hash:
        yield False, f"Line {line.number}: {_not_linked(seq, last)}"
    elif record.get("event") == "lost":
        yield False, f"Line {line.number}: {_lost(record, last)}"
    elif seq != last.seq + 1:
        yield False, f"Line {line.number}: record {seq} follows record {last.seq}."


def _not_linked(seq: int, last: Head) -> str:
    before = f"record {last.seq}" if last.seq else "nothing"
    return (
        f"Record {seq} does not follow what stands before it ({before}): something was removed, added, moved or "
        "changed there."
    )


def _lost(record: Json, last: Head) -> str:
    return (
        f"On {record.get('time')} the service found the end of the ledger missing. Its last record had been "
        f"{record.get('known_seq')} ({record.get('known_hash')}), and it ended at {last.seq}."
    )


def _which(junk: list[Line]) -> str:
    first, last = junk[0].number, junk[-1].number
    return f"Line {first} is" if first == last else f"Lines {first} to {last} are"


def _end_missing(known: Head, last: Head) -> str:
    return (
        f"The journal knows of record {known.seq} ({known.hash}), which does not stand where it stood; the ledger "
        f"ends at record {last.seq}. Its end was cut off or changed, or an older file was put in its place."
    )
