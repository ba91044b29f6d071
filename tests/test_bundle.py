"""A server without internet: the README's bundle, installed, upgraded, taken back and removed."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from apart import PROGRAM, Apart, apart
from casedrop.sandbox import Sandbox
from lab import mha
from test_readme import README

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

PROJECT = Path(__file__).parent.parent
PLAIN = ("env", "-u", "PYTHONPATH", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
NO_INDEX = re.compile(r"No matching distribution|Could not find a version|[Cc]onnection|resolve")


class Offline:
    def __init__(self, machine: Apart) -> None:
        self.machine = machine
        self.checkout = machine.top / "srv/checkout"
        self.checkout.mkdir()
        for name in ("daemon", "systemd"):
            shutil.copytree(
                PROJECT / name, self.checkout / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(PROJECT / name, self.checkout)

    def run(self, *command: str, code: int | None = 0) -> str:
        return self.machine.run(*PLAIN, *command, code=code, seconds=400)

    def typed(self, mark: str, folder: str) -> str:
        """The commands that the README shows there."""
        shown = re.search(rf"<!-- {mark} -->\n```sh\n(.*?)```", README, re.DOTALL)
        assert shown
        return self.run("sh", "-c", f"cd {folder}; set -e; {shown[1]}\necho through", code=None)

    def bundle(self) -> None:
        said = self.typed("bundle", "/srv/checkout")
        if "through" not in said and NO_INDEX.search(said):
            pytest.skip(f"pip cannot get what the bundle needs: {said[-300:]}")
        assert "through" in said
        (self.checkout / "casedrop-wheels.tar").rename(self.machine.top / "srv/casedrop-wheels.tar")

    def only_ours(self) -> None:
        """A newer bundle in which nothing else is new, so that it need not be fetched again."""
        wheel = ".venv/bin/pip wheel -q --no-deps -w casedrop-wheels ."
        packed = "tar -cf /srv/casedrop-wheels.tar casedrop-wheels"
        self.run("sh", "-c", f"cd /srv/checkout; {wheel} && {packed}")

    def next_version(self) -> None:
        path = self.checkout / "daemon/casedrop/__init__.py"
        path.write_text(path.read_text().replace("0.1.0", "0.2.0"))

    def service_runs_once(self) -> None:
        as_service = ("runuser", "-u", "casedrop", "--", "env", "CASEDROP_SETTLE__QUIET_SECONDS=0.4")
        told = f"CASEDROP_PLATFORM__TOKEN={(self.machine.top / 'etc/given').read_text()}"
        self.run(*as_service, told, PROGRAM, "run", "--once")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Offline]:
    with apart(tmp_path, program=False) as machine:
        yield Offline(machine)


def test_from_a_bundle_installed_upgraded_taken_back_and_removed_with_the_journal_kept(
    server: Offline, sandbox: Sandbox
) -> None:
    server.bundle()
    assert "through" in server.typed("from bundle", "/srv")
    assert server.run(PROGRAM, "--version") == "casedrop 0.1.0\n"
    (server.machine.top / "etc/given").write_text(sandbox.token)
    asked = ("--drop", "lung=lung-2026", "--url", sandbox.url, "--token-file", "/etc/given")
    assert "site-packages/casedrop/systemd/" in server.run(PROGRAM, "install", *asked, "--dry-run")
    server.run(PROGRAM, "install", *asked, code=None)
    piece = server.machine.top / "etc/casedrop/drops.d/lung.toml"
    rules = piece.read_text().replace('mode = "rehearse"\n', "")
    piece.write_text(rules.replace("generic-medical-image", "ct-image"))
    folder = server.machine.top / "srv/casedrop/lung/drop/P001"
    folder.mkdir(mode=0o770)
    (folder / "ct.mha").write_bytes(mha())
    server.service_runs_once()
    kept = server.run(PROGRAM, "history")
    assert "P001" in kept

    server.next_version()
    server.only_ours()
    assert "through" in server.typed("from bundle", "/srv")
    assert server.run(PROGRAM, "--version") == "casedrop 0.2.0\n"
    assert "PROBLEM" not in server.run(PROGRAM, "install")
    server.service_runs_once()
    assert server.run(PROGRAM, "history") == kept

    offline = ("--no-index", "--find-links", "/srv/casedrop-wheels")
    server.run("/opt/casedrop/bin/pip", "install", "-q", *offline, "casedrop==0.1.0")
    server.service_runs_once()
    assert server.run(PROGRAM, "history") == kept

    server.run(PROGRAM, "install", "--uninstall")
    server.run("rm", "-r", "/opt/casedrop")
    assert (server.machine.top / "var/lib/casedrop/journal.sqlite").exists()
    assert (server.machine.top / "srv/casedrop/lung/done/P001/ct.mha").read_bytes() == mha()
