"""Sound without a network: the five tones, the made clips, and a site's own recordings before them."""

from __future__ import annotations

import array
import shutil
import wave
from datetime import time
from pathlib import Path

import pytest

from config.screen import ScreenSettings
from kiosk import voice as voice_module
from kiosk.screen_state import Text
from kiosk.voice import TONES, Voice


def settings(tmp_path: Path, **more: object) -> ScreenSettings:
    return ScreenSettings(voice_cache=tmp_path / "cache", **more)  # type: ignore[arg-type]


def samples(path: Path) -> array.array[int]:
    with wave.open(str(path)) as clip:
        assert (clip.getnchannels(), clip.getsampwidth(), clip.getframerate()) == (1, 2, 22050)
        return array.array("h", clip.readframes(clip.getnframes()))


def few_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        voice_module.texts,
        "voice_phrases",
        lambda: {"admitted": Text("请进。", "Come in."), "fever": Text("热", "Hot")},
    )


def test_the_five_tones_differ_and_start_and_end_softly(tmp_path: Path) -> None:
    voice = Voice(settings(tmp_path, voice=False))
    voice.prepare()
    heard = {}
    for name in ("pass", "exit", "attention", "error", "tick"):
        path = voice.tone(name)
        assert path is not None
        heard[name] = samples(path)
        assert max(heard[name]) > 15000
        assert abs(heard[name][0]) < 500 and abs(heard[name][-1]) < 3000
    assert len({bytes(s) for s in heard.values()}) == len(TONES) == 5


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed: nothing can speak")
def test_each_phrase_is_spoken_in_both_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_phrases(monkeypatch)
    both = Voice(settings(tmp_path / "both"))
    report = both.prepare()
    assert (report.made, report.missing, report.finding) == (2, 0, None)
    only = Voice(settings(tmp_path / "only", voice_languages=("zh",)))
    only.prepare()
    long, short = both.clip("admitted"), only.clip("admitted")
    assert long is not None and short is not None
    assert len(samples(long)) > len(samples(short)) > 22050 // 4
    assert max(samples(short)) > 3000


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed: nothing can speak")
def test_every_phrase_of_the_kiosk_can_be_made(tmp_path: Path) -> None:
    report = Voice(settings(tmp_path)).prepare()
    assert report.missing == 0 and report.finding is None
    assert Voice(settings(tmp_path)).prepare().made == report.made


def test_without_a_speech_engine_there_are_tones_and_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_module.shutil, "which", lambda name: None)
    voice = Voice(settings(tmp_path))
    report = voice.prepare()
    assert report.made == 0 and report.finding is not None and "espeak-ng" in report.finding.zh
    assert voice.tone("pass") is not None
    assert voice.clip("admitted") is None


def test_a_speech_engine_that_answers_rubbish_makes_no_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_phrases(monkeypatch)
    engine = tmp_path / "espeak-ng"
    engine.write_text("#!/bin/sh\necho rubbish\n")
    engine.chmod(0o755)
    monkeypatch.setattr(voice_module.shutil, "which", lambda name: str(engine))
    voice = Voice(settings(tmp_path))
    assert voice.prepare().missing == 2
    assert voice.clip("admitted") is None


def test_a_recording_of_the_site_comes_before_the_made_clip(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded"
    recorded.mkdir()
    (recorded / "admitted.wav").write_bytes(b"RIFF")
    voice = Voice(settings(tmp_path, voice_recorded=recorded))
    assert voice.clip("admitted") == recorded / "admitted.wav"


@pytest.mark.parametrize("code", ["../admitted", "admitted/../../etc", "", "ADMITTED", "a" * 60, "unheard_of"])
def test_only_known_phrases_have_a_file(tmp_path: Path, code: str) -> None:
    assert Voice(settings(tmp_path)).clip(code) is None


def test_an_unwritable_cache_is_a_finding_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    report = Voice(settings(tmp_path)).prepare()
    assert report.finding is not None


def test_the_night_is_quieter_and_may_span_midnight(tmp_path: Path) -> None:
    here = settings(tmp_path, volume_percent=90, night_volume_percent=30, night_from="22:00", night_to="07:00")
    at = {hour: here.volume_at(time(hour)) for hour in (6, 7, 12, 21, 22, 23, 0)}
    assert at == {6: 30, 7: 90, 12: 90, 21: 90, 22: 30, 23: 30, 0: 30}


def test_the_speaker_plays_tone_and_words_in_one_go_after_a_lead_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = tmp_path / "heard.wav"
    player = tmp_path / "aplay"
    player.write_text(f"#!/bin/sh\ncat > {heard}.part && mv {heard}.part {heard}\n")
    player.chmod(0o755)
    monkeypatch.setattr(voice_module.shutil, "which", lambda name: str(player) if name == "aplay" else None)
    voice = Voice(settings(tmp_path, voice=False, volume_percent=50, night_volume_percent=50))
    voice.prepare()
    voice.play("pass", None)
    for thread in voice_module.threading.enumerate():
        if thread.name == "voice":
            thread.join(timeout=10)
    tone = voice.tone("pass")
    assert tone is not None
    lead_in = int(22050 * 0.2)
    played = samples(heard)
    assert len(played) == lead_in + len(samples(tone))
    assert max(played[:lead_in]) <= 1
    assert max(played) == max(samples(tone)) // 2
    voice.stop()


def test_no_player_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_module.shutil, "which", lambda name: None)
    finding = voice_module.speaker_finding()
    assert finding is not None and "alsa-utils" in finding.en
