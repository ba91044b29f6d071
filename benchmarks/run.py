"""Casedrop beside its peers, in one run, in turns: a table to read, and JSON.

Everything is on this machine: a platform that forgets what it is sent (sink.py), over TLS unless a row says plain.
Peers get an environment of their own on the first run, in benchmarks/.peers, from the package index. Ratios count;
the seconds are this machine's. All rows, three times each, take about half an hour, and 3 GB in the temporary
directory (TMPDIR); `--runs 1` and `--scale 0.1` are quicker.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import trustme

import given
import peers
from rows import HERE, Row, rows

Figures = dict[str, float]
UNITS = {"wall": "s", "cpu": "s of processor time, of all its processes", "peak": "MB"}


@dataclass(slots=True)
class Lab:
    """The certificate, and where peers live."""

    directory: Path
    certificate: Path = field(init=False)
    authority: Path = field(init=False)

    def __post_init__(self) -> None:
        made = trustme.CA()
        self.certificate, self.authority = self.directory / "server.pem", self.directory / "ca.pem"
        made.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(self.certificate)
        made.cert_pem.write_to_path(self.authority)

    @contextmanager
    def platform(self, row: Row) -> Iterator[str]:
        """Its address."""
        command = [
            sys.executable,
            str(HERE / "sink.py"),
            str(self.certificate) if row.tls else "",
            str(row.latency),
        ]
        command += map(str, row.geometry)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sink:
            assert sink.stdin
            assert sink.stdout
            yield sink.stdout.readline().strip()
            sink.stdin.close()

    def run(self, row: Row, command: list[str], data: Path) -> Figures:
        with self.platform(row) as url:
            given = [{"URL": url, "DATA": str(data)}.get(word, word) for word in command]
            environ = os.environ | {"SSL_CERT_FILE": str(self.authority)}
            done = subprocess.run(given, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(given)}\n{done.stderr[-2000:]}")
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
        return figures


def measure(lab: Lab, name: str, row: Row, runs: int) -> dict[str, list[Figures]]:
    """All runs of each contender. They take turns, so that what else the machine does meets all alike."""
    found: dict[str, list[Figures]] = {one: [] for one in row.contenders}
    data = Path(tempfile.mkdtemp(dir=lab.directory))
    row.make(data)
    for run in range(1, runs + 1):
        for one, command in row.contenders.items():
            print(f"{name}, run {run} of {runs}: {one}", file=sys.stderr)
            found[one].append(lab.run(row, command, data))
    shutil.rmtree(data)
    return found


def medians(found: dict[str, list[Figures]]) -> dict[str, Figures]:
    return {
        name: {key: statistics.median(one[key] for one in all_runs) for key in UNITS}
        for name, all_runs in found.items()
    }


def table(row: Row, found: dict[str, Figures]) -> Iterator[str]:
    yield f"\n{row.told}"
    other = found.get(row.beside)
    beside = f"   beside {row.beside}: times as fast, its CPU, its peak" if other else ""
    yield f"  {'':36}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{beside}"
    for name, one in found.items():
        ratios = ""
        if other and one is not other:
            cpu, peak = (one[key] / other[key] for key in ("cpu", "peak"))
            ratios = f"{other['wall'] / one['wall']:>{len(beside) - 28}.2f}{cpu:>14.2f}{peak:>10.2f}"
        yield f"  {name:36}{one['wall']:9.2f}{one['cpu']:9.2f}{one['peak']:9.0f}{ratios}"


def machine(*, ours: bool) -> dict[str, object]:
    """What the figures are of."""
    own = {name: version(name) for name in ("casedrop", "httpx", "pydicom")}
    return {
        "processors": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": own,
        "peers": {} if ours else peers.versions(),
    }


def without_peers(row: Row) -> Row:
    own = {name: words for name, words in row.contenders.items() if words[0] != str(peers.PYTHON)}
    return replace(row, contenders=own)


def main() -> None:
    arguments = given.parser(__doc__, {name: row.told for name, row in rows(1).items()})
    arguments.add_argument("--runs", type=given.count, default=3, help="of which the medians are told (3)")
    arguments.add_argument("--scale", type=given.share, default=1.0, help="how much of each row's files (1)")
    arguments.add_argument("--ours", action="store_true", help="Casedrop alone: nothing is installed")
    arguments.add_argument("--json", type=given.file, help="where all runs are kept, with what they are of")
    asked = arguments.parse_args()
    known = {name: without_peers(row) if asked.ours else row for name, row in rows(asked.scale).items()}
    chosen = {name: known[name] for name in asked.rows or known}
    ours = all(row == without_peers(row) for row in chosen.values())
    if not ours:
        peers.make()
    made = datetime.now(UTC).isoformat(timespec="seconds")
    told = {
        "made": made,
        "runs": asked.runs,
        "scale": asked.scale,
        "units": UNITS,
        "machine": machine(ours=ours),
    }
    kept: dict[str, object] = {}
    with given.place() as directory:
        lab = Lab(directory)
        for name, row in chosen.items():
            found = measure(lab, name, row, asked.runs)
            print("\n".join(table(row, medians(found))), flush=True)
            kept[name] = {"title": row.title, "latency": row.latency, "tls": row.tls, "runs": found}
            if asked.json:
                asked.json.write_text(json.dumps(told | {"rows": kept}, indent=2) + "\n")


if __name__ == "__main__":
    main()
