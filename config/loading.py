"""Reads TOML into frozen dataclasses: unknown keys are refused with the list of known ones, paths made absolute."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from config.errors import ConfigError

T = TypeVar("T")


def load(cls: type[T], path: Path) -> T:
    """Read the TOML file at *path* into the frozen dataclass *cls*.

    Tables become nested dataclasses; relative `Path` values are taken from the file's own folder.
    Raises ConfigError that names the file, the key, what was found and what was expected.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no settings file at {path}.", hint="Give its path with --config.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint="Check the file's owner and permissions.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", hint="Mend that line and start again.") from error
    return from_table(cls, table, where=str(path), base=path.resolve().parent)


def from_table(cls: type[T], table: dict[str, Any], *, where: str, base: Path, prefix: str = "") -> T:
    """Build the frozen dataclass *cls* from the parsed *table*; see `load`."""
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for key in table:
        if key not in fields:
            raise ConfigError(
                f"{where}: {prefix}{key} is not a setting.",
                hint=f"Settings here: {', '.join(sorted(fields))}.",
            )
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _value(hints[name], table[name], where=where, base=base, key=f"{prefix}{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: {prefix}{name} is missing.", hint="It has no default; add it.")
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}", hint="Mend that setting and start again.") from error


def _value(kind: Any, value: Any, *, where: str, base: Path, key: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(kind) if a is not type(None)]
        return _value(inner[0], value, where=where, base=base, key=key)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise _wrong(where, key, "a table", value)
        return from_table(typing.cast(type, kind), value, where=where, base=base, prefix=f"{key}.")
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, key, "a list", value)
        item = typing.get_args(kind)[0]
        return tuple(_value(item, v, where=where, base=base, key=f"{key}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, key, "a table", value)
        item = typing.get_args(kind)[1]
        return {k: _value(item, v, where=where, base=base, key=f"{key}.{k}") for k, v in value.items()}
    if origin is typing.Literal:
        if value not in typing.get_args(kind):
            raise _wrong(where, key, "one of " + ", ".join(map(repr, typing.get_args(kind))), value)
        return value
    if kind is Path:
        if not isinstance(value, str):
            raise _wrong(where, key, "a path", value)
        return (base / Path(value).expanduser()).resolve()
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Any:
        return value
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(where, key, f"a value of type {kind.__name__}", value)
    return value


def _wrong(where: str, key: str, expected: str, found: Any) -> ConfigError:
    return ConfigError(f"{where}: {key} is {found!r}.", hint=f"Expected {expected}.")
