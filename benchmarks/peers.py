"""The environment that peers run in: gcapi pins an old httpx."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HOME = Path(__file__).parent / ".peers"
PYTHON = HOME / "bin" / "python"
PACKAGES = ("gcapi", "pycurl")
WHOLE = HOME / "whole"
"""There once all of it is installed."""


def make() -> None:
    """Once, from the package index; ends the program where that is not to be had."""
    if WHOLE.exists():
        return
    shutil.rmtree(HOME, ignore_errors=True)
    print("Installing the peers (gcapi, pycurl) in benchmarks/.peers ...", file=sys.stderr)
    venv.create(HOME, with_pip=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", *PACKAGES]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:]
        sys.exit(f"The peers cannot be installed ({' '.join(why)}). --ours measures Casedrop without them.")
    WHOLE.touch()


def versions() -> dict[str, str]:
    """Of all packages that are installed there."""
    command = [str(PYTHON), "-m", "pip", "list", "--format", "json"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    return {one["name"]: one["version"] for one in json.loads(listed.stdout)}
