"""A person at the console, for the demo: signs in, fills in forms and reads pages over real HTTP."""

from __future__ import annotations

import html
import re
from typing import Any

import cairosvg
import cv2
import numpy as np
import requests

from gatehouse.demo.processes import DemoError
from kiosk.decoder import Decoder

_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
_SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)


class Visitor:
    """One signed-in account with its own cookies."""

    def __init__(self, base: str, name: str, password: str) -> None:
        self.base, self.name = base, name
        self._session = requests.Session()
        page = self.post("/sign-in", {"name": name, "password": password}, form="/sign-in")
        if page.url.endswith("/sign-in"):
            raise DemoError(f"{name} could not sign in.", hint="Is this the database that the demo made?")

    def get(self, path: str) -> requests.Response:
        """Read a page; raises DemoError for an error page."""
        return self._ok(self._session.get(self.base + path, timeout=15))

    def post(self, path: str, fields: dict[str, Any], *, form: str) -> requests.Response:
        """Fill in the form that stands on the page *form* and send it to *path*; follows to the page after it."""
        token = _TOKEN.search(self.get(form).text)
        if token is None:
            raise DemoError(f"There is no form on {form}.")
        return self._ok(
            self._session.post(
                self.base + path,
                data={"csrf_token": html.unescape(token.group(1)), **fields},
                headers={"Origin": self.base, "Referer": self.base + form},
                timeout=15,
            )
        )

    def _ok(self, answer: requests.Response) -> requests.Response:
        if not answer.ok:
            raise DemoError(f"{answer.request.method} {answer.url} answered {answer.status_code}.")
        return answer


def code_on(page: str) -> str:
    """Read the QR code drawn on a page, as a camera would: the picture is rendered and decoded."""
    for svg in _SVG.findall(page):
        png = cairosvg.svg2png(bytestring=svg.encode(), output_width=600, background_color="white")
        image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            continue
        codes = Decoder().read_still(np.pad(image, ((40, 40), (40, 40), (0, 0)), constant_values=255).astype(np.uint8))
        if codes:
            return codes[0].text
    raise DemoError("There is no readable code on that page.")
