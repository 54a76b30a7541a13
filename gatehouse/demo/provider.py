"""A provincial platform that does not exist: answers the questions of kiosk/provider.py, with faults on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from protocol.credentials.provincial import CheckAnswer, Status

MAX_QUESTION_BYTES = 16 * 1024


class SimulatedProvider:
    """Serves on a free port of 127.0.0.1 inside a `with` block. It knows the codes of *known*, and no others.

    Faults: `says` replaces every answer by (HTTP status, body); while `holds` is cleared, answers wait for it.
    """

    def __init__(self, known: Mapping[str, Status]) -> None:
        self.known = dict(known)
        self.questions: list[dict[str, Any]] = []
        self.passwords: list[str | None] = []
        self.says: tuple[int, bytes] | None = None
        self.holds = threading.Event()
        self.holds.set()
        simulated = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = min(int(self.headers.get("Content-Length", 0)), MAX_QUESTION_BYTES)
                question = json.loads(self.rfile.read(length))
                status, body = simulated._answer(question, self.headers.get("Authorization"))
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    return  # whoever asked has gone

            def log_message(self, format: str, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where questions are posted."""
        return f"http://127.0.0.1:{self._server.server_port}/check"

    def _answer(self, question: dict[str, Any], password: str | None) -> tuple[int, bytes]:
        self.questions.append(question)
        self.passwords.append(password)
        self.holds.wait(30)
        if self.says is not None:
            return self.says
        status = self.known.get(str(question.get("codeContent")), Status.UNKNOWN)
        name = None if status is Status.UNKNOWN else "李*"
        answer = CheckAnswer(status, datetime.now(UTC), name)
        return 200, json.dumps(answer.to_json(request_id=str(question.get("requestId")))).encode()

    def __enter__(self) -> SimulatedProvider:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.holds.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
