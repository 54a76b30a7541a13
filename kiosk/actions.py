"""What a person can press on the entrance screen, as values: parsed from JSON that nobody has to trust.

`parse_action(name, values, ...)` is the one way in. Visitor actions need nobody; staff actions carry the operator that
the panel's session belongs to, which the page cannot choose. None of them can turn a red code or a fever into an
admission: they hand facts to the station, and the station decides.

| name           | by      | JSON                                                                                |
|----------------|---------|-------------------------------------------------------------------------------------|
| acknowledge    | visitor | {number?}                                                                           |
| remeasure      | visitor | {number?}                                                                           |
| pause, resume  | visitor | {number?}                                                                           |
| call_staff     | visitor | {why: "elder" or "help"}                                                            |
| leave          | visitor | {}; only where leaving is free                                                      |
| sign_in        | visitor | {pin: "4 to 12 digits"}; answer values {operator, operator_name}                    |
| sign_out       | staff   | {}                                                                                  |
| typed_reading  | staff   | {celsius: "36.5"}                                                                   |
| refuse         | staff   | {}                                                                                  |
| confirm_card   | staff   | {}                                                                                  |
| photograph_card| staff   | {}; answer values {fields: {name, sex, birth, address, number}, doubts: [...]}      |
| proxy_entry    | staff   | {identify, person?, helper_name?, helper_phone?, relation, consent: true, celsius?} |
| manual_entry   | staff   | {person, why, celsius?}                                                             |
| wave_through   | staff   | {direction?: "in" or "out"}; without: the way of this entrance                      |
| set_inside     | staff   | {people: "138"}: staff counted how many people are inside                           |
| close_entrance | staff   | {why: "done", "repair", "cleaning" or "other_door"}                                 |
| open_entrance  | staff   | {}                                                                                  |
| fault_report   | staff   | {part, what}                                                                        |
| self_test      | staff   | {}                                                                                  |

person: {name, document: "resident_id" | "passport" | "other" | "none", number?, phone?, checked_by_staff?: bool,
         read_by?: "card_photo", compared?: {name: true, number: true}}
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, TypeVar

from kiosk.closing import BY_STAFF, ClosedWhy
from kiosk.identity import check_id_number, check_phone, tidy
from kiosk.screen_state import Text
from protocol.profile import MAX_CAPACITY
from protocol.words import Direction

MAX_NAME = 60
TYPED_FROM_CELSIUS = Decimal("30")  # contact thermometers show less as "Lo"
TYPED_TO_CELSIUS = Decimal("45")
_PIN = re.compile(r"[0-9]{4,12}")
_FREE_NUMBER = re.compile(r"[0-9A-Z]{4,20}")
_TEMPERATURE = re.compile(r"[0-9]{2}(\.[0-9])?")


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The station's answer to one action; `message` is shown as it stands, `values` only feed the page."""

    done: bool
    message: Text | None = None
    values: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        text = None if self.message is None else {"zh": self.message.zh, "en": self.message.en}
        return {"done": self.done, "message": text, "values": self.values}


class ActionRefused(Exception):
    """The values cannot be meant; `text` says what to mend and `field` where."""

    def __init__(self, field_name: str, zh: str, en: str) -> None:
        super().__init__(f"{field_name}: {en}")
        self.field = field_name
        self.text = Text(zh, en)

    def to_result(self) -> ActionResult:
        """As an answer to the page."""
        return ActionResult(False, self.text, {"field": self.field})


class CallFor(Enum):
    """Why a visitor calls for a person."""

    ELDER = "elder"  # has neither phone nor paper code
    HELP = "help"


class Identify(Enum):
    """How the helped person is made known."""

    PAPER_CODE = "paper_code"  # shown to the camera next
    ID_CARD = "id_card"  # laid on the reader next
    TYPED = "typed"


class Document(Enum):
    """What the typed number stands on; the first covers residence permits and permanent residence cards too."""

    RESIDENT_ID = "resident_id"
    PASSPORT = "passport"
    OTHER = "other"
    NONE = "none"  # nothing at hand; name and phone must do


class Relation(Enum):
    """What the helper is to the helped person (V-17)."""

    CHILD = "child"
    SPOUSE = "spouse"
    PARENT = "parent"
    OTHER_FAMILY = "other_family"
    CARER = "carer"
    NEIGHBOUR = "neighbour"
    STAFF = "staff"
    OTHER = "other"


class ManualWhy(Enum):
    """Why somebody is registered by hand."""

    NO_PHONE = "no_phone"
    CODE_UNREADABLE = "code_unreadable"
    KIOSK_FAULT = "kiosk_fault"
    OTHER = "other"


FAULT_PARTS = ("camera", "scanner", "id_card", "thermometer", "gate", "sound", "network", "screen", "poster")
FAULT_KINDS = ("broken", "wrong", "slow", "dirty")


@dataclass(frozen=True, slots=True)
class TypedPerson:
    """Who a member of staff typed in; nothing of it may be logged."""

    name: str = field(repr=False)
    document: Document
    number: str | None = field(repr=False)
    phone: str | None = field(repr=False)  # E.164 when it could be read
    doubts: tuple[str, ...] = ()  # "number", "phone": kept against the check, because staff compared it
    is_from_photo: bool = False  # prefilled from a photographed card, and each kept field compared by staff


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The verdict on the screen was seen to."""


@dataclass(frozen=True, slots=True)
class Remeasure:
    """Measure the person on the screen again."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A finger holds the verdict on the screen; the station keeps it until `Resume`."""


@dataclass(frozen=True, slots=True)
class Resume:
    """The finger let go."""


@dataclass(frozen=True, slots=True)
class CallStaff:
    """A visitor asks for a person."""

    why: CallFor


@dataclass(frozen=True, slots=True)
class SignIn:
    """Somebody typed a PIN; the answer's values must be {"operator": id, "operator_name": shown name}."""

    pin: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignOut:
    """The operator leaves the panel."""

    operator: str


@dataclass(frozen=True, slots=True)
class TypedReading:
    """A temperature taken by hand, of the person on the screen."""

    operator: str
    celsius: Decimal  # 30.0 to 45.0, at most one decimal


@dataclass(frozen=True, slots=True)
class Refuse:
    """Staff do not admit the held person (`staff_refused`)."""

    operator: str


@dataclass(frozen=True, slots=True)
class ConfirmCard:
    """The held card on the screen belongs to whoever stands there; they are measured next."""

    operator: str


@dataclass(frozen=True, slots=True)
class PhotographCard:
    """Read the card in front of the camera; the answer's values fill a form and are kept nowhere."""

    operator: str


@dataclass(frozen=True, slots=True)
class ProxyEntry:
    """代扫: a passage of mode PROXY. With `identify` other than TYPED the next code or card names the person."""

    operator: str
    identify: Identify
    person: TypedPerson | None  # exactly when identify is TYPED
    helper_name: str | None = field(repr=False)  # None: the operator helps
    helper_phone: str | None = field(repr=False)
    relation: Relation
    celsius: Decimal | None  # None: the kiosk measures


@dataclass(frozen=True, slots=True)
class ManualEntry:
    """人工登记: a passage of mode MANUAL."""

    operator: str
    person: TypedPerson
    why: ManualWhy
    celsius: Decimal | None  # None: the kiosk measures


@dataclass(frozen=True, slots=True)
class Leave:
    """A visitor leaves and shows no code."""


@dataclass(frozen=True, slots=True)
class WaveThrough:
    """One person passed without a scan; only counted (V-16)."""

    operator: str
    direction: Direction | None = None  # None: the way of this entrance


@dataclass(frozen=True, slots=True)
class SetInside:
    """Staff counted how many people are inside; the count goes on from there."""

    operator: str
    people: int  # 0 to 100,000


@dataclass(frozen=True, slots=True)
class CloseEntrance:
    """Nobody is let in here until somebody opens it again; people still get out."""

    operator: str
    why: ClosedWhy  # one of BY_STAFF


@dataclass(frozen=True, slots=True)
class OpenEntrance:
    """End what staff closed."""

    operator: str


@dataclass(frozen=True, slots=True)
class FaultReport:
    """Something is out of order, in two taps (V-33)."""

    operator: str
    part: str  # one of FAULT_PARTS
    what: str  # one of FAULT_KINDS


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Run the opening test again, with its sound."""

    operator: str


Action = (
    Acknowledge
    | Remeasure
    | Pause
    | Resume
    | CallStaff
    | SignIn
    | SignOut
    | TypedReading
    | Refuse
    | ConfirmCard
    | PhotographCard
    | ProxyEntry
    | ManualEntry
    | Leave
    | WaveThrough
    | SetInside
    | CloseEntrance
    | OpenEntrance
    | FaultReport
    | SelfTest
)
Values = Mapping[str, Any]
E = TypeVar("E", bound=Enum)

VISITOR_ACTIONS: dict[str, Callable[[Values], Action]] = {
    "acknowledge": lambda values: Acknowledge(),
    "remeasure": lambda values: Remeasure(),
    "pause": lambda values: Pause(),
    "resume": lambda values: Resume(),
    "call_staff": lambda values: CallStaff(_word(values, "why", CallFor)),
    "leave": lambda values: Leave(),
    "sign_in": lambda values: SignIn(_pin(values)),
}
STAFF_ACTIONS: dict[str, Callable[[Values, str, date], Action]] = {
    "sign_out": lambda values, operator, today: SignOut(operator),
    "typed_reading": lambda values, operator, today: TypedReading(operator, _celsius(values)),
    "refuse": lambda values, operator, today: Refuse(operator),
    "confirm_card": lambda values, operator, today: ConfirmCard(operator),
    "photograph_card": lambda values, operator, today: PhotographCard(operator),
    "proxy_entry": lambda values, operator, today: _proxy_entry(values, operator, today),
    "manual_entry": lambda values, operator, today: ManualEntry(
        operator, _person(values, today), _word(values, "why", ManualWhy), _maybe_celsius(values)
    ),
    "wave_through": lambda values, operator, today: WaveThrough(
        operator, _word(values, "direction", Direction) if "direction" in values else None
    ),
    "set_inside": lambda values, operator, today: SetInside(operator, _people(values)),
    "close_entrance": lambda values, operator, today: CloseEntrance(
        operator, ClosedWhy(_one_of(values, "why", tuple(why.value for why in BY_STAFF)))
    ),
    "open_entrance": lambda values, operator, today: OpenEntrance(operator),
    "fault_report": lambda values, operator, today: FaultReport(
        operator, _one_of(values, "part", FAULT_PARTS), _one_of(values, "what", FAULT_KINDS)
    ),
    "self_test": lambda values, operator, today: SelfTest(operator),
}


def parse_action(name: str, values: Values, *, operator: str | None, today: date) -> Action:
    """The action *name* with its *values*, as one of the types above. Unknown keys are ignored, bad values are not.

    *operator* is who is signed in at the panel, or None. Raises ActionRefused with words for the screen, and
    LookupError for a name that does not exist.
    """
    if name in VISITOR_ACTIONS:
        return VISITOR_ACTIONS[name](values)
    if name not in STAFF_ACTIONS:
        raise LookupError(name)
    if operator is None:
        raise ActionRefused("operator", "请工作人员先输入 PIN", "A member of staff must sign in first")
    return STAFF_ACTIONS[name](values, operator, today)


def _proxy_entry(values: Values, operator: str, today: date) -> ProxyEntry:
    identify = _word(values, "identify", Identify)
    relation = _word(values, "relation", Relation)
    if values.get("consent") is not True:
        raise ActionRefused(
            "consent", "请先读给本人听，并得到同意", "Read it to the person first, and get their consent"
        )
    helper = None if relation is Relation.STAFF else _text(values, "helper_name", "代扫人姓名", "the helper's name")
    phone = None
    if helper is not None and values.get("helper_phone"):
        phone = check_phone(_short(values, "helper_phone")).text
    person = _person(values, today) if identify is Identify.TYPED else None
    return ProxyEntry(operator, identify, person, helper, phone, relation, _maybe_celsius(values))


def _person(values: Values, today: date) -> TypedPerson:
    person = values.get("person")
    if not isinstance(person, dict):
        raise ActionRefused("person", "缺少被登记人", "The person is missing")
    name = _text(person, "name", "姓名", "the name")
    document = _word(person, "document", Document)
    overruled = person.get("checked_by_staff") is True
    doubts: list[str] = []
    number = None
    if document is not Document.NONE:
        number = tidy(_short(person, "number"))
        if document is Document.RESIDENT_ID:
            checked = check_id_number(number, today)
            if checked.problem is not None:
                # too long or too short is never a real card; a region or check digit may be on an odd old one
                if not overruled or not re.fullmatch(r"[0-9]{17}[0-9X]", number):
                    raise ActionRefused("number", checked.problem.zh, checked.problem.en)
                doubts.append("number")
        elif not _FREE_NUMBER.fullmatch(number):
            raise ActionRefused("number", "应为 4 至 20 位字母或数字", "4 to 20 letters or digits were expected")
    phone = None
    if person.get("phone"):
        checked_phone = check_phone(_short(person, "phone"))
        if checked_phone.problem is not None:
            if not overruled or not re.fullmatch(r"\+?[0-9]{5,20}", checked_phone.text):
                raise ActionRefused("phone", checked_phone.problem.zh, checked_phone.problem.en)
            doubts.append("phone")
        phone = checked_phone.text
    if number is None and phone is None:
        raise ActionRefused("phone", "证件号码和电话至少填一项", "Give at least a document number or a phone")
    is_from_photo = person.get("read_by") == "card_photo"
    if is_from_photo:
        compared = person.get("compared")
        for key in ("name", "number"):
            if not isinstance(compared, dict) or compared.get(key) is not True:
                raise ActionRefused(f"compared.{key}", "请逐项与证件核对", "Compare each field with the card")
    return TypedPerson(name, document, number, phone, tuple(doubts), is_from_photo)


def _short(values: Values, key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value.strip() or len(value) > 40:
        raise ActionRefused(key, "请填写", "Please fill this in")
    return value


def _text(values: Values, key: str, zh: str, en: str) -> str:
    value = values.get(key)
    if isinstance(value, str):
        value = " ".join(unicodedata.normalize("NFC", value).split())
        if 0 < len(value) <= MAX_NAME and not any(unicodedata.category(c).startswith("C") for c in value):
            return value
    raise ActionRefused(key, f"请填写{zh}（最多 {MAX_NAME} 字）", f"Please give {en} (at most {MAX_NAME} characters)")


def _word(values: Values, key: str, kind: type[E]) -> E:
    try:
        return kind(values.get(key))
    except ValueError:
        raise ActionRefused(key, "请选择一项", "Please choose one") from None


def _one_of(values: Values, key: str, words: tuple[str, ...]) -> str:
    value = values.get(key)
    if not isinstance(value, str) or value not in words:
        raise ActionRefused(key, "请选择一项", "Please choose one")
    return value


def _pin(values: Values) -> str:
    pin = values.get("pin")
    if not isinstance(pin, str) or not _PIN.fullmatch(pin):
        raise ActionRefused("pin", "PIN 为 4 至 12 位数字", "The PIN has 4 to 12 digits")
    return pin


def _maybe_celsius(values: Values) -> Decimal | None:
    return None if values.get("celsius") in (None, "") else _celsius(values)


def _people(values: Values) -> int:
    value = unicodedata.normalize("NFKC", _short(values, "people")).strip()
    if not re.fullmatch(r"[0-9]{1,6}", value) or int(value) > MAX_CAPACITY:
        raise ActionRefused(
            "people", f"请填 0 至 {MAX_CAPACITY} 的人数", f"A number from 0 to {MAX_CAPACITY} was expected"
        )
    return int(value)


def _celsius(values: Values) -> Decimal:
    value = values.get("celsius")
    refused = ActionRefused(
        "celsius",
        f"体温应在 {TYPED_FROM_CELSIUS} 至 {TYPED_TO_CELSIUS} 之间，如 36.5",
        f"A temperature from {TYPED_FROM_CELSIUS} to {TYPED_TO_CELSIUS} was expected, like 36.5",
    )
    if not isinstance(value, str):
        raise refused
    narrow = unicodedata.normalize("NFKC", value).strip().replace(",", ".")
    if not _TEMPERATURE.fullmatch(narrow) or not narrow.isascii():
        raise refused
    try:
        celsius = Decimal(narrow)
    except InvalidOperation:
        raise refused from None
    if not TYPED_FROM_CELSIUS <= celsius <= TYPED_TO_CELSIUS:
        raise refused
    return celsius
