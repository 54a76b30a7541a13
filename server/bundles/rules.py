"""The part "rules": CertLogic rules over certificates, a file in the data folder that is replaced as a whole."""

from __future__ import annotations

import os
import secrets

from protocol.credentials.rules import RuleSet, rule_set_from_bytes
from protocol.errors import ProtocolError
from server.audit import Thing, audit
from server.bundles.errors import PartError
from server.context import House
from server.keystore import write_secret_file

RULES = "rules.json"  # in data_dir


def held_rules(house: House) -> bytes | None:
    """The rules in force as they were put here, or None. Raises PartError when the file is none any more."""
    path = house.settings.data_dir / RULES
    try:
        data = path.read_bytes()
        rule_set_from_bytes(data)
    except FileNotFoundError:
        return None
    except (OSError, ProtocolError) as error:
        raise PartError(f"The rules in {path} cannot be used: {error}.", hint="Put them there again.") from error
    return data


def put_rules(house: House, data: bytes) -> RuleSet:
    """Put the rule set *data* (JSON) in force. Raises PartError unless it can be read and its version is a higher one.

    A set without rules takes earlier ones back.
    """
    try:
        rules = rule_set_from_bytes(data)
    except ProtocolError as error:
        raise PartError(str(error), hint="The members of a rule set stand in docs/credentials.md.") from error
    held = held_rules(house)
    if held is not None and (old := rule_set_from_bytes(held)).version >= rules.version:
        raise PartError(
            f"The rules have version {rules.version}, and version {old.version} is in force.",
            hint="Give a changed set a higher version, so that people at the entrances can tell them apart.",
        )
    path = house.settings.data_dir / RULES
    fresh = path.with_name(f"{RULES}.{secrets.token_hex(4)}.new")
    try:
        write_secret_file(fresh, data)
        with house.database.writing() as writing:
            audit(writing, "rules.set", Thing("rules", str(rules.version)), f"{len(rules.rules)} rules", at=house.now())
            os.replace(fresh, path)
    except OSError as error:
        raise PartError(f"{path} cannot be written: {error.strerror}.", hint="Check the data folder.") from error
    return rules
