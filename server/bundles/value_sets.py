"""The part "value_sets": the agreed lists of codes, a file in the data folder that is replaced as a whole."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import replace
from pathlib import Path

from protocol.credentials.value_sets import (
    ValueSet,
    ValueSetError,
    ValueSets,
    value_set_from_json,
    value_sets_from_bytes,
    value_sets_of,
)
from server.audit import Thing, audit
from server.bundles.errors import PartError
from server.context import House
from server.keystore import write_secret_file

VALUE_SETS = "value-sets.json"  # in data_dir
MAX_FILE_BYTES = 1024 * 1024


def held_value_sets(house: House) -> ValueSets | None:
    """The lists in use, or None. Raises PartError when the file is none any more."""
    path = house.settings.data_dir / VALUE_SETS
    try:
        return value_sets_from_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueSetError) as error:
        raise PartError(f"The value sets in {path} cannot be used: {error}.", hint="Import them again.") from error


def read_folder(folder: Path) -> list[ValueSet]:
    """The value sets of the EU's shape in *folder* (`*.json`). Raises PartError that names the file."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ValueSetError("it is larger than 1 MiB")
            found.append(value_set_from_json(json.loads(path.read_bytes())))
        except (OSError, ValueError, RecursionError, ValueSetError) as error:
            raise PartError(f"{path} is no value set: {error}", hint="Leave it out, or mend it.") from error
    if not found:
        raise PartError(f"{folder} holds no value sets.", hint="JSON files with valueSetId and valueSetValues.")
    return found


def put_value_sets(house: House, sets: list[ValueSet]) -> tuple[ValueSets, bool]:
    """Put *sets* in use with the next version, as a whole; the same ones again only confirm their age.

    Returns what is in use now, and whether any list is another one. Raises PartError.
    """
    held = held_value_sets(house)
    try:
        fresh = value_sets_of(sets, version=1 if held is None else held.version + 1, issued_at=house.now())
    except ValueSetError as error:
        raise PartError(str(error), hint="Nothing was changed.") from error
    is_other = held is None or held.sets != fresh.sets
    if held is not None and not is_other:
        fresh = replace(fresh, version=held.version)
    path = house.settings.data_dir / VALUE_SETS
    new = path.with_name(f"{VALUE_SETS}.{secrets.token_hex(4)}.new")
    try:
        write_secret_file(new, fresh.to_bytes())
        with house.database.writing() as writing:
            count = sum(len(one.values) for one in fresh.sets)
            told = f"version {fresh.version}: {len(fresh.sets)} sets, {count} codes"
            audit(writing, "value_sets.set", Thing("value_sets", str(fresh.version)), told, at=house.now())
            os.replace(new, path)
    except OSError as error:
        raise PartError(f"{path} cannot be written: {error.strerror}.", hint="Check the data folder.") from error
    return fresh, is_other
