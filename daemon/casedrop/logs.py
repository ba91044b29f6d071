"""Logs: event names with facts as keywords, and nothing in them that names a patient or opens a door.

The values of `NAME_KEYS` are hidden by a processor, so that no caller can forget it. Exceptions are shown as
types and places in the code: their messages hold file names (OSError) and addresses (httpx).
"""

import hashlib
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog

from casedrop.journald import Journal
from casedrop.keys import kept_key

KEY_BYTES = 32
KEY_NAME = "names.key"
"""In the state directory."""
NAME_KEYS = frozenset({"case", "folder", "file", "path", "title", "filed_as"})
"""Facts whose values are names people gave."""
LIBRARIES = ("httpx", "httpcore", "watchdog")
"""httpx writes whole presigned addresses at INFO, watchdog the names of files at DEBUG."""
SAID_TWICE = "watchdog.observers.inotify"
"""Warns of an overflow that inotify_c has warned of before."""

_HIDDEN = "[hidden]"
_SECRET_PARTS = (
    re.compile(r"(?i)(x-amz-[a-z-]+(?:=|%3d))[^&\s\"'<>]+"),
    re.compile(r"(?i)(\bbearer\s+)[^\s\"',;]+"),
    re.compile(r"(https?://[^\s?\"'<>]+\?)[^\s\"'<>]+"),
)


class HiddenName(str):
    """A name as the logs may show it."""

    __slots__ = ()


class Names:
    """How the names of folders and files appear in logs."""

    def __init__(self, mode: Literal["hidden", "plain"], key: bytes) -> None:
        self._mode = mode
        self._key = key

    def of(self, name: str) -> str:
        """The name itself, or the 10 hexadecimal digits that stand for it wherever `key` is the same."""
        if self._mode == "plain" or isinstance(name, HiddenName):
            return name
        data = name.encode(errors="surrogateescape")
        return HiddenName(hashlib.blake2b(data, key=self._key, digest_size=5).hexdigest())

    def __call__(self, _: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {key: self._hide(value) if key in NAME_KEYS else value for key, value in event.items()}

    def _hide(self, value: object) -> object:
        if isinstance(value, list | tuple | set | frozenset):
            return [self._hide(item) for item in value]
        if value is None or isinstance(value, bool | int | HiddenName):
            return value
        return self.of(os.fsdecode(value) if isinstance(value, bytes | os.PathLike) else str(value))


def name_key(state_directory: Path) -> bytes:
    """The key of `Names`, made at the first start; raises SetupProblem when it cannot be had."""
    return kept_key(
        state_directory,
        "names",
        "hides names in logs",
        "Remove it: a new one is made, and the same folder then appears under another hash than before.",
    )


def code_places(error: BaseException) -> str:
    """The types of an exception and of what led to it, each with its places in the code, innermost last."""
    return " <- ".join(f"{type(one).__qualname__} at {_places(one.__traceback__)}" for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _places(trace: TracebackType | None) -> str:
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return " > ".join(places) or "no place"


def _exceptions(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Replace what would become a traceback with types and places."""
    event.pop("stack_info", None)
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exception()
    elif isinstance(info, tuple):
        info = info[1]
    if isinstance(info, BaseException):
        event["exception"] = code_places(info)
    return event


class _Redact:
    """The last line of defence: known secrets and whatever looks like one, in any value of an event."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret for secret in secrets if secret]

    def __call__(self, _: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {self._text(key): self._clean(value) for key, value in event.items()}

    def _clean(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, BaseException):
            return code_places(value)
        if isinstance(value, Mapping):
            return {self._text(str(key)): self._clean(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean(inner) for inner in value]
        return self._text(str(value))

    def _text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        for pattern in _SECRET_PARTS:
            text = pattern.sub(rf"\1{_HIDDEN}", text)
        # A name may hold line breaks and terminal commands: nothing that is logged may forge a line.
        return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


class _Lines:
    """Writes whole lines; a full disk or a closed terminal must not stop the service."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, *_: object) -> "_Lines":
        return self

    def msg(self, line: str) -> None:
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = msg


class _Libraries(logging.Handler):
    """Takes what libraries log: their words without the arguments, which may be names and addresses."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            max(record.levelno, logging.INFO),
            "library_says",
            library=record.name,
            words=record.msg if isinstance(record.msg, str) else type(record.msg).__name__,
            exc_info=record.exc_info,
        )


def configure(
    stream: TextIO,
    *,
    names: Literal["hidden", "plain"],
    key: bytes,
    debug: bool = False,
    secrets: Sequence[str] = (),
    journal: bool = False,
) -> Names:
    """Send all logs to `stream`: readable where it is a terminal, else one JSON object a line.

    With `journal`, where the stream ends there, as fields to systemd's journal. `secrets` never appear in any of
    them. May be called again, with other ones.
    """
    hide = Names(names, key)
    lines = _Lines(stream)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _exceptions,
            hide,
            _Redact(secrets),
            *([] if journal else _rendering(terminal=stream.isatty())),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=Journal(lines.msg) if journal else lines,
        cache_logger_on_first_use=False,
    )
    logging.raiseExceptions = False  # logging would print the arguments of a call that fails
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING, force=True)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger(SAID_TWICE).setLevel(logging.ERROR)
    threading.excepthook = _thread_died
    sys.excepthook = _died
    sys.unraisablehook = lambda args: _died(args.exc_type, args.exc_value, args.exc_traceback)
    warnings.showwarning = _warned
    return hide


def _rendering(*, terminal: bool) -> list[Any]:
    """The journal stamps the time itself, and takes the facts as they are."""
    stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal)
    return [stamp, structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()]


def _died(kind: type[BaseException], error: BaseException | None, _: TracebackType | None) -> None:
    """Python itself would print the message, which may hold names."""
    structlog.get_logger().error("died", kind=kind.__qualname__, exc_info=error)


def _warned(  # noqa: PLR0917  as Python calls it
    message: Warning | str,  # noqa: ARG001
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Without the message: watchdog's, for one, hold the names of folders."""
    structlog.get_logger().debug(
        "library_warns", kind=category.__name__, at=f"{Path(filename).name}:{lineno}"
    )


def _thread_died(args: threading.ExceptHookArgs) -> None:
    structlog.get_logger().error(
        "thread_died", thread=args.thread.name if args.thread else "", exc_info=args.exc_value
    )
