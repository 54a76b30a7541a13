"""Tones and spoken phrases without a network: made once by espeak-ng, or recorded by the site, and played at once."""

from __future__ import annotations

import array
import hashlib
import io
import logging
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import wave
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from config.screen import ScreenSettings
from kiosk import texts
from kiosk.screen_state import Text

log = logging.getLogger("kiosk.voice")

RATE_HZ: Final = 22050  # what espeak-ng makes
GAP_S: Final = 0.25  # between the two languages
LEAD_IN_S: Final = 0.2  # faint noise before direct playing: sleeping amplifiers swallow the first syllable
SYNTH_TIMEOUT_S: Final = 30.0  # one phrase takes about 0.1 s on a laptop; a hung engine must not hold the start
ESPEAK_VOICES: Final = {"zh": "cmn", "en": "en-gb"}
WORDS_PER_MINUTE: Final = {"zh": 160, "en": 150}  # slower than espeak's 175: elders listen too

# The five sounds: (frequency in Hz, duration in s) one after another; 0 Hz is a pause. Rising is good news, falling
# is a goodbye, two equal middle notes ask for attention, three low ones stop, and the tick cannot be mistaken for any.
TONES: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    "pass": ((659.3, 0.12), (987.8, 0.22)),
    "exit": ((784.0, 0.12), (523.3, 0.22)),
    "attention": ((587.3, 0.16), (0, 0.08), (587.3, 0.16)),
    "error": ((220.0, 0.22), (0, 0.07), (220.0, 0.22), (0, 0.07), (196.0, 0.35)),
    "tick": ((1318.5, 0.03),),
}
TONE_NAMES: Final = frozenset(TONES)
_CLIP_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")


@dataclass(frozen=True, slots=True)
class VoiceReport:
    """What `Voice.prepare` found; `finding` is for the device doctor, None when all is well."""

    recorded: int
    made: int
    missing: int
    finding: Text | None


class Voice:
    """The kiosk's sounds as WAV files: `prepare` once at start, then `tone` and `clip` give paths at no cost."""

    def __init__(self, settings: ScreenSettings) -> None:
        self._settings = settings
        self._phrases = texts.voice_phrases()
        self._lock = threading.Lock()
        self._playing: subprocess.Popen[bytes] | None = None
        self._turn = 0
        self._stopped = threading.Event()

    def prepare(self) -> VoiceReport:
        """Make the clips and tones that are not there yet. Takes seconds the first time; call it off the start path."""
        cache = self._settings.voice_cache
        finding = None
        try:
            cache.mkdir(parents=True, exist_ok=True)
            for name in TONES:
                path = cache / f"tone-{name}.wav"
                if not path.exists():
                    _write(path, _wav(_tone_samples(name), RATE_HZ))
        except OSError as error:
            log.warning("voice cache unusable reason=%s", error.strerror)
            finding = Text(
                "声音缓存无法写入，将没有语音。请检查存储空间。",
                "The folder for sounds cannot be written, so nothing is spoken. Check the storage.",
            )
        recorded = made = missing = 0
        engine = shutil.which("espeak-ng") if self._settings.voice and finding is None else None
        for code, phrase in self._phrases.items():
            if self._stopped.is_set():
                break
            if self._recorded(code) is not None:
                recorded += 1
            elif self._made(code).exists() or (engine is not None and self._make(engine, code, phrase)):
                made += 1
            else:
                missing += 1
        if self._settings.voice and missing and finding is None:
            finding = Text(
                "语音引擎 espeak-ng 不可用，只有提示音。请安装 espeak-ng，或放入录音。",
                "There is no speech engine, so there are tones only. Install espeak-ng, or add recorded clips.",
            )
        log.info("voice ready recorded=%d made=%d missing=%d", recorded, made, missing)
        return VoiceReport(recorded, made, missing, finding)

    def tone(self, name: str) -> Path | None:
        """The file of one of the five tones; None when it is unknown or could not be made."""
        path = self._settings.voice_cache / f"tone-{name}.wav"
        return path if name in TONES and path.exists() else None

    def clip(self, code: str) -> Path | None:
        """The file that says *code*: the site's recording first, then the made one; None when there is neither."""
        if not self._settings.voice or code not in self._phrases or not _CLIP_NAME.fullmatch(code):
            return None
        recorded = self._recorded(code)
        if recorded is not None:
            return recorded
        made = self._made(code)
        return made if made.exists() else None

    def _recorded(self, code: str) -> Path | None:
        folder = self._settings.voice_recorded
        if folder is None:
            return None
        path = folder / f"{code}.wav"
        return path if path.is_file() else None

    def _made(self, code: str) -> Path:
        """The made clip's path; its name follows its words, so that a changed sentence is spoken anew."""
        languages = self._settings.voice_languages
        said = "|".join(getattr(self._phrases[code], language) for language in languages)
        mark = hashlib.sha256(f"{languages}{said}".encode()).hexdigest()[:10]
        return self._settings.voice_cache / f"{code}-{mark}.wav"

    def _make(self, engine: str, code: str, phrase: Text) -> bool:
        parts: list[bytes] = []
        for language in self._settings.voice_languages:
            samples = _speak(engine, language, getattr(phrase, language))
            if samples is None:
                return False
            if parts:
                parts.append(bytes(2 * int(RATE_HZ * GAP_S)))
            parts.append(samples)
        try:
            _write(self._made(code), _wav(b"".join(parts), RATE_HZ))
        except OSError as error:
            log.warning("voice clip not written clip=%s reason=%s", code, error.strerror)
            return False
        return True

    def play(self, tone: str | None, clip: str | None) -> None:
        """Play through the speaker of this machine, at once and without waiting; a newer call cuts an older one off.

        Silent when no player (aplay, paplay) is installed; `speaker_finding` says so.
        """
        paths = [p for p in (self.tone(tone) if tone else None, self.clip(clip) if clip else None) if p is not None]
        player = _player()
        if not paths or player is None:
            return
        with self._lock:
            self._turn += 1
            turn = self._turn
            if self._playing is not None:
                self._playing.kill()
        volume = self._settings.volume_at(datetime.now().astimezone().time())
        threading.Thread(target=self._play, args=(player, paths, volume, turn), name="voice", daemon=True).start()

    def _play(self, player: list[str], paths: list[Path], volume_percent: int, turn: int) -> None:
        try:
            sound = _for_speaker(paths, volume_percent)
            with self._lock:
                if turn != self._turn:
                    return
                process = subprocess.Popen(
                    player, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                self._playing = process
            process.communicate(sound, timeout=SYNTH_TIMEOUT_S)
        except (OSError, ValueError, wave.Error, subprocess.TimeoutExpired) as error:
            log.warning("voice not played reason=%s", type(error).__name__)
            with self._lock:
                if turn == self._turn and self._playing is not None:
                    self._playing.kill()

    def stop(self) -> None:
        """Fall silent, and leave off making clips."""
        self._stopped.set()
        with self._lock:
            self._turn += 1
            if self._playing is not None:
                self._playing.kill()
                self._playing.wait()
                self._playing = None


def speaker_finding() -> Text | None:
    """What the device doctor says when this machine cannot play sounds by itself."""
    if _player() is not None:
        return None
    return Text(
        "没有找到播放程序，本机喇叭不会出声。请安装 alsa-utils。",
        "No program to play sounds was found, so the speaker stays silent. Install alsa-utils.",
    )


def _player() -> list[str] | None:
    for name, arguments in (("paplay", []), ("aplay", ["-q", "-"])):
        found = shutil.which(name)
        if found is not None:
            return [found, *arguments]
    return None


def _speak(engine: str, language: str, sentence: str) -> bytes | None:
    """*sentence* as 16-bit mono samples at RATE_HZ; None when the engine fails. Nothing personal ever comes here."""
    command = [engine, "-v", ESPEAK_VOICES[language], "-s", str(WORDS_PER_MINUTE[language]), "--stdin", "--stdout"]
    try:
        done = subprocess.run(
            command, input=sentence.encode(), capture_output=True, timeout=SYNTH_TIMEOUT_S, check=True
        )
        with wave.open(io.BytesIO(_mend_sizes(done.stdout))) as clip:
            if (clip.getnchannels(), clip.getsampwidth(), clip.getframerate()) != (1, 2, RATE_HZ):
                return None
            samples: bytes = clip.readframes(clip.getnframes())
            return samples
    except (OSError, subprocess.SubprocessError, wave.Error, EOFError) as error:
        log.warning("voice engine failed reason=%s", type(error).__name__)
        return None


def _mend_sizes(wav: bytes) -> bytes:
    """espeak-ng writes a stream whose header claims 2 GB; put the true sizes in (RIFF: bytes 4 and 40)."""
    if len(wav) < 44 or wav[:4] != b"RIFF" or wav[36:40] != b"data":
        return wav
    return wav[:4] + (len(wav) - 8).to_bytes(4, "little") + wav[8:40] + (len(wav) - 44).to_bytes(4, "little") + wav[44:]


def _tone_samples(name: str) -> bytes:
    samples = array.array("h")
    for frequency_hz, duration_s in TONES[name]:
        count = int(RATE_HZ * duration_s)
        ramp = max(1, min(count // 4, int(RATE_HZ * 0.008)))  # 8 ms in and out, so that it does not click
        for i in range(count):
            loudness = min(1.0, i / ramp, (count - i) / ramp)
            samples.append(int(22000 * loudness * math.sin(2 * math.pi * frequency_hz * i / RATE_HZ)))
    return _little(samples)


def _little(samples: array.array[int]) -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _wav(samples: bytes, rate_hz: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(2)
        clip.setframerate(rate_hz)
        clip.writeframes(samples)
    return out.getvalue()


def _for_speaker(paths: list[Path], volume_percent: int) -> bytes:
    """One WAV of all *paths* at *volume_percent*, after a lead-in that wakes the amplifier.

    Raises wave.Error or ValueError for a recording that is not 16-bit mono at RATE_HZ.
    """
    lead_in = array.array("h", [1 if i % 2 else -1 for i in range(int(RATE_HZ * LEAD_IN_S))])
    samples = array.array("h", lead_in)
    for path in paths:
        with wave.open(str(path), "rb") as clip:
            if (clip.getnchannels(), clip.getsampwidth(), clip.getframerate()) != (1, 2, RATE_HZ):
                raise ValueError(f"{path.name} is not 16-bit mono at {RATE_HZ} Hz")
            part = array.array("h", clip.readframes(clip.getnframes()))
        if sys.byteorder == "big":
            part.byteswap()
        samples.extend(value * volume_percent // 100 for value in part)
    return _wav(_little(samples), RATE_HZ)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: a power cut must not leave half a clip that is then taken for a good one."""
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(path)
