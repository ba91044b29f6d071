"""Reports of the service as tests make them up, and what the schema says of them."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA = json.loads((Path(__file__).parent.parent / "docs" / "status.schema.json").read_text())
NOW = 1_800_000_000.0

Json = dict[str, Any]


def case(folder: str, state: str, why: str = "", age: float = 60, **more: Any) -> Json:
    return {"folder": folder, "state": state, "since": NOW - age, "why": why, **more}


def drop(*cases: Json, **more: Any) -> Json:
    usual = {"name": "lung", "rules": "0", "held": "", "stands": "", "paused": "", "scanned": NOW - 5}
    return usual | {"cases": [*cases]} | more


def report(*drops: Json, **more: Any) -> Json:
    return {"version": 1, "time": NOW - 1, "pid": 1, "drops": [*drops]} | more


def expect_valid(found: Json) -> None:
    """By the schema, and each key described in it."""
    Draft202012Validator(SCHEMA).validate(found)
    assert found.keys() <= SCHEMA["properties"].keys()
    for one in found["drops"]:
        assert one.keys() <= SCHEMA["$defs"]["drop"]["properties"].keys()
        for each in one["cases"]:
            assert each.keys() <= SCHEMA["$defs"]["case"]["properties"].keys()
