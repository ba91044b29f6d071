"""Whether the sandbox of the systemd unit fits the configuration, by the unit's files: systemd need not run."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from casedrop.config import Settings
from casedrop.findings import Finding, attention, ok, problem

DIRECTORIES = (
    "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
    "/lib/systemd/system",
)  # fmt: skip
"""Of the first that has the unit it is taken; drop-ins count wherever they lie (systemd.unit(5))."""

HOMES = ("/home", "/root", "/run/user")
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108
CONFIG, CONFIGURATION = "CASEDROP_CONFIG=", "/etc/casedrop/casedrop.toml"
STATE = "CASEDROP_STATE__DIRECTORY="
ON = ("yes", "true", "on", "1")

Unit = dict[str, list[str]]
"""What is set in [Service], by name: all words of lists, in order."""


def unit_findings(
    settings: Settings, config: Path, directories: Sequence[str] = DIRECTORIES
) -> Iterator[Finding]:
    """Nothing where there is no unit of this configuration."""
    for name, instance in (("casedrop.service", ""), ("casedrop@.service", config.parent.name)):
        unit = _read(name, instance, directories)
        if unit is not None and _set(unit, CONFIG, CONFIGURATION) == str(config):
            called = name.replace("@", f"@{instance}")
            yield from _of_unit(settings, unit, called)


def _of_unit(settings: Settings, unit: Unit, called: str) -> Iterator[Finding]:
    problems = [*_roots(settings, unit, called), *_state(settings, unit, called)]
    yield from problems or [
        ok("unit", f"{called}: its sandbox lets the service write where the configuration says.")
    ]
    if "CAP_LEASE" not in unit.get("AmbientCapabilities", []):
        yield attention(
            "unit",
            f"{called}: without CAP_LEASE it cannot be asked whether a file of others is still being written.",
            _edit(called, "AmbientCapabilities=CAP_LEASE", "CapabilityBoundingSet=CAP_LEASE"),
        )


def _read(name: str, instance: str, directories: Sequence[str]) -> Unit | None:
    main = next((Path(one, name) for one in directories if Path(one, name).is_file()), None)
    if main is None:
        return None
    pieces: dict[str, Path] = {}
    for one in reversed(directories):
        for called in (name, name.replace("@", f"@{instance}")):
            pieces |= {path.name: path for path in Path(one, f"{called}.d").glob("*.conf")}
    unit: Unit = {}
    for path in (main, *(pieces[key] for key in sorted(pieces))):
        _take(unit, path.read_text(errors="replace").replace("\\\n", " ").replace("%i", instance))
    return unit


def _take(unit: Unit, text: str) -> None:
    """An empty value takes back what was said before."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            words = value.split()
            unit[key.strip()] = [*unit.get(key.strip(), []), *words] if words else []


def _set(unit: Unit, variable: str, default: str) -> str:
    words = [one.strip("\"'") for one in unit.get("Environment", [])]
    given = [one.removeprefix(variable) for one in words if one.startswith(variable)]
    return given[-1] if given else default


def _last(unit: Unit, key: str) -> str:
    return unit.get(key, [""])[-1] if unit.get(key) else ""


def _writable(unit: Unit) -> list[Path]:
    """Each of these is a mount of its own."""
    return [Path(os.path.realpath(one.lstrip("-+"))) for one in unit.get("ReadWritePaths", [])]


def _roots(settings: Settings, unit: Unit, name: str) -> Iterator[Finding]:
    mounts = _writable(unit)
    for drop in settings.drops:
        root = Path(os.path.realpath(drop.root))
        within = sorted({str(one) for one in mounts if one != root and one.is_relative_to(root)})
        if within:
            yield problem(
                "unit",
                f"{name}: {' and '.join(within)} under ReadWritePaths are mounts of their own, so no folder can "
                "be moved from one to another.",
                _edit(name, "ReadWritePaths=", f"ReadWritePaths={_parents(settings)}"),
            )
        elif why := _closed(unit, root, mounts):
            yield problem(
                "unit", f"{name}: the service cannot write in {drop.root}: {why}.", _opened(settings, name)
            )


def _closed(unit: Unit, path: Path, mounts: list[Path]) -> str:
    """Why the service cannot write there, "" where it can."""
    if any(path.is_relative_to(one) for one in mounts):
        return ""
    if _last(unit, "ProtectSystem") == "strict":
        return "ProtectSystem=strict, and no ReadWritePaths holds it"
    home = _last(unit, "ProtectHome")
    if home in (*ON, "read-only", "tmpfs") and any(path.is_relative_to(one) for one in HOMES):
        return f"ProtectHome={home}"
    if _last(unit, "PrivateTmp") in ON and any(path.is_relative_to(one) for one in TEMPORARY):
        return "PrivateTmp hides what lies there"
    return ""


def _state(settings: Settings, unit: Unit, name: str) -> Iterator[Finding]:
    given = _set(unit, STATE, str(settings.state.directory))
    if Path(given) != settings.state.directory:
        yield problem(
            "unit",
            f"{name}: the service keeps its state in {given}, and commands by this configuration look for it in "
            f"{settings.state.directory}.",
            f'Write directory = "{given}" under [state] of its configuration.',
        )
    directory = Path(os.path.realpath(given))
    own = [Path("/var/lib", one) for one in unit.get("StateDirectory", [])]
    if why := _closed(unit, directory, [*_writable(unit), *own]):
        text = f"{name}: the service cannot write in state.directory {directory}: {why}."
        yield problem("unit", text, _edit(name, f"ReadWritePaths={directory}"))


def _opened(settings: Settings, name: str) -> str:
    return _edit(name, f"ReadWritePaths={_parents(settings)}")


def _parents(settings: Settings) -> str:
    """The one directory that holds all roots, or else each root itself."""
    roots = [os.path.realpath(drop.root) for drop in settings.drops]
    parent = os.path.commonpath([os.path.dirname(root) for root in roots])
    return parent if parent.count("/") > 1 else " ".join(dict.fromkeys(roots))


def _edit(name: str, *lines: str) -> str:
    """Not `systemctl edit --stdin`, which systemd has since 256."""
    directory = f"/etc/systemd/system/{name}.d"
    said = "\\n".join(lines)
    return (
        f"sudo mkdir -p {directory} && printf '[Service]\\n{said}\\n' | sudo tee -a {directory}/sandbox.conf && "
        f"sudo systemctl daemon-reload && sudo systemctl restart {name}"
    )
