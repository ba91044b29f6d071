"""A short random day; `python tests/soak.py 600` is a long one."""

import random

import pytest

from lab import Lab
from soak import Day


@pytest.mark.long
def test_a_random_day_of_faults_kills_and_changes_ends_well(lab: Lab, request: pytest.FixtureRequest) -> None:
    day = Day(lab, random.Random(request.config.getoption("crash_seed")))
    day.live(15)
    day.judge()
    assert not day.wrong, day.wrong
    (folder, *_) = [path for path in lab.done.iterdir() if path.is_dir()]
    (folder / "ct.mha").write_bytes(b"something else")
    day.judge()
    assert day.wrong == [f"{folder.name} is not what the platform holds"]
