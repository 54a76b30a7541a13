"""The settings of the vault process, as read from its own TOML file; it shares none with the web server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from config.loading import load


@dataclass(frozen=True, slots=True)
class VaultProcessSettings:
    """Everything the vault is told; see vault.example.toml for what each means."""

    folder: Path  # keys, roster, access log, index; 0700, the vault's own user
    socket: Path | None = None  # default FOLDER/vault.sock
    passphrase_file: Path | None = None  # else the environment variable, else a prompt
    client_users: tuple[str, ...] = ()  # user names or numeric ids that may connect; empty: only the vault's own user
    socket_group: str = ""  # the group that owns the socket; empty: the vault's own
    passkey_origins: tuple[str, ...] = ()  # https://HOST[:PORT] of the console; empty: passkeys approve nothing
    passkeys_may_unmask: bool = True  # False: only an approval key on the approver's own machine reveals full values
    max_connections: int = 16
    idle_seconds: float = 120.0  # a connection that says nothing for this long is closed
    request_seconds: float = 10.0  # a request or an answer that takes longer on the wire is cut off
    refusals_a_minute: int = 20  # looks refused to one client user in a minute, before it has to wait
    pause_seconds: float = 300.0  # for so long its looks are then answered "too many", unread

    def __post_init__(self) -> None:
        for origin in self.passkey_origins:
            url = urlsplit(origin)
            local = url.scheme == "http" and url.hostname == "localhost"
            if not (url.scheme == "https" or local) or not url.hostname or url.path or url.query or url.fragment:
                raise ValueError(f"passkey_origins holds {origin!r}; expected https://HOST without a path.")
        if len({urlsplit(origin).hostname for origin in self.passkey_origins}) > 1:
            raise ValueError("passkey_origins names several hosts; passkeys belong to one.")
        if not 1 <= self.max_connections <= 256:
            raise ValueError(f"max_connections is {self.max_connections}; expected 1 to 256.")
        if not 1 <= self.refusals_a_minute <= 100_000:
            raise ValueError(f"refusals_a_minute is {self.refusals_a_minute}; expected 1 to 100000.")
        if not 0 < self.pause_seconds <= 86_400:
            raise ValueError(f"pause_seconds is {self.pause_seconds}; expected up to 86400.")
        if not (0 < self.request_seconds <= 300 and 0 < self.idle_seconds <= 3600):
            raise ValueError("request_seconds must lie within 0 to 300 and idle_seconds within 0 to 3600.")

    @property
    def socket_path(self) -> Path:
        """Where the vault listens."""
        return self.socket or self.folder / "vault.sock"

    @property
    def relying_party(self) -> str | None:
        """The host that passkeys are bound to (WebAuthn's relying party id), or None when there are none."""
        return urlsplit(self.passkey_origins[0]).hostname if self.passkey_origins else None


def load_vault_settings(path: Path) -> VaultProcessSettings:
    """Read *path*; raises ConfigError that names what is wrong and what was expected."""
    return load(VaultProcessSettings, path)
