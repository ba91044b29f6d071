"""What the README, the recipes and the architecture page show is true."""

import re
from pathlib import Path

import pytest

from casedrop import config
from casedrop.check import check_platform
from casedrop.grand_challenge import GrandChallenge
from casedrop.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SHOWN = re.findall(r"```toml\n(.*?)```", README + (ROOT / "docs" / "RULES.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("example", SHOWN)
def test_each_example_that_is_shown_loads(example: str, tmp_path: Path) -> None:
    path = tmp_path / "casedrop.toml"
    path.write_text(example)
    assert config.load(path, {}).drops


EXAMPLES = sorted((ROOT / "config").rglob("*.toml"))


def test_every_example_can_be_tried_on_the_sandbox(sandbox: Sandbox, tmp_path: Path) -> None:
    platform = GrandChallenge(sandbox.url, lambda: sandbox.token)
    for text in (*SHOWN, *(path.read_text() for path in EXAMPLES)):
        (tmp_path / "casedrop.toml").write_text(text)
        for drop in config.load(tmp_path / "casedrop.toml", {}).drops:
            check_platform(platform, drop)


def test_every_option_stands_in_the_readme() -> None:
    options = {(*table, option) for table in config.TABLES for option in config.options(table)}
    for path in options - set(config.TABLES):
        inline = not {"value_from", "codes", "already_done", "dicom_standard"}.isdisjoint(path[:-1])
        assert (f"{path[-1]} = " if inline else f"`{'.'.join(path)}`") in README


def test_the_two_commands_are_one_line_each() -> None:
    for mark in ("demo", "tests"):
        block = re.search(rf"<!-- {mark} -->\n```sh\n(.*?)```", README, re.DOTALL)
        assert block
        assert block[1].count("\n") == 1


def test_the_architecture_page_names_only_modules_that_exist() -> None:
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    for name in re.findall(r"`(\w+\.py)`", page):
        assert (ROOT / "daemon" / "casedrop" / name).exists(), name
