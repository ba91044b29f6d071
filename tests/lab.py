"""What the black-box tests are told in: folders, the service, and what became of them."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import jsonschema

from casedrop import roots
from casedrop.sandbox import Sandbox
from forked import PROGRAM, Forked, run
from waiting import wait_for

QUIET = 0.4
RUN = ("run", "--as-root")

RECEIPT = json.loads((Path(__file__).parent.parent / "docs" / "receipt.schema.json").read_text())

CONFIG = """
[platform]
url = "{url}"
token_file = "{token}"
[state]
directory = "{state}"
[settle]
quiet_seconds = {quiet}
rescan_seconds = 0.5
incomplete_seconds = {incomplete}
[limits]
import_seconds = {import_seconds}
reassign_seconds = 2
[[drops]]
name = "lung"
root = "{root}"
reader_study = "lung-2026"
{drop}
[[drops.sockets]]
socket = "ct-image"
files = "*.mha"
fallback = true
[[drops.sockets]]
socket = "airway-segmentation"
files = "*_airways.mha"
required = false
[[drops.sockets]]
socket = "report-pdf"
files = "*.pdf"
required = false
[[drops.sockets]]
socket = "some-score"
value_from = {{ json = "score.json", pointer = "/score" }}
required = false
"""


def mha(side: int = 8, fill: bytes = b"\1") -> bytes:
    header = (
        f"ObjectType = Image\nNDims = 3\nDimSize = {side} {side} {side}\nElementSpacing = 0.7 0.7 1.5\n"
        "ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    return header.encode() + fill * side**3


NO_IMAGE = b"NDims = 3\nDimSize = 8 8 8\nElementType = MET_NONE\nElementDataFile = LOCAL\n"
"""What only the platform finds to be none."""


class Lab:
    def __init__(self, top: Path, sandbox: Sandbox) -> None:
        self.top = top
        self.sandbox = sandbox
        self.root = top / "lung"
        self.drop, self.done, self.failed = (self.root / name for name in roots.FOLDERS)
        self.desk = top / "desk"
        self.desk.mkdir()
        self.state = top / "state"
        self.config = top / "casedrop.toml"
        self.token = top / "token"
        self.log = top / "service.log"
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.write_token(sandbox.token)
        self.configure()
        roots.init(self.root)

    def write_token(self, token: str) -> None:
        self.token.write_text(token)
        self.token.chmod(0o600)

    def configure(
        self, drop: str = "", quiet: float = QUIET, incomplete: float = 2, import_seconds: float = 60
    ) -> None:
        self.config.write_text(
            CONFIG.format(
                url=self.sandbox.url,
                token=self.token,
                state=self.state,
                root=self.root,
                drop=drop,
                quiet=quiet,
                incomplete=incomplete,
                import_seconds=import_seconds,
            )
        )

    def start(self, *arguments: str, under: tuple[str, ...] = ()) -> None:
        """`under` is a program that runs it, such as strace, with its arguments."""
        environ = os.environ | {"CASEDROP_CONFIG": str(self.config)}
        if not under:
            self.process = Forked([*RUN, *arguments], environ, self.log)
            return
        with self.log.open("ab") as log:
            command = [*under, *PROGRAM, *RUN, *arguments]
            self.process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)

    def kill(self) -> None:
        """kill -9, from whatever thread notices the moment."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)

    def stop(self) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(15)
        self.process = None
        return code

    def once(self, *under: str, within: float = 100) -> int:
        self.start("--once", under=under)
        assert self.process is not None
        return self.process.wait(within)

    def command(self, *arguments: str, code: int = 0) -> str:
        """What another command says, its lines as one."""
        return " ".join(self.output(*arguments, code=code).split())

    def output(self, *arguments: str, code: int = 0) -> str:
        environ = os.environ | {"CASEDROP_CONFIG": str(self.config), "COLUMNS": "200"}
        ended, output, errors = run(arguments, environ)
        assert ended == code, output + errors
        return output + errors

    def folder(self, name: str, **files: bytes) -> Path:
        """A folder on the desk; file names as keywords, `__` for a dot."""
        path = self.desk / name
        path.mkdir()
        for file, content in files.items():
            (path / file.replace("__", ".")).write_bytes(content)
        return path

    def move_in(self, name: str, **files: bytes) -> None:
        self.folder(name, **files).rename(self.drop / name)

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.state / "status.json").read_text())
        return report

    def status(self) -> dict[str, Any]:
        drop: dict[str, Any] = self.report()["drops"][0]
        return drop

    def case(self, folder: str) -> dict[str, Any]:
        try:
            return next((one for one in self.status()["cases"] if one["folder"] == folder), {})
        except OSError:
            return {}

    def wait_done(self, name: str, seconds: float = 30) -> dict[str, Any]:
        path = self.done / f"{name}.receipt.json"
        wait_for(path.exists, seconds, f"the receipt of {name}: {self._why(name)}")
        return self.receipt(path)

    def receipt(self, path: Path) -> dict[str, Any]:
        """As docs/receipt.schema.json says."""
        receipt: dict[str, Any] = json.loads(path.read_text())
        jsonschema.validate(receipt, RECEIPT)
        return receipt

    def wait_failed(self, name: str, seconds: float = 30) -> str:
        """The reason's words, however its lines are wrapped."""
        path = self.failed / f"{name}.reason.txt"
        wait_for(path.exists, seconds, f"the reason of {name}")
        return " ".join(path.read_text().split())

    def _why(self, name: str) -> str:
        return self.log.read_text()[-500:] if self.log.exists() else name

    def records(self) -> list[dict[str, Any]]:
        """The ledger, its torn lines left out."""
        path = self.state / "ledger.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def fates(self) -> list[str]:
        """Each record of the ledger as one word; of a case: began, then how it ended."""
        return [one.get("fate", one["event"]) for one in self.records()]

    def titles(self) -> list[str]:
        return [one.title for one in self.sandbox.display_sets("lung-2026")]

    def values(self, title: str) -> dict[str, Any]:
        (found,) = [one for one in self.sandbox.display_sets("lung-2026") if one.title == title]
        values: dict[str, Any] = found.values
        return values
