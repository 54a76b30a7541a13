"""Inside a network namespace that holds nothing but a loopback device: be a kiosk from power-on, and tell what it did.

`python -m tests.journeys.cable_out CONFIG PORT`, as the only thing that runs in that namespace; prints one JSON object.
"""

from __future__ import annotations

import json
import socket
import sys
import wave
from io import BytesIO
from pathlib import Path
from typing import Any

import requests

from firmware_bridge.simulators.gy614v import Gy614vSimulator
from tests.kiosk_process import KioskProcess, Listener

PIN = "250814"
PERSON = {"name": "赵奶奶", "document": "resident_id", "number": "11010519491231002X", "phone": "13800138000"}


def main(config: Path, port: int) -> dict[str, Any]:
    """Boot, scan, measure, type, log, speak."""
    told: dict[str, Any] = {"network": _reaches(), "names": _resolves()}
    with Gy614vSimulator(config.parent / "thermometer") as thermometer:
        thermometer.scene.set("normal")
        with KioskProcess(config, port) as kiosk:
            kiosk.until(lambda s: True, "the screen")
            listener = Listener(kiosk.url)
            scanned = kiosk.until(lambda s: s["view"] == "verdict", "a verdict for the code in front of the camera")
            told["scanned"] = scanned["verdict"]["face"], scanned["verdict"]["temperature"]
            told["banner"] = kiosk.until(lambda s: "离线" in s["banner"]["mode"]["zh"], "the words")["banner"]
            told["typed"] = _type(kiosk.url)
            told["heard"] = listener.wait_for(1, 20)
            told["spoken"] = _speak(kiosk)
    return told


def _reaches() -> bool:
    """Whether anything but this machine can be reached."""
    for address in (("1.1.1.1", 53), ("192.0.2.1", 80)):
        try:
            socket.create_connection(address, timeout=2).close()
            return True
        except OSError:
            continue
    return False


def _resolves() -> bool:
    try:
        return bool(socket.getaddrinfo("example.com", 80))
    except OSError:
        return False


def _type(url: str) -> dict[str, Any]:
    """A member of staff signs in and registers somebody by hand."""
    with requests.Session() as panel:
        panel.headers["Origin"] = url.rstrip("/")
        signed_in = panel.post(url + "action/sign_in", json={"pin": PIN}, timeout=20).json()
        entry = {"person": PERSON, "why": "no_phone", "celsius": "36.4"}
        typed = panel.post(url + "action/manual_entry", json=entry, timeout=20).json()
        return {"signed_in": signed_in["done"], "recorded": typed["done"], "said": typed.get("message")}


def _speak(kiosk: KioskProcess) -> dict[str, Any]:
    """The voice's clip for an admission, as it comes to the page: made here, by the packaged engine."""

    def clip(_: object) -> bool:
        return requests.get(kiosk.url + "voice/admitted.wav", timeout=5).status_code == 200

    kiosk.until(clip, "a clip of the voice", within_s=120)
    data = requests.get(kiosk.url + "voice/admitted.wav", timeout=5).content
    with wave.open(BytesIO(data)) as sound:
        frames = sound.readframes(sound.getnframes())
        return {"seconds": sound.getnframes() / sound.getframerate(), "loudest": max(frames)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2])), ensure_ascii=False))
