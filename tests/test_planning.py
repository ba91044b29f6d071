"""Where `casedrop plan` cannot look."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from casedrop import planning
from casedrop.config import load
from casedrop.errors import ConfigurationError

CONFIG = """
[[drops]]
name = "lung"
root = "{root}"
reader_study = "lung-2026"
[[drops.sockets]]
socket = "ct-image"
files = "*.mha"
"""


@pytest.fixture
def share() -> Iterator[Path]:
    """That another user may read: pytest's own folders are closed."""
    with TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        (Path(top) / "drop" / "P001").mkdir(parents=True)
        (Path(top) / "drop" / "P001" / "ct.mha").write_bytes(b"NDims = 3\n")
        yield Path(top)


@contextmanager
def closed(path: Path) -> Iterator[None]:
    """As another user where this one is root, who may read everything."""
    mode, user = path.stat().st_mode, os.geteuid()
    path.chmod(0)
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(mode)


@pytest.mark.parametrize("name", ["drop", "drop/P001", "drop/P001/ct.mha"])
def test_what_this_user_may_not_look_into_is_said(share: Path, tmp_path: Path, name: str) -> None:
    config = tmp_path / "casedrop.toml"
    config.write_text(CONFIG.format(root=share))
    settings = load(config, {})

    def plan() -> None:
        folder, drop = planning.meant(settings, Path("lung/P001"))
        planning.plan_folder(settings, {}, folder, drop_name=drop, offline=True, as_json=False)

    with closed(share / name), pytest.raises(ConfigurationError, match="cannot be looked into"):
        plan()
