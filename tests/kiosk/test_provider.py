"""Asking a provincial platform: on its own thread, answered in time whatever it does, and never asked in vain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from config.errors import ConfigError
from config.kiosk import KioskSettings, ProviderSettings, load_kiosk
from gatehouse.demo.provider import SimulatedProvider
from kiosk.lane import Lane
from kiosk.provider import Enquiries, HttpProvider, make_enquiries
from kiosk.station import Noting, Showing
from protocol.credentials.model import Checked
from protocol.credentials.provincial import CheckAnswer, CheckRequest, Status
from protocol.credentials.reasons import Reason
from protocol.policy import EntryPolicy
from protocol.words import Colour, CredentialKind, Outcome
from tests.rig import FixedRules, Rig

GREEN, RED = "https://codes.example.cn/health?c=green", "https://codes.example.cn/health?c=red"
SCENE = "a1a1a1a1a1a1-1"


class Steady:
    """A steady clock that tests move."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def platform() -> Iterator[SimulatedProvider]:
    with SimulatedProvider({GREEN: Status.GREEN, RED: Status.RED, "late": Status.EXPIRED}) as found:
        yield found


@pytest.fixture
def steady() -> Steady:
    return Steady()


def settings(url: str, **more: object) -> ProviderSettings:
    return ProviderSettings(url=url, region="510104", name="example platform", **more)  # type: ignore[arg-type]


@pytest.fixture
def asking(platform: SimulatedProvider, steady: Steady) -> Iterator[Enquiries]:
    chosen = settings(platform.url)
    enquiries = Enquiries(HttpProvider(chosen), chosen, SCENE, steady_s=steady)
    enquiries.start()
    yield enquiries
    platform.holds.set()
    enquiries.stop()


def answered(enquiries: Enquiries, text: str) -> Checked:
    enquiry = enquiries.begin(text)
    return until(lambda: enquiry.poll(datetime.now(UTC)))


def until(look: Callable[[], Checked | None]) -> Checked:
    deadline = time.monotonic() + 20
    while (found := look()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


@pytest.mark.parametrize(("text", "colour"), [(GREEN, Colour.GREEN), (RED, Colour.RED)])
def test_a_colour_comes_back_as_a_checked_credential(asking: Enquiries, text: str, colour: Colour) -> None:
    found = answered(asking, text)
    assert found.valid and found.kind is CredentialKind.PROVINCIAL_CODE and found.credential is not None
    assert (found.credential.colour, found.credential.name_masked) == (colour, "李*")
    assert found.credential.issuer == "example platform"


def test_only_the_code_and_the_place_are_told(asking: Enquiries, platform: SimulatedProvider) -> None:
    answered(asking, GREEN)
    (question,) = platform.questions
    assert set(question) == {"version", "requestId", "codeContent", "sceneCode", "regionCode"}
    assert (question["codeContent"], question["sceneCode"], question["regionCode"]) == (GREEN, SCENE, "510104")


def test_an_expired_and_an_unknown_code_are_told_apart(asking: Enquiries) -> None:
    assert answered(asking, "late").reasons == (Reason.EXPIRED,)
    assert answered(asking, "never seen").reasons == (Reason.PROVIDER_UNSURE,)


def test_the_same_code_is_not_asked_about_again_for_minutes(
    asking: Enquiries, platform: SimulatedProvider, steady: Steady
) -> None:
    assert answered(asking, GREEN).valid
    platform.known[GREEN] = Status.RED
    at_once = asking.begin(GREEN).poll(datetime.now(UTC))
    assert at_once is not None and at_once.valid and len(platform.questions) == 1
    steady.s += 301
    later = answered(asking, GREEN)
    assert later.credential is not None and later.credential.colour is Colour.RED


def test_an_unknown_code_is_asked_about_again(asking: Enquiries, platform: SimulatedProvider) -> None:
    answered(asking, "new")
    platform.known["new"] = Status.GREEN
    assert answered(asking, "new").valid


@pytest.mark.parametrize(
    "says",
    [
        (500, b"{}"),
        (302, b""),
        (200, b""),
        (200, b"not json"),
        (200, b"[" * 5000),
        (200, b'{"requestId": "another", "healthStatus": "green"}'),
        (200, b'{"healthStatus": "green"}'),
        (200, b" " * 20_000),
    ],
)
def test_whatever_is_no_answer_is_silence(
    asking: Enquiries, platform: SimulatedProvider, says: tuple[int, bytes]
) -> None:
    platform.says = says
    found = answered(asking, GREEN)
    assert found.is_undecided and found.reasons == (Reason.PROVIDER_SILENT,)


def test_a_platform_that_hangs_is_given_up_in_time(
    asking: Enquiries, platform: SimulatedProvider, steady: Steady
) -> None:
    platform.holds.clear()
    enquiry = asking.begin(GREEN)
    assert enquiry.poll(datetime.now(UTC)) is None
    steady.s += 3.1
    found = enquiry.poll(datetime.now(UTC))
    assert found is not None and found.reasons == (Reason.PROVIDER_SILENT,)


def test_a_silent_platform_is_left_alone_and_tried_once_after_the_pause(
    asking: Enquiries, platform: SimulatedProvider, steady: Steady
) -> None:
    platform.says = (503, b"")
    for n in range(3):
        answered(asking, f"code {n}")
    asked = len(platform.questions)
    at_once = asking.begin("code 9").poll(datetime.now(UTC))
    assert at_once is not None and at_once.reasons == (Reason.PROVIDER_SILENT,)
    steady.s += 31
    answered(asking, "code 10")
    assert len(platform.questions) == asked + 1
    assert asking.begin("code 11").poll(datetime.now(UTC)) is not None, "one more silence, and the pause begins anew"
    steady.s += 31
    platform.says = None
    assert answered(asking, GREEN).valid


def test_more_questions_than_can_wait_are_answered_at_once(asking: Enquiries, platform: SimulatedProvider) -> None:
    platform.holds.clear()
    enquiries = [asking.begin(f"code {n}") for n in range(20)]
    held = [e for e in enquiries if e.poll(datetime.now(UTC)) is not None]
    assert len(held) >= 15


def test_nobody_there_is_silence(steady: Steady) -> None:
    provider = HttpProvider(settings("http://127.0.0.1:9/"))
    assert provider.ask(CheckRequest(GREEN, SCENE, "510104", "1")) is None


def test_an_adapter_that_raises_ends_nothing(steady: Steady) -> None:
    class Broken:
        def ask(self, request: CheckRequest) -> CheckAnswer | None:
            raise RuntimeError

    enquiries = Enquiries(Broken(), settings("http://127.0.0.1:9/"), SCENE)
    enquiries.start()
    assert answered(enquiries, "a").reasons == answered(enquiries, "b").reasons == (Reason.PROVIDER_SILENT,)
    enquiries.stop()


def test_a_token_goes_along(platform: SimulatedProvider, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    provider = HttpProvider(settings(platform.url, token_file=tmp_path / "token"))
    assert provider.ask(CheckRequest(GREEN, SCENE, "510104", "1")) is not None
    assert platform.passwords == ["Bearer s3cret"]
    with pytest.raises(ConfigError, match="cannot be read"):
        HttpProvider(settings(platform.url, token_file=tmp_path / "absent"))


def test_only_texts_of_the_platform_go_there(platform: SimulatedProvider) -> None:
    chosen = settings(platform.url, starts_with=("https://codes.example.cn/",))
    enquiries = make_enquiries(chosen, SCENE)
    assert enquiries is not None
    assert enquiries.takes(GREEN) and not enquiries.takes("wxp://pay-me") and not enquiries.takes(GREEN + "x" * 2048)
    assert make_enquiries(ProviderSettings(), SCENE) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://codes.example.cn/"},
        {"url": "ftp://codes.example.cn/"},
        {"url": "https://user:pw@codes.example.cn/"},
        {"region": "51010"},
        {"region": "５１０１０４"},
        {"timeout_s": 0.0},
        {"answer_lives_s": 86_400.0},
        {"pause_s": 0.0},
        {"failures_before_pause": 0},
        {"name": ""},
    ],
)
def test_a_provider_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"provider\."):
        ProviderSettings(**({"url": "https://codes.example.cn/", "region": "510104"} | wrong))  # type: ignore[arg-type]


def test_the_example_file_shows_the_defaults() -> None:
    example = load_kiosk(Path(__file__).resolve().parents[2] / "config" / "kiosk.example.toml")
    assert example.provider == ProviderSettings() == KioskSettings(data_dir=Path()).provider


# --- at the entrance


@pytest.fixture
def rig(tmp_path: Path, platform: SimulatedProvider) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    held = rig.lane.rules.in_force()
    rules = type(held)(
        EntryPolicy(accepts=("health_code", "provincial_code")), held.trust, held.status, version=1, age_s=5
    )
    rig.lane.rules = FixedRules(rules)
    enquiries = make_enquiries(settings(platform.url, timeout_s=1.0), SCENE)
    assert enquiries is not None
    enquiries.start()
    rig.lane.enquiries = enquiries
    with rig:
        yield rig
    platform.holds.set()
    enquiries.stop()


def wait_for(lane: Lane, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, lane.station.state
        time.sleep(0.005)


def verdict(rig: Rig) -> Showing:
    state = rig.lane.station.state
    assert isinstance(state, Showing), state
    return state


def test_a_green_provincial_code_and_a_normal_temperature_admit(rig: Rig) -> None:
    (sequence,) = rig.walk([GREEN])
    assert sequence and verdict(rig).verdict.outcome is Outcome.ADMIT
    assert rig.door.opened == 1


def test_a_red_provincial_code_stops(rig: Rig) -> None:
    rig.walk([RED])
    assert verdict(rig).verdict.outcome is Outcome.DENY and rig.door.opened == 0


def test_a_silent_platform_holds_the_person_and_says_why(rig: Rig, platform: SimulatedProvider) -> None:
    platform.holds.clear()
    rig.pictures.show(GREEN)
    wait_for(rig.lane, lambda: isinstance(rig.lane.station.state, Noting))
    state = rig.lane.station.state
    assert isinstance(state, Noting) and state.code == "asking_provider"
    wait_for(rig.lane, lambda: isinstance(rig.lane.station.state, Showing))
    shown = verdict(rig).verdict
    assert (shown.outcome, shown.reasons, shown.cannot_tell) == (Outcome.HOLD, ("provider_silent",), True)


def test_the_queue_moves_on_while_a_platform_is_asked(rig: Rig, platform: SimulatedProvider) -> None:
    platform.holds.clear()
    rig.pictures.show(GREEN)
    wait_for(rig.lane, lambda: isinstance(rig.lane.station.state, Noting))
    rig.walk([rig.issuer.code(datetime.now(UTC), 7)])
    admitted = verdict(rig)
    assert admitted.verdict.outcome is Outcome.ADMIT
    assert admitted.person.checked.kind is CredentialKind.HEALTH_CODE
    _, _, records = rig.journal.unsent(1000)
    assert rig.door.opened == 1 and sum(1 for r in records if b"provincial" in r.header) == 0
