"""Faults on request: error answers, cut lines, lost answers, and calls at an exact request."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Fault:
    """`after`: act first, then answer with the fault, so that the true answer is lost.

    A `status` of 0 is no fault at all: only `call` is called, before the request is acted on.
    """

    method: str
    path: re.Pattern[str]
    status: int = 500
    cut: bool = False
    after: bool = False
    times: int = 1
    skip: int = 0
    delay: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    call: Callable[[], None] | None = None


class Faults:
    """The faults still to come, in the order they were asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(
        self,
        *,
        method: str = "",
        path: str = "",
        status: int = 500,
        cut: bool = False,
        after: bool = False,
        times: int = 1,
        skip: int = 0,
        delay: float = 0.0,
        headers: dict[str, str] | None = None,
        call: Callable[[], None] | None = None,
    ) -> None:
        fault = Fault(method, re.compile(path), status, cut, after, times, skip, delay, headers or {}, call)
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        """None is still to come."""
        with self._lock:
            self._waiting.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this request, counted off."""
        with self._lock:
            for fault in self._waiting:
                if fault.method in ("", method) and fault.path.search(path):
                    if fault.skip:
                        fault.skip -= 1
                        return None
                    fault.times -= 1
                    if not fault.times:
                        self._waiting.remove(fault)
                    return fault
        return None
