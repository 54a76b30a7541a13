"""Log lines on standard output: plain text, or one JSON object a line, each with the request that it belongs to."""

from __future__ import annotations

import json
import logging
import secrets
import sys
from datetime import UTC, datetime

from flask import g, has_app_context

TEXT, JSON_LINES = "text", "json"
_LINE = "%(asctime)s %(levelname)s %(name)s %(message)s%(of_request)s"
REQUEST_ID_BYTES = 8


def start(log_format: str) -> None:
    """Write logs to standard output from now on; *log_format* is `operations.log_format`."""
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(_note_request)
    handler.setFormatter(JsonLines() if log_format == JSON_LINES else logging.Formatter(_LINE))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def new_request_id() -> str:
    """A fresh identifier for one request; ours, never one that a client chose."""
    return secrets.token_hex(REQUEST_ID_BYTES)


def _note_request(record: logging.LogRecord) -> bool:
    found = g.get("request_id", "") if has_app_context() else ""
    record.request_id, record.of_request = found, f" request_id={found}" if found else ""
    return True


class JsonLines(logging.Formatter):
    """One JSON object a line. The words `name=value` of a message become members of their own, as strings."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; a fault's traceback is a member, so that one event stays one line."""
        message = record.getMessage()
        fields: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
        }
        if request_id := getattr(record, "request_id", ""):
            fields["request_id"] = request_id
        for word in message.split():
            name, equals, value = word.partition("=")
            if equals and name.isidentifier():
                fields.setdefault(name, value)
        if record.exc_info:
            fields["fault"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)
