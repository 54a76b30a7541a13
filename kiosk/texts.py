"""Every text of the kiosk in one place, Chinese first with English beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kiosk.closing import BY_STAFF, ClosedWhy
from kiosk.occupancy import Fill
from kiosk.screen_state import Face, Text
from protocol.credentials.reasons import SENTENCES, Reason
from protocol.notice import NoticeLevel
from protocol.profile import Mode


@dataclass(frozen=True, slots=True)
class ReasonWords:
    """One reason code in words, for both readers (field.md, entrance screen 11).

    `spoken` is one short sentence without names or numbers; it is what the voice says after the tone.
    """

    reason: Text  # for the visitor: what is the matter
    next_step: Text  # for the visitor: what to do now
    staff: Text  # for the staff: what to check
    spoken: Text


HEADLINES: Final[dict[Face, Text]] = {
    Face.PASS: Text("请进", "Come in"),
    Face.CHECK: Text("人工核验", "Check by hand"),
    Face.STOP: Text("请止步", "Please stop"),
    Face.UNKNOWN: Text("无法判断", "Cannot tell"),
}
HEADLINE_OUT: Final = Text("请慢走", "Goodbye")

# What is said when a code has no sentence of its own.
SPOKEN_BY_FACE: Final[dict[Face, Text]] = {
    Face.PASS: Text("请进。", "Come in, please."),
    Face.CHECK: Text("请稍候，由工作人员核验。", "One moment, please. A member of staff will check."),
    Face.STOP: Text("请止步，请与工作人员联系。", "Please stop, and talk to the staff."),
    Face.UNKNOWN: Text("暂时无法判断，请找工作人员。", "This cannot be decided here. Please ask the staff."),
}

_ASK_STAFF: Final = Text("请到旁边找工作人员登记", "Please step aside and register with the staff")
_SHOW_AGAIN: Final = Text("请刷新健康码后再出示", "Please refresh your health code and show it again")
_WAIT: Final = Text("请稍候，工作人员马上核验", "Please wait; a member of staff will check")
_STAND: Final = Text("请站到标记处，露出额头，再测一次", "Stand on the mark, forehead free, and measure again")

ADMISSION: Final[dict[str, ReasonWords]] = {
    "admitted": ReasonWords(
        Text("健康码与体温正常", "Health code and temperature are in order"),
        Text("请通过", "Please go through"),
        Text("无需操作", "Nothing to do"),
        Text("请进。", "Come in, please."),
    ),
    "signed_out": ReasonWords(
        Text("离开已登记", "Your leaving is recorded"),
        Text("请慢走", "Goodbye"),
        Text("无需操作", "Nothing to do"),
        Text("请慢走。", "Goodbye."),
    ),
    "not_green": ReasonWords(
        Text("健康码为黄码", "Your health code is yellow"),
        _WAIT,
        Text("黄码：按本地规定核查核酸或隔离期限后登记", "Yellow code: check tests or quarantine dates, then register"),
        Text("健康码不是绿码，请找工作人员。", "Your code is not green. Please ask the staff."),
    ),
    "red_code": ReasonWords(
        Text("健康码为红码", "Your health code is red"),
        Text("请留在原地，工作人员会协助您", "Please stay here; the staff will help you"),
        Text("红码：不得放行，引导至隔离等候点并上报", "Red code: never admit; lead to the waiting point and report"),
        Text("请止步，工作人员会协助您。", "Please stop. The staff will help you."),
    ),
    "grey_code": ReasonWords(
        Text("健康码为灰码，没有有效数据", "Your health code is grey: no current data"),
        _ASK_STAFF,
        Text("灰码：核对身份，改用人工登记", "Grey code: check the identity and register by hand"),
        Text("健康码没有有效数据，请找工作人员。", "Your code has no current data. Please ask the staff."),
    ),
    "code_expired": ReasonWords(
        Text("健康码已过期", "Your health code has expired"),
        _SHOW_AGAIN,
        Text("码已过期：请访客刷新；刷新不了则人工登记", "Expired: ask for a refresh; if that fails, register by hand"),
        Text("健康码已过期，请刷新后再出示。", "Your code has expired. Please refresh it and show it again."),
    ),
    "code_not_yet_valid": ReasonWords(
        Text("健康码尚未生效", "Your health code is not valid yet"),
        Text("请检查手机时间，再打开健康码", "Check the time on your phone and open the code again"),
        Text("码未生效：比对本机与手机的时间", "Not valid yet: compare this kiosk's clock with the phone's"),
        Text("健康码尚未生效，请检查手机时间。", "Your code is not valid yet. Please check the time on your phone."),
    ),
    "code_unreadable": ReasonWords(
        Text("码看不清", "The code cannot be read"),
        Text("请调亮屏幕，离摄像头约一掌远", "Brighten your screen and hold it a hand's width away"),
        Text(
            "码破损或反光：换角度、擦镜头，或人工登记", "Damaged or glaring: change the angle, wipe the lens, or type"
        ),
        Text("码看不清，请调亮屏幕再出示。", "The code cannot be read. Please brighten your screen and try again."),
    ),
    "code_not_ours": ReasonWords(
        Text("这不是健康码", "This is not a health code"),
        Text("请打开健康码再出示", "Please open your health code and show it"),
        Text("出示的是付款码、网址等其他码", "A payment code, web address or other code was shown"),
        Text("这不是健康码，请打开健康码再出示。", "This is not a health code. Please open your health code."),
    ),
    "code_unknown_issuer": ReasonWords(
        Text("无法核实此码的签发机构", "The issuer of this code is not known here"),
        _ASK_STAFF,
        Text("签发机构不在可信名单：人工核验，并查看名单是否最新", "Issuer not on the trust list: check by hand"),
        Text("无法核实此码，请找工作人员。", "This code cannot be verified. Please ask the staff."),
    ),
    "code_changed": ReasonWords(
        Text("无法核实此码", "This code cannot be verified"),
        _ASK_STAFF,
        Text("签名不符：内容被改动或伪造，核对证件", "The signature does not hold: changed or forged; check the ID"),
        Text("无法核实此码，请找工作人员。", "This code cannot be verified. Please ask the staff."),
    ),
    "code_revoked": ReasonWords(
        Text("此码已失效", "This code is no longer valid"),
        _ASK_STAFF,
        Text("已被签发机构撤销或挂失：核对证件", "Revoked or reported lost by the issuer; check the ID"),
        Text("此码已失效，请找工作人员。", "This code is no longer valid. Please ask the staff."),
    ),
    "code_too_old": ReasonWords(
        Text("健康码不是最新的", "This health code is not current"),
        _SHOW_AGAIN,
        Text("可能是截图：请访客现场打开健康码", "Perhaps a screenshot: ask to open the live code"),
        Text("请打开最新的健康码再出示。", "Please open your current code and show it again."),
    ),
    "fever": ReasonWords(
        Text("体温偏高", "Your temperature is high"),
        Text("请到旁边休息，工作人员会协助您", "Please rest aside; the staff will help you"),
        Text(
            "发热：不得放行，用医用体温计复测并上报", "Fever: never admit; measure with a medical thermometer, report"
        ),
        Text("体温偏高，请到旁边等候工作人员。", "Your temperature is high. Please wait aside for the staff."),
    ),
    "measure_again": ReasonWords(
        Text("请再测一次体温", "Please measure once more"),
        _STAND,
        Text("首次读数偏高或不稳：复测后才判定", "First reading high or unsteady: decided after a second one"),
        Text("请再测一次体温。", "Please measure your temperature once more."),
    ),
    "not_measurable": ReasonWords(
        Text("没有测到体温", "No temperature could be measured"),
        _STAND,
        Text(
            "刚从室外进来、戴帽或距离不对：等一会再测，或手工测",
            "Cold skin, a hat or the distance: wait, or measure by hand",
        ),
        Text("没有测到体温，请站近一点再测一次。", "No temperature was measured. Please come closer and try again."),
    ),
    "no_thermometer": ReasonWords(
        Text("测温仪暂时不能用", "The thermometer is not available"),
        Text("请让工作人员为您测体温", "Please let the staff take your temperature"),
        Text("测温仪无响应：手工测温后录入", "The thermometer does not answer: measure by hand and type it in"),
        Text("请让工作人员为您测体温。", "Please let the staff take your temperature."),
    ),
    "thermometer_warming_up": ReasonWords(
        Text("测温仪正在预热", "The thermometer is warming up"),
        Text("请让工作人员为您测体温", "Please let the staff take your temperature"),
        Text("预热未完成：暂时手工测温", "Not warm yet: measure by hand for now"),
        Text(
            "测温仪正在预热，请让工作人员为您测体温。",
            "The thermometer is warming up. Please ask the staff to measure.",
        ),
    ),
    "rules_stale": ReasonWords(
        Text("本机的规则需要更新", "The rules on this kiosk need an update"),
        _WAIT,
        Text("规则过期：人工核验，并检查网络", "The rules are out of date: check by hand, look at the network"),
        Text("请稍候，由工作人员核验。", "One moment, please. A member of staff will check."),
    ),
    "status_stale": ReasonWords(
        Text("暂时无法核实此码的状态", "The status of this code cannot be checked now"),
        _WAIT,
        Text("状态名单过期：人工核验，并检查网络", "The status list is too old: check by hand, look at the network"),
        Text("请稍候，由工作人员核验。", "One moment, please. A member of staff will check."),
    ),
    "no_rules": ReasonWords(
        Text("本机还没有规则", "This kiosk has no rules yet"),
        _ASK_STAFF,
        Text("未取得规则：连网一次，或用U盘导入", "No rules received: connect once, or import them from a stick"),
        Text("暂时无法判断，请找工作人员。", "This cannot be decided here. Please ask the staff."),
    ),
    "journal_unavailable": ReasonWords(
        Text("本机暂时无法登记", "This kiosk cannot record right now"),
        _ASK_STAFF,
        Text("无法写入存储：改用纸质登记，检查存储卡", "Storage cannot be written: register on paper, check the card"),
        Text("暂时无法登记，请找工作人员。", "This kiosk cannot record now. Please ask the staff."),
    ),
    "shown_before": ReasonWords(
        Text("此码刚刚使用过", "This code was just used"),
        _SHOW_AGAIN,
        Text("同一动态码重复出示：核对是否本人", "The same dynamic code again: make sure it is the same person"),
        Text("此码刚刚使用过，请刷新后再出示。", "This code was just used. Please refresh it and show it again."),
    ),
    "replaced_by_next": ReasonWords(
        Text("下一位已出示健康码", "The next person has shown a code"),
        Text("请重新出示您的健康码", "Please show your code again"),
        Text("上一位未测完体温：请其重新扫码", "The person before did not finish: ask them to scan again"),
        Text("请重新出示健康码。", "Please show your code again."),
    ),
    "provider_unavailable": ReasonWords(
        Text("联网核验暂时没有回应", "The online check does not answer"),
        _WAIT,
        Text("平台无响应：按离线流程核验", "The provider is silent: follow the offline steps"),
        Text("请稍候，由工作人员核验。", "One moment, please. A member of staff will check."),
    ),
    "asking_provider": ReasonWords(
        Text("正在联网核验，请稍候", "Checking online, one moment"),
        Text("请站在原地", "Please stay where you are"),
        Text("正在向发码平台核验，数秒内有结果", "The issuing platform is asked; the answer takes seconds"),
        Text("正在核验，请稍候。", "Checking. One moment, please."),
    ),
    "clock_unsure": ReasonWords(
        Text("本机时间需要校准", "This kiosk's clock needs setting"),
        _WAIT,
        Text("时间不可信：核对时间后在管理页设置", "The clock cannot be trusted: compare and set it in the panel"),
        Text("请稍候，由工作人员核验。", "One moment, please. A member of staff will check."),
    ),
    "accepted_foreign_only": ReasonWords(
        Text("证书有效，本场所需要健康码", "The certificate is valid; this place needs a health code"),
        _ASK_STAFF,
        Text("境外证书有效：核对证件后人工登记", "A valid foreign certificate: check the ID, register by hand"),
        Text("请稍候，由工作人员为您登记。", "One moment, please. The staff will register you."),
    ),
    "poster_ok": ReasonWords(
        Text("场所码正常", "The venue code is in order"),
        Text("检查已记录", "The check is recorded"),
        Text("海报清晰有效", "The poster is readable and valid"),
        Text("场所码正常。", "The venue code is in order."),
    ),
    "poster_wrong": ReasonWords(
        Text("这不是本场所的场所码", "This is not this venue's code"),
        Text("请告诉工作人员", "Please tell the staff"),
        Text("海报不属于本入口，可能被覆盖：取下并上报", "Another place's poster, perhaps pasted over: remove, report"),
        Text("场所码有误，请告诉工作人员。", "The venue code is wrong. Please tell the staff."),
    ),
    "poster_revoked": ReasonWords(
        Text("此场所码已停用", "This venue code is no longer used"),
        Text("请告诉工作人员", "Please tell the staff"),
        Text("海报已被新码替换：张贴新海报", "The poster was replaced: put up the new one"),
        Text("场所码已停用，请告诉工作人员。", "This venue code is no longer used. Please tell the staff."),
    ),
    "same_again": ReasonWords(
        Text("已经登记过了", "Already recorded"),
        Text("无需重复扫码", "No need to scan again"),
        Text("同一个码，已有记录", "The same code; there is a record already"),
        Text("已经登记过了。", "This is already recorded."),
    ),
    "badge_in": ReasonWords(
        Text("工作人员上岗", "Staff signed in"),
        Text("可以开始工作", "Ready to work"),
        Text("已上岗", "On duty"),
        Text("上岗成功。", "Signed in."),
    ),
    "badge_out": ReasonWords(
        Text("工作人员离岗", "Staff signed out"),
        Text("请把入口交给下一位", "Please hand over the entrance"),
        Text("已离岗", "Off duty"),
        Text("离岗成功。", "Signed out."),
    ),
    "badge_wrong": ReasonWords(
        Text("工作证无效", "This badge is not valid"),
        Text("请联系管理员", "Please ask the administrator"),
        Text("工作证已停用、过期或不属于本场所", "The badge was stopped, has expired or belongs elsewhere"),
        Text("工作证无效。", "This badge is not valid."),
    ),
    "inspector_in": ReasonWords(
        Text("检查员证有效", "Inspector's pass accepted"),
        Text("请按住右下角进入检查页", "Hold the bottom right corner to look"),
        Text("检查员可查看，不可登记；到时自动退出", "May look, registers nobody; leaves by itself"),
        Text("检查员证有效。", "Inspector's pass accepted."),
    ),
    "inspector_over": ReasonWords(
        Text("检查员证不在有效时间内", "This inspector's pass is not in force now"),
        Text("请向签发单位申请新的", "Ask who issued it for a new one"),
        Text("有效期以小时计，请核对本机时间", "It lives for hours; compare the kiosk's clock"),
        Text("检查员证已过期。", "This inspector's pass is over."),
    ),
    "inspector_elsewhere": ReasonWords(
        Text("检查员证不适用于本处", "This inspector's pass is for another place"),
        Text("请核对证上的场所", "Compare the places on it"),
        Text("证上没有本场所或本终端", "It names neither this venue nor this kiosk"),
        Text("检查员证不适用于本处。", "This pass is for another place."),
    ),
    "inspector_clock": ReasonWords(
        Text("本机时钟不准，无法核对检查员证", "The clock is unsure, so hours cannot be checked"),
        Text("请先联网校时", "Connect the network once first"),
        Text("接上网络校时后再试", "Connect the network, then show it again"),
        Text("时钟不准，请先校时。", "The clock is unsure. Set it first."),
    ),
    "inspector_wrong": ReasonWords(
        Text("检查员证无效", "This inspector's pass is not valid"),
        Text("请联系签发单位", "Please ask who issued it"),
        Text("已撤销、签名不符或无法识别", "It was revoked, forged, or cannot be read"),
        Text("检查员证无效。", "This inspector's pass is not valid."),
    ),
    "already_enrolled": ReasonWords(
        Text("本机已经登记过", "This kiosk is enrolled already"),
        Text("无需再次登记", "No need to enrol again"),
        Text(
            "如需改属其他入口，请先在管理后台停用本机", "To move it to another entrance, first revoke it in the console"
        ),
        Text("本机已经登记过。", "This kiosk is enrolled already."),
    ),
    "no_colour": ReasonWords(
        Text("凭证有效，但没有健康状态", "Valid, but it says nothing of your status"),
        _WAIT,
        Text("没有颜色信息：核对身份后人工登记", "No colour known: check the identity, register by hand"),
        Text("请稍候，由工作人员核验。", "One moment, please. A member of staff will check."),
    ),
    "no_credential": ReasonWords(
        Text("没有健康码，由工作人员登记", "No health code: registered by the staff"),
        _WAIT,
        Text("人工登记：核对证件与本地规定后决定", "Typed entry: decide by the document and local rules"),
        Text("请稍候，由工作人员核验。", "One moment, please. A member of staff will check."),
    ),
    "card_unconfirmed": ReasonWords(
        Text("证件已读取", "Your card was read"),
        Text("请稍候，由工作人员确认本人", "One moment: a member of staff will confirm that it is you"),
        Text("核对持证人与证件，再点“人证一致”", "Compare holder and card, then press “Card and holder match”"),
        Text("证件已读取，请等工作人员确认。", "Your card was read. Please wait for a member of staff."),
    ),
    "card_unreadable": ReasonWords(
        Text("证件读不出", "The card cannot be read"),
        Text("请拿起证件再放一次，或找工作人员", "Lift the card and lay it down again, or ask the staff"),
        Text("卡片不支持或损坏：改用手工录入", "An unknown or damaged card: type what it says"),
        Text("证件读不出，请再放一次。", "The card cannot be read. Please lay it down again."),
    ),
    "staff_refused": ReasonWords(
        Text("工作人员未予放行", "The staff did not admit you"),
        Text("请与工作人员联系", "Please talk to the staff"),
        Text("已由工作人员决定，记录中有经办人", "Decided by a member of staff; the record names them"),
        Text("请与工作人员联系。", "Please talk to the staff."),
    ),
    "exit_free": ReasonWords(
        Text("离开已登记", "Your leaving is recorded"),
        Text("请慢走", "Goodbye"),
        Text("本出口无需扫码：只记人数", "No code is needed to leave here: people are only counted"),
        Text("请慢走。", "Goodbye."),
    ),
    "entrance_closed": ReasonWords(
        Text("本入口暂不开放", "This entrance is closed"),
        Text("请看屏幕上的指引，或找工作人员", "Please follow the sign on the screen, or ask the staff"),
        Text("入口已关闭：可在工作台开放，或人工登记", "Closed: open it in the panel, or register by hand"),
        Text("本入口暂不开放，请找工作人员。", "This entrance is closed. Please ask the staff."),
    ),
    "opening_test_missing": ReasonWords(
        Text("本机今天还没有自检", "This kiosk was not tested yet today"),
        _WAIT,
        Text("请先在工作台做设备自检，通过后自动放行", "Run the device test in the panel; it must pass first"),
        Text("请稍候，由工作人员核验。", "One moment, please. A member of staff will check."),
    ),
    "venue_full": ReasonWords(
        Text("场内人数已满", "The venue is full"),
        Text("请稍候，有人离开后再扫码", "Please wait, and scan again when somebody has left"),
        Text("已到容量上限：等人离开，或由您决定放行", "At capacity: wait until somebody leaves, or decide yourself"),
        Text("场内人数已满，请稍候。", "The venue is full. Please wait a moment."),
    ),
    "enrol_needed": ReasonWords(
        Text("本机尚未登记", "This kiosk is not enrolled"),
        _ASK_STAFF,
        Text("请在管理后台生成登记码，用本机摄像头扫描", "Make an enrolment code in the console and show it here"),
        Text("本机尚未登记。", "This kiosk is not enrolled yet."),
    ),
}

# Spoken prompts that belong to no verdict.
SPOKEN_PROMPTS: Final[dict[str, Text]] = {
    "measuring": Text("请站好，正在测体温。", "Please stand still while your temperature is taken."),
    "self_test": Text("声音测试。", "This is a sound test."),
    "called": Text("工作人员马上来，请稍坐。", "The staff are coming. Please take a seat."),
}


def words_for(code: str) -> ReasonWords | None:
    """What to say for *code*: an admission code, or a credential's reason (protocol/credentials/reasons.py).

    None for a code that is in neither table; the caller then shows the face's headline alone.
    """
    found = ADMISSION.get(code)
    if found is not None:
        return found
    try:
        said = SENTENCES[Reason(code)]
    except (ValueError, KeyError):
        return None
    reason, step = _split(said.visitor_zh, said.visitor_en)
    return ReasonWords(reason, step, Text(said.staff_zh, said.staff_en), Text(said.visitor_zh, said.visitor_en))


def _split(zh: str, en: str) -> tuple[Text, Text]:
    """The visitor's sentence as what is the matter and what to do: they are one "，" and one ". " apart."""
    zh_reason, _, zh_step = zh.rstrip("。").partition("，")
    en_reason, _, en_step = en.rstrip(".").partition(". ")
    if not (zh_step and en_step):
        return Text(zh.rstrip("。"), en.rstrip(".")), _ASK_STAFF
    return Text(zh_reason, en_reason), Text(zh_step, en_step)


def headline(face: Face, direction: str) -> Text:
    """The one big word of a verdict; *direction* is "in" or "out"."""
    return HEADLINE_OUT if face is Face.PASS and direction == "out" else HEADLINES[face]


def voice_phrases() -> dict[str, Text]:
    """Every phrase of the voice by the name of its clip."""
    phrases = {code: words.spoken for code, words in ADMISSION.items()}
    phrases |= SPOKEN_PROMPTS
    phrases |= {f"elder_{name}": page.say for name, page in ELDER.items()}
    phrases |= {f"face_{face.value}": text for face, text in SPOKEN_BY_FACE.items()}
    return phrases


def voice_clip(code: str, face: Face | None, direction: str = "in") -> str | None:
    """The name of the clip that says *code*: its own, else the face's. A pass never says anything but a pass."""
    if face is Face.PASS:
        return "signed_out" if direction == "out" else "admitted"
    if code in ADMISSION or code in SPOKEN_PROMPTS:
        return code
    return None if face is None else f"face_{face.value}"


PART_NAMES: Final[dict[str, Text]] = {
    "camera": Text("摄像头", "Camera"),
    "scanner": Text("扫码枪", "Scanner"),
    "id_card": Text("身份证读卡器", "ID card reader"),
    "thermometer": Text("测温仪", "Thermometer"),
    "gate": Text("闸机", "Gate"),
    "sound": Text("声音", "Sound"),
    "network": Text("网络", "Network"),
    "clock": Text("时钟", "Clock"),
    "disk": Text("存储", "Storage"),
    "rules": Text("规则", "Rules"),
    "test": Text("开门自检", "Test"),
    "offline": Text("断网验收", "Offline test"),
}
# What the opening test and the device doctor try beyond the parts on the status board.
TEST_PARTS: Final[dict[str, Text]] = PART_NAMES | {
    "queue": Text("待上传记录", "Unsent records"),
    "card": Text("存储卡", "Memory card"),
    "power": Text("供电", "Power supply"),
    "heat": Text("温度", "Heat"),
    "update": Text("程序更新", "Program"),
    "decoder": Text("识码引擎", "Code reader"),
    "scan_head": Text("扫码枪", "Scanner"),
    "voice": Text("语音", "Voice"),
    "enrolment": Text("登记", "Enrolment"),
    "journal": Text("记录链", "Journal"),
    "server": Text("服务器", "Server"),
}

COUNT_NAMES: Final[dict[str, Text]] = {
    "admit": Text("放行", "Admitted"),
    "hold": Text("核验", "By hand"),
    "deny": Text("止步", "Stopped"),
    "manual": Text("人工登记", "Typed"),
    "proxy": Text("代扫", "Helped"),
    "waved": Text("未扫码放行", "Waved through"),
    "waved_out": Text("未扫码离开", "Left unscanned"),
}

MODES: Final[dict[str, Text]] = {
    "online": Text("在线", "Online"),
    "offline": Text("离线运行", "Running offline"),
    "typed": Text("手工测温", "measure by hand"),
    "manual": Text("人工登记", "register by hand"),
    "closed": Text("暂停使用", "Out of service"),
    "not_enrolled": Text("尚未登记", "Not enrolled"),
}

# The profile in force, before the mode in the permanent banner.
PROFILES: Final[dict[Mode, Text]] = {
    Mode.NORMAL: Text("常态", "Normal"),
    Mode.EMERGENCY: Text("应急", "Emergency"),
}

# What stands on the screen of an entrance that lets nobody in.
CLOSED: Final[dict[ClosedWhy, Text]] = {
    ClosedWhy.HOURS: Text("现在不在开放时间", "Closed at this hour"),
    ClosedWhy.DONE: Text("今天的开放已结束", "Closed for today"),
    ClosedWhy.REPAIR: Text("设备检修，暂停使用", "Out of service for repair"),
    ClosedWhy.CLEANING: Text("正在消毒，暂停使用", "Closed for disinfection"),
    ClosedWhy.OTHER_DOOR: Text("请走其他入口", "Please use another entrance"),
}

DIRECTIONS: Final[dict[str, Text]] = {
    "in": Text("入口", "Way in"),
    "out": Text("出口", "Way out"),
}

FILLS: Final[dict[Fill, Text]] = {
    Fill.NEAR: Text("接近满员", "Nearly full"),
    Fill.FULL: Text("已满", "Full"),
}

NOTICE_LEVELS: Final[dict[NoticeLevel, Text]] = {
    NoticeLevel.TIP: Text("提示", "Tip"),
    NoticeLevel.IMPORTANT: Text("重要", "Important"),
    NoticeLevel.URGENT: Text("紧急", "Urgent"),
}

# The page's own words; templates take all of theirs from here.
PAGE: Final[dict[str, Text]] = {
    "title": Text("门哨入口", "Gatehouse entrance"),
    "starting": Text("正在启动", "Starting"),
    "day_word": Text("今日口令", "Word of the day"),
    "show_code": Text("请出示健康码", "Please show your health code"),
    "show_code_how": Text("手机屏幕调亮，对准摄像头", "Brighten your screen and hold it to the camera"),
    "measuring": Text("请站好，正在测体温", "Stand still: measuring"),
    "measuring_how": Text("站到标记处，露出额头，看镜头", "Stand on the mark, forehead free, look at the lens"),
    "show_code_out": Text("离开请扫码", "Leaving? Show your health code"),
    "leave_how": Text("离开请点按钮", "Leaving? Touch the button"),
    "leave_or_code": Text("也可以向摄像头出示健康码", "Or hold your health code to the camera"),
    "leave": Text("我要离开", "I am leaving"),
    "occupancy": Text("场内人数", "Inside now"),
    "closed": Text("暂不开放", "Closed"),
    "out_of_service": Text("暂停使用", "Out of service"),
    "elsewhere": Text("请到服务台或找工作人员", "Please go to the desk, or ask the staff"),
    "today": Text("今日", "Today"),
    "parts": Text("设备状态", "Devices"),
    "notices": Text("公告", "Notices"),
    "notices_age": Text("公告内容", "Notices as of"),
    "unsent": Text("待上传", "Unsent"),
    "unsent_unit": Text("条", ""),
    "good": Text("正常", "working"),
    "not_good": Text("需处理", "needs attention"),
    "camera": Text("镜头画面", "Camera"),
    "camera_off": Text("摄像头不可用，请找工作人员登记", "No camera: please register with the staff"),
    "temperature": Text("体温", "Temperature"),
    "staff_line": Text("工作人员", "Staff"),
    "reference": Text("记录", "Record"),
    "closes": Text("剩余显示时间", "Time left on screen"),
    "hold_pause": Text("按住暂停", "Hold to pause"),
    "acknowledge": Text("已处理", "Done"),
    "remeasure": Text("再测一次", "Measure again"),
    "lost_contact": Text("屏幕与主机失去联系", "The screen lost contact with the kiosk"),
    "lost_contact_how": Text("请找工作人员人工登记，正在重新连接", "Please register with the staff; reconnecting"),
    "setup": Text("设置本机", "Set up this kiosk"),
    "setup_1": Text("在管理后台打开“登记终端”", "Open “Enrol a kiosk” in the console"),
    "setup_2": Text("把二维码放到摄像头或扫码头前", "Hold its QR code to the camera or scan head"),
    "setup_3": Text("等待本机确认", "Wait for this kiosk to confirm"),
    "finding": Text("需要处理", "Needs attention"),
}

# The staff panel and the elder pages.
PANEL: Final[dict[str, Text]] = {
    "panel": Text("工作台", "Staff panel"),
    "back": Text("返回", "Back"),
    "next": Text("下一步", "Next"),
    "home": Text("回到入口屏", "To the entrance screen"),
    "sign_in": Text("请输入 PIN", "Type your PIN"),
    "sign_in_how": Text("或先向摄像头出示工作证", "Or show your badge to the camera first"),
    "sign_out": Text("离岗", "Sign out"),
    "operator": Text("当前操作人", "Operator"),
    "confirm": Text("确认", "Confirm"),
    "hold": Text("处理待核验", "Resolve a hold"),
    "proxy": Text("代扫", "Help a person"),
    "manual": Text("人工登记", "Register by hand"),
    "card_photo": Text("拍照读证", "Photograph a card"),
    "wave": Text("未扫码放行 +1", "Waved through +1"),
    "door": Text("人数与开关", "Count, open, close"),
    "inside_now": Text("场内现有", "Inside now"),
    "wave_out": Text("离开 +1", "Left +1"),
    "wave_in": Text("进入 +1", "Came in +1"),
    "set_inside": Text("改正场内人数", "Correct the count"),
    "set_inside_how": Text("现场清点后的人数；会记录经办人", "As counted on the spot; your name is recorded"),
    "close_entrance": Text("关闭本入口", "Close this entrance"),
    "close_how": Text("关闭后只有工作人员能登记放行；出口不受影响", "Then only staff admit; leaving stays possible"),
    "open_entrance": Text("开放本入口", "Open this entrance"),
    "fault": Text("报告故障", "Report a fault"),
    "record": Text("记录去向", "Life of a record"),
    "self_test": Text("设备自检", "Test the devices"),
    "today": Text("今日", "Today"),
    "next_person": Text("屏幕上已是下一位，请重新操作", "The next person is on the screen; please start again"),
    "no_hold": Text("现在没有待核验的人", "Nobody is waiting to be checked"),
    "stopped": Text("红码或发热不能放行，只能上报", "A red code or fever is never admitted; report it"),
    "remeasure": Text("再测一次", "Measure again"),
    "rescan": Text("重新扫码", "Scan again"),
    "confirm_card": Text("人证一致，开始测温", "Card and holder match: measure"),
    "typed_reading": Text("录入手测体温", "Type a hand-taken temperature"),
    "refuse": Text("不予放行", "Do not admit"),
    "celsius": Text("体温（℃）", "Temperature (℃)"),
    "celsius_how": Text("留空则由本机测量", "Leave empty and the kiosk measures"),
    "step_who": Text("第 1 步：帮助谁", "Step 1: who is helped"),
    "step_helper": Text("第 2 步：谁在帮忙", "Step 2: who helps"),
    "step_confirm": Text("第 3 步：体温与确认", "Step 3: temperature and confirm"),
    "how_known": Text("怎样确认身份", "How they are known"),
    "helper_name": Text("代扫人姓名", "Helper's name"),
    "helper_phone": Text("代扫人电话（可不填）", "Helper's phone (optional)"),
    "relation": Text("与被帮助人的关系", "Relation to the person"),
    "consent": Text(
        "已告知本人：姓名、证件号、电话和体温将加密保存，仅供依法查询；本人同意代扫",
        "The person was told: name, number, phone and temperature are kept encrypted for lawful queries; they agree",
    ),
    "name": Text("姓名", "Name"),
    "number": Text("证件号码", "Document number"),
    "phone": Text("电话", "Phone"),
    "document": Text("证件", "Document"),
    "why": Text("原因", "Why"),
    "checked_by_staff": Text("已与证件逐位核对", "Compared with the document, digit by digit"),
    "surnames": Text("常见姓氏", "Common surnames"),
    "keypad": Text("数字键盘", "Number pad"),
    "delete": Text("删除", "Delete"),
    "looks_right": Text("正确", "Looks right"),
    "fault_part": Text("哪里有问题？", "What is out of order?"),
    "fault_what": Text("怎么了？", "What is wrong with it?"),
    "still_there": Text("还在吗？即将回到入口屏", "Still there? Going back to the entrance screen"),
    "stay": Text("继续", "Stay"),
    "seconds": Text("秒", "s"),
    "wrong_pin": Text("PIN 不正确", "This PIN is not right"),
    "wait": Text("错误次数过多，请稍候再试", "Too many wrong tries; please wait"),
    "not_available": Text("本机暂时不能处理此操作", "This kiosk cannot do that right now"),
    "not_sent": Text("没有送达，请再试一次", "Not sent; please try again"),
    "elder_open": Text("没有手机？点这里", "No phone? Touch here"),
    "staff_corner": Text("长按：工作人员", "Hold: staff"),
    "yes": Text("有", "Yes"),
    "no": Text("没有", "No"),
    "call_staff": Text("请工作人员过来", "Call the staff"),
    "called": Text("工作人员马上来，请稍坐", "The staff are coming; please take a seat"),
    "say_again": Text("再说一遍", "Say it again"),
}

# The inspector's page.
INSPECT: Final[dict[str, Text]] = {
    "title": Text("检查员视图", "Inspector"),
    "unreadable": Text("记录无法读取，请保留存储卡原样", "The journal cannot be read: keep the card as it is"),
    "whole": Text("记录链完整", "The chain of records is whole"),
    "broken": Text("记录链有疑点，请保留存储卡原样", "The chain has findings: keep the card as it is"),
    "only_headers": Text("只读：不含个人信息", "Read-only; nothing personal"),
    "today": Text("今日", "Today"),
    "passages": Text("通行", "Passages"),
    "manual": Text("人工登记占比", "Typed by staff"),
    "proxy": Text("代扫占比", "Helped"),
    "unsent": Text("待上传", "Unsent"),
    "records": Text("本机记录", "Records here"),
    "receipt": Text("最近回执", "Last receipt"),
    "no_receipt": Text("还没有回执", "None yet"),
    "rules": Text("规则", "Rules"),
    "no_rules": Text("尚无规则", "none yet"),
    "clock": Text("时钟变动", "Clock moved"),
    "clock_unsure": Text("时间不可信的记录", "Clock unsure"),
    "restarts": Text("今日开机次数", "Boots today"),
    "test": Text("开门自检", "Opening test"),
    "no_test": Text("今天没有做", "not done today"),
    "quarantined": Text("服务器隔离", "Set aside"),
    "operators": Text("今日经办人", "Registered by"),
    "none": Text("无", "none"),
    "findings": Text("疑点", "Findings"),
}

# What became of a record: its stages, and those that only the server knows.
LIFE: Final[dict[str, Text]] = {
    "title": PANEL["record"],
    "number": Text("记录编号", "Record number"),
    "number_how": Text("屏幕上“#”后的数字，或从下面选", "The digits after # on the screen, or pick one below"),
    "show": Text("查看", "Show"),
    "list": Text("今日记录", "Today's records"),
    "nothing": Text("今天还没有记录", "No record yet today"),
    "older": Text("更早", "Earlier"),
    "newest": Text("最新", "Newest"),
    "no_number": Text("请输入数字编号", "Type the record's number, digits alone"),
    "unknown": Text("查无此号", "Not found"),
    "scanned": Text("扫描", "Scanned"),
    "decided": Text("判定", "Decided"),
    "stored": Text("保存", "Stored"),
    "sent": Text("上传", "Sent"),
    "received": Text("服务器接收", "Received"),
    "aside": Text("服务器隔离", "Set aside"),
    "indexed": Text("索引", "Indexed"),
    "opened": Text("查阅", "Opened"),
    "destroyed": Text("销毁", "Destroyed"),
}
LIFE_ELSEWHERE: Final[dict[str, Text]] = {
    "indexed": Text("仅服务器知道", "only the server knows"),
    "opened": Text("仅服务器知道：保险库查阅日志", "only the server knows, from the vault's access log"),
    "destroyed": Text("仅服务器知道：密钥一毁，副本都打不开", "only the server knows; no copy opens afterwards"),
}
ENTRY_MODES: Final[dict[str, Text]] = {
    "scan": Text("扫码", "Scan"),
    "proxy": COUNT_NAMES["proxy"],
    "id_card": Text("身份证", "ID card"),
    "manual": COUNT_NAMES["manual"],
    "phone": Text("手机自扫", "Own phone"),
    "event": Text("事件", "Event"),
}

WORDS: Final[dict[str, dict[str, Text]]] = {
    "closed_why": {why.value: CLOSED[why] for why in BY_STAFF},
    "identify": {
        "paper_code": Text("纸质健康码", "Paper code"),
        "id_card": Text("身份证读卡", "ID card reader"),
        "typed": Text("手工输入", "Typed in"),
    },
    "document": {
        "resident_id": Text("身份证或居住证", "Resident ID or permit"),
        "passport": Text("护照", "Passport"),
        "other": Text("其他证件", "Other document"),
        "none": Text("未带证件", "No document"),
    },
    "relation": {
        "staff": Text("工作人员", "Staff"),
        "child": Text("子女", "Child"),
        "spouse": Text("配偶", "Spouse"),
        "parent": Text("父母", "Parent"),
        "other_family": Text("其他亲属", "Other family"),
        "carer": Text("护工", "Carer"),
        "neighbour": Text("邻居", "Neighbour"),
        "other": Text("其他", "Other"),
    },
    "why": {
        "no_phone": Text("没有手机", "No phone"),
        "code_unreadable": Text("码读不出", "Code unreadable"),
        "kiosk_fault": Text("设备故障", "Kiosk fault"),
        "other": Text("其他", "Other"),
    },
    "part": {
        **{
            part: PART_NAMES[part]
            for part in ("camera", "scanner", "id_card", "thermometer", "gate", "sound", "network")
        },
        "screen": Text("屏幕", "Screen"),
        "poster": Text("场所码海报", "Poster"),
    },
    "what": {
        "broken": Text("不工作", "Does not work"),
        "wrong": Text("结果不对", "Wrong results"),
        "slow": Text("太慢", "Too slow"),
        "dirty": Text("脏污或破损", "Dirty or damaged"),
    },
}

# Reading a photographed card: its page, and what can come of it (codes of kiosk.card_ocr.OcrFailed among them).
CARD_PHOTO: Final[dict[str, Text]] = {
    "title": Text("拍照读证", "Photograph a card"),
    "how": Text(
        "把证件有文字的一面平放在镜头前，占满画面；照片读完即毁，不会保存",
        "Hold the card's text side flat before the camera, filling the picture; the photograph is never kept",
    ),
    "shoot": Text("拍照", "Photograph"),
    "sex": Text("性别（只供核对，不保存）", "Sex (to compare; not kept)"),
    "birth": Text("出生（只供核对，不保存）", "Birth (to compare; not kept)"),
    "address": Text("住址（只供核对，不保存）", "Address (to compare; not kept)"),
    "compared": Text("已与证件核对", "Compared with the card"),
    "compare": Text("请逐项与证件核对", "Compare each field with the card"),
    "doubtful": Text(
        "有些内容前后不符，请仔细核对每一项", "Some of it contradicts itself: compare each field with care"
    ),
    "nothing": Text("没有读到证件，请放平、避开反光再拍", "No card was read: lay it flat, avoid glare, and try again"),
    "no_picture": Text("摄像头没有画面", "The camera gives no picture"),
    "not_installed": Text("未安装识读组件 gatehouse[ocr]", "The reading package gatehouse[ocr] is not installed"),
    "busy": Text("正在识读上一张，请稍候", "Another card is being read; one moment"),
    "late": Text("识读超时，请手工录入", "Reading took too long: please type"),
    "ended": Text("识读组件出错，请手工录入", "The reading package failed: please type"),
    "nonsense": Text("识读组件出错，请手工录入", "The reading package failed: please type"),
}

SURNAMES: Final = "王李张刘陈杨黄赵吴周徐孙"
TITLES: Final = ("先生", "女士")


@dataclass(frozen=True, slots=True)
class ElderPage:
    """One question, or one instruction, of the elder mode."""

    say: Text
    yes: str | None = None  # the page behind the answer; a page without answers is an instruction
    no: str | None = None
    calls: bool = False  # offers to call a person


ELDER: Final[dict[str, ElderPage]] = {
    "phone": ElderPage(Text("您带手机了吗？", "Do you have a phone with you?"), "show", "paper"),
    "paper": ElderPage(Text("您有纸质健康码吗？", "Do you have a paper health code?"), "paper_show", "card"),
    "card": ElderPage(Text("您带身份证了吗？", "Do you have your ID card with you?"), "card_call", "call"),
    "show": ElderPage(
        Text("请打开健康码，对准镜头。", "Please open your health code and hold it to the camera."), calls=True
    ),
    "paper_show": ElderPage(Text("请把纸码放到镜头前。", "Please hold the paper code to the camera."), calls=True),
    "card_call": ElderPage(
        Text("请拿好身份证，点下面的按钮。", "Please have your card ready and touch the button below."), calls=True
    ),
    "card_lay": ElderPage(Text("请把身份证放在读卡器上。", "Please lay your ID card on the reader."), calls=True),
    "call": ElderPage(
        Text("没关系，请点下面的按钮。", "That is all right. Please touch the button below."), calls=True
    ),
}
