"""The units and what goes with them, as systemd's own tools see them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parent.parent / "systemd"
UNITS = {"casedrop.service": "casedrop.service", "casedrop@.service": "casedrop@lab.service"}
"""Each file, and the name that systemd is to look at."""

DIFFERENT = ("Description", "Environment", "StateDirectory", "LoadCredential")
"""In an instance's unit."""


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


def settings(unit: str) -> list[tuple[str, str]]:
    lines = (SYSTEMD / unit).read_text().splitlines()
    return [(key, value) for key, is_one, value in (line.partition("=") for line in lines) if is_one]


def analyze(tmp_path: Path, unit: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Of a copy whose program is there."""
    copy = tmp_path / UNITS[unit]
    copy.write_text(re.sub("(?m)^ExecStart=.*$", "ExecStart=/bin/true", (SYSTEMD / unit).read_text()))
    command = ["systemd-analyze", *arguments, str(copy)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"}
    )


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path, unit: str) -> None:
    """`verify` exits 0 on unknown keys, so what counts is that it prints nothing."""
    ran = analyze(tmp_path, unit, "verify")
    said = [line for line in (ran.stdout + ran.stderr).splitlines() if "casedrop" in line]
    assert (ran.returncode, said) == (0, [])


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_exposes_little(tmp_path: Path, unit: str) -> None:
    ran = analyze(tmp_path, unit, "security", "--offline=true", "--threshold=20", "--no-pager")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_the_roots_are_one_mount_and_the_only_right_is_to_ask_for_leases(unit: str) -> None:
    found = dict(settings(unit))
    (parent,) = [value for key, value in settings(unit) if key == "ReadWritePaths"]
    assert len(parent.split()) == 1, "two mounts would part drop/ from done/"
    assert found["AmbientCapabilities"] == found["CapabilityBoundingSet"] == "CAP_LEASE"


def test_an_instance_has_all_to_itself_and_is_guarded_alike() -> None:
    alone, instance = (
        [one for one in settings(unit) if one[0].lstrip("# ") not in DIFFERENT] for unit in UNITS
    )
    assert alone == instance
    own = [value for key, value in settings("casedrop@.service") if key.lstrip("# ") in DIFFERENT]
    assert all("%i" in value for value in own)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes accounts")
@needs("systemd-sysusers")
@needs("systemd-tmpfiles")
def test_the_account_and_the_directories_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for program, file in (("sysusers", "casedrop.sysusers"), ("tmpfiles --create", "casedrop.tmpfiles")):
        command = [*f"systemd-{program}".split(), f"--root={tmp_path}", str(SYSTEMD / file)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
    assert re.search(r"(?m)^casedrop:x:\d+:\d+:.*:/usr/sbin/nologin$", (tmp_path / "etc/passwd").read_text())
    rules = (tmp_path / "etc/casedrop/drops.d").stat()
    assert (oct(rules.st_mode)[-4:], rules.st_uid) == ("2770", 0)
    assert f"casedrop:x:{rules.st_gid}:" in (tmp_path / "etc/group").read_text()
