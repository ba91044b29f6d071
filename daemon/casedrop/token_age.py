"""How long the token is good for, as the administrator wrote it down: no answer of the platform tells it. Pure."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from math import ceil
from typing import Any

DAY = 86400
WARN_DAYS = 14
MARKS = (WARN_DAYS, 7, 3, 1, -1)
"""Days to the last one when people are told again; -1: it is over."""

RENEW = (
    "Make a new one on Grand Challenge, put it in the old one's place (platform.token_file, or the credential) "
    "and set platform.token_expires."
)


def end(expires: date | None) -> float | None:
    """When the last day of a token is over (UTC, seconds since 1970)."""
    if expires is None:
        return None
    return datetime.combine(expires, time(), UTC).timestamp() + DAY


def _days(over: float, now: float) -> int:
    """To the last day; 0 on that day."""
    return ceil((over - now) / DAY) - 1


def words(report: Mapping[str, Any], now: float) -> str:
    """What is to be said of the token of the report's `token_expires`; "" while there is time."""
    over = report.get("token_expires")
    if over is None or _days(over, now) > WARN_DAYS:
        return ""
    last, days = datetime.fromtimestamp(over - 1, UTC).date(), _days(over, now)
    if days < 0:
        return f"The token has expired: {last} was its last day (platform.token_expires). {RENEW}"
    when = f"in {days} days" if days > 1 else ("tomorrow" if days else "today")
    return f"The token expires {when}: {last} is its last day (platform.token_expires). {RENEW}"


def mark(report: Mapping[str, Any], now: float) -> int:
    """How many of MARKS are passed: people are told anew when there are more."""
    over = report.get("token_expires")
    return 0 if over is None else sum(_days(over, now) <= days for days in MARKS)
