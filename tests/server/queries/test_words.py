"""Every text of the query pages has its Chinese."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import server
from server.queries import forms, passkeys, views, words
from server.web.language import catalogue

TOP = Path(server.__file__).parent
TEMPLATES = sorted((TOP / "templates" / "queries").glob("*.html"))
CALLS = re.compile(r'(?:both|zh|nothing|state)\((?:"(?:good|wait|bad|off)", )?"([^"]+)"|hint="([^"]+)"')


def is_translated(text: str) -> bool:
    return catalogue().gettext(text) != text


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_speak_chinese(path: Path) -> None:
    texts = {one or other for one, other in CALLS.findall(path.read_text("utf-8"))}
    assert texts
    assert [text for text in sorted(texts) if not is_translated(text)] == []


@pytest.mark.parametrize("module", [views, passkeys, forms, words], ids=lambda module: module.__name__)
def test_sentences_in_python_speak_chinese(module: object) -> None:
    source = Path(str(module.__file__)).read_text("utf-8")  # type: ignore[attr-defined]
    said = set(re.findall(r'tell\(\s*"([^"]+)"', source))
    said |= set(re.findall(r'(?:Field\(|SelectChoice\([^,]+, |InputRequired\()\s*"([^"]+)"', source))
    if module is words:
        names = (
            words.PURPOSE_NAMES,
            words.REVEAL_NAMES,
            words.REFUSAL_NAMES,
            words.DIRECTION_NAMES,
            words.OUTCOME_NAMES,
        )
        said |= {text for table in names for text in table.values()} | {words.NO_HOLD}
        said |= {label for _, label in words.STATE_NAMES.values()}
    if module is views:
        said.add(views.AWAY)
    assert said
    assert [text for text in sorted(said) if not is_translated(text)] == []
