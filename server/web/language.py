"""Every text on every page in Chinese, with the English beside it, both from one catalogue.

The message ids are the English sentences; each subject's `translations/zh_Hans.po` holds the Chinese. They are read
when the application starts, so that there is no compiled file to forget. A message without Chinese shows its English.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations
from flask import Flask, flash
from markupsafe import Markup, escape

from server.context import house

CATALOGUES = Path(__file__).parents[1]  # server/SUBJECT/translations/zh_Hans.po, each subject its own


@cache
def catalogue() -> Translations:
    """The Chinese texts of every subject; where two give one message, the later subject's text counts."""
    everything = Catalog(locale="zh_Hans")
    for path in sorted(CATALOGUES.glob("*/translations/zh_Hans.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale="zh_Hans"):
                if message.id:
                    everything[message.id] = message
    compiled = io.BytesIO()
    write_mo(compiled, everything)
    compiled.seek(0)
    return Translations(compiled)


def chinese(message: str, **values: object) -> str:
    """The Chinese text of *message*, or its English when there is none; plain text, not escaped."""
    text = catalogue().gettext(message)
    return text % values if values else text


def english(message: str, **values: object) -> str:
    """The English text of *message*; plain text, not escaped."""
    return message % values if values else message


def version_of(effective: str, lines: Iterable[str]) -> str:
    """The version of a text that people agree to: its month *effective*, and eight digits over its words in both
    languages, so that a changed text cannot keep its version."""
    words = "\n".join(f"{line}\n{chinese(line)}" for line in lines)
    return f"{effective}-{hashlib.sha256(words.encode()).hexdigest()[:8]}"


def both(message: str, **values: object) -> Markup:
    """*message* in Chinese with the English beside it, smaller, each marked with its language for screen readers.

    *values* fill `%(name)s` places and are escaped.
    """
    translated = catalogue().gettext(message)
    english_text = _fill(message, values)
    if translated == message:
        return Markup('<span lang="en">{}</span>').format(english_text)
    return Markup('<span class="zh">{}</span> <span class="en" lang="en">{}</span>').format(
        _fill(translated, values), english_text
    )


def _fill(message: str, values: dict[str, object]) -> Markup:
    """*message* and *values* escaped, then joined; `escape` makes Markup, whose % escapes what it is given."""
    return escape(message) % values if values else escape(message)


def tell(message: str, kind: str = "done", **values: object) -> None:
    """Show *message* on the next page; *kind* is done, warning or error."""
    note = {"message": message, "values": {key: str(value) for key, value in values.items()}}
    flash(note, kind)  # type: ignore[arg-type]


def when(at: datetime | None) -> Markup:
    """A moment in the pages' zone, as a <time> element; a dash when there is none."""
    if at is None:
        return Markup("—")
    local = at.astimezone(house().settings.zone)
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), local.strftime("%Y-%m-%d %H:%M:%S"))


def ago(at: datetime | None) -> Markup:
    """How long ago *at* was, in words; "never" when there is none."""
    if at is None:
        return both("never")
    seconds = int((house().now() - at).total_seconds())
    if seconds < 0:
        return both("in the future")
    if seconds < 60:
        return both("%(n)s s ago", n=seconds)
    if seconds < 3600:
        return both("%(n)s min ago", n=seconds // 60)
    if seconds < 48 * 3600:
        return both("%(n)s h ago", n=seconds // 3600)
    return both("%(n)s days ago", n=seconds // 86400)


def install(app: Flask) -> None:
    """Give templates `both`, `zh`, `en`, `when` and `ago`."""
    catalogue()
    app.jinja_env.globals.update(both=both, zh=chinese, en=english, when=when, ago=ago)
