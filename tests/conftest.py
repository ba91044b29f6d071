"""A lab for black-box tests: a sandbox of Grand Challenge, a root, and the real service as a process."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from casedrop.sandbox import Sandbox
from lab import Lab

settings.register_profile("casedrop", deadline=None)
settings.load_profile("casedrop")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-crashes", action="store_true", help="not only a tenth of the crash matrix")
    parser.addoption("--days", type=int, default=10, help="random days that test_days.py lives through")
    today = time.strftime("%Y-%m-%d")
    parser.addoption("--crash-seed", default=today, help="which tenth; the date unless given")


def pytest_report_header(config: pytest.Config) -> str:
    return f"crash seed: {config.getoption('crash_seed')}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long ones first, so that no straggler is left at the end; of those marked `one_in_ten` a random tenth.

    The same in every worker. Those in a container come last of the long ones, when its tree is made.
    """
    items.sort(key=lambda item: (item.get_closest_marker("long") is None, _in_container(item)))
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0" and any(map(_in_container, items)):
        begin = [sys.executable, "-c", "import machine; machine.make_tree()"]
        here = Path(__file__).parent
        subprocess.Popen(begin, cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if config.getoption("all_crashes"):
        return
    many = [item for item in items if item.get_closest_marker("one_in_ten")]
    chosen = random.Random(config.getoption("crash_seed")).sample(many, len(many) // 10)
    dropped = [item for item in many if item not in chosen]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]


def _in_container(item: pytest.Item) -> bool:
    return item.path.name.startswith("test_machine")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(import_seconds=0.1) as running:
        running.furnish()
        yield running


@pytest.fixture
def lab(tmp_path: Path, sandbox: Sandbox) -> Iterator[Lab]:
    made = Lab(tmp_path, sandbox)
    yield made
    made.stop()
