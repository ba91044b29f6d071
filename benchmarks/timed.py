"""What a contender took, told on its standard output as one line of JSON."""

import json
import multiprocessing
import multiprocessing.process
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path


def timed(work: Callable[[], object]) -> None:
    """wall and cpu in seconds of `work` alone; peak in MB of the whole process, its imports with it."""
    before, began = _cpu(), time.perf_counter()
    work()
    wall, cpu = time.perf_counter() - began, _cpu() - before
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": _peak()}), flush=True)


def _peak() -> float:
    """Of this process and of what it started. Its own stands in /proc: ru_maxrss keeps that of who started it."""
    status = Path("/proc/self/status").read_text()
    own = int(status.partition("VmHWM:")[2].split()[0])
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def _cpu() -> float:
    """With that of processes it has started, those that still run, too."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used) + sum(
        map(so_far, multiprocessing.active_children())
    )


def so_far(child: multiprocessing.process.BaseProcess) -> float:
    """Its processor time, in seconds."""
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # proc(5): utime and stime
