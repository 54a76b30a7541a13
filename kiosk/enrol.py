"""Makes a kiosk of this device: an own key, a one-time code, and the server's signed answer, kept in three files.

device.pem        the device's private key, 0600; never leaves this machine
vault-keys.cbor   the vault's public keys as the vault signed them
enrolment.cbor    which server, which vault, which kiosk; written last: while it is absent, this is no kiosk
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from config.errors import GatehouseError
from config.files import write_whole
from config.kiosk import KioskSettings
from kiosk.link_problems import LinkProblem
from kiosk.server_client import ServerClient
from protocol import cbor, signed
from protocol.credentials import enrolment_code
from protocol.enrolment import ENROL_PATH, EnrolAnswer, EnrolRequest
from protocol.errors import ProtocolError
from protocol.fields import Fields
from protocol.passage import KIOSK_ID_BYTES, VENUE_ID_BYTES, Place
from protocol.vault_keys import FINGERPRINT_BYTES, VaultKeys

DEVICE_KEY, VAULT_KEYS, ENROLMENT = "device.pem", "vault-keys.cbor", "enrolment.cbor"
CONTENT_TYPE = "application/cbor"


class EnrolError(GatehouseError):
    """This device did not become a kiosk; nothing was left half done."""

    code = "enrol"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a kiosk knows of itself and of the server it belongs to."""

    server_url: str
    server_key: bytes  # 32 bytes, Ed25519; every answer is verified with it
    vault_fingerprint: bytes  # 16 bytes
    kiosk: bytes
    venue: bytes
    entrance: int

    @property
    def server(self) -> Ed25519PublicKey:
        """The pinned key as an object."""
        return Ed25519PublicKey.from_public_bytes(self.server_key)

    @property
    def place(self) -> Place:
        """The entrance that this kiosk's records belong to."""
        return Place(self.kiosk, self.venue, self.entrance)

    def to_bytes(self) -> bytes:
        """Encode for the file."""
        return cbor.encode(
            {
                1: self.server_url,
                2: self.server_key,
                3: self.vault_fingerprint,
                4: self.kiosk,
                5: self.venue,
                6: self.entrance,
            }
        )

    @staticmethod
    def from_bytes(data: bytes) -> Enrolment:
        """Decode; raises ProtocolError."""
        f = Fields(cbor.decode_strict(data), "enrolment")
        enrolment = Enrolment(
            f.text(1),
            f.octets(2, exactly=32),
            f.octets(3, exactly=FINGERPRINT_BYTES),
            f.octets(4, exactly=KIOSK_ID_BYTES),
            f.octets(5, exactly=VENUE_ID_BYTES),
            f.integer(6, 0, 65535),
        )
        f.done()
        return enrolment


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything an enrolled kiosk starts from."""

    enrolment: Enrolment
    key: Ed25519PrivateKey
    vault: VaultKeys


def load_identity(data_dir: Path) -> Identity | None:
    """Read what `enrol` wrote; None when this device is not enrolled. Raises EnrolError for files that do not agree."""
    if not (data_dir / ENROLMENT).exists():
        return None
    try:
        enrolment = Enrolment.from_bytes((data_dir / ENROLMENT).read_bytes())
        key = _load_key(data_dir / DEVICE_KEY)
        vault = VaultKeys.from_signed((data_dir / VAULT_KEYS).read_bytes(), enrolment.vault_fingerprint)
    except (OSError, ProtocolError) as error:
        raise EnrolError(
            f"The kiosk's identity in {data_dir} cannot be read: {error}.",
            hint="Restore the folder from its backup, or give this device a new folder and enrol it again.",
            code="damaged",
        ) from error
    if signed.key_id(key.public_key()) != enrolment.kiosk:
        raise EnrolError(
            f"{data_dir / DEVICE_KEY} is the key of another kiosk than {data_dir / ENROLMENT}.",
            hint="Files of two kiosks were mixed; restore the folder from its backup.",
            code="mixed",
        )
    return Identity(enrolment, key, vault)


def device_code(data_dir: Path) -> str:
    """The number that this device will have as a kiosk, in hex; its key is made when there is none.

    Raises OSError for a disk that takes no key, and EnrolError for one that gives none back.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return signed.key_id(_own_key(data_dir / DEVICE_KEY).public_key()).hex()
    except ProtocolError as error:
        raise EnrolError(
            f"The device's key in {data_dir} cannot be read: {error}.",
            hint="Restore the folder from its backup, or give this device a new folder.",
            code="damaged",
        ) from error


def enrol_by_text(settings: KioskSettings, text: str) -> Enrolment:
    """Enrol the kiosk of these *settings* with the text of an enrolment code (GHE1:...). Raises EnrolError."""
    sync = settings.sync
    return enrol(settings.data_dir, text, timeout_s=sync.timeout_s, ca_file=sync.ca_file)


def enrol(data_dir: Path, text: str, *, timeout_s: float = 10.0, ca_file: Path | None = None) -> Enrolment:
    """Turn this device into the kiosk that the code *text* stands for; its files are in *data_dir* afterwards.

    The code's expiry is left to the server: a new device's clock may be wrong. When the answer got lost on its way,
    the same code may be shown again, for the device keeps the key it asked with. Raises EnrolError.
    """
    if (data_dir / ENROLMENT).exists():
        raise EnrolError(
            f"{data_dir} is a kiosk's folder already.",
            hint="To enrol anew, retire the kiosk on the server and give this device an empty folder.",
            code="already_enrolled",
        )
    try:
        code = enrolment_code.parse(text.strip())
    except ProtocolError as error:
        raise EnrolError(f"{error}", hint="Show the code again, or make a new one.", code="bad_code") from error
    client = ServerClient(code.server_url, timeout_s=timeout_s, ca_file=ca_file)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        key = _own_key(data_dir / DEVICE_KEY)
        try:
            answer = _ask(client, code, key)
        except LinkProblem as problem:
            if not problem.detail.endswith("already_enrolled"):
                raise
            # an earlier code made a kiosk of this key and its answer was lost: that kiosk never lived
            (data_dir / DEVICE_KEY).unlink()
            key = _own_key(data_dir / DEVICE_KEY)
            answer = _ask(client, code, key)
        return _keep(data_dir, code, key, answer)
    except LinkProblem as problem:
        raise EnrolError(
            f"The server at {code.server_url} did not enrol this device ({problem}).",
            hint=f"{_HINTS.get(problem.detail.rpartition(' ')[2], problem.text.en)}.",
            code=problem.detail.rpartition(" ")[2] if problem.code == "refused" else problem.code,
        ) from problem
    except ProtocolError as error:
        raise EnrolError(
            f"What answered at {code.server_url} is not the server on the code: {error}.",
            hint="Was the right code shown? If it was, somebody stands in between: call technical support.",
            code="wrong_server",
        ) from error
    except OSError as error:
        raise EnrolError(
            f"{data_dir} cannot be written: {error.strerror}.",
            hint="Check that the folder belongs to the kiosk's user and the disk is not full.",
            code="disk",
        ) from error
    finally:
        client.close()


_HINTS = {
    "unknown_code": "The server did not make this code, or it was read wrongly: make a new one",
    "code_used": "This code was used already: make a new one in the console",
    "code_expired": "This code is too old: make a new one and show it right away",
    "code_cancelled": "This code was cancelled: make a new one in the console",
    "no_vault_keys": "The server has no vault keys yet: tell its administrator",
}


def _ask(client: ServerClient, code: enrolment_code.EnrolmentCode, key: Ed25519PrivateKey) -> EnrolAnswer:
    now_ms = time.time_ns() // 1_000_000
    body = EnrolRequest.make(key, code.token, app_version(), platform.machine()[:64], now_ms).to_body(key)
    answer = client.post(ENROL_PATH, body, CONTENT_TYPE)
    return EnrolAnswer.from_signed(answer, Ed25519PublicKey.from_public_bytes(code.server_key), body)


def _keep(data_dir: Path, code: enrolment_code.EnrolmentCode, key: Ed25519PrivateKey, answer: EnrolAnswer) -> Enrolment:
    fingerprint = code.vault_fingerprint[:FINGERPRINT_BYTES]
    VaultKeys.from_signed(answer.vault_keys, fingerprint).seal[0].load()
    if answer.kiosk != signed.key_id(key.public_key()):
        raise ProtocolError("enrolment: the answer names another kiosk", code="wrong_device")
    enrolment = Enrolment(code.server_url, code.server_key, fingerprint, answer.kiosk, answer.venue, answer.entrance)
    write_whole(data_dir / VAULT_KEYS, answer.vault_keys)
    write_whole(data_dir / ENROLMENT, enrolment.to_bytes())
    return enrolment


def _own_key(path: Path) -> Ed25519PrivateKey:
    """The device's key; made when there is none."""
    if path.exists():
        return _load_key(path)
    key = Ed25519PrivateKey.generate()
    write_whole(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
    return key


def _load_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise ProtocolError(f"{path.name} is not a private key", code="bad_key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ProtocolError(f"{path.name} is not an Ed25519 key", code="bad_key")
    return key


def app_version() -> str:
    """This program's version, as uploads tell it."""
    try:
        return version("gatehouse")
    except PackageNotFoundError:
        return "unknown"
