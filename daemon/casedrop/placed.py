"""A raw file that is read by place: what stands there, a subclass says. Pure."""

import io


class Placed(io.RawIOBase):
    """Needs `_read_at`, which gives up to `count` bytes from `start`, and none at the end."""

    def __init__(self) -> None:
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        found = self._read_at(self._at, len(buffer))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _read_at(self, start: int, count: int) -> bytes:
        raise NotImplementedError
