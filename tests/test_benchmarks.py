"""What the benchmarks measure is the way of a case: their platform takes it, and all is filed away."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.long
def test_casedrop_alone_runs_through_a_row_of_cases(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(BENCHMARKS)!r})
from pathlib import Path
from rows import rows
from run import Lab
row = rows(0.02)["cases"]
data = Path({str(tmp_path)!r}) / "cases"
data.mkdir()
row.make(data)
figures = Lab(Path({str(tmp_path)!r})).run(row, next(iter(row.contenders.values())), data)
assert figures["wall"] > 0 and figures["peak"] > 10, figures
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", ["run.py", "alone.py"])
def test_a_benchmark_that_there_is_none_of_is_told_with_those_that_there_are(program: str) -> None:
    command = [sys.executable, str(BENCHMARKS / program), "bogus"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no row bogus, but" in done.stderr
