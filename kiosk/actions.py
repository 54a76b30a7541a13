"""What a person can press on the entrance screen, as values: parsed from JSON that nobody has to trust."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kiosk.screen_state import Text


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The station's answer to one action; `message` is shown as it stands, `values` only feed the page."""

    done: bool
    message: Text | None = None
    values: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        text = None if self.message is None else {"zh": self.message.zh, "en": self.message.en}
        return {"done": self.done, "message": text, "values": self.values}
