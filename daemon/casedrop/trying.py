"""One look of `casedrop check`: whatever it raises is a finding, and hides no other."""

import os
from collections.abc import Callable, Iterable

from casedrop.errors import CasedropError, ConfigurationError, SetupProblem
from casedrop.findings import Finding, ok, problem

MEND = "Mend that, then run `casedrop check` again."
WAIT = "Try again later; if it stays, ask whoever runs the network or Grand Challenge."


def tried(what: str, look: Callable[[], str | Iterable[Finding]], mend: str = MEND) -> list[Finding]:
    """What `look` says is well, or its own findings; "" says nothing. `mend` is for problems that do not tell."""
    try:
        said = look()
        return ([ok(what, said)] if said else []) if isinstance(said, str) else list(said)
    except (SetupProblem, ConfigurationError) as wrong:
        return [problem(what, text, mend) for text in wrong.problems]
    except CasedropError as error:
        return [problem(what, str(error), WAIT, later=True)]
    except OSError as error:
        where = os.fsdecode(error.filename) if error.filename else what
        return [problem(what, f"{where}: {error.strerror}.", mend)]
