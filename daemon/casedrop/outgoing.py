"""What `casedrop ledger` and `casedrop where` read: the ledger, beside the journal that knows its end."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from casedrop.accounts import Account, Wanted, accounts, lines, table, where
from casedrop.chain import Finding, Head, Line, check
from casedrop.chain import lines as chained
from casedrop.config import Settings
from casedrop.errors import ConfigurationError
from casedrop.journal import if_there
from casedrop.ledger import NAME as LEDGER
from casedrop.ledger import head
from casedrop.logs import KEY_NAME, Names, name_key
from casedrop.model import Json


def verify(settings: Settings) -> list[Finding]:
    """Whether the ledger is whole and unchanged: every finding, the last one about the whole."""
    directory = settings.state.directory
    known = _known(directory)
    last, findings = check(_read(directory), known or Head())
    if known is None:
        findings.append(
            (False, f"There is no journal in {directory}: whether the end is missing cannot be told.")
        )
    if all(ok for ok, _ in findings):
        findings.append(
            (True, f"{last.seq} records, none missing or changed. The last has the hash {last.hash}.")
        )
    return findings


def listing(settings: Settings, since: datetime | None, patient: str, *, as_csv: bool) -> str:
    """The attempts that began since a day (UTC) and are of a patient, for people or as CSV."""
    found = _accounts(settings)
    if since:
        found = [one for one in found if one.began["time"] >= since.strftime("%Y-%m-%dT%H:%M:%SZ")]
    if patient:
        wanted = _wanted(settings, patient)
        found = [one for one in found if wanted.is_in(one)]
    if as_csv:
        return table(found)
    said = "\n".join(line for one in found for line in lines(one))
    return said or "Nothing was sent, as far as the ledger goes."


def where_is(settings: Settings, name: str) -> tuple[str, bool]:
    """Where the data of a patient went, in words, and whether there was any."""
    found, wanted = _accounts(settings), _wanted(settings, name)
    return where(wanted, found), any(wanted.is_in(one) for one in found)


def _accounts(settings: Settings) -> list[Account]:
    directory = settings.state.directory
    records = (line.record for line in _read(directory) if line.record)
    return accounts(records, _addresses(directory))


def _read(directory: Path) -> Iterator[Line]:
    """Raises ConfigurationError where there is a ledger that may not be read."""
    try:
        with (directory / LEDGER).open("rb") as file:
            yield from chained(file)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(
            [
                f"The ledger {directory / LEDGER} cannot be read ({error.strerror}). Ask as root or the service."
            ]
        ) from None


def _known(directory: Path) -> Head | None:
    journal = if_there(directory)
    return head(journal.ledger_head()) if journal else None


def _addresses(directory: Path) -> Callable[[Json], str]:
    """Of an attempt under way: the journal knows its display set before the ledger does."""
    journal = if_there(directory)

    def address(began: Json) -> str:
        if journal is None or began["journal"] != journal.id:
            return ""
        return journal.case(began["case"]).reached

    return address


def _wanted(settings: Settings, name: str) -> Wanted:
    """Asking never makes a key: one that root made could not be read by the service."""
    directory = settings.state.directory
    key = name_key(directory) if (directory / KEY_NAME).exists() else None
    return Wanted(name, Names("hidden", key).of if key else None)
