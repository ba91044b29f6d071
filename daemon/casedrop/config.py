"""The settings: a TOML file under ``CASEDROP_`` environment variables, every mistake said at once.

No message ever shows a value, an unknown key's least of all: it may be a misspelt secret. Names of drops,
sockets and keys are shown when they are short words.
"""

import difflib
import os
import re
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    StrictBool,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, core_schema
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from casedrop import config_across, config_dicom, config_files, config_hours, config_tables
from casedrop import config_checks as checks
from casedrop.config_across import Tables
from casedrop.errors import ConfigurationError
from casedrop.hours import DAYS, UNLIMITED, Day, Schedule, Window
from casedrop.model import (
    IDENTIFYING,
    CodeTable,
    Decimal,
    Drop,
    Existing,
    FolderValue,
    Json,
    JsonValue,
    LabTable,
    Metadata,
    Mode,
    PageMode,
    Release,
    SocketRule,
    Split,
    TableValue,
    TextValue,
)
from casedrop.notices import KINDS, Kind
from casedrop.settle import IGNORED_SETS

PREFIX = "CASEDROP_"
TOKEN_VARIABLE = "CASEDROP_PLATFORM__TOKEN"  # noqa: S105
CREDENTIAL = "casedrop-token"
NO_TOKEN = "There is no token for Grand Challenge."  # noqa: S105
_OWN_VARIABLES = ("CASEDROP_CONFIG", TOKEN_VARIABLE)
_WAYS = (
    f"the environment variable {TOKEN_VARIABLE}, a file named by platform.token_file, "
    f"or the systemd credential {CREDENTIAL}"
)


_NUMBER = BeforeValidator(checks.number)
_MEGABIT = "megabits a second, from 0 (closed) to 1000000"
Seconds = Annotated[
    float, _NUMBER, Field(gt=0, le=1e9, allow_inf_nan=False, description="a number of seconds above 0")
]
WholePath = Annotated[
    Path, AfterValidator(checks.whole_path), Field(description='a whole path that starts with "/"')
]
Glob = Annotated[str, AfterValidator(checks.glob)]
Globs = Annotated[
    tuple[Glob, ...],
    BeforeValidator(checks.one_or_more, json_schema_input_type=str | list[str]),
    Field(description='a pattern such as "*.mha", or a list'),
]
Slug = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]+$",
        description="a slug, the last part of its web address on Grand Challenge: letters, digits, - and _",
    ),
]
Expression = Annotated[
    str, AfterValidator(checks.expression), Field(description="a regular expression in quotes")
]


def _identifying(keywords: tuple[str, ...]) -> tuple[str, ...]:
    """DICOM's list of attributes is long to load, and the default needs no check."""
    if keywords != IDENTIFYING:
        from casedrop.header_texts import is_keyword  # noqa: PLC0415

        checks.keywords(keywords, is_keyword)
    return keywords


class Table(BaseModel):
    """A table of the file; a field's description says what is meant, the messages quote it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


_Kept = TypeVar("_Kept", bound=Table)


class Platform(Table):
    url: Annotated[str, AfterValidator(checks.address), Field(description="a web address in quotes")] = (
        "https://grand-challenge.org/api/v1/"
    )
    token_file: WholePath | None = None
    proxy: Annotated[
        str, AfterValidator(checks.proxy), Field(description="a web address such as http://proxy:3128")
    ] = ""
    proxy_credentials_file: WholePath | None = None
    ca_file: WholePath | None = None
    token_expires: Annotated[date | None, Field(description="a date such as 2026-12-31")] = None


class State(Table):
    directory: WholePath = Path("/var/lib/casedrop")
    min_free: Annotated[ByteSize, Field(ge=0, description='a size such as "500 MB"')] = ByteSize(200_000_000)


class Settle(Table):
    quiet_seconds: Seconds = 30
    rescan_seconds: Seconds = 30
    incomplete_seconds: Annotated[Seconds, Field(ge=0)] = 900


class Hours(Table):
    """One of [[limits.hours]]; `window` is what it means."""

    start: Annotated[
        str,
        AfterValidator(config_hours.clock),
        Field(alias="from", description='a time of day such as "22:00"'),
    ]
    end: Annotated[
        str,
        AfterValidator(config_hours.clock),
        Field(alias="to", description='a time of day such as "06:00"'),
    ]
    days: Annotated[
        tuple[Day, ...],
        Field(min_length=1, description='a list of "mon", "tue", "wed", "thu", "fri", "sat" and "sun"'),
    ] = DAYS
    megabit_per_second: Annotated[float, _NUMBER, Field(ge=0, le=1e6, description=_MEGABIT)]

    def window(self) -> Window:
        return config_hours.window(self.start, self.end, self.days, self.megabit_per_second)


class Limits(Table):
    cases: Annotated[int, _NUMBER, Field(ge=1, le=64, description="a whole number from 1 to 64")] = 4
    connections: Annotated[int, _NUMBER, Field(ge=1, le=256, description="a whole number from 1 to 256")] = 16
    files: Annotated[
        int, _NUMBER, Field(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")
    ] = 50_000
    import_seconds: Seconds = 43200
    reassign_seconds: Seconds = 900
    megabit_per_second: Annotated[float | None, _NUMBER, Field(ge=0, le=1e6, description=_MEGABIT)] = None
    time_zone: Annotated[
        str, AfterValidator(config_hours.zone_name), Field(description='such as "Europe/Amsterdam"')
    ] = ""
    hours: Annotated[
        tuple[Hours, ...], Field(description="tables, each of which begins with [[limits.hours]]")
    ] = ()

    def schedule(self) -> Schedule:
        rate = self.megabit_per_second
        return Schedule(
            UNLIMITED if rate is None else config_hours.bytes_per_second(rate),
            tuple(one.window() for one in self.hours),
            config_hours.zone(self.time_zone),
        )


class Pseudonyms(Table):
    key_file: WholePath | None = None


class Logs(Table):
    names: Annotated[Literal["hidden", "plain"], Field(description='"hidden" or "plain"')] = "hidden"


class Ledger(Table):
    names: Annotated[Literal["plain", "hidden"], Field(description='"plain" or "hidden"')] = "plain"


class Metrics(Table):
    port: Annotated[
        int | None, _NUMBER, Field(ge=1024, le=65535, description="a whole number from 1024 to 65535")
    ] = None


class Notify(Table):
    url_file: WholePath
    on: Annotated[
        tuple[Kind, ...],
        Field(min_length=1, description='a list of "failed", "held", "resumed", "token" and "digest"'),
    ] = KINDS
    drops: Annotated[
        tuple[str, ...],
        BeforeValidator(checks.one_or_more, json_schema_input_type=str | list[str]),
        Field(description="the name of a drop, or a list"),
    ] = ()
    per_hour: Annotated[int, _NUMBER, Field(ge=1, le=60, description="a whole number from 1 to 60")] = 6
    digest_hour: Annotated[int, _NUMBER, Field(ge=0, le=23, description="a whole number from 0 to 23")] = 7


class _ValueFromTable(Table):
    json_file: Annotated[Glob | None, Field(alias="json", description="a pattern for a JSON file")] = None
    pointer: Annotated[str, AfterValidator(checks.pointer), Field(description="a JSON pointer in quotes")] = (
        ""
    )
    text: Annotated[Glob | None, Field(description="a pattern for a text file")] = None
    folder: Annotated[str, AfterValidator(checks.value_expression)] | None = Field(
        None, description="a regular expression with a group named value"
    )
    table: Annotated[str | None, Field(description="the name of one of the drop's tables")] = None
    column: Annotated[str, Field(min_length=1, description="the name of a column in quotes")] = ""

    def source(self) -> JsonValue | TextValue | FolderValue | TableValue:
        if self.folder is not None:
            return FolderValue(self.folder)
        if self.table is not None:
            return TableValue(self.table, self.column)
        return JsonValue(self.json_file or "", self.pointer) if self.text is None else TextValue(self.text)


class _CodesTable(Table):
    file: WholePath
    folder: Annotated[str, Field(min_length=1, description="the name of the column of folder names")]
    code: Annotated[str, Field(min_length=1, description="the name of the column of codes")]

    def table(self) -> CodeTable:
        return CodeTable(str(self.file), self.folder, self.code)


class _SplitTable(Table):
    folders: Annotated[str, AfterValidator(checks.folders), Field(description='a pattern such as "*/"')] = ""
    pattern: Annotated[
        str, AfterValidator(checks.split_expression), Field(description="a regular expression in quotes")
    ] = ""

    def split(self) -> Split:
        return Split(self.folders.rstrip("/"), self.pattern)


class _LabTable(Table):
    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$", description="1 to 60 letters, digits, - and _")
    ]
    file: WholePath | None = None
    csv: Annotated[Glob | None, Field(description='a pattern such as "scores.csv"')] = None
    sheet: Annotated[str, Field(description="the name of a sheet in quotes")] = ""
    key_columns: Annotated[
        dict[str, str], BeforeValidator(checks.key_columns), Field(description="a table of columns")
    ] = {}
    decimal: Annotated[Decimal, Field(description='"." or ","')] = "."

    def table(self) -> LabTable:
        keys = tuple(self.key_columns.items())
        return LabTable(self.name, str(self.file or ""), self.csv or "", self.sheet, keys, self.decimal)


class _SocketTable(Table):
    socket: Slug
    files: Globs = ()
    fallback: Annotated[StrictBool, Field(description="true or false")] = False
    required: Annotated[StrictBool, Field(description="true or false")] = True
    value: Annotated[Json, AfterValidator(checks.plain_json)] = None
    value_from: Annotated[
        _ValueFromTable | None,
        Field(description='a table such as { json = "score.json", pointer = "/score" }'),
    ] = None

    dicom: config_dicom.Dicom = None
    pick: config_dicom.PickOption = ""
    allow: config_dicom.RuleAllow = ()
    experimental: Annotated[StrictBool, Field(description="true or false")] = False
    same_grid_as: Annotated[Slug, Field(description="the slug of another socket of this drop")] = ""
    image_of: Annotated[Slug, Field(description="the slug of another socket of this drop")] = ""

    def rule(self) -> SocketRule:
        return SocketRule(
            socket=self.socket,
            files=self.files,
            fallback=self.fallback,
            required=self.required,
            value=self.value,
            has_value="value" in self.model_fields_set,
            value_from=None if self.value_from is None else self.value_from.source(),
            dicom=self.dicom,
            pick=self.pick,
            allow=self.allow,
            experimental=self.experimental,
            same_grid_as=self.same_grid_as,
            image_of=self.image_of,
        )


class _AlreadyDone(Table):
    patterns: config_dicom.Patterns = ()


class _DicomStandard(Table):
    options: config_dicom.Options = ()


class _DropTable(Table):
    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9._-]{1,60}$", description="1 to 60 letters, digits, dots, - and _"),
    ]
    root: WholePath
    reader_study: Slug = ""
    archive: Slug = ""
    folder: Expression | None = None
    title: Annotated[str, AfterValidator(checks.title), Field(description="text such as {folder}")] = (
        "{folder}"
    )
    order: Annotated[str, AfterValidator(checks.order), Field(description="text such as {visit}")] = ""
    unmatched: Annotated[Literal["fail", "ignore"], Field(description='"fail" or "ignore"')] = "fail"
    mode: Annotated[Mode, Field(description='"send" or "rehearse"')] = "send"
    release: Annotated[Release, Field(description='"auto" or "ask"')] = "auto"
    contact: Annotated[
        str, AfterValidator(checks.one_line), Field(max_length=200, description="text of one line, in quotes")
    ] = ""
    page: Annotated[PageMode, Field(description='"plain", "hidden" or "off"')] = "plain"
    existing_display_set: Annotated[Existing, Field(description='"refuse", "add" or "replace"')] = "refuse"
    ignore: Annotated[
        tuple[Annotated[Glob, AfterValidator(checks.ignored)], ...],
        BeforeValidator(checks.one_or_more, json_schema_input_type=str | list[str]),
        Field(description='a pattern such as "*.log", a set such as "@dicom-cd", or a list'),
    ] = ()
    split: Annotated[_SplitTable | None, Field(description='a table such as { folders = "*/" }')] = None
    ready: Annotated[str, AfterValidator(checks.marker), Field(description="a file name in quotes")] = ""
    identifier_check: Annotated[
        tuple[str, ...],
        AfterValidator(_identifying),
        Field(description='a list of DICOM keywords such as ["PatientName"], or []'),
    ] = IDENTIFYING
    metadata: Annotated[Metadata, Field(description='"refuse", "strip" or "send"')] = "refuse"
    codes: Annotated[
        _CodesTable | None,
        Field(description='a table { file = "/etc/casedrop/codes.csv", folder = "Folder", code = "Code" }'),
    ] = None
    tables: Annotated[
        tuple[_LabTable, ...], Field(description="tables, each of which begins with [[drops.tables]]")
    ] = ()
    deidentify: config_dicom.Deidentify = "grand-challenge"
    already_done: Annotated[
        _AlreadyDone, Field(description="a table such as { patterns = ['ANON-[0-9]+'] }")
    ] = _AlreadyDone()
    dicom_standard: Annotated[
        _DicomStandard, Field(description='a table such as { options = ["retain-full-dates"] }')
    ] = _DicomStandard()
    leave_out: config_dicom.LeaveOut = ()
    allow: config_dicom.DropAllow = ()
    sockets: Annotated[
        tuple[_SocketTable, ...], Field(min_length=1, description="at least one table [[drops.sockets]]")
    ]

    def drop(self) -> Drop:
        made = {
            "root": os.path.normpath(self.root),
            "sockets": tuple(table.rule() for table in self.sockets),
            "codes": self.codes.table() if self.codes else None,
            "ignore": tuple(one for pattern in self.ignore for one in IGNORED_SETS.get(pattern, (pattern,))),
            "split": self.split.split() if self.split else None,
            "tables": tuple(table.table() for table in self.tables),
            "procedure": config_dicom.procedure(
                self.deidentify, self.allow, self.already_done.patterns, self.dicom_standard.options
            ),
        }
        others = (
            _DropTable.model_fields.keys() - made.keys() - {"deidentify", "already_done", "dicom_standard"}
        )
        return Drop(**{name: getattr(self, name) for name in others} | made)


class _AsDrop:
    """Lets a field of type Drop take the file's table, or a Drop."""

    def __get_pydantic_core_schema__(
        self, _: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        def convert(value: object, inner: Callable[[object], _DropTable]) -> Drop:
            return value if isinstance(value, Drop) else inner(value).drop()

        return core_schema.no_info_wrap_validator_function(convert, handler.generate_schema(_DropTable))


class Settings(Table):
    """Everything the file and the environment say; times in seconds."""

    platform: Annotated[Platform, Field(description="a table [platform]")] = Platform()
    state: Annotated[State, Field(description="a table [state]")] = State()
    settle: Annotated[Settle, Field(description="a table [settle]")] = Settle()
    limits: Annotated[Limits, Field(description="a table [limits]")] = Limits()
    pseudonyms: Annotated[Pseudonyms, Field(description="a table [pseudonyms]")] = Pseudonyms()
    logs: Annotated[Logs, Field(description="a table [logs]")] = Logs()
    ledger: Annotated[Ledger, Field(description="a table [ledger]")] = Ledger()
    metrics: Annotated[Metrics, Field(description="a table [metrics]")] = Metrics()
    notify: Annotated[
        tuple[Notify, ...], Field(description="tables, each of which begins with [[notify]]")
    ] = ()
    drops: Annotated[
        tuple[Annotated[Drop, _AsDrop()], ...],
        Field(min_length=1, description="at least one table [[drops]]"),
    ]


TABLES: dict[tuple[str, ...], type[Table]] = {
    (): Settings,
    ("platform",): Platform,
    ("state",): State,
    ("settle",): Settle,
    ("limits",): Limits,
    ("limits", "hours"): Hours,
    ("pseudonyms",): Pseudonyms,
    ("logs",): Logs,
    ("ledger",): Ledger,
    ("metrics",): Metrics,
    ("notify",): Notify,
    ("drops",): _DropTable,
    ("drops", "codes"): _CodesTable,
    ("drops", "split"): _SplitTable,
    ("drops", "tables"): _LabTable,
    ("drops", "already_done"): _AlreadyDone,
    ("drops", "dicom_standard"): _DicomStandard,
    ("drops", "sockets"): _SocketTable,
    ("drops", "sockets", "value_from"): _ValueFromTable,
}
"""The file's tables by their path."""


def schema() -> Json:
    """The JSON schema of the file, for editors."""
    made: Json = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Settings.model_json_schema()
    return made | {"title": "Casedrop's configuration"}


def options(table: tuple[str, ...]) -> list[str]:
    """Names of the keys a table of the file may hold."""
    return [field.alias or name for name, field in TABLES[table].model_fields.items()]


def drop_named(settings: Settings, name: str) -> Drop:
    """Raises ConfigurationError where there is none of that name."""
    for drop in settings.drops:
        if drop.name == name:
            return drop
    known = ", ".join(drop.name for drop in settings.drops)
    raise ConfigurationError([f'There is no drop "{name}" (there are: {known}).'])


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Settings of the file at `path`, with the variables of `environ` over it.

    Raises ConfigurationError with every mistake at once.
    """
    written, homes = config_files.read(path)
    known = {
        f"{PREFIX}{table}__{option}".upper(): f"{table}__{option}"
        for (table, *rest) in TABLES.keys() - {(), ("notify",), ("drops",)}
        if not rest
        for option in options((table,))
    }
    given = {known[name]: value for name, value in environ.items() if name in known}
    problems = [
        _unknown_variable(name, list(known))
        for name in environ
        if name.startswith(PREFIX) and name not in known and name not in _OWN_VARIABLES
    ]

    class Variables(EnvSettingsSource):
        def _load_env_vars(self) -> Mapping[str, str | None]:
            return given

    class Loaded(BaseSettings, Settings):
        model_config = SettingsConfigDict(
            extra="forbid",
            frozen=True,
            hide_input_in_errors=True,
            case_sensitive=True,
            env_nested_delimiter="__",
        )

        @classmethod
        def settings_customise_sources(  # type: ignore[override]  # the sources offered are not used
            cls, settings_cls: type[BaseSettings], **_: object
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return Variables(settings_cls), InitSettingsSource(settings_cls, written)

        @model_validator(mode="wrap")
        @classmethod
        def _own_words(cls, data: Tables, handler: ModelWrapValidatorHandler["Loaded"]) -> "Loaded":
            loaded = None
            try:
                loaded = handler(data)
            except ValidationError as error:
                details = error.errors(include_url=False)
                problems.extend(
                    config_files.place(detail["loc"], homes) + _sentence(detail, data, given)
                    for detail in details
                    if not _echo(detail)
                )
            between = (
                *config_across.across(data),
                *config_dicom.mistakes(data),
                *config_tables.mistakes(data),
                *config_hours.mistakes(data),
            )
            problems.extend(
                f"{config_files.place(location, homes)}{config_across.where(location, data)}: {text}."
                for location, text in between
            )
            if problems or loaded is None:
                raise ConfigurationError(problems)
            return loaded

    loaded = Loaded()
    return Settings(**{name: getattr(loaded, name) for name in Settings.model_fields})


def salvaged(path: Path, environ: Mapping[str, str]) -> Settings:
    """Of a configuration with mistakes what is good of [state] and [settle], the rest by default, and no drops.

    That is enough to find a service that runs by the configuration before. Raises ConfigurationError where the
    file cannot be read.
    """
    written = config_files.alone(path)
    given = environ.get(f"{PREFIX}STATE__DIRECTORY")
    state = _good(State, written.get("state", {}) | ({"directory": given} if given else {}))
    return Settings.model_construct(state=state, settle=_good(Settle, written.get("settle", {})), drops=())


def _good(table: type[_Kept], written: Tables) -> _Kept:
    """With each option that is good by itself."""
    kept: Tables = {}
    for option, value in written.items():
        with suppress(ValidationError):
            table.model_validate({option: value})
            kept[option] = value
    return table.model_validate(kept)


def _sentence(detail: ErrorDetails, data: Tables, given: Mapping[str, str]) -> str:
    """A mistake pydantic found, in own words: it tells where and which kind, the field what is meant."""
    location = detail["loc"]
    path = tuple(step for step in location if isinstance(step, str))
    if detail["type"] == "extra_forbidden":
        start = f"{config_across.where(location[:-1], data)}: " if len(location) > 1 else ""
        return start + _unknown_key(path[-1], path[:-1])
    variable = "__".join(path)
    where = PREFIX + variable.upper() if variable in given else config_across.where(location, data)
    if detail["type"] == "value_error":
        return f"{where}: {detail['ctx']['error']}."
    missing = "is missing; it " if detail["type"] == "missing" else ""
    return f"{where}: {missing}must be {_meant(path)}."


def _echo(detail: ErrorDetails) -> bool:
    """Whether a list is called too short only because what stands in it has mistakes."""
    return detail["type"] == "too_short" and bool(detail["input"])


def _meant(path: tuple[str, ...]) -> str:
    fields = TABLES[path[:-1]].model_fields.items()
    return next(field.description or "" for name, field in fields if path[-1] in (name, field.alias))


def _unknown_key(key: str, table: tuple[str, ...]) -> str:
    name = f"unknown key {checks.shown(key) or '(not a short word)'}"
    known = options(table) if table in TABLES else []
    near = difflib.get_close_matches(key.lower(), [*known, "token"], 1)
    if near == ["token"]:
        return f"{name}. A token never stands in this file; give it by {_WAYS}."
    if (table, key) == (("notify",), "url"):
        return f"{name}. An address holds passwords: name a file with it, as url_file."
    if near:
        return f'{name}. Did you mean "{near[0]}"?'
    homes = [".".join(other) for other in TABLES if other and key in options(other)]
    if homes:
        return f"{name}. It belongs in [{homes[0]}]."
    return f"{name}. Known here: {', '.join(known)}."


def _unknown_variable(name: str, known: list[str]) -> str:
    shown = name if checks.shown(name) else f"A variable that begins with {PREFIX}"
    endings = [one.removeprefix(PREFIX) for one in (*known, *_OWN_VARIABLES)]
    near = difflib.get_close_matches(name.removeprefix(PREFIX).upper(), endings, 1)
    hint = f"Did you mean {PREFIX}{near[0]}?" if near else "Drops are set in the file alone."
    return f"{shown}: unknown environment variable. {hint}"


Origin = Literal["file", "environment", "credential"]


def token_origin(settings: Settings, environ: Mapping[str, str]) -> Origin:
    """Where `read_token` finds the token: a file is read again at any time, the others at a start."""
    if settings.platform.token_file:
        return "file"
    return "environment" if environ.get(TOKEN_VARIABLE, "").strip() else "credential"


def read_token(settings: Settings, environ: Mapping[str, str]) -> str:
    """The token, from exactly one of the variable, ``token_file`` and the systemd credential.

    Raises ConfigurationError, which never shows it.
    """
    problems: list[str] = []
    tokens: dict[str, str] = {}
    if environ.get(TOKEN_VARIABLE, "").strip():
        tokens[TOKEN_VARIABLE] = environ[TOKEN_VARIABLE].strip()
    credential = Path(environ.get("CREDENTIALS_DIRECTORY", "")) / CREDENTIAL
    if credential.is_absolute() and credential.exists():
        tokens[f"the credential {CREDENTIAL}"] = read_secret(credential, problems, private=False)
    if settings.platform.token_file:
        tokens["platform.token_file"] = read_secret(settings.platform.token_file, problems)
    for source, token in tokens.items():
        if not re.fullmatch(r"[!-~]*", token):
            problems.append(
                f"{source}: the token holds white space or characters no token has. It is one word, "
                'without "Bearer" before it.'
            )
    if not tokens:
        problems.append(f"{NO_TOKEN} Give it by one of: {_WAYS}.")
    if not problems and len(set(tokens.values())) > 1:
        problems.append(f"{' and '.join(tokens)} give different tokens. Keep one and remove the other.")
    if problems:
        raise ConfigurationError(problems)
    return next(iter(tokens.values()))


def read_secret(path: Path, problems: list[str], *, what: str = "the token", private: bool = True) -> str:
    """What a file holds; that it is missing, empty or (though `private`) for all to read is a problem more."""
    try:
        text = path.read_bytes().decode(errors="replace").strip()
        mode = path.stat().st_mode
    except OSError as error:
        problems.append(f"{path}: {what} cannot be read: {error.strerror}.")
        return ""
    if private and mode & (stat.S_IROTH | stat.S_IWOTH):
        problems.append(f"{path}: everyone on this machine can read or change {what}. Run: chmod 640 {path}")
    if not text:
        problems.append(f"{path}: is empty; it must hold {what}.")
    return text
