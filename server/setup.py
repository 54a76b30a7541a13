"""Making a new server: secrets, keys, tables. Used by `gatehouse admin init`, the demo and the tests."""

from __future__ import annotations

import base64
import os
import secrets
from datetime import datetime

from config.server import ServerSettings
from server.db import Database
from server.keystore import ENVIRONMENT, KeyStore, read_passphrase, write_secret_file
from server.migrations import upgrade


def initialise(settings: ServerSettings, *, now: datetime) -> list[str]:
    """Make what is missing of data folder, session secret, passphrase, keys and tables; returns what was made.

    Running it again changes nothing that exists, and brings the tables to this version.
    """
    made = []
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, skip in (
        (settings.secret_key_path, False),
        (settings.passphrase_path, bool(os.environ.get(ENVIRONMENT))),
    ):
        if not skip and not path.exists():
            write_secret_file(path, base64.urlsafe_b64encode(secrets.token_bytes(32)) + b"\n")
            made.append(str(path))
    if not (settings.key_dir / "server-identity.pem").exists():
        KeyStore.create(settings.key_dir, read_passphrase(settings.passphrase_path), now=now)
        made.append(str(settings.key_dir))
    else:
        made += add_missing_keys(settings, now=now)
    database = Database(settings.database)
    upgrade(database.engine)
    database.engine.dispose()
    return made


def replace_session_key(settings: ServerSettings) -> None:
    """Put a new session secret in the place of the old one, at once and whole."""
    path = settings.secret_key_path
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    write_secret_file(fresh, base64.urlsafe_b64encode(secrets.token_bytes(32)) + b"\n")
    os.replace(fresh, path)


def add_missing_keys(settings: ServerSettings, *, now: datetime) -> list[str]:
    """Make issuer keys that this version needs and an older one did not; returns what was made."""
    keys = KeyStore.open(settings.key_dir, read_passphrase(settings.passphrase_path))
    return [f"issuer key {key.kid.hex()} for {key.use.value}" for key in keys.add_missing_issuer_keys(now)]
