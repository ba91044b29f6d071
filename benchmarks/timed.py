"""What a contender took, told on its standard output as one line of JSON."""

import json
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
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
