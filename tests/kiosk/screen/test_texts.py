"""Every reason has its words for both readers and in both languages, and the voice says nothing personal."""

from __future__ import annotations

import re

import pytest

from kiosk import texts
from kiosk.admission import Why
from kiosk.screen_state import Face, Text
from protocol.credentials.reasons import Reason

ADMISSION_CODES = """not_green red_code grey_code code_expired code_not_yet_valid code_unreadable code_not_ours
code_unknown_issuer code_changed code_revoked code_too_old fever measure_again not_measurable no_thermometer
thermometer_warming_up rules_stale status_stale no_rules journal_unavailable shown_before replaced_by_next
provider_unavailable clock_unsure accepted_foreign_only poster_ok poster_wrong poster_revoked same_again badge_in
badge_out enrol_needed badge_wrong already_enrolled
inspector_in inspector_over inspector_elsewhere inspector_clock inspector_wrong""".split()


@pytest.mark.parametrize("code", [*ADMISSION_CODES, *(why.value for why in Why)])
def test_every_admission_reason_has_words_of_its_own(code: str) -> None:
    assert code in texts.ADMISSION


@pytest.mark.parametrize("code", [*texts.ADMISSION, *(r.value for r in Reason if r.refuses)])
def test_every_reason_says_what_is_the_matter_and_what_to_do(code: str) -> None:
    words = texts.words_for(code)
    assert words is not None
    for text in (words.reason, words.next_step, words.staff, words.spoken):
        assert text.zh and text.en
        assert re.search(r"[\u4e00-\u9fff]", text.zh) and not re.search(r"[\u4e00-\u9fff]", text.en)


def test_a_code_that_nobody_knows_has_no_invented_words() -> None:
    assert texts.words_for("made_up") is None


def test_the_voice_says_no_numbers() -> None:
    for name, phrase in texts.voice_phrases().items():
        assert not re.search(r"[0-9{}%#]", phrase.zh + phrase.en), name


def test_a_pass_is_never_spoken_as_anything_else() -> None:
    assert texts.voice_clip("rules_stale", Face.PASS) == "admitted"
    assert texts.voice_clip("rules_stale", Face.PASS, "out") == "signed_out"


@pytest.mark.parametrize("face", Face)
def test_every_outcome_can_be_spoken(face: Face) -> None:
    clip = texts.voice_clip("made_up", face)
    assert clip in texts.voice_phrases()


def test_a_credential_reason_is_parted_into_reason_and_next_step() -> None:
    words = texts.words_for("expired")
    assert words is not None
    assert words.reason == Text("码已过期", "The code has expired")
    assert words.next_step == Text("请刷新后再出示", "Please refresh it and show it again")
