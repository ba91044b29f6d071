"""A lab for black-box tests: a sandbox of Grand Challenge, a root, and the real service as a process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from casedrop.sandbox import Sandbox
from lab import Lab


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
