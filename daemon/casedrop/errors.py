"""The failure classes: who must act decides the class, never which library raised."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from casedrop.answers import Meaning
    from casedrop.model import Problem


class CasedropError(Exception):
    """Anything Casedrop says to people. Its text is whole sentences and holds no secret."""


class CaseProblem(CasedropError):
    """The data of a folder: the case goes to failed/ with these problems as its reason."""

    def __init__(self, *problems: "Problem") -> None:
        super().__init__(" ".join(problem.text for problem in problems))
        self.problems = problems


class Lacks(CaseProblem):
    """What was found while the files were read may still come: the folder settles again and waits for it."""


class FolderChanged(CasedropError):
    """The folder is not what settled: back to settling."""


class SetupProblem(CasedropError):
    """The drop's set-up: the drop is held, nothing is moved, the administrator acts."""

    def __init__(self, *problems: str) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


class Unavailable(CasedropError):
    """The platform or its storage cannot answer now: keep everything and come back.

    `host` is "platform" or "storage", or the limit that was met ("quota" of bytes,
    "uploads"); `retry_after` in seconds where the answer named it.
    """

    def __init__(self, text: str, host: str = "platform", retry_after: float | None = None) -> None:
        super().__init__(text)
        self.host = host
        self.retry_after = retry_after


class Unclear(CasedropError):
    """A 500 or a lost answer: it may have been done. The next attempt looks the state up first.

    `answered` tells a 500 (the platform spoke) from a cut or silent line.
    """

    def __init__(self, text: str, *, answered: bool) -> None:
        super().__init__(text)
        self.answered = answered


class Refused(CasedropError):
    """A definite no of the platform; who asked decides what it means for the case.

    `text` is the platform's own words: it may quote the data, so it goes to the reason, never to a log.
    """

    def __init__(self, meaning: "Meaning", status: int, text: str) -> None:
        super().__init__(f"Grand Challenge answered {status} ({meaning}).")
        self.meaning = meaning
        self.status = status
        self.text = text


class Waits(CasedropError):
    """The case waits for the platform, or for a `person`; `seconds` until the next look, 0 for soon."""

    def __init__(self, text: str, seconds: float, *, person: bool = False) -> None:
        super().__init__(text)
        self.seconds = seconds
        self.person = person


class Stopping(CasedropError):
    """The service is stopping: what was under way is given up and resumed at the next start."""


class ConfigurationError(CasedropError):
    """Everything that is wrong with the configuration, at once."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


KINDS: tuple[tuple[type[Exception], str], ...] = (
    (Lacks, "lacking"),
    (CaseProblem, "problem"),
    (FolderChanged, "folder changed"),
    (SetupProblem, "setup"),
    (Unavailable, "unavailable"),
    (Unclear, "unclear"),
    (Waits, "waits"),
    (OSError, "unreadable"),
    (Stopping, "stopping"),
    (Exception, "fault"),
)
"""The first that fits counts."""


def kind(error: BaseException | None) -> str:
    """How something ended, in one of few words that tell nothing of the data; a definite no by its meaning."""
    if error is None:
        return "success"
    if isinstance(error, Refused):
        return str(error.meaning)
    if isinstance(error, Unavailable) and error.host in ("quota", "uploads"):
        return "quota"
    return next((word for kind_of_error, word in KINDS if isinstance(error, kind_of_error)), "stopping")
