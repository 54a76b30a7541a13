"""What an infrared sensor sees: a room, now and then a face, noise - a small physical model, thread-safe to change."""

from __future__ import annotations

import math
import random
import threading
from dataclasses import dataclass, fields, replace

from config.errors import GatehouseError

SENSOR_STEP_CELSIUS = 0.02  # MLX90614 data sheet: resolution of both registers


@dataclass(frozen=True, slots=True)
class Scene:
    """One situation at the entrance; all temperatures in degrees Celsius."""

    ambient: float = 25.0  # of the room and of the sensor can
    skin: float | None = None  # of the forehead; None when nobody stands there
    noise: float = 0.03  # standard deviation of one measurement
    tau_s: float = 0.15  # how fast the signal follows a face that appears
    drift_per_min: float = 0.0  # the can warms this fast
    stuck: bool = False  # the sensor hangs: the last words for ever


def skin_for_body(body: float, ambient: float = 25.0, k: float = 0.19) -> float:
    """The skin temperature that the heat balance (hardware.md 3.1) turns into *body*."""
    return (body + k * ambient) / (1 + k)


SCENES: dict[str, Scene] = {
    "empty": Scene(),
    "normal": Scene(skin=skin_for_body(36.5)),
    "fever": Scene(skin=skin_for_body(38.6)),
    "cold": Scene(skin=31.0),  # somebody from a winter street: below 34.0 after correction
    "hot_lamp": Scene(skin=85.0),
    "restless": Scene(skin=skin_for_body(36.5), noise=0.6),
    "sun": Scene(ambient=45.0, skin=skin_for_body(36.5)),
    "drift": Scene(drift_per_min=0.1),
    "stuck": Scene(stuck=True),
}


class SceneError(GatehouseError):
    """A scene that cannot be read."""

    code = "scene"


def parse_scene(text: str) -> Scene:
    """Read `NAME[,field=number...]`, for example `fever,noise=0.05,ambient=24`. Raises SceneError.

    `body=` is a short way to say which corrected temperature the person shall have.
    """
    name, *changes = [part.strip() for part in text.split(",")]
    if name not in SCENES:
        raise SceneError(f"{name!r} is not a scene.", hint=f"Scenes: {', '.join(SCENES)}.")
    scene = SCENES[name]
    known = {f.name for f in fields(Scene)} - {"stuck"} | {"body"}
    for change in changes:
        key, _, value = change.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if key not in known or not math.isfinite(number):
            raise SceneError(
                f"{change!r} is no change of a scene.", hint=f"Write one of {', '.join(sorted(known))} = number."
            )
        if key == "body":
            scene = replace(scene, skin=skin_for_body(number, scene.ambient))
        else:
            scene = replace(scene, **{key: number})  # type: ignore[arg-type]  # `stuck` is not among the known keys
    return scene


class SceneFeed:
    """The present scene and what the sensor measures of it at a moment; `set` from any thread, at any time."""

    def __init__(self, scene: Scene, *, seed: int = 1) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311  noise, not a secret
        self._scene = scene
        self._began_s: float | None = None
        self._since_s: float | None = None
        self._from = scene.ambient
        self._last = (scene.ambient, scene.ambient)

    @property
    def scene(self) -> Scene:
        """The scene now."""
        with self._lock:
            return self._scene

    def set(self, scene: Scene | str) -> None:
        """Change the scene; the signal moves there with the scene's own time constant."""
        new = parse_scene(scene) if isinstance(scene, str) else scene
        with self._lock:
            self._scene = new
            self._from = self._last[0]
            self._since_s = None

    def sample(self, now_s: float) -> tuple[float, float]:
        """(object, ambient) as the sensor measures them at *now_s*, in steps of 0.02 degC."""
        with self._lock:
            scene = self._scene
            if scene.stuck:
                return self._last
            if self._began_s is None:
                self._began_s = now_s
            if self._since_s is None:
                self._since_s = now_s
            ambient = scene.ambient + scene.drift_per_min * (now_s - self._began_s) / 60
            target = ambient if scene.skin is None else scene.skin
            share = 1.0 if scene.tau_s <= 0 else 1 - math.exp(-(now_s - self._since_s) / scene.tau_s)
            seen = self._from + (target - self._from) * share
            self._last = (
                _step(seen + self._random.gauss(0, scene.noise)),
                _step(ambient + self._random.gauss(0, min(scene.noise, 0.02))),
            )
            return self._last


def _step(celsius: float) -> float:
    return round(celsius / SENSOR_STEP_CELSIUS) * SENSOR_STEP_CELSIUS
