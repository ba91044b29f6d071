"""What the service tells whoever measures it; by itself it measures nothing. Pure."""

from collections.abc import Mapping
from typing import Any


class Meter:
    """Called by many threads, with words of the configuration and of small fixed sets alone."""

    def request(self, drop: str, name: str, seconds: float, ended: str, size: int) -> None:
        """A request ended (grand_challenge.Observer)."""

    def tried(self, drop: str, ended: str) -> None:
        """A step of a case, or a look at it, ended (errors.kind)."""

    def ended(self, drop: str, stage: str) -> None:
        """A folder's case came to rest."""

    def show(self, report: Mapping[str, Any]) -> None:
        """How everything is (board.gather)."""


SILENT = Meter()
