"""Made-up states for every view, so that tests, the manual's pictures and a person looking at them see the same."""

from __future__ import annotations

from dataclasses import replace

from kiosk import texts
from kiosk.inspection import Inspection, InspectorView
from kiosk.screen_state import Banner, Face, NoticeView, Occupancy, PartStatus, ScreenState, Text, VerdictView, View
from kiosk.verifying import JournalReport
from protocol.notice import ENGLISH, MAX_BODY, MAX_TITLE, NoticeLevel

ONLINE = Banner("ok", texts.MODES["online"], Text("规则 12 分钟前更新", "rules 12 min old"), 0, None)
OFFLINE = Banner(
    "warn",
    texts.MODES["offline"],
    Text("规则 3 小时前更新", "rules 3 h old"),
    27,
    Text("最早 08:12", "oldest 08:12"),
)
PARTS = (
    PartStatus("camera", True, Text("正常", "working")),
    PartStatus("scanner", True, Text("正常", "working")),
    PartStatus("thermometer", True, Text("正常，室温 21℃", "working, room 21 ℃")),
    PartStatus("gate", True, Text("关闭", "closed")),
    PartStatus("sound", True, Text("正常", "working")),
    PartStatus("network", True, Text("在线", "online")),
    PartStatus("clock", True, Text("已校准", "in step")),
    PartStatus("disk", True, Text("正常", "working")),
    PartStatus("test", True, Text("07:52 通过", "passed at 07:52")),
)


def notice(level: str, title: Text, body: Text) -> NoticeView:
    return NoticeView(level, texts.NOTICE_LEVELS[NoticeLevel(level)], title, body)


NOTICES = (
    notice(
        "important",
        Text("流感疫苗接种", "Flu vaccination"),
        Text(
            "本周六上午为六十岁以上居民接种，请带身份证",
            "For residents over 60, on Saturday morning: bring your ID card",
        ),
    ),
    notice("tip", Text("佩戴口罩", "Masks"), Text("进入请佩戴口罩", "Please wear a mask inside")),
)
IDLE = ScreenState(
    revision=1,
    view=View.IDLE,
    venue=Text("云溪社区卫生服务中心", "Yunxi Community Health Centre"),
    entrance=Text("东门", "East entrance"),
    day_word=Text("青竹", "Bamboo"),
    banner=ONLINE,
    parts=PARTS,
    counts=(("admit", 412), ("hold", 9), ("deny", 2), ("manual", 14), ("proxy", 21)),
    occupancy=Occupancy(138, 200, "free"),
    notices=NOTICES,
)
BUSY_IDLE = replace(
    IDLE,
    banner=OFFLINE,
    parts=(
        PartStatus("camera", False, Text("断开，正在重连", "lost, reconnecting")),
        *PARTS[1:5],
        PartStatus("network", False, Text("断开 3 小时", "lost for 3 h")),
        *PARTS[6:],
    ),
    findings=(
        Text(
            "摄像头没有画面，无法扫码。请检查摄像头的 USB 线，期间用扫码枪或人工登记。",
            "The camera gives no picture, so no code can be scanned. Check its USB cable; use the scanner or type.",
        ),
    ),
)
MEASURING = replace(IDLE, view=View.MEASURING, progress_ms=8000)
NOTE = replace(IDLE, view=View.NOTE, note=Text("08:41 已经登记过了", "Already recorded at 08:41"))
SETUP = replace(
    IDLE,
    view=View.SETUP,
    venue=texts.PAGE["title"],
    entrance=Text("", ""),
    day_word=Text("", ""),
    banner=Banner("warn", texts.MODES["not_enrolled"], Text("", ""), 0, None),
    counts=(),
    occupancy=None,
    notices=(),
    prompt=Text("本机编号 7f3a 29c0 · 网络地址 192.168.1.23", "Device 7f3a 29c0 · address 192.168.1.23"),
)

CLOSED = replace(
    IDLE,
    view=View.CLOSED,
    is_closed=True,
    note=Text("现在不在开放时间，08:00 开放", "Closed at this hour; opens at 08:00"),
    prompt=Text("请走西门，或拨打值班电话 028-5550100", "Use the West gate, or call the desk on 028-5550100"),
)
OUT_OF_SERVICE = replace(
    IDLE,
    view=View.CLOSED,
    banner=Banner(
        "bad", texts.MODES["closed"], Text("规则 3 小时前更新", "rules 3 h old"), 27, Text("最早 08:12", "oldest 08:12")
    ),
    note=texts.ADMISSION["journal_unavailable"].reason,
    prompt=texts.ADMISSION["journal_unavailable"].next_step,
)
EMERGENCY = replace(
    IDLE,
    banner=Banner(
        "warn",
        Text("应急·离线运行", "Emergency · Running offline"),
        Text("应急至 11-24 18:00；规则 3 小时前确认", "until 11-24 18:00; rules confirmed 3 h ago"),
        27,
        Text("最早 08:12", "oldest 08:12"),
    ),
    occupancy=Occupancy(200, 200, "full"),
    notices=(
        notice(
            "urgent",
            Text("临" * MAX_TITLE, "t" * MAX_TITLE),
            Text("请" * MAX_BODY, "please wait " * (ENGLISH * MAX_BODY // 12)),
        ),
    ),
    notices_age=Text("3 天前", "3 d ago"),
)
EXIT = replace(IDLE, direction="out", exit_is_free=True, occupancy=Occupancy(184, 200, "near"))

FACES = {
    "admitted": Face.PASS,
    "signed_out": Face.PASS,
    "red_code": Face.STOP,
    "fever": Face.STOP,
    "no_rules": Face.UNKNOWN,
    "status_stale": Face.UNKNOWN,
    "provider_unavailable": Face.UNKNOWN,
    "code_unknown_issuer": Face.UNKNOWN,
    "clock_unsure": Face.UNKNOWN,
    "journal_unavailable": Face.UNKNOWN,
}


def verdict(code: str, *, face: Face | None = None, direction: str = "in", reference: str = "#000123") -> ScreenState:
    """A verdict for *code*, worded as the station would."""
    face = face or FACES.get(code, Face.CHECK)
    words = texts.words_for(code)
    assert words is not None, code
    view = VerdictView(
        face=face,
        headline=texts.headline(face, direction),
        reason=words.reason,
        next_step=words.next_step,
        staff=words.staff,
        code=code,
        temperature={"fever": "38.1", "no_thermometer": None, "not_measurable": None}.get(code, "36.5"),
        masked_name=None if face is Face.STOP else "王*明",
        reference=reference,
        closes_in_ms=2500 if face is Face.PASS else None,
        direction=direction,
    )
    return replace(IDLE, view=View.VERDICT, verdict=view)


GALLERY: dict[str, ScreenState] = {
    "idle": IDLE,
    "idle-offline": BUSY_IDLE,
    "measuring": MEASURING,
    "pass": verdict("admitted"),
    "check": verdict("not_green"),
    "stop": verdict("fever"),
    "unknown": verdict("code_unknown_issuer"),
    "measure-again": verdict("measure_again"),
    "note": NOTE,
    "setup": SETUP,
    "closed": CLOSED,
    "out-of-service": OUT_OF_SERVICE,
    "emergency": EMERGENCY,
    "exit": EXIT,
}

INSPECTOR_VIEW = InspectorView(
    Inspection(
        report=JournalReport(
            kiosk=bytes(8),
            records=1211,
            first=402,
            last=1612,
            receipted=1585,
            clock_moves=((977, -3_605_000),),
            findings=("record 977: the clock was moved by -3605 s",),
        ),
        passages=391,
        outcomes=(("admit", 371), ("hold", 16), ("deny", 4)),
        modes=(("scan", 340), ("manual", 30), ("proxy", 21)),
        events=(("started", 1), ("waved_through", 3)),
        operators=(("li.na", 34), ("wang.fang", 17)),
        clock_unsure=0,
        boots=1,
        from_ms=1_795_219_200_000,
        to_ms=1_795_250_000_000,
        receipts=((1204, 1_795_248_000_000), (1100, 1_795_240_000_000)),
        quarantined=((611, "other_venue"),),
    ),
    rules_version=14,
    rules_age=Text("12 分钟前", "12 min ago"),
    opening_test=Text("07:52 通过", "passed at 07:52"),
)
