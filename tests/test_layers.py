"""Imports point one way, so that each module can be read and tested without those above it."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import casedrop

SOURCE = Path(casedrop.__file__).parent
PURE = {
    "accounts",
    "annex_e",
    "answers",
    "breaker",
    "budget",
    "catalogue",
    "chain",
    "chart",
    "codes",
    "compound",
    "config_checks",
    "deidentify",
    "dicom_file",
    "dicom_model",
    "dictionary",
    "distances",
    "done_before",
    "edited",
    "errors",
    "essence",
    "expects",
    "findings",
    "gaps",
    "grids",
    "group",
    "guards",
    "gz",
    "header_texts",
    "headers",
    "health",
    "hours",
    "identifiers",
    "identity",
    "in_common",
    "inside",
    "installing",
    "jpeg",
    "jpeg2000",
    "last_look",
    "lines",
    "made_of",
    "magic",
    "matrix",
    "metadata",
    "metaimage",
    "meter",
    "mhd",
    "model",
    "near",
    "new_uids",
    "nifti",
    "notices",
    "nrrd",
    "only_rows",
    "pace",
    "page",
    "page_style",
    "patients",
    "pixel_comments",
    "placed",
    "planned",
    "png",
    "pseudonyms",
    "receipt_text",
    "receipts",
    "records",
    "redrop",
    "rehearsal",
    "reports",
    "rle",
    "sample",
    "series",
    "series_rules",
    "settle",
    "slices",
    "slides",
    "split",
    "spots",
    "stages",
    "status",
    "table",
    "table_changes",
    "table_text",
    "tables",
    "tally",
    "tiff",
    "titles",
    "token_age",
    "unpacking",
    "values",
    "volumes",
    "voxels",
}
EDGES = {
    "check",
    "commit",
    "confirm",
    "dicom_headers",
    "file_away",
    "journal",
    "journald",
    "ledger",
    "notifier",
    "pack",
    "page_file",
    "prepare",
    "roots",
    "systemd",
    "upload",
    "wake",
    "watch",
    "workbook",
}
SHARED = {
    "allowance",
    "database",
    "grand_challenge",
    "opening",
    "reading",
    "rights",
    "route",
    "strip",
    "summed",
    "sums",
    "workers",
    "writing",
}
"""What edges may import besides pure modules: the platform, how files are opened and read, and workers."""
ABOVE = {
    "admission",
    "backup",
    "before_sending",
    "board",
    "cli",
    "completeness",
    "config",
    "config_across",
    "config_dicom",
    "config_files",
    "config_hours",
    "config_tables",
    "contents",
    "decisions",
    "demo",
    "exporter",
    "gate",
    "history",
    "inspection",
    "install",
    "intake",
    "judge",
    "keys",
    "live",
    "logs",
    "look_back",
    "metrics",
    "naming",
    "naming_check",
    "notify",
    "once",
    "outgoing",
    "own_words",
    "pages",
    "pipeline",
    "planning",
    "platform_check",
    "pseudonym_key",
    "reach",
    "reload",
    "resend",
    "restoring",
    "root_check",
    "running",
    "scan",
    "service",
    "split_cases",
    "start",
    "table_files",
    "table_watch",
    "throttle",
    "trying",
    "unit_check",
    "watched",
}
IMPURE = {
    "os",
    "time",
    "socket",
    "logging",
    "subprocess",
    "threading",
    "sqlite3",
    "shutil",
    "tempfile",
    "httpx",
}


def imported(module: str) -> set[str]:
    tree = ast.parse((SOURCE / f"{module}.py").read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "casedrop":
            found |= {f"casedrop.{name.name}" for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def ours(module: str) -> set[str]:
    return {name.split(".")[1] for name in imported(module) if name.startswith("casedrop.")}


def test_every_module_has_its_layer() -> None:
    modules = {path.stem for path in SOURCE.glob("*.py")} - {"__init__"}
    assert modules == PURE | EDGES | ABOVE | SHARED


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_modules_touch_no_clock_disk_or_network(module: str) -> None:
    assert ours(module) <= PURE
    assert not imported(module) & IMPURE


@pytest.mark.parametrize("module", sorted(EDGES))
def test_edges_do_not_import_each_other(module: str) -> None:
    assert ours(module) <= PURE | SHARED


HEAVY = set(
    "httpx watchdog starlette pydantic structlog cattrs pydicom openpyxl prometheus_client apprise rich wcmatch "
    "sqlite3 ssl asyncio".split()
)


def loaded_by(*command: str) -> set[str]:
    """Which of the heavy packages are there after a command."""
    code = "\n".join(
        (
            "import sys; from casedrop.cli import main",
            "try: main()",
            f"finally: print('loaded', *({HEAVY} & sys.modules.keys()))",
        )
    )
    ran = subprocess.run([sys.executable, "-c", code, *command], check=False, capture_output=True, text=True)
    return set(ran.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("command", [("--help",), ("--version",), ()])
def test_help_is_quick_because_it_imports_nothing_heavy(command: tuple[str, ...]) -> None:
    assert loaded_by(*command) == set()


CONFIG = """
[platform]
url = "http://127.0.0.1:9/"
[state]
directory = "{top}"
[[drops]]
name = "lung"
root = "{top}"
reader_study = "lung-2026"
[[drops.sockets]]
socket = "ct"
files = "*.mha"
"""


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        (("schema",), {"pydantic", "wcmatch", "ssl", "asyncio"}),
        (("status", "--health"), {"pydantic", "wcmatch", "ssl", "asyncio"}),
        (("plan", "--offline", "P1"), {"pydantic", "wcmatch", "ssl", "asyncio", "cattrs", "sqlite3"}),
    ],
)
def test_a_command_imports_only_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], needed: set[str]
) -> None:
    """To read a configuration takes pydantic-settings, which brings asyncio and with it ssl."""
    (tmp_path / "casedrop.toml").write_text(CONFIG.format(top=tmp_path))
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "ct.mha").write_text("NDims = 3")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CASEDROP_CONFIG", str(tmp_path / "casedrop.toml"))
    assert loaded_by(*command) <= needed


def test_help_says_of_each_command_the_whole_of_what_it_does() -> None:
    code = "from casedrop.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", code, "--help"], check=True, capture_output=True, text=True)
    assert "..." not in ran.stdout.partition("Commands:")[2]


def test_the_version_stands_in_one_place() -> None:
    told = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())
    assert "version" not in told["project"]
    source = SOURCE.parents[1] / told["tool"]["hatch"]["version"]["path"]
    assert f'__version__ = "{casedrop.__version__}"' in source.read_text()
