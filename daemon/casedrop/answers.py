"""What an answer of the platform or its storage means: one table, the first row that fits counts.

Every row was seen on a real server (tests/contract names the recording), or is HTTP's own (RFC 9110).
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Meaning(StrEnum):
    SETUP = "setup"
    """Token, rights, address: the administrator acts."""
    UNAVAILABLE = "unavailable"
    """Not now; nothing was decided."""
    QUOTA = "quota"
    """Not now: the platform counts too many uploads or bytes of this user."""
    UNCLEAR = "unclear"
    """A 500: it may have been done, look the state up."""
    GONE = "gone"
    """Not there, or not for us."""
    FORBIDDEN = "forbidden"
    """There, but not ours to change."""
    NOT_OFFERED = "not offered"
    """This server has no such request."""
    TITLE_TAKEN = "title taken"
    CLOSED = "closed"
    """The display set has answers and cannot be changed."""
    UPLOAD_DIED = "upload died"
    """An upload or session named in the request is consumed, expired or not ours."""
    REFUSED = "refused"
    """The platform says no to the data and says why."""
    URL_EXPIRED = "url expired"
    """A presigned address is too old: ask for a new one."""
    DAMAGED = "damaged"
    """The storage received other bytes than the checksum named."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `request` is the name of a method of GrandChallenge, "" for any."""

    request: str
    statuses: frozenset[int]
    text: re.Pattern[str]
    meaning: Meaning


def _row(request: str, statuses: tuple[int, ...], text: str, meaning: Meaning) -> Row:
    return Row(request, frozenset(statuses), re.compile(text, re.IGNORECASE | re.DOTALL), meaning)


TABLE = (
    _row("put_part", (400,), r"BadDigest|InvalidDigest", Meaning.DAMAGED),
    _row("put_part", (400,), r"RequestTimeout|IncompleteBody", Meaning.UNAVAILABLE),
    _row("put_part", (400, 403), r"", Meaning.URL_EXPIRED),
    _row("put_part", (404,), r"", Meaning.GONE),
    _row("put_part", (500,), r"", Meaning.UNAVAILABLE),
    _row("", (401,), r"", Meaning.SETUP),
    _row("", (429, 502, 503, 504, 507), r"", Meaning.UNAVAILABLE),
    _row("", (500,), r"", Meaning.UNCLEAR),
    _row("whoami", (400, 403, 404, 405), r"", Meaning.SETUP),
    _row("create_session", (403, 404, 405), r"", Meaning.NOT_OFFERED),
    _row("create_session", (400,), r"active image post processing tasks", Meaning.QUOTA),
    _row("create_session", (400,), r"Invalid hyperlink", Meaning.UPLOAD_DIED),
    _row("create_upload", (400,), r"too many uploads", Meaning.QUOTA),
    _row("presign", (403,), r"Upload limit reached", Meaning.QUOTA),
    _row("create_display_set", (400,), r"Object with slug=.* does not exist", Meaning.SETUP),
    _row("create_display_set", (400,), r"Invalid hyperlink", Meaning.SETUP),
    _row("", (400,), r"title, \w+ must make a unique set", Meaning.TITLE_TAKEN),
    _row("", (400,), r"cannot be changed, as answers for it already exist", Meaning.CLOSED),
    _row("update_display_set", (400,), r"Object with slug=.* does not exist", Meaning.SETUP),
    _row("update_display_set", (400,), r"Invalid hyperlink", Meaning.UPLOAD_DIED),
    _row("", (403,), r"", Meaning.FORBIDDEN),
    _row("", (404,), r"", Meaning.GONE),
    _row("", (405,), r"", Meaning.NOT_OFFERED),
    _row("", (400, 409, 413, 415), r"", Meaning.REFUSED),
    _row("", (408, 425), r"", Meaning.UNAVAILABLE),
    _row("", (301, 302, 307, 308), r"", Meaning.SETUP),
)


def meaning(request: str, status: int, text: str) -> Meaning:
    """The class of an answer that is no success; an answer no row knows is unclear."""
    for row in TABLE:
        if row.request in ("", request) and status in row.statuses and row.text.search(text):
            return row.meaning
    return Meaning.UNCLEAR if status >= 500 else Meaning.REFUSED  # noqa: PLR2004
