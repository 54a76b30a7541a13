"""The controls of a workflow's form: what is no number, or none that can be, is refused in words."""

from __future__ import annotations

import pytest
from flask import Flask, render_template_string

from server.cases.forms import form_class, values_of
from server.cases.machine import Field

pytestmark = pytest.mark.stores("sqlite")  # about forms, not the database

SCORE = Field("score", "Score", "number", least=0, most=100)
COUNT = Field("count", "How often or how much", "number", required=False)
PAGE = '{% from "macros.html" import field with context %}{{ field(form.score) }}{{ field(form.count) }}'


def sent(app: Flask, score: str, count: str = "") -> tuple[dict[str, object] | None, str]:
    """What a form with these answers says, or None, and how it is shown again."""
    with app.test_request_context("/", method="POST", data={"score": score, "count": count}):
        form = form_class((SCORE, COUNT))(meta={"csrf": False})
        said = values_of(form, (SCORE, COUNT)) if form.validate_on_submit() else None
        return said, render_template_string(PAGE, form=form)


NUMBERS = {"0": 0, "100": 100, "60.5": 60.5, "-0": 0, " 7 ": 7, "８８": 88, "1e2": 100}


def test_a_number_is_read(app: Flask) -> None:
    assert {typed: sent(app, typed)[0] for typed in NUMBERS} == {typed: {"score": n} for typed, n in NUMBERS.items()}


def test_what_is_no_number_is_said_to_be_none(app: Flask) -> None:
    for typed in ("NaN", "sNaN", "-nan", "Infinity", "-inf", "twelve", "1,5", "0x10", "\x01", "5;"):
        for answers in ((typed, ""), ("5", typed)):
            said, page = sent(app, *answers)
            assert said is None and page.count("这不是数字") == page.count("This is no number") == 1, typed


def test_a_number_out_of_bounds_is_told_which_they_are(app: Flask) -> None:
    for typed in ("-1", "100.0001", "-0.5", "1e9", "1e999999", "-1e999999"):
        said, page = sent(app, typed)
        assert said is None and "请填写 0 至 100 之间的数字" in page and "from 0 to 100" in page, typed
        assert 'min="0"' in page and 'max="100"' in page
    for typed in ("1e10", "-1e10", "1e400000"):  # bounds where the field states none
        said, page = sent(app, "5", typed)
        assert said is None and "-1000000000" in page, typed


def test_nothing_is_no_number_and_may_be_asked_for(app: Flask) -> None:
    for typed in ("", "  "):
        said, page = sent(app, typed)
        assert said is None and page.count('class="problem"') == 1
    assert sent(app, "5", "  ")[0] == {"score": 5}
