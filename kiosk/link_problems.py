"""Everything that can be wrong between a kiosk and its server, each with a stable code and what the staff reads."""

from __future__ import annotations

from typing import Final

from kiosk.screen_state import Text


class LinkProblem(Exception):
    """The server could not be reached, or what came is not its word. Nothing is lost: records stay in the journal."""

    def __init__(self, code: str, detail: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail  # for the log, never personal
        self.retry_after_s = retry_after_s

    @property
    def text(self) -> Text:
        """The sentence for the screen."""
        return PROBLEMS.get(self.code, PROBLEMS["refused"])

    @property
    def needs_people(self) -> bool:
        """Whether waiting will not mend it: somebody has to act."""
        return self.code in NEED_PEOPLE


PROBLEMS: Final[dict[str, Text]] = {
    "unreachable": Text("连不上服务器：检查网线或无线网", "The server cannot be reached: check the cable or the Wi-Fi"),
    "timeout": Text("服务器没有回应：稍后自动重试", "The server does not answer: trying again by itself"),
    "tls": Text("服务器证书不可信：请联系技术支持", "The server's certificate is not trusted: call technical support"),
    "captive_portal": Text(
        "网络要求先登录网页：请联系网络管理员", "The network wants a web sign-in: ask whoever runs it"
    ),
    "server_error": Text("服务器内部故障：稍后自动重试", "The server has a fault: trying again by itself"),
    "half_body": Text("服务器的回答不完整：稍后自动重试", "The server's answer was cut short: trying again by itself"),
    "too_large_answer": Text(
        "服务器的回答过大：请联系技术支持", "The server's answer is too large: call technical support"
    ),
    "not_our_protocol": Text("对方不是门哨服务器：检查服务器地址", "That is no Gatehouse server: check its address"),
    "wrong_server": Text(
        "回答的签名不属于本机登记的服务器：请联系技术支持",
        "The answer is not signed by the server this kiosk was enrolled with: call technical support",
    ),
    "wrong_answer": Text("收到的是别的请求的回答：稍后自动重试", "The answer belongs to another request: trying again"),
    "bad_answer": Text("服务器的回答前后矛盾：请联系技术支持", "The server contradicts itself: call technical support"),
    "busy": Text("服务器请本机稍候：稍后自动重试", "The server asks to wait: trying again by itself"),
    "suspended": Text(
        "本机已被暂停：记录保留，请联系管理员恢复", "This kiosk is suspended: ask the administrator to resume it"
    ),
    "retired": Text("本机已退役：请清除后重新登记", "This kiosk is retired: wipe it, or enrol it anew"),
    "lost": Text("本机已报失：请交还管理员", "This kiosk was reported lost: bring it to the administrator"),
    "unknown_kiosk": Text("服务器不认识本机：请重新登记", "The server does not know this kiosk: enrol it again"),
    "bad_signature": Text(
        "服务器不接受本机的签名：请联系技术支持", "The server refuses this kiosk's signature: call support"
    ),
    "fork": Text(
        "本机记录与服务器不一致（存储卡被复制或恢复过？）：请联系技术支持，勿清除本机",
        "Our records differ from the server's (was the card copied or restored?): call support, do not wipe this kiosk",
    ),
    "copied": Text(
        "服务器收到过本机的另一份记录（存储卡被复制过？）：照常使用，请联系技术支持",
        "The server has seen a second history of this kiosk (was its card copied?): go on, and call technical support",
    ),
    "server_lost_records": Text(
        "服务器丢失了本机已清除的记录：请联系技术支持",
        "The server lost records that this kiosk has already deleted: call technical support",
    ),
    "too_large": Text("一次发送的记录过多：自动减少后重试", "Too much was sent at once: sending less by itself"),
    "fault": Text(
        "同步程序出错：稍后自动重试，请告知技术支持", "The sync program failed: trying again; tell technical support"
    ),
    "bundle": Text("新规则无法使用：继续用上一份", "The new rules cannot be used: the last good ones stay in force"),
    "journal": Text("本机存储有故障：记录可能停止", "This kiosk's own storage has a fault"),
    "refused": Text(
        "服务器拒绝了本机的请求：请联系技术支持", "The server refused this kiosk's request: call technical support"
    ),
}

NEED_PEOPLE: Final = frozenset(
    {
        "tls",
        "not_our_protocol",
        "wrong_server",
        "bad_answer",
        "suspended",
        "retired",
        "lost",
        "unknown_kiosk",
        "bad_signature",
        "fork",
        "copied",
        "server_lost_records",
        "refused",
    }
)
