"""New UIDs in the place of old ones, the same for the same key. Pure."""

import hashlib
import hmac
import uuid
from functools import lru_cache
from typing import Any

from pydicom.config import IGNORE
from pydicom.multival import MultiValue
from pydicom.uid import (
    UID,
)

IMPLEMENTATION_UID = "2.25.325863921443217849124301468093417358214"
IMPLEMENTATION_NAME = "CASEDROP"


def new_uid(key: bytes, uid: str) -> str:
    """The UID that stands for this one wherever the key is the same (a UUID's, PS3.5 B.2).

    UIDs that the standard defines stay (PS3.6, Annex A), not whatever begins like them.
    """
    if not uid or is_of_the_standard(uid):
        return uid
    mac = hmac.digest(key, uid.encode(), hashlib.sha256)
    return f"2.25.{uuid.UUID(bytes=mac[:16], version=5).int}"


@lru_cache(256)
def is_of_the_standard(uid: str) -> bool:
    return UID(uid, validation_mode=IGNORE).type != ""


class NewUids(dict[str, Any]):
    """What the engine takes for its map of UIDs; it also asks for several at once."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key

    def __getitem__(self, value: Any) -> Any:
        if isinstance(value, MultiValue | list):
            return [new_uid(self._key, str(one)) for one in value]
        return new_uid(self._key, str(value or ""))
