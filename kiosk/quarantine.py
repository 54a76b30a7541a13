"""The finding about records of this kiosk that the server keeps apart: how many, since when, and what to do."""

from __future__ import annotations

from datetime import UTC, datetime

from kiosk.screen_state import Text
from kiosk.store import Quarantine
from protocol.aside import PART, SINCE_PART


def quarantine_findings(apart: Quarantine) -> tuple[Text, ...]:
    """The sentence for the panel; none when nothing is kept apart."""
    if not apart.count:
        return ()
    zh = en = ""
    if apart.since_ms is not None:
        at = datetime.fromtimestamp(apart.since_ms / 1000, UTC).astimezone().strftime("%m-%d %H:%M")
        zh, en = f"自 {at} 起", f" since {at}"
    return (
        Text(
            f"服务器{zh}隔离了 {apart.count} 条记录（#{apart.first} 起）：请管理员在服务器上重试或导出",
            f"Set aside by the server{en}: {apart.count} (from #{apart.first}). Retry or export them on the server",
        ),
    )


def quarantine_health(apart: Quarantine) -> tuple[tuple[str, str], ...]:
    """For the server's fleet page, and for its answer which of them still wait; nothing when nothing is kept apart."""
    if not apart.count:
        return ()
    since = () if apart.since_ms is None else ((SINCE_PART, str(apart.since_ms)),)
    return ((PART, str(apart.count)), *since)
