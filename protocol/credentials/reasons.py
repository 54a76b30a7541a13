"""Why a credential is refused, or accepted with a remark: stable codes, and what they mean in plain words."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, NamedTuple

Reader = Literal["staff", "visitor"]
Language = Literal["zh", "en"]


class Reason(Enum):
    """The value is the stable code for machines; codes are only ever added. `sentence` has the words for people."""

    # not a code that is read here
    UNKNOWN_SCHEME = "unknown_scheme"
    SCHEME_NOT_ACCEPTED = "scheme_not_accepted"  # this place's policy does not take it
    TOO_LONG = "too_long"
    # broken on the way
    BAD_ENCODING = "bad_encoding"  # base45, base32, base64url or digits
    BAD_COMPRESSION = "bad_compression"
    BAD_STRUCTURE = "bad_structure"  # CBOR, COSE, JWS, JSON
    PARTS_MISSING = "parts_missing"  # a code of several pictures
    PARTS_DO_NOT_FIT = "parts_do_not_fit"
    # not signed as it must be
    ALGORITHM_NOT_ACCEPTED = "algorithm_not_accepted"
    CRITICAL_HEADER = "critical_header"
    KEY_UNKNOWN = "key_unknown"
    ISSUER_UNKNOWN = "issuer_unknown"
    SIGNATURE_WRONG = "signature_wrong"
    KEY_NOT_FOR_THIS = "key_not_for_this"  # a trusted key, used for something it may not sign
    KEY_EXPIRED = "key_expired"
    KEY_NOT_YET_VALID = "key_not_yet_valid"
    # signed, but not good now
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    LIFE_TOO_LONG = "life_too_long"
    CONTENT_WRONG = "content_wrong"
    VALUE_UNKNOWN = "value_unknown"  # a value that is in none of the agreed lists
    SEVERAL_ENTRIES = "several_entries"
    BORN_IN_THE_FUTURE = "born_in_the_future"
    REVOKED = "revoked"
    SUSPENDED = "suspended"
    REPLACED = "replaced"  # a newer poster of this venue exists
    WRONG_HOST = "wrong_host"  # a venue code that leads to somebody else's address
    RULE_NOT_MET = "rule_not_met"  # a rule of this place (CertLogic)
    # cannot tell
    STATUS_UNKNOWN = "status_unknown"
    STATUS_TOO_OLD = "status_too_old"
    RULE_UNDECIDED = "rule_undecided"
    PROVIDER_SILENT = "provider_silent"
    PROVIDER_UNSURE = "provider_unsure"
    # notes: they refuse nothing, but they are shown and recorded
    STATUS_OLD = "status_old"
    REVOCATION_UNKNOWN = "revocation_unknown"
    SIGNED_BEFORE_KEY = "signed_before_key"  # dated before its key became valid
    SEEN_BEFORE = "seen_before"  # pass-back: this very code was shown here already

    @property
    def refuses(self) -> bool:
        """False for a mere note."""
        return self not in _NOTES

    @property
    def undecided(self) -> bool:
        """True when it refuses because something is not known here, not because something is wrong."""
        return self in _UNDECIDED


_NOTES: Final = frozenset({Reason.STATUS_OLD, Reason.REVOCATION_UNKNOWN, Reason.SIGNED_BEFORE_KEY, Reason.SEEN_BEFORE})
_UNDECIDED: Final = frozenset(
    {
        Reason.STATUS_UNKNOWN,
        Reason.STATUS_TOO_OLD,
        Reason.RULE_UNDECIDED,
        Reason.PROVIDER_SILENT,
        Reason.PROVIDER_UNSURE,
        Reason.PARTS_MISSING,
    }
)


class Sentences(NamedTuple):
    """One reason in words: for the staff, who act, and for the visitor, who must not feel accused."""

    staff_zh: str
    staff_en: str
    visitor_zh: str
    visitor_en: str


SENTENCES: Final[dict[Reason, Sentences]] = {
    Reason.UNKNOWN_SCHEME: Sentences(
        "不是本机能识别的码，请改用其他方式登记。",
        "Not a code this kiosk reads; register the visitor another way.",
        "这不是健康码，请出示健康码或找工作人员。",
        "This is not a health code. Please show one, or ask the staff.",
    ),
    Reason.SCHEME_NOT_ACCEPTED: Sentences(
        "本场所的规则不接受此类码。",
        "This place's policy does not accept this kind of code.",
        "本场所不使用这种码，请找工作人员。",
        "This kind of code is not used here. Please ask the staff.",
    ),
    Reason.TOO_LONG: Sentences(
        "码的内容过长，已拒绝读取。",
        "The code holds more than any known code does; it was not read.",
        "无法识别此码，请找工作人员。",
        "This code cannot be read. Please ask the staff.",
    ),
    Reason.BAD_ENCODING: Sentences(
        "码的文字有误，可能损坏或不完整，请重新出示。",
        "The text of the code is damaged or incomplete; ask to see it again.",
        "码不完整，请刷新后再出示。",
        "The code is incomplete. Please refresh it and show it again.",
    ),
    Reason.BAD_COMPRESSION: Sentences(
        "码的压缩内容有误，可能损坏。",
        "The packed content of the code is damaged.",
        "码已损坏，请刷新后再出示。",
        "The code is damaged. Please refresh it and show it again.",
    ),
    Reason.BAD_STRUCTURE: Sentences(
        "码的结构不符合规范，请人工核验。",
        "The code is not built as its scheme says; check by hand.",
        "无法识别此码，请找工作人员。",
        "This code cannot be read. Please ask the staff.",
    ),
    Reason.PARTS_MISSING: Sentences(
        "此码由多张组成，还缺一部分。",
        "This code has several parts and some are missing.",
        "请依次出示其余部分的码。",
        "Please show the other parts of the code too.",
    ),
    Reason.PARTS_DO_NOT_FIT: Sentences(
        "出示的几张码不属于同一份凭证。",
        "The parts shown do not belong together.",
        "这几张码不是同一份，请重新出示。",
        "These parts do not belong together. Please start again.",
    ),
    Reason.ALGORITHM_NOT_ACCEPTED: Sentences(
        "码的签名算法与可信名单不符，请人工核验。",
        "The code names a signature method other than its issuer's; check by hand.",
        "无法核实此码，请找工作人员。",
        "This code cannot be verified. Please ask the staff.",
    ),
    Reason.CRITICAL_HEADER: Sentences(
        "码要求本机不支持的扩展，请人工核验。",
        "The code demands an extension this kiosk does not know; check by hand.",
        "无法核实此码，请找工作人员。",
        "This code cannot be verified. Please ask the staff.",
    ),
    Reason.KEY_UNKNOWN: Sentences(
        "签发密钥不在可信名单中，请人工核验并检查名单是否最新。",
        "Signed with a key that is not on the trust list; check by hand, and see whether the list is current.",
        "无法核实此码的签发机构，请找工作人员。",
        "The issuer of this code is not known here. Please ask the staff.",
    ),
    Reason.ISSUER_UNKNOWN: Sentences(
        "签发机构不在可信名单中，请人工核验。",
        "The issuer is not on the trust list; check by hand.",
        "无法核实此码的签发机构，请找工作人员。",
        "The issuer of this code is not known here. Please ask the staff.",
    ),
    Reason.SIGNATURE_WRONG: Sentences(
        "签名无效：内容被改动或伪造，请人工核验。",
        "The signature does not hold: changed or forged. Check by hand.",
        "无法核实此码，请找工作人员。",
        "This code cannot be verified. Please ask the staff.",
    ),
    Reason.KEY_NOT_FOR_THIS: Sentences(
        "该密钥无权签发此类凭证，请人工核验。",
        "This key is not allowed to sign this kind of credential; check by hand.",
        "无法核实此码，请找工作人员。",
        "This code cannot be verified. Please ask the staff.",
    ),
    Reason.KEY_EXPIRED: Sentences(
        "签发密钥已过有效期，请人工核验。",
        "The issuer's key is past its validity; check by hand.",
        "此码已不能使用，请更新或找工作人员。",
        "This code can no longer be used. Please renew it or ask the staff.",
    ),
    Reason.KEY_NOT_YET_VALID: Sentences(
        "签发密钥尚未生效，请检查本机时间。",
        "The issuer's key is not valid yet; check this kiosk's clock.",
        "此码尚未生效，请找工作人员。",
        "This code is not valid yet. Please ask the staff.",
    ),
    Reason.EXPIRED: Sentences(
        "码已过期，请访客刷新。",
        "The code has expired; ask the visitor to refresh it.",
        "码已过期，请刷新后再出示。",
        "The code has expired. Please refresh it and show it again.",
    ),
    Reason.NOT_YET_VALID: Sentences(
        "码尚未生效：请检查本机与手机时间。",
        "The code is not valid yet: check this kiosk's and the phone's clock.",
        "码尚未生效，请检查手机时间或找工作人员。",
        "The code is not valid yet. Please check your phone's clock or ask the staff.",
    ),
    Reason.LIFE_TOO_LONG: Sentences(
        "动态码的有效期长于规定，请人工核验。",
        "A dynamic code with a longer life than allowed; check by hand.",
        "请打开最新的健康码再出示。",
        "Please open your current health code and show it.",
    ),
    Reason.CONTENT_WRONG: Sentences(
        "签名有效但内容不符合规范，请人工核验。",
        "Signed, but the content breaks the scheme's rules; check by hand.",
        "此码内容有误，请找工作人员。",
        "The content of this code is wrong. Please ask the staff.",
    ),
    Reason.VALUE_UNKNOWN: Sentences(
        "内容含有未登记的疫苗、检测或结果代码，请人工核验。",
        "It names a vaccine, test or result that is on no agreed list; check by hand.",
        "此码内容无法确认，请找工作人员。",
        "The content of this code cannot be confirmed. Please ask the staff.",
    ),
    Reason.SEVERAL_ENTRIES: Sentences(
        "一份凭证中有多条记录，不予接受。",
        "One certificate with several entries; not accepted.",
        "此码包含多条记录，请出示单条记录的码。",
        "This code holds several entries. Please show one with a single entry.",
    ),
    Reason.BORN_IN_THE_FUTURE: Sentences(
        "出生日期晚于今天，请人工核验。",
        "The birth date lies in the future; check by hand.",
        "此码内容有误，请找工作人员。",
        "The content of this code is wrong. Please ask the staff.",
    ),
    Reason.REVOKED: Sentences(
        "此码已被签发机构撤销。",
        "The issuer has revoked this code.",
        "此码已失效，请找工作人员。",
        "This code is no longer valid. Please ask the staff.",
    ),
    Reason.SUSPENDED: Sentences(
        "此码已被暂停使用。",
        "This code is suspended.",
        "此码暂停使用，请找工作人员。",
        "This code is suspended. Please ask the staff.",
    ),
    Reason.REPLACED: Sentences(
        "此场所码已被新码替换，请更换张贴。",
        "This venue code has been replaced; put up the new poster.",
        "此场所码已更换，请扫描新的场所码。",
        "This venue code has been replaced. Please scan the new one.",
    ),
    Reason.WRONG_HOST: Sentences(
        "场所码指向其他网址，可能被覆盖张贴，请检查海报。",
        "The venue code leads to another address; somebody may have pasted over the poster.",
        "此场所码有误，请找工作人员。",
        "This venue code is wrong. Please tell the staff.",
    ),
    Reason.RULE_NOT_MET: Sentences(
        "凭证有效，但不满足本场所的规则。",
        "The credential is genuine but does not meet this place's rules.",
        "您的凭证不满足本场所的要求，请找工作人员。",
        "Your certificate does not meet the rules here. Please ask the staff.",
    ),
    Reason.STATUS_UNKNOWN: Sentences(
        "无法得知此码当前状态，请人工核验。",
        "The current status of this code is not known here; check by hand.",
        "暂时无法核实此码，请找工作人员。",
        "This code cannot be checked right now. Please ask the staff.",
    ),
    Reason.STATUS_TOO_OLD: Sentences(
        "状态名单已过期，请人工核验并检查网络。",
        "The status list is too old; check by hand, and look at the network.",
        "暂时无法核实此码，请找工作人员。",
        "This code cannot be checked right now. Please ask the staff.",
    ),
    Reason.RULE_UNDECIDED: Sentences(
        "本场所的规则无法判断此凭证，请人工核验。",
        "This place's rules cannot decide about this credential; check by hand.",
        "需要人工核验，请找工作人员。",
        "A member of staff has to look at this. Please ask.",
    ),
    Reason.PROVIDER_SILENT: Sentences(
        "联网核验没有回应，请按离线流程办理。",
        "The online check does not answer; follow the offline steps.",
        "暂时无法联网核验，请找工作人员。",
        "The online check is not available. Please ask the staff.",
    ),
    Reason.PROVIDER_UNSURE: Sentences(
        "联网核验无法确定此码，请人工核验。",
        "The online check could not decide about this code; check by hand.",
        "需要人工核验，请找工作人员。",
        "A member of staff has to look at this. Please ask.",
    ),
    Reason.STATUS_OLD: Sentences(
        "状态名单较旧，本次通行已标记。",
        "The status list is getting old; this passage is marked.",
        "",
        "",
    ),
    Reason.REVOCATION_UNKNOWN: Sentences(
        "无法得知此凭证是否被撤销，本次通行已标记。",
        "Whether this credential was revoked is not known; this passage is marked.",
        "",
        "",
    ),
    Reason.SIGNED_BEFORE_KEY: Sentences(
        "签发日期早于密钥生效日期，本次通行已标记。",
        "Dated before its key became valid; this passage is marked.",
        "",
        "",
    ),
    Reason.SEEN_BEFORE: Sentences(
        "同一个动态码刚刚在此使用过，请核对本人。",
        "This very code was shown here a moment ago; make sure it is the same person.",
        "此码刚刚使用过，请刷新后再出示。",
        "This code was just used. Please refresh it and show it again.",
    ),
}


def sentence(reason: Reason, reader: Reader, language: Language) -> str:
    """One reason in words. Empty for a visitor when the reason is a note that concerns only the staff."""
    words = SENTENCES[reason]
    if reader == "staff":
        return words.staff_zh if language == "zh" else words.staff_en
    return words.visitor_zh if language == "zh" else words.visitor_en
