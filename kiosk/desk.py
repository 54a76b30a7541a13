"""What staff and visitors press on the screen, carried out: always in the lane's thread, always on the record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from decimal import Decimal
from typing import Protocol

from firmware_bridge.reading import Reading, TypedReadingRefused, typed_reading
from kiosk.actions import (
    Acknowledge,
    Action,
    ActionResult,
    CallStaff,
    CloseEntrance,
    ConfirmCard,
    FaultReport,
    Identify,
    Leave,
    ManualEntry,
    OpenEntrance,
    Pause,
    PhotographCard,
    ProxyEntry,
    Refuse,
    Remeasure,
    Resume,
    SelfTest,
    SetInside,
    SignIn,
    SignOut,
    TypedPerson,
    TypedReading,
    WaveThrough,
)
from kiosk.lane import Lane
from kiosk.opening import OpeningTests
from kiosk.screen_state import Text
from kiosk.station import Measuring, Person
from protocol.credentials.model import refused
from protocol.passage import Personal
from protocol.staff import StaffList, StaffRole
from protocol.words import CredentialKind, EntryMode

log = logging.getLogger("gatehouse.desk")

ANSWER_WITHIN_S = 5.0
HELD_S = 60.0  # a finger holds the screen at most this long; nobody's verdict stands there for ever
AFTER_HOLD_S = 1.5
PROXY_WAIT_S = 60.0  # from "the paper code comes next" to the code

NOBODY = Text("现在没有等待处理的人", "Nobody is waiting to be resolved")
DONE = Text("已记录", "Recorded")
LOOK_ONLY = Text("此账号只能查看", "This account may look, not register")


class KnowsStaff(Protocol):
    """Where the staff list comes from: the bundle in force."""

    def __call__(self) -> StaffList: ...


class Desk:
    """Answers the screen's actions. `act` is called on web threads; the work itself happens in the lane's thread."""

    def __init__(
        self,
        lane: Lane,
        staff: KnowsStaff,
        opening: OpeningTests | None = None,
        photograph: Callable[[], ActionResult] | None = None,
    ) -> None:
        self._lane, self._staff = lane, staff
        self._photograph = photograph
        self._opening = opening or OpeningTests(lane)

    def act(self, action: Action) -> ActionResult:
        """Carry out one action and say in words what came of it; never raises for what people press."""
        if isinstance(action, SignIn):
            return self._sign_in(action)
        if isinstance(action, SelfTest):
            return self._self_test(action)
        if isinstance(action, PhotographCard):
            return self._photograph_card(action)
        answer: Future[ActionResult] = Future()

        def work() -> None:
            try:
                answer.set_result(self._carry_out(action))
            except TypedReadingRefused as error:
                answer.set_result(ActionResult(False, Text(error.message, error.hint), {"field": "celsius"}))
            except BaseException as error:
                answer.set_exception(error)
                raise

        self._lane.submit(work)
        try:
            return answer.result(ANSWER_WITHIN_S)
        except Late:
            return ActionResult(False, Text("本机正忙，请再按一次", "The kiosk is busy: press once more"))

    # -- who ---------------------------------------------------------------------------------------------------------

    def _sign_in(self, action: SignIn) -> ActionResult:
        """Compare the PIN with everybody's (slow on purpose); the panel's sessions slow down guessing."""
        members = self._staff().members
        found = next((member for member in members if member.has_pin(action.pin)), None)
        if found is None:
            nobody = Text("本机还没有工作人员名单，请联网", "There is no staff list yet: connect the network")
            return ActionResult(False, Text("PIN 不正确", "That PIN is wrong") if members else nobody)
        self._lane.submit(lambda: self._event("operator_in", found.staff_id))
        return ActionResult(
            True,
            Text(f"{found.name}，您好", f"Signed in: {found.name}"),
            {"operator": found.staff_id, "operator_name": found.name, "role": found.role.value},
        )

    def _self_test(self, action: SelfTest) -> ActionResult:
        """Try every part; on the web thread, since cards and cameras may take their time."""
        if not self._may_register(action.operator):
            return ActionResult(False, LOOK_ONLY)
        test = self._opening.run(action.operator)
        said = test.text()
        return ActionResult(
            test.passed, Text(f"自检 {said.zh}", f"Self-test {said.en}"), {"parts": dict(test.detail())}
        )

    def _may_register(self, operator: str) -> bool:
        member = self._staff().find(operator)
        return member is not None and member.role is not StaffRole.INSPECTOR

    def _photograph_card(self, action: PhotographCard) -> ActionResult:
        """On this web thread: reading takes seconds, and the queue at the door does not wait for it."""
        if not self._may_register(action.operator):
            return ActionResult(False, LOOK_ONLY)
        if self._photograph is None:
            return ActionResult(False, Text("本机没有摄像头", "This kiosk has no camera"))
        self._lane.submit(lambda: self._event("card_photographed", action.operator))
        return self._photograph()

    # -- what --------------------------------------------------------------------------------------------------------

    def _carry_out(self, action: Action) -> ActionResult:
        lane, now_s = self._lane, time.monotonic()
        if isinstance(action, Acknowledge):
            lane.carry_out(lane.station.acknowledge())
            return ActionResult(True)
        if isinstance(action, Remeasure):
            effects = lane.station.remeasure(lane.surroundings(), now_s)
            lane.carry_out(effects)
            return ActionResult(bool(effects), None if effects else NOBODY)
        if isinstance(action, Pause | Resume):
            lane.carry_out(lane.station.hold_screen(now_s, HELD_S if isinstance(action, Pause) else AFTER_HOLD_S))
            return ActionResult(True)
        if isinstance(action, CallStaff):
            lane.note_event("called_staff", (("why", action.why.value),))
            return ActionResult(True, Text("已通知工作人员，请稍候", "The staff have been called; one moment, please"))
        if isinstance(action, Leave):
            return ActionResult(lane.let_out())
        if isinstance(action, SignOut):
            self._event("operator_out", action.operator)
            return ActionResult(True)
        if isinstance(action, SignIn):
            raise AssertionError("signing in is answered before")
        if not self._may_register(action.operator):
            return ActionResult(False, LOOK_ONLY)
        if isinstance(action, SelfTest | PhotographCard):
            raise AssertionError("these are answered before")
        return self._by_staff(action, now_s)

    def _by_staff(
        self,
        action: TypedReading
        | Refuse
        | ConfirmCard
        | ProxyEntry
        | ManualEntry
        | WaveThrough
        | SetInside
        | CloseEntrance
        | OpenEntrance
        | FaultReport,
        now_s: float,
    ) -> ActionResult:
        lane, operator = self._lane, action.operator
        if isinstance(action, TypedReading):
            effects = lane.station.typed(self._reading(action.celsius), operator, lane.surroundings(), now_s)
            lane.carry_out(effects)
            return ActionResult(bool(effects), DONE if effects else NOBODY)
        if isinstance(action, Refuse):
            self._event("staff_refused", operator)
            lane.carry_out(lane.station.acknowledge())
            return ActionResult(True, DONE)
        if isinstance(action, ConfirmCard):
            effects = lane.station.confirm_card(operator, lane.surroundings(), now_s)
            lane.carry_out(effects)
            return ActionResult(bool(effects), None if effects else NOBODY)
        if isinstance(action, WaveThrough):
            lane.waved_through(operator, action.direction or lane.direction)
            return ActionResult(True, DONE)
        if isinstance(action, SetInside):
            lane.set_inside(operator, action.people)
            return ActionResult(True, DONE)
        if isinstance(action, CloseEntrance | OpenEntrance):
            return self._door(action)
        if isinstance(action, FaultReport):
            self._event("fault_reported", operator, (("part", action.part), ("what", action.what)))
            return ActionResult(True, Text("故障已上报，请改用人工登记", "Reported; please register by hand meanwhile"))
        if isinstance(action, ProxyEntry):
            return self._proxy(action)
        return self._serve(
            Person(
                refused(CredentialKind.UNKNOWN),
                EntryMode.MANUAL,
                operator=operator,
                typed=_personal(action.person, extra=(("why", action.why.value),)),
            ),
            action.celsius,
        )

    def _door(self, action: CloseEntrance | OpenEntrance) -> ActionResult:
        lane = self._lane
        if isinstance(action, CloseEntrance):
            lane.closing.close(action.why)
            self._event("entrance_closed", action.operator, (("why", action.why.value),))
        else:
            lane.closing.open()
            self._event("entrance_opened", action.operator)
        lane.watch_door()
        if isinstance(action, OpenEntrance) and lane.closed is not None:
            return ActionResult(True, Text("仍在开放时间之外", "Still outside the opening hours"))
        return ActionResult(True, DONE)

    def _proxy(self, action: ProxyEntry) -> ActionResult:
        helper = Personal(
            helper_name=action.helper_name, helper_phone=action.helper_phone, relation=action.relation.value
        )
        if action.identify is not Identify.TYPED or action.person is None:
            self._lane.expect_proxy(action.operator, helper, self._maybe_reading(action.celsius), PROXY_WAIT_S)
            return ActionResult(
                True, Text("请出示纸质码或放上证件", "Show the paper code or lay the card on the reader")
            )
        return self._serve(
            Person(
                refused(CredentialKind.UNKNOWN),
                EntryMode.PROXY,
                operator=action.operator,
                typed=_personal(
                    action.person,
                    helper_name=helper.helper_name,
                    helper_phone=helper.helper_phone,
                    relation=helper.relation,
                ),
            ),
            action.celsius,
        )

    def _serve(self, person: Person, celsius: Decimal | None) -> ActionResult:
        reading = self._maybe_reading(celsius)  # before anything begins: a refused figure leaves nothing half done
        self._lane.serve(person)
        if reading is not None and isinstance(self._lane.station.state, Measuring):
            self._lane.typed_reading(reading)
        return ActionResult(True, DONE)

    def _maybe_reading(self, celsius: Decimal | None) -> Reading | None:
        return None if celsius is None else self._reading(celsius)

    def _reading(self, celsius: Decimal) -> Reading:
        return typed_reading(float(celsius), taken_at=self._lane.clock.now(), taken_mono_s=time.monotonic())

    def _event(
        self,
        event: str,
        operator: str,
        detail: tuple[tuple[str, str | int], ...] = (),
        count: tuple[str, ...] = (),
    ) -> None:
        self._lane.note_event(event, (("operator", operator), *detail), count=count)


def _personal(person: TypedPerson, **helper: object) -> Personal:
    make: Callable[..., Personal] = Personal
    doubts = tuple(("doubt", doubt) for doubt in person.doubts)
    if person.is_from_photo:
        doubts = (("read_by", "card_photo"), *doubts)
    extra = helper.pop("extra", ())
    assert isinstance(extra, tuple)
    return make(
        name=person.name,
        id_number=person.number,
        phone=person.phone,
        document=person.document.value,
        extra=(*extra, *doubts),
        **helper,
    )
