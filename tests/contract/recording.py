"""Answers of a real server, by recording and row: `rows.jsonl` holds what the tests use of them."""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "recorded" / "rows.jsonl"
ROWS = [json.loads(line) for line in FILE.read_text().splitlines()]


def recorded(number: str, row: int) -> dict[str, Any]:
    """`number` is how the recording's name begins: "05"."""
    (found,) = [one for one in ROWS if one["recording"].startswith(number) and one["row"] == row]
    answer: dict[str, Any] = found
    return answer
