"""From a ScreenState to what the page needs: pieces of HTML, and which tone and clip belong to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from flask import Flask, render_template

from kiosk import texts
from kiosk.screen_state import Banner, Face, ScreenState, Text, View

SHOWN_COUNTS = ("admit", "hold", "deny", "proxy", "manual")  # the others stand in the panel
PIECES = ("top", "main", "camera", "counts", "findings", "banner")  # each is one template and one element of the page
MAX_NOTICES = 5  # they take turns of 8 s; more would not be seen by whoever waits there

# The five sounds (field.md, entrance screen 4): pass, exit, attention, error, tick.
TONES: dict[Face, str] = {Face.PASS: "pass", Face.CHECK: "attention", Face.STOP: "error", Face.UNKNOWN: "attention"}


@dataclass(frozen=True, slots=True)
class Sound:
    """What is to be heard with a state; `key` changes when it is to be heard anew."""

    key: str
    tone: str | None
    clip: str | None


def sound_of(state: ScreenState) -> Sound:
    """The tone and the clip of *state*. The tone follows the verdict, never the mere reading of a code."""
    verdict = state.verdict
    if state.view is View.VERDICT and verdict is not None:
        tone = "exit" if verdict.face is Face.PASS and verdict.direction == "out" else TONES[verdict.face]
        key = f"verdict {state.subject} {verdict.reference} {verdict.code} {verdict.face.value}"
        return Sound(key, tone, texts.voice_clip(verdict.code, verdict.face, verdict.direction))
    if state.view is View.MEASURING:
        return Sound(f"measuring {state.subject}", "tick", "measuring")
    if state.view is View.NOTE:
        return Sound(f"note {state.subject} {state.note.zh if state.note else ''}", "tick", None)
    return Sound(state.view.value, None, None)


def starting_state() -> ScreenState:
    """What stands on the screen before the station has published anything."""
    nothing = Text("", "")
    banner = Banner("warn", texts.PAGE["starting"], nothing, 0, None)
    return ScreenState(
        revision=0,
        view=View.NOTE,
        venue=texts.PAGE["title"],
        entrance=nothing,
        day_word=nothing,
        banner=banner,
        parts=(),
        counts=(),
        occupancy=None,
        note=texts.PAGE["starting"],
    )


def without_name(text: Text, name: Text) -> Text:
    """*text* of a part without the part's own name in front: "摄像头正常" stands beside 摄像头 as 正常."""

    def cut(said: str, start: str) -> str:
        rest = said[len(start) :].lstrip(" :：，,") if said.lower().startswith(start.lower()) else said
        return rest or said

    return Text(cut(text.zh, name.zh), cut(text.en, name.en))


def _context(state: ScreenState, now: datetime) -> dict[str, Any]:
    part_of = {part.part: part for part in state.parts}
    camera = part_of.get("camera")
    return {
        "state": state,
        "view": state.view.value,
        "face": state.verdict.face.value if state.view is View.VERDICT and state.verdict else "",
        "t": texts.PAGE,
        "p": texts.PANEL,
        "directions": texts.DIRECTIONS,
        "fills": {fill.value: words for fill, words in texts.FILLS.items()},
        "parts": [
            (part, name, without_name(part.text, name))
            for part in state.parts
            for name in [texts.PART_NAMES.get(part.part, Text(part.part, part.part))]
        ],
        "count_names": texts.COUNT_NAMES,
        "shown_counts": SHOWN_COUNTS,
        "camera_good": camera is None or camera.good,
        "camera_text": None if camera is None else camera.text,
        "notices": state.notices[:MAX_NOTICES],
        "now": now,
    }


def render_page(state: ScreenState, number: int, build: str, *, tones: Iterable[str]) -> str:
    """The whole page; it stands by itself where no script runs. *tones* are loaded ahead of their first use."""
    now = datetime.now().astimezone()
    return render_template("screen.html", number=number, build=build, tones=tones, **_context(state, now))


def event_of(app: Flask, state: ScreenState, number: int, build: str, volume_percent: int) -> dict[str, Any]:
    """One server-sent event: the pieces of the page as HTML, and what is to be heard and counted down."""
    context = _context(state, datetime.now().astimezone())
    with app.app_context():
        html = {piece: render_template(f"pieces/{piece}.html", **context) for piece in PIECES}
    sound = sound_of(state)
    verdict = state.verdict if state.view is View.VERDICT else None
    return {
        "number": number,
        "build": build,
        "view": context["view"],
        "face": context["face"],
        "html": html,
        "sound": {"key": sound.key, "tone": sound.tone, "clip": sound.clip, "volume_percent": volume_percent},
        "headline": asdict(verdict.headline) if verdict else None,
        "closes_in_ms": verdict.closes_in_ms if verdict else None,
        "progress_ms": state.progress_ms if state.view is View.MEASURING else None,
    }
