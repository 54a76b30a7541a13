"""The pages of the staff panel and of the elder mode, and the gate in front of every action."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from flask import Flask, Response, abort, jsonify, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from kiosk import texts
from kiosk.actions import Action, ActionRefused, ActionResult, SignIn, SignOut, parse_action
from kiosk.card_ocr import is_installed
from kiosk.identity import Checked, check_id_number, check_phone
from kiosk.inspection import InspectorView
from kiosk.lifeline import Reach, RecordView
from kiosk.panel_session import Operator, PanelSessions
from kiosk.screen_feed import Feed
from kiosk.screen_state import Face, ScreenState, Text, View
from kiosk.store import JournalError
from protocol.staff import StaffRole
from protocol.words import EntryMode

log = logging.getLogger("kiosk.panel")
Seen = TypeVar("Seen")

COOKIE = "gatehouse-panel"
STAFF_IDLE_S = 90  # a panel page left alone goes back to the entrance screen
ELDER_IDLE_S = 120
MAX_CHECKED = 40  # characters of a number under check

OnAction = Callable[[Action], ActionResult]
OnInspect = Callable[[], InspectorView | None]  # None: this kiosk is not at work yet
OnRecord = Callable[[int | None, int | None], RecordView | None]  # which record, and where the list begins
MAX_DIGITS = 15  # of a record's number


def today() -> date:
    """The kiosk's date; advice about a birth date needs no better clock."""
    return datetime.now().astimezone().date()


def add_panel(
    app: Flask,
    *,
    feed: Feed,
    sessions: PanelSessions,
    build: str,
    on_action: OnAction | None,
    json_object: Callable[[], dict[str, Any]],
    sound: str,
    on_inspect: OnInspect,
    on_record: OnRecord,
) -> None:
    """Add the panel's routes to *app*; the caller has already refused foreign sites and foreign names."""

    def signed_in() -> Operator | None:
        return sessions.operator(request.cookies.get(COOKIE))

    def page(template: str, **more: Any) -> str:
        state = feed.newest()[1]
        return render_template(
            f"panel/{template}.html",
            p=texts.PANEL,
            w=texts.WORDS,
            i=texts.INSPECT,
            count_names=texts.COUNT_NAMES,
            local_time=_local_time,
            modes=EntryMode,
            surnames=texts.SURNAMES,
            titles=texts.TITLES,
            state=state,
            held=_is_held(state),
            build=build,
            sound=sound,
            **{"idle_s": STAFF_IDLE_S, "operator": signed_in(), **more},
        )

    def staff_page(template: str, **more: Any) -> ResponseReturnValue:
        operator = signed_in()
        if operator is not None:
            return page_for(operator, template, **more)
        by_badge = sessions.take_badge()
        if by_badge is None:
            return page("sign_in", then=request.full_path.rstrip("?"))
        response = make_response(page_for(by_badge, template, **{**more, "operator": by_badge}))
        return _with_cookie(response, sessions.open(by_badge))

    def page_for(who: Operator, template: str, **more: Any) -> ResponseReturnValue:
        """The page, or the one this operator may see instead of it; it leaves by itself when their time is over."""
        left_s = sessions.left_s(who)
        if left_s is not None:
            more["leave_in_s"] = int(left_s) + 1
        if template == "inspect":
            if not who.may_inspect:
                return redirect("/panel")
            more["view"], more["trouble"] = _seen(on_inspect)
        elif template == "record":
            more |= record_of(request.args.get("number"), request.args.get("before"))
        elif who.only_inspects:
            return redirect("/panel/inspect")
        return page(template, **more)

    @app.get("/panel")
    def panel_home() -> ResponseReturnValue:
        return staff_page("home")

    @app.get("/panel/inspect")
    def panel_inspect() -> ResponseReturnValue:
        return staff_page("inspect")

    @app.get("/panel/record")
    def panel_record() -> ResponseReturnValue:
        return staff_page("record")

    def record_of(typed: str | None, typed_before: str | None) -> dict[str, Any]:
        """What the page of records shows; a number that is none is said, and the list stands all the same."""
        number, before = _number(typed), _number(typed_before)
        view, trouble = _seen(lambda: on_record(number, before))
        if view is not None and number is None and (typed or "").strip():
            trouble = texts.LIFE["no_number"]
        words = {"l": texts.LIFE, "entry_modes": texts.ENTRY_MODES, "reach": Reach, "local_second": _local_second}
        return {"view": view, "trouble": trouble, "before": before, **words}

    @app.get("/panel/<any(hold, proxy, manual, door):name>")
    def panel_page(name: str) -> ResponseReturnValue:
        return staff_page(name)

    @app.get("/panel/card")
    def panel_card() -> ResponseReturnValue:
        return staff_page("card", c=texts.CARD_PHOTO, can_read=is_installed())

    @app.get("/panel/fault")
    def panel_fault() -> ResponseReturnValue:
        part = request.args.get("part", "")
        return staff_page("fault", part=part if part in texts.WORDS["part"] else "")

    @app.get("/elder")
    def elder() -> ResponseReturnValue:
        return redirect("/elder/phone")

    @app.get("/elder/<name>")
    def elder_page(name: str) -> ResponseReturnValue:
        if name not in texts.ELDER:
            abort(404)
        if name == "card_call" and any(part.part == "id_card" and part.good for part in feed.newest()[1].parts):
            name = "card_lay"
        return page("elder", page=texts.ELDER[name], name=name, idle_s=ELDER_IDLE_S, operator=None)

    @app.post("/check/<any(id, phone):kind>")
    def check(kind: str) -> ResponseReturnValue:
        if signed_in() is None:
            abort(403)
        typed = json_object().get("text")
        if not isinstance(typed, str) or len(typed) > MAX_CHECKED:
            abort(400)
        found: Checked = check_id_number(typed, today()) if kind == "id" else check_phone(typed)
        return jsonify(ActionResult(found.problem is None, found.problem or texts.PANEL["looks_right"]).to_json())

    @app.post("/action/<name>")
    def action(name: str) -> ResponseReturnValue:
        values = json_object()
        operator = signed_in()
        try:
            wanted = parse_action(name, values, operator=operator.id if operator else None, today=today())
        except LookupError:
            abort(404)
        except ActionRefused as refused:
            return jsonify(refused.to_result().to_json())
        if "reference" in values and values["reference"] != _reference(feed.newest()[1]):
            # somebody else stands there by now: a reading or a refusal must not fall on the wrong person
            return jsonify(ActionResult(False, texts.PANEL["next_person"]).to_json())
        if on_action is None:
            return jsonify(ActionResult(False, texts.PANEL["not_available"]).to_json())
        if isinstance(wanted, SignIn):
            return sign_in(wanted)
        result = on_action(wanted)
        if isinstance(wanted, SignOut):
            sessions.close()
        return jsonify(result.to_json())

    def sign_in(wanted: SignIn) -> ResponseReturnValue:
        assert on_action is not None
        if sessions.wait_s() > 0:
            return jsonify(ActionResult(False, texts.PANEL["wait"], {"field": "pin"}).to_json())
        result = on_action(wanted)
        identity = result.values.get("operator")
        if not result.done or not isinstance(identity, str):
            sessions.wrong_pin()
            log.warning("panel pin refused")
            return jsonify(ActionResult(False, result.message or texts.PANEL["wrong_pin"], {"field": "pin"}).to_json())
        name, role = (str(result.values.get(key, "")) for key in ("operator_name", "role"))
        token = sessions.open(Operator(identity, name or identity, role or StaffRole.HELPER.value))
        return _with_cookie(make_response(jsonify(ActionResult(True, result.message).to_json())), token)


def _seen(look: Callable[[], Seen | None]) -> tuple[Seen | None, Text | None]:
    """What a look at the journal shows, or why there is nothing to show."""
    try:
        view = look()
    except JournalError as error:
        log.warning("look at the journal failed code=%s", error.code)
        return None, texts.INSPECT["unreadable"]
    return view, None if view is not None else texts.PANEL["not_available"]


def _is_held(state: ScreenState) -> bool:
    """Whether a verdict that is no pass stands on the screen."""
    return state.view is View.VERDICT and state.verdict is not None and state.verdict.face is not Face.PASS


def _local_time(at_ms: int) -> str:
    """A wall time for reading, to the minute, in this machine's zone."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _local_second(at_ms: int) -> str:
    """The same to the second, without the day when it is today's."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone()
    return at.strftime("%H:%M:%S" if at.date() == today() else "%m-%d %H:%M:%S")


def _number(typed: str | None) -> int | None:
    """A record's number as somebody types it, with or without the # of the screen; None when it is none."""
    digits = (typed or "").strip().removeprefix("#")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS else None


def _reference(state: ScreenState) -> str | None:
    """Which verdict stands on the screen, None when there is none."""
    return state.verdict.reference if state.view is View.VERDICT and state.verdict is not None else None


def _with_cookie(response: Response, token: str) -> Response:
    # not Secure: the page is plain HTTP on loopback, and the cookie never leaves this machine
    response.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
    return response
