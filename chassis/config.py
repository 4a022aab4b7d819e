"""Settings: frozen dataclasses, read once from an environment mapping.

A settings class is a frozen dataclass whose fields are made by `setting`. A field whose type is itself a
settings class is loaded from the same environment, so that a process composes what it needs::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Settings:
        common: CommonSettings
        batch_rows_max: int = setting("MEDFORALL_RELAY_BATCH_ROWS", default=200, unit="rows", doc="…")

    settings = load(Settings, os.environ)
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

SettingsT = TypeVar("SettingsT")

_MISSING = dataclasses.MISSING
_TRUE = frozenset({"1", "on", "true", "yes"})
_FALSE = frozenset({"0", "off", "false", "no"})
_KEY = "chassis.setting"


class ConfigError(Exception):
    """A setting is missing or malformed; the message is one sentence that names the variable."""


@dataclasses.dataclass(frozen=True, slots=True)
class SettingDoc:
    """What the documentation says about one setting."""

    env: str
    doc: str
    unit: str
    default: str
    required: bool
    secret: bool
    minimum: float | None
    maximum: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Spec:
    env: str
    doc: str
    unit: str
    secret: bool
    minimum: float | None
    maximum: float | None


def setting(
    env: str,
    *,
    doc: str,
    default: Any = _MISSING,
    unit: str = "",
    secret: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """Declare one setting: its variable, a one-sentence `doc`, its unit and bounds.

    Without a `default` the variable is required. A `secret` never appears in repr, logs, errors or documents.
    """
    spec = _Spec(env=env, doc=doc, unit=unit, secret=secret, minimum=minimum, maximum=maximum)
    return dataclasses.field(default=default, repr=not secret, metadata={_KEY: spec})


def load(cls: type[SettingsT], environ: Mapping[str, str]) -> SettingsT:
    """Read `cls` from `environ`; an empty variable counts as unset.

    Raises ConfigError naming the first variable that is missing or malformed.
    """
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        hint = hints[field.name]
        spec = field.metadata.get(_KEY)
        if spec is None:
            values[field.name] = _load_nested(cls, field, hint, environ)
        else:
            values[field.name] = _read(spec, field.default, hint, environ)
    return cls(**values)


def _load_nested(cls: type, field: dataclasses.Field[Any], hint: Any, environ: Mapping[str, str]) -> Any:
    if not dataclasses.is_dataclass(hint) or not isinstance(hint, type):
        raise TypeError(f"{cls.__name__}.{field.name} is neither a setting nor a settings class")
    return load(hint, environ)


def _read(spec: _Spec, default: Any, hint: Any, environ: Mapping[str, str]) -> Any:
    raw = environ.get(spec.env, "").strip()
    if not raw:
        if default is _MISSING:
            raise ConfigError(f"{spec.env} is not set: {spec.doc}")
        return default
    try:
        value = _parser(hint)(raw)
    except ValueError as error:
        shown = "its value" if spec.secret else repr(raw[:80])
        raise ConfigError(f"{spec.env} is malformed: {shown} is not {error}.") from None
    _check_bounds(spec, value)
    return value


def _check_bounds(spec: _Spec, value: Any) -> None:
    if not isinstance(value, int | float):
        return
    if spec.minimum is not None and value < spec.minimum:
        raise ConfigError(
            f"{spec.env} is {value:g}, below its minimum of {spec.minimum:g} {spec.unit}".rstrip() + "."
        )
    if spec.maximum is not None and value > spec.maximum:
        raise ConfigError(
            f"{spec.env} is {value:g}, above its maximum of {spec.maximum:g} {spec.unit}".rstrip() + "."
        )


def _parser(hint: Any) -> Callable[[str], Any]:
    """The function that reads a value of type `hint`; its ValueError completes "… is not …"."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not types.NoneType)
        return _parser(inner)
    if typing.get_origin(hint) is tuple:
        return _parse_list
    if typing.get_origin(hint) is typing.Literal:
        return _choice(typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return lambda raw: hint(_choice([member.value for member in hint])(raw))
    return _SCALARS[hint]


def _choice(allowed: Iterable[str]) -> Callable[[str], str]:
    options = tuple(allowed)

    def parse(raw: str) -> str:
        if raw not in options:
            raise ValueError(f"one of {', '.join(options)}")
        return raw

    return parse


def _parse_list(raw: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in raw.split(",") if part.strip())


def _parse_bool(raw: str) -> bool:
    lowered = raw.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError("on or off")


def _parse_int(raw: str) -> int:
    try:
        return int(raw)
    except ValueError:
        raise ValueError("a whole number") from None


def _parse_float(raw: str) -> float:
    try:
        return float(raw)
    except ValueError:
        raise ValueError("a number") from None


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Listen:
    """Where a server listens; port 0 means any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(raw: str) -> Listen:
    """Read `host:port` (or `[v6]:port`). Raises ValueError."""
    host, colon, port = raw.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("host:port")
    return Listen(host=host.strip("[]"), port=int(port))


@dataclasses.dataclass(frozen=True, slots=True)
class Rate:
    """A bucket's refill a minute and its capacity."""

    per_min: int
    burst: int

    def __str__(self) -> str:
        return f"{self.per_min}/{self.burst}"


def parse_rate(raw: str) -> Rate:
    """Read `per_min/burst`, both at least one. Raises ValueError."""
    per_min, _, burst = raw.partition("/")
    if not (per_min.isdigit() and burst.isdigit() and int(per_min) and int(burst)):
        raise ValueError("two whole numbers above zero such as 60/120")
    return Rate(int(per_min), int(burst))


_SCALARS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _parse_int,
    float: _parse_float,
    bool: _parse_bool,
    Path: Path,
    Listen: parse_listen,
    Rate: parse_rate,
}


def describe(cls: type) -> list[SettingDoc]:
    """Every setting of `cls` in the order of its fields, nested classes included."""
    hints = typing.get_type_hints(cls)
    docs: list[SettingDoc] = []
    for field in dataclasses.fields(cls):
        spec = field.metadata.get(_KEY)
        docs.extend(describe(hints[field.name]) if spec is None else [_document(spec, field.default)])
    return docs


def is_settings_class(candidate: object) -> bool:
    """Whether `candidate` is a dataclass that declares at least one setting of its own."""
    if not isinstance(candidate, type) or not dataclasses.is_dataclass(candidate):
        return False
    return any(_KEY in field.metadata for field in dataclasses.fields(candidate))


def own_settings(cls: type) -> list[SettingDoc]:
    """The settings that `cls` declares itself, without those of nested classes."""
    specs = ((field.metadata.get(_KEY), field.default) for field in dataclasses.fields(cls))
    return [_document(spec, default) for spec, default in specs if spec is not None]


def _document(spec: _Spec, default: Any) -> SettingDoc:
    return SettingDoc(
        env=spec.env,
        doc=spec.doc,
        unit=spec.unit,
        default="" if default is _MISSING else _show(default, secret=spec.secret),
        required=default is _MISSING,
        secret=spec.secret,
        minimum=spec.minimum,
        maximum=spec.maximum,
    )


def _show(default: Any, *, secret: bool) -> str:
    if default is None or default in ("", ()):
        return "unset"
    if secret:
        return "hidden"
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default)
    return str(default)


def render_markdown(groups: Iterable[tuple[str, str, Iterable[SettingDoc]]]) -> str:
    """Render (title, introduction, settings) groups as the settings page."""
    lines = [
        "# Settings",
        "",
        "Every process reads its settings once, from the environment, when it starts.",
        "",
    ]
    for title, introduction, docs in groups:
        lines += [
            f"## {title}",
            "",
            introduction,
            "",
            "| variable | meaning | default | unit |",
            "|---|---|---|---|",
        ]
        lines += [_row(doc) for doc in docs]
        lines.append("")
    return "\n".join(lines)


def _row(doc: SettingDoc) -> str:
    default = "**required**" if doc.required else f"`{doc.default}`"
    bounds = " … ".join("" if edge is None else f"{edge:g}" for edge in (doc.minimum, doc.maximum))
    unit = f"{doc.unit} ({bounds.strip()})" if bounds.strip(" …") else doc.unit
    meaning = doc.doc + (" Secret." if doc.secret else "")
    return f"| `{doc.env}` | {meaning} | {default} | {unit} |"
