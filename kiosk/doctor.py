"""The device doctor: looks at everything an entrance stands on and says in plain words what is wrong and what to do."""

from __future__ import annotations

import contextlib
import ctypes.util
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from config.errors import GatehouseError
from config.files import write_whole
from config.kiosk import KioskSettings
from firmware_bridge.build import make_gate, make_id_card_reader, make_scan_head, make_thermometer
from firmware_bridge.device import DeviceState, DeviceStatus, SerialDevice
from kiosk.camera import Camera, CameraState
from kiosk.card_health import Machine, PartHealth, card, heat, power
from kiosk.carrying import stopped_journal
from kiosk.clock import BUILT_AFTER_MS, KioskClock
from kiosk.decoder import available
from kiosk.enrol import app_version, load_identity
from kiosk.opening import EVENT, FILE, OpeningTest, Probe, disk_word, thermometer_word
from kiosk.screen_state import Text
from kiosk.slots import Slots
from kiosk.store import JournalError, journal_bytes
from kiosk.verifying import verify_journal

CAMERA_WAIT_S = 8.0
DEVICE_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `ok` False means that somebody has to do what `do` says."""

    part: str
    ok: bool
    what: Text
    why: Text = Text("", "")
    do: Text = Text("", "")


def examine(settings: KioskSettings) -> Iterator[Finding]:
    """Look at one part after the other; never raises for what it finds. Opens camera and serial ports for a moment."""
    looks: tuple[Callable[[KioskSettings], Finding], ...] = (
        _disk,
        _card,
        _power,
        _heat,
        _clock,
        _decoders,
        _voice,
        _identity,
        _journal,
        _update,
        _server,
        _camera,
        _thermometer,
        _gate,
        _scan_head,
        _id_card,
    )
    for look in looks:
        try:
            yield look(settings)
        except GatehouseError as error:
            yield Finding(
                look.__name__.strip("_"),
                False,
                Text(f"无法检查：{error.message}", error.message),
                do=Text(error.hint, error.hint),
            )


def record_opening_test(settings: KioskSettings, findings: Sequence[Finding]) -> OpeningTest | None:
    """Put what `examine` found on record as an opening test; None when this device is not enrolled.

    Raises JournalError: `busy` while the kiosk itself runs (use its panel then), or when the journal refuses.
    """
    identity = load_identity(settings.data_dir)
    if identity is None:
        return None
    probes = tuple(Probe(f.part, "ok" if f.ok else "bad") for f in findings)
    with stopped_journal(settings.data_dir) as (_, journal):
        clock = KioskClock(journal.last_stamp_ms())
        test = OpeningTest(clock.stamp().at_ms, clock.day(), probes)
        detail = (("operator", "doctor"), *test.detail())
        journal.append(identity.enrolment.place, clock.stamp(), EVENT, detail=detail, day=clock.day())
    with contextlib.suppress(OSError):  # the record stands; a card that takes no note has failed the test itself
        write_whole(settings.data_dir / FILE, test.to_json())
    return test


def _disk(settings: KioskSettings) -> Finding:
    folder = settings.data_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    answered = disk_word(folder)
    if answered == "read_only":
        return Finding(
            "disk",
            False,
            Text(f"存储卡只读：{folder}", f"{folder} cannot be written"),
            Text("记录无法保存，入口会暂停放行", "passages cannot be kept, so nobody can be admitted"),
            Text("检查存储卡是否写保护或损坏", "check whether the memory card is locked or failing"),
        )
    if answered == "full":
        return Finding(
            "disk",
            False,
            Text("存储卡已满", "the memory card is full"),
            Text("记录无法保存，入口会暂停放行", "passages cannot be kept, so nobody can be admitted"),
            Text("清理空间或换更大的存储卡", "free space, or fit a larger card"),
        )
    if answered != "ok":
        return Finding(
            "disk",
            False,
            Text("存储卡写入后读不回来", f"what is written to {folder} does not come back ({answered})"),
            Text("记录可能丢失", "passages may be lost"),
            Text("立即更换存储卡", "replace the memory card now"),
        )
    return Finding("disk", True, Text("写入后能读回", "what is written is read back"))


def _card(settings: KioskSettings) -> Finding:
    used, most = journal_bytes(settings.journal_path), settings.journal.most_bytes
    return _told(card(settings.data_dir, Machine(), journal_bytes=used, journal_most=most))


def _power(settings: KioskSettings) -> Finding:
    return _told(power(Machine()))


def _heat(settings: KioskSettings) -> Finding:
    return _told(heat(Machine()))


def _told(health: PartHealth) -> Finding:
    return Finding(health.part, health.is_fine, health.what, health.why, health.do)


def _clock(settings: KioskSettings) -> Finding:
    last = None
    if time.time_ns() // 1_000_000 < BUILT_AFTER_MS or not KioskClock(last).is_sure:
        now = time.strftime("%Y-%m-%d %H:%M")
        return Finding(
            "clock",
            False,
            Text(f"时钟显示 {now}，不可信", f"the clock says {now}, which cannot be"),
            Text("几分钟有效的健康码无法判断", "codes that live for minutes cannot be judged"),
            Text("接上网络校时，或装一块时钟电池模块", "connect the network to set it, or fit a real-time clock"),
        )
    return Finding("clock", True, Text("时钟可信", "the clock is believable"))


def _decoders(settings: KioskSettings) -> Finding:
    found = available()
    if not found:
        return Finding(
            "decoder",
            False,
            Text("没有可用的识码引擎", "no engine that reads codes is installed"),
            Text("摄像头看得见码，但读不出来", "the camera sees codes and nothing reads them"),
            Text("重新安装 gatehouse[kiosk]，并安装 libzbar0", "install gatehouse[kiosk] again, and libzbar0"),
        )
    if ctypes.util.find_library("zbar") is None:
        return Finding("decoder", True, Text("缺备用引擎 libzbar0", f"{', '.join(found)}; libzbar0 is missing"))
    return Finding("decoder", True, Text("识码引擎正常", f"engines: {', '.join(found)}"))


def _voice(settings: KioskSettings) -> Finding:
    if settings.screen.voice and shutil.which("espeak-ng") is None and settings.screen.voice_recorded is None:
        return Finding(
            "voice",
            False,
            Text("没有语音引擎", "no speech engine"),
            Text("只有提示音，听不到口令", "people hear tones and no words"),
            Text("安装 espeak-ng，或放入录音", "install espeak-ng, or give a folder of recorded clips"),
        )
    return Finding("voice", True, Text("语音正常", "voice is available"))


def _identity(settings: KioskSettings) -> Finding:
    identity = load_identity(settings.data_dir)
    if identity is None:
        return Finding(
            "enrolment",
            False,
            Text("本机尚未登记", "this kiosk is not enrolled"),
            Text("没有规则，无法判断任何人", "without rules nobody can be judged"),
            Text("在后台打开“登记终端”，把二维码给本机看", "open Enrol a kiosk in the console and show its code here"),
        )
    kiosk = identity.enrolment.kiosk.hex()
    return Finding("enrolment", True, Text(f"终端编号 {kiosk}", f"kiosk {kiosk}"))


def _journal(settings: KioskSettings) -> Finding:
    if not settings.journal_path.exists():
        return Finding("journal", True, Text("还没有记录", "no records yet"))
    try:
        report = verify_journal(settings.journal_path)
    except JournalError as error:
        return Finding("journal", False, Text("记录无法读取", error.message), do=Text("联系技术支持", error.hint))
    if not report.is_whole:
        return Finding(
            "journal",
            False,
            Text(f"记录有 {len(report.findings)} 处疑点", report.findings[0]),
            Text("有人改动或丢失了记录", "records were changed or lost"),
            Text("保留存储卡原样，联系检查员", "keep the card as it is and call an inspector"),
        )
    return Finding(
        "journal",
        True,
        Text(
            f"记录完整，{report.last - report.receipted} 条待上传",
            f"the chain is whole; {report.last - report.receipted} unsent",
        ),
    )


def _update(settings: KioskSettings) -> Finding:
    slots = Slots(settings.program_dir)
    note = slots.note() if slots.is_laid_out else None
    if note is None:
        return Finding("update", True, Text(f"程序 {app_version()}", f"version {app_version()}"))
    if note.state == "went_back":
        return Finding(
            "update",
            False,
            Text(
                f"更新到 {note.after} 未成功（{note.why}），已自动退回 {note.before}",
                f"the update to {note.after} failed ({note.why}); {note.before} is back by itself",
            ),
            Text("入口照常工作，用的是旧版本", "the entrance works, with the version before"),
            Text("把这一行告诉管理员，等新的更新包", "tell the administrator this line; another package is due"),
        )
    return Finding("update", True, Text(f"程序 {note.after}", f"version {note.after}, before it {note.before}"))


def _server(settings: KioskSettings) -> Finding:
    identity = load_identity(settings.data_dir)
    if identity is None:
        return Finding("server", True, Text("登记后检查", "looked at once the kiosk is enrolled"))
    url = urlsplit(identity.enrolment.server_url)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        return Finding(
            "server",
            False,
            Text(f"连不上服务器 {host}:{port}", f"{host}:{port} cannot be reached ({error})"),
            Text("可以离线运行，记录会存着等网络", "the entrance works offline and keeps its records until it is back"),
            Text("检查网线或无线网", "check the cable or the Wi-Fi"),
        )
    return Finding("server", True, Text("服务器可达", f"{host}:{port} answers"))


def _camera(settings: KioskSettings) -> Finding:
    if settings.camera.source == "none":
        return Finding("camera", True, Text("未设置摄像头", "no camera is set up"))
    with Camera(settings.camera) as camera:
        frame = camera.newest(0, CAMERA_WAIT_S)
        status = camera.status
    if frame is None or status.state is not CameraState.LIVE:
        return Finding(
            "camera",
            False,
            Text(
                f"摄像头无画面（{settings.camera.source}）",
                f"no picture from {settings.camera.source} ({status.reason})",
            ),
            Text("只能用扫码枪或人工登记", "only a scan head or typing works"),
            Text("检查插头；是否被其他程序占用", "check the plug, and whether another program uses it"),
        )
    height, width = frame.image.shape[:2]
    return Finding("camera", True, Text(f"画面 {width}x{height}", f"live at {width}x{height}"))


def _thermometer(settings: KioskSettings) -> Finding:
    device = make_thermometer(settings.thermometer)
    if device is None:
        return Finding("thermometer", True, Text("未设置，手工测温", "none is set up: staff measure by hand"))
    why = Text("只能手工测温并录入", "staff must measure by hand and type the value")
    with device:
        if not device.wait_for(_has_answered, DEVICE_WAIT_S):
            return _serial_finding("thermometer", device, why)
        word = thermometer_word(device)
        if word in ("ambient_implausible", "implausible", "silent"):
            return Finding(
                "thermometer",
                False,
                Text(f"测温仪读数不合理（{word}）", f"the thermometer's values cannot be ({word})"),
                why,
                Text("擦镜头，远离暖风和阳光；仍不行就更换", "wipe the lens, keep it from heat and sun, or replace it"),
            )
        return _serial_finding("thermometer", device, why)


def _gate(settings: KioskSettings) -> Finding:
    device = make_gate(settings.gate)
    if device is None:
        return Finding("gate", True, Text("未设置", "none is set up"))
    return _serial("gate", device, Text("闸机需人工开", "staff must open the gate by hand"))


def _scan_head(settings: KioskSettings) -> Finding:
    device = make_scan_head(settings.scan_head)
    if device is None:
        return Finding("scan_head", True, Text("未设置，用摄像头扫码", "none is set up: the camera reads codes"))
    return _serial("scan_head", device, Text("只能用摄像头扫码", "only the camera reads codes"))


def _id_card(settings: KioskSettings) -> Finding:
    device = make_id_card_reader(settings.id_card)
    if device is None:
        return Finding("id_card", True, Text("未设置，手工录入证件", "none is set up: staff type what the card says"))
    return _serial("id_card", device, Text("证件需手工录入", "staff must type what the card says"))


def _serial(part: str, device: SerialDevice, why: Text) -> Finding:
    with device:
        device.wait_for(_has_answered, DEVICE_WAIT_S)
        return _serial_finding(part, device, why)


def _has_answered(status: DeviceStatus) -> bool:
    return status.state not in (DeviceState.CONNECTING, DeviceState.STOPPED)


def _serial_finding(part: str, device: SerialDevice, why: Text) -> Finding:
    status = device.status
    if status.state in (DeviceState.READY, DeviceState.WARMING_UP):
        return Finding(part, True, Text(status.zh, status.en))
    return Finding(
        part,
        False,
        Text(f"{status.zh}（{device.port}）", f"{status.en} ({device.port})"),
        why,
        Text("检查插头、供电和串口设置", "check the plug, the supply and the port's name in the settings"),
    )
