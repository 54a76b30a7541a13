"""Look at entrance hardware, calibrate it, and simulate it.

gatehouse devices list                                   which ports there are, and who answers on each
gatehouse devices probe PORT                             who answers on one port
gatehouse devices watch gy614v PORT                      live readings with a plot
gatehouse devices calibrate gy614v PORT --output FILE    two-point black body, guided
gatehouse devices simulate gy614v --link DIR/thermo --scene fever,noise=0.05
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean

from config.devices import ThermometerSettings
from config.errors import GatehouseError
from firmware_bridge.build import make_thermometer
from firmware_bridge.device import DeviceState
from firmware_bridge.measuring import Calibration
from firmware_bridge.port import PortLost
from firmware_bridge.probing import ports, probe
from firmware_bridge.reading import NoReading, Reading
from firmware_bridge.simulators import (
    GatehouseMcuSimulator,
    Gm65Simulator,
    Gy614vSimulator,
    Gymcu90614Simulator,
    LcusSimulator,
    LineScannerSimulator,
    ModbusIrSimulator,
    ModbusRelaySimulator,
    PtyShell,
    SamSimulator,
)
from firmware_bridge.simulators.sam_v import foreigner_card, resident_card
from firmware_bridge.simulators.scene import SCENES, SceneError
from firmware_bridge.thermometer import Thermometer

BY_PATH = Path("/dev/serial/by-path")
READY_WITHIN_S = 15.0

_SIMULATORS: dict[str, Callable[[argparse.Namespace], PtyShell]] = {
    "gy614v": lambda a: Gy614vSimulator(a.link, scene=a.scene),
    "gymcu90614": lambda a: Gymcu90614Simulator(a.link, scene=a.scene),
    "modbus_ir": lambda a: ModbusIrSimulator(a.link, profile=a.profile, scene=a.scene),
    "gatehouse_mcu": lambda a: GatehouseMcuSimulator(a.link, scene=a.scene),
    "lcus": lambda a: LcusSimulator(a.link, dialect=a.dialect),
    "modbus_relay": lambda a: ModbusRelaySimulator(a.link),
    "gm65": lambda a: Gm65Simulator(a.link),
    "line": lambda a: LineScannerSimulator(a.link),
    "sam_v": lambda a: SamSimulator(a.link),
}
_PROFILES = ("pyrominibus", "pyrousb", "mq485a")


def _thermometer(args: argparse.Namespace, *, in_surface_mode: bool) -> Thermometer:
    """A driver for looking and calibrating: it need not be warm, and in surface mode a cool black body is fine too."""
    settings = ThermometerSettings(
        driver=args.driver,
        port=args.port,
        profile=args.profile,
        warm_at_start=True,
        correction="surface" if in_surface_mode else "heat_balance",
        not_measurable_below_celsius=30.0 if in_surface_mode else 34.0,
    )
    thermometer = make_thermometer(settings)
    assert thermometer is not None  # only "none" has none, and it is not among the choices
    return thermometer


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `gatehouse devices`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="which serial ports there are, and who answers on each")
    listing.add_argument("--by-path", type=Path, default=BY_PATH, help="the folder of port links")

    probing = actions.add_parser("probe", help="ask in every known language who is at a port")
    probing.add_argument("port")

    for name, words in (
        ("watch", "show a thermometer's live readings with a plot"),
        ("calibrate", "two-point calibration against a black body, guided"),
    ):
        action = actions.add_parser(name, help=words)
        action.add_argument("driver", choices=("gy614v", "gymcu90614", "modbus_ir", "gatehouse_mcu"))
        action.add_argument("port")
        action.add_argument("--profile", choices=_PROFILES, default="pyrominibus", help="modbus_ir: the family")
        if name == "watch":
            action.add_argument("--seconds", type=float, default=None, metavar="N", help="end after N seconds")
        else:
            action.add_argument(
                "--output", type=Path, required=True, metavar="FILE", help="the calibration file to write"
            )
            action.add_argument("--operator", required=True, help="who calibrates; kept in the file")
            action.add_argument("--low", type=float, default=35.0, metavar="C", help="first black-body temperature")
            action.add_argument("--high", type=float, default=38.0, metavar="C", help="second black-body temperature")
            action.add_argument("--days", type=int, default=365, metavar="N", help="how long it counts")

    simulate = actions.add_parser("simulate", help="be a device on a pseudo-terminal until interrupted")
    simulate.add_argument("driver", choices=sorted(_SIMULATORS))
    simulate.add_argument("--link", type=Path, required=True, metavar="PATH", help="where the port shall appear")
    simulate.add_argument(
        "--scene",
        default="empty",
        help=f"what a thermometer sees: NAME[,noise=N][,ambient=N][,body=N]; names: {', '.join(SCENES)}",
    )
    simulate.add_argument("--dialect", choices="ABC", default="A", help="lcus: what the board answers")
    simulate.add_argument("--profile", choices=_PROFILES, default="pyrominibus", help="modbus_ir: the family")
    simulate.add_argument("--seconds", type=float, default=None, metavar="N", help="end after N seconds")


def run(args: argparse.Namespace) -> int:
    """Run one action; 1 when nobody answers or the calibration failed."""
    actions = {"list": _list, "probe": _probe, "watch": _watch, "calibrate": _calibrate, "simulate": _simulate}
    return actions[args.action](args)


# -- list and probe --------------------------------------------------------------------------------------------------


def _say_trying(driver: str) -> None:
    if sys.stderr.isatty():
        print(f"\r  asking {driver:<24}", end="", file=sys.stderr, flush=True)


def _list(args: argparse.Namespace) -> int:
    found_any = False
    for link in ports(args.by_path):
        found_any = True
        try:
            found = probe(str(link), _say_trying)
            words = f"{found.driver}: {found.identity}" if found else "nobody we know answers"
        except PortLost as error:
            words = error.message
        print(f"{link}\n  {words}")
    if not found_any:
        print(f"没有串口 There is no serial port below {args.by_path}.")
    return 0 if found_any else 1


def _probe(args: argparse.Namespace) -> int:
    found = probe(args.port, _say_trying)
    if found is None:
        print(
            "无应答 Nobody we know answers. Check plug, supply and wiring; guns and single LCUS relays cannot be asked."
        )
        return 1
    print(f"{found.driver}: {found.identity}")
    return 0


# -- watch and calibrate ----------------------------------------------------------------------------------------------

PLOT_FROM, PLOT_TO, PLOT_COLUMNS = 20.0, 45.0, 50


def _bar(celsius: float) -> str:
    at = round((celsius - PLOT_FROM) / (PLOT_TO - PLOT_FROM) * (PLOT_COLUMNS - 1))
    if not 0 <= at < PLOT_COLUMNS:
        return "<" if at < 0 else " " * PLOT_COLUMNS + ">"
    return " " * at + "*"


def _await_ready(thermometer: Thermometer) -> None:
    ready = thermometer.wait_for(lambda s: s.state not in (DeviceState.CONNECTING, DeviceState.STOPPED), READY_WITHIN_S)
    if not ready or thermometer.line_status.state is not DeviceState.READY:
        raise GatehouseError(
            f"{thermometer.status.en}",
            hint="Try `gatehouse devices probe PORT`; stop the kiosk first, since it owns the port.",
            code=thermometer.status.code,
        )


def _watch(args: argparse.Namespace) -> int:
    with _thermometer(args, in_surface_mode=False) as thermometer:
        _await_ready(thermometer)
        print(f"{thermometer.identity}\n  object  ambient   {PLOT_FROM:.0f} °C{'':{PLOT_COLUMNS - 11}}{PLOT_TO:.0f} °C")
        deadline = None if args.seconds is None else time.monotonic() + args.seconds
        tick = threading.Event()
        while deadline is None or time.monotonic() < deadline:
            frame, status = thermometer.latest(), thermometer.status
            if frame is None:
                print(f"  {status.zh} {status.en}")
            else:
                ambient = "   -  " if frame.ambient_celsius is None else f"{frame.ambient_celsius:6.2f}"
                note = "" if status.state is DeviceState.READY else f"  {status.zh}"
                faults = f"  {', '.join(frame.faults)}" if frame.faults else ""
                print(
                    f"  {frame.object_celsius:6.2f}  {ambient}   |{_bar(frame.object_celsius)}{faults}{note}",
                    flush=True,
                )
            tick.wait(0.25)
    return 0


READINGS_A_POINT = 3  # GB/T 21417.1-2008: three readings at each black-body temperature ...
AGREE_WITHIN_CELSIUS = 0.2  # ... within +-0.2


def _calibrate(args: argparse.Namespace) -> int:
    """Three surface-mode readings at each of two temperatures; refuses what a sound sensor cannot show."""
    with _thermometer(args, in_surface_mode=True) as thermometer:
        _await_ready(thermometer)
        print(f"{thermometer.identity}\n黑体校准 Black-body calibration at {args.low} and {args.high} °C.")
        low = _point(thermometer, args.low)
        high = _point(thermometer, args.high)
        today = datetime.now(UTC).date()
        made = Calibration.from_two_points(
            (args.low, low),
            (args.high, high),
            made_on=today,
            expires_on=today + timedelta(days=args.days),
            operator=args.operator,
            device=thermometer.identity,
        )
    _write_calibration(args.output, made, (args.low, low, args.high, high))
    print(f"已保存 Saved {args.output}: {made.reference}, until {made.expires_on}.")
    return 0


def _point(thermometer: Thermometer, celsius: float) -> float:
    """The mean of three readings of a black body at *celsius*. Raises GatehouseError when they do not agree."""
    print(f"对准 {celsius} °C 黑体，然后按回车 Aim at the black body at {celsius} °C, then press Enter.", flush=True)
    sys.stdin.readline()
    shown: list[float] = []
    for _ in range(READINGS_A_POINT):
        result = _measured(thermometer)
        if isinstance(result, NoReading):
            raise GatehouseError(
                f"No reading at {celsius} °C: {result.cause.value} ({result.detail}).",
                hint="Fill the sensor's view with the black body, wait until it is steady, and start again.",
            )
        shown.append(result.raw_celsius)
        print(f"  {result.raw_celsius:.2f} °C, spread {result.quality.spread_celsius:.2f}")
    if max(shown) - min(shown) > 2 * AGREE_WITHIN_CELSIUS:
        raise GatehouseError(
            f"The readings at {celsius} °C lie {max(shown) - min(shown):.2f} apart; at most 0.4 is allowed.",
            hint="Let black body and sensor settle for half an hour, then start again.",
        )
    return mean(shown)


def _measured(thermometer: Thermometer) -> Reading | NoReading:
    window = thermometer.begin_window()
    tick = threading.Event()
    while (result := window.poll()) is None:
        tick.wait(0.05)
    return result


def _write_calibration(path: Path, made: Calibration, points: tuple[float, ...]) -> None:
    def text(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'

    path.write_text(
        "# Two-point black-body calibration, written by `gatehouse devices calibrate`; name it in\n"
        "# thermometer.calibration. Measuring stops when it expires.\n"
        f"made_on = {made.made_on.isoformat()}\n"
        f"expires_on = {made.expires_on.isoformat()}\n"
        f"operator = {text(made.operator)}\n"
        f"device = {text(made.device)}\n"
        f"gain = {made.gain:.6f}\n"
        f"offset_celsius = {made.offset_celsius:.4f}\n"
        f"points = [{', '.join(f'{point:.3f}' for point in points)}] # black body, shown, twice\n",
        encoding="utf-8",
    )


# -- simulate ---------------------------------------------------------------------------------------------------------


def _simulate(args: argparse.Namespace) -> int:
    """Serve the device; each line typed changes what it sees, shows or holds."""
    args.link.parent.mkdir(parents=True, exist_ok=True)
    with _SIMULATORS[args.driver](args) as simulator:
        print(f"{args.driver} on {args.link}", flush=True)
        threading.Thread(target=_obey_keyboard, args=(simulator,), daemon=True).start()
        if sys.stdin.isatty():
            print("type a scene, a code, or resident / foreigner / lift, and Enter; Ctrl-C ends", flush=True)
        ended = threading.Event()
        # Ended politely, the link goes too: a stale one would soon point at somebody else's pseudo-terminal.
        before = signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
        try:
            ended.wait(args.seconds)
        finally:
            signal.signal(signal.SIGTERM, before)
    return 0


def _obey_keyboard(simulator: PtyShell) -> None:
    for line in sys.stdin:
        word = line.strip()
        if isinstance(simulator, (Gy614vSimulator, Gymcu90614Simulator, ModbusIrSimulator, GatehouseMcuSimulator)):
            try:
                simulator.scene.set(word)
            except SceneError as error:
                print(error, file=sys.stderr)
        elif isinstance(simulator, (Gm65Simulator, LineScannerSimulator)) and word:
            simulator.show(word)
        elif isinstance(simulator, SamSimulator):
            if word in ("resident", "foreigner"):
                simulator.lay(resident_card() if word == "resident" else foreigner_card())
            else:
                simulator.lift()
