"""Provincial health codes cannot be verified offline: what is asked of a provider, and what it may answer.

Shapes in the spirit of the "check a code" request that GB/T 38963-2020 is publicly described to have; its text is not
open, and no conformance is claimed. No network here: an adapter elsewhere implements `HealthCodeProvider`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol

from protocol.credentials.model import Checked, Credential, believed, refused
from protocol.credentials.reasons import Reason
from protocol.errors import ProtocolError
from protocol.words import Colour, CredentialKind

MAX_TEXT_CHARS: Final = 2048
REQUEST_VERSION: Final = 1
_REGION: Final = re.compile(r"\d{6}", re.ASCII)


class ProviderError(ProtocolError):
    """An answer that is not of the agreed shape; it is treated as no answer."""

    code = "provider"


class Status(Enum):
    """What a provider says; the words of public interfaces (green, yellow, red) and the ways of not knowing."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    GREY = "grey"  # no data
    EXPIRED = "expired"
    UNKNOWN = "unknown"  # the provider does not know this code


_COLOURS: Final = {
    Status.GREEN: Colour.GREEN,
    Status.YELLOW: Colour.YELLOW,
    Status.RED: Colour.RED,
    Status.GREY: Colour.GREY,
}


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What is sent: the text of the code as it was read, and where; nothing else about the person."""

    text: str = field(repr=False)
    scene: str  # the entrance's public id
    region: str  # GB/T 2260, six digits
    request_id: str  # for the provider's log and ours

    def __post_init__(self) -> None:
        if not 0 < len(self.text) <= MAX_TEXT_CHARS:
            raise ProviderError("A code has 1 to 2,048 characters.")
        if not _REGION.fullmatch(self.region):
            raise ProviderError("A region is six digits of GB/T 2260.")

    def to_json(self) -> dict[str, object]:
        """The body of the request."""
        return {
            "version": REQUEST_VERSION,
            "requestId": self.request_id,
            "codeContent": self.text,
            "sceneCode": self.scene,
            "regionCode": self.region,
        }


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """What comes back, as far as we use it. `updated_at` says how old the provider's own knowledge is."""

    status: Status
    updated_at: datetime | None = None
    name_masked: str | None = field(default=None, repr=False)

    @classmethod
    def from_json(cls, body: object, *, request_id: str) -> CheckAnswer:
        """Read an answer. Raises ProviderError unless it answers this very request in the agreed shape."""
        if not isinstance(body, Mapping) or body.get("requestId") != request_id:
            raise ProviderError("The answer is not one to this request.")
        try:
            status = Status(body.get("healthStatus"))
            updated = body.get("updatedAt")
            updated_at = None if updated is None else datetime.fromisoformat(str(updated))
        except ValueError as error:
            raise ProviderError("The answer has a status or time that is not agreed.") from error
        if updated_at is not None and updated_at.tzinfo is None:
            raise ProviderError("The answer's time has no zone.")
        name = body.get("maskedName")
        if name is not None and (not isinstance(name, str) or not 0 < len(name) <= 40 or not name.isprintable()):
            raise ProviderError("The answer's name is none.")
        return cls(status, updated_at, name)

    def to_json(self, *, request_id: str) -> dict[str, object]:
        """The body of an answer, for the simulated provider."""
        body: dict[str, object] = {"requestId": request_id, "healthStatus": self.status.value}
        if self.updated_at is not None:
            body["updatedAt"] = self.updated_at.isoformat()
        if self.name_masked is not None:
            body["maskedName"] = self.name_masked
        return body


class HealthCodeProvider(Protocol):
    """Somebody who can be asked about codes that we cannot verify."""

    def ask(self, request: CheckRequest) -> CheckAnswer | None:
        """Ask once, within the adapter's time-out; None when there was no usable answer. Must not raise."""


def to_checked(
    answer: CheckAnswer | None, *, provider: str, at: datetime, answer_lives_for: timedelta = timedelta(minutes=5)
) -> Checked:
    """An answer as a checked credential; no answer is PROVIDER_SILENT, and "unknown" is PROVIDER_UNSURE."""
    if answer is None:
        return refused(CredentialKind.PROVINCIAL_CODE, Reason.PROVIDER_SILENT)
    if answer.status is Status.UNKNOWN:
        return refused(CredentialKind.PROVINCIAL_CODE, Reason.PROVIDER_UNSURE)
    credential = Credential(
        kind=CredentialKind.PROVINCIAL_CODE,
        scheme="provincial",
        issuer=provider,
        issued_at=answer.updated_at,
        expires_at=at + answer_lives_for,
        colour=_COLOURS.get(answer.status),
        name_masked=answer.name_masked,
    )
    return believed(credential, *([Reason.EXPIRED] if answer.status is Status.EXPIRED else []))
