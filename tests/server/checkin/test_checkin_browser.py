"""Checking in with a real phone-sized browser: sealed, as a proxy, without a script; found by an approved query; told.

Set GATEHOUSE_PICTURES=1 to draw docs/pictures/ again.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait
from sqlalchemy import select

from protocol.checkin import open_sealed
from protocol.credentials.identity import Identity
from protocol.passage import Header
from protocol.query import Query
from server.accounts.models import User
from server.codes.models import VenueCode
from server.ingest.models import JournalRecord
from server.residents.codes import close_identity
from server.residents.models import Resident
from server.vault.indexing import index_new
from tests.browser import chromium, policy_complaints, resize
from tests.kiosk.screen.test_looks import axe_source
from tests.server.people import LIBRARY, NOON, PASSWORD, hang, open_code, sign_in
from tests.server.queries.conftest import form as query_form
from tests.server.queries.site import Site, running_site
from tests.server.vault.world import ID_NUMBER
from tests.vectors.hpke_p256 import BASE

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PICTURES = Path(__file__).resolve().parents[3] / "docs" / "pictures"
NAME, PHONE, CHILD = "欧阳小明", "13800138000", "欧阳一一"


@dataclass
class Phone:
    """A phone in a visitor's hand."""

    driver: Chrome
    folder: Path
    width: int = 360

    def fills(self, **fields: str) -> None:
        for name, value in fields.items():
            found = self.driver.find_element(By.ID, name)
            if name == "relation":
                Select(found).select_by_value(value)
            else:
                found.send_keys(value)

    def agrees(self) -> None:
        self.driver.find_element(By.ID, "agree").click()

    def sends(self) -> None:
        before = self.driver.find_element(By.TAG_NAME, "html")
        self.driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        WebDriverWait(self.driver, 20).until(lambda d: d.find_element(By.TAG_NAME, "html") != before)

    def posted(self) -> str:
        """The body of the form that went out since this was asked last."""
        lines = [json.loads(line["message"])["message"] for line in self.driver.get_log("performance")]
        bodies = [
            line["params"]["request"].get("postData", "")
            for line in lines
            if line["method"] == "Network.requestWillBeSent" and line["params"]["request"]["method"] == "POST"
        ]
        assert len(bodies) == 1
        return str(bodies[0])

    def sees(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def picture(self, name: str) -> None:
        path = self.folder / f"{name}.png"
        height = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]["height"]
        self.screen(height=max(720, int(height)))
        self.driver.save_screenshot(str(path))
        self.screen()
        if os.environ.get("GATEHOUSE_PICTURES"):
            with Image.open(path) as image:
                image.convert("RGB").quantize(64).save(PICTURES / f"{name}.png", optimize=True)

    def screen(self, height: int = 720) -> None:
        resize(self.driver, self.width, height, mobile=self.width < 600)

    def violations(self) -> list[str]:
        """What axe-core says against WCAG 2.2 AA and its best practices."""
        self.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
        self.driver.execute_script("if (!window.axe) {" + axe_source() + "}")
        found = self.driver.execute_async_script(
            """
            const done = arguments[arguments.length - 1];
            const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
            axe.run(document, {runOnly: {type: "tag", values: tags}, resultTypes: ["violations"]})
              .then((r) => r.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target} ${n.failureSummary}`)))
              .then(done);
            """
        )
        assert isinstance(found, list)
        return found


@contextlib.contextmanager
def phone_in(folder: Path, *, script: bool = True) -> Iterator[Phone]:
    scripts = {} if script else {"profile.managed_default_content_settings.javascript": 2}
    prefs = {"intl.accept_languages": "zh-CN,zh", **scripts}
    with chromium(prefs=prefs, logs=("browser", "performance")) as driver:
        phone = Phone(driver, folder)
        phone.screen()
        yield phone
        assert policy_complaints(driver) == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as site:
        site.world.enrol("district", site.world.district_key)
        yield site


@pytest.fixture(scope="module")
def poster(site: Site) -> str:
    serial = open_code(site.app)
    hang(site.app, serial)
    with site.house.database.reading() as reading:
        return f"{site.url}/v/{reading.get_one(VenueCode, serial).token}"


def facts_of(site: Site) -> list[tuple[str, ...]]:
    """What each record held says openly of how it was sealed, oldest first."""
    with site.house.database.reading() as reading:
        rows = reading.scalars(select(JournalRecord).order_by(JournalRecord.sequence))
        return [facts.degraded for row in rows if (facts := Header.from_bytes(row.header).facts)]


def jwk(private: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    numbers = private.private_numbers()
    values = (numbers.public_numbers.x, numbers.public_numbers.y, numbers.private_value)
    texts = [base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in values]
    return {"kty": "EC", "crv": "P-256", **dict(zip("xyd", texts, strict=True))}


SEAL = """
    const [key, info, associated, plain, pair, done] = arguments;
    const bytes = (hex) => new Uint8Array((hex.match(/../g) || []).map((two) => parseInt(two, 16)));
    const curve = {name: "ECDH", namedCurve: "P-256"};
    const load = async () => pair && {
      privateKey: await crypto.subtle.importKey("jwk", pair, curve, false, ["deriveBits"]),
      publicKey: await crypto.subtle.importKey("jwk", {...pair, d: undefined}, curve, true, []),
    };
    load().then((loaded) => hpke.seal(bytes(key), bytes(info), bytes(associated), bytes(plain), loaded || undefined))
      .then((sealed) => done(Array.from(sealed, (b) => b.toString(16).padStart(2, "0")).join("")), (e) => done("" + e));
"""


def test_hpke_in_the_browser_is_rfc_9180(tmp_path: Path, poster: str) -> None:
    with phone_in(tmp_path) as phone:
        phone.driver.get(poster)
        ephemeral = ec.derive_private_key(int.from_bytes(BASE.ephemeral_private, "big"), ec.SECP256R1())

        def seal(key: bytes, info: bytes, associated: bytes, plain: bytes, pair: object = None) -> bytes:
            values = (key.hex(), info.hex(), associated.hex(), plain.hex(), pair)
            return bytes.fromhex(phone.driver.execute_async_script(SEAL, *values))

        # (1) appendix A.3.1, byte for byte
        vector = seal(BASE.recipient_public, BASE.info, BASE.associated, BASE.plain, jwk(ephemeral))
        assert vector == BASE.enc + BASE.ciphertext
        # (2) another implementation opens what it seals with a key of its own, and never twice the same
        private = ec.generate_private_key(ec.SECP256R1())
        point = private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        for length in (1, 15, 16, 512):
            one, other = (seal(point, b"info", b"", b"p" * length) for _ in range(2))
            assert one != other
            assert open_sealed(one, private, info=b"info") == b"p" * length
        # (3) a point that is not on the curve is refused by the browser
        assert "Error" in phone.driver.execute_async_script(SEAL, "04" + "01" * 64, "", "", "00", None)


def test_a_visitor_checks_in_and_is_found_by_query_alone(tmp_path: Path, site: Site, poster: str) -> None:
    with phone_in(tmp_path) as phone:
        # an adult, sealed in the browser
        phone.driver.get(poster)
        assert not phone.driver.find_element(By.ID, "unsealed").is_displayed()
        assert site.world.keys.checkin[0].key_id.hex() in phone.sees()
        assert phone.violations() == []
        phone.picture("visitor-form")
        phone.agrees()
        phone.fills(name="ｏｕ")
        phone.driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        assert "请填写电话号码" in phone.driver.find_element(By.ID, "script-wrong").text
        phone.driver.find_element(By.ID, "name").clear()
        phone.fills(name=NAME, phone=PHONE)
        phone.sends()
        went_out = parse_qs(phone.posted())
        assert set(went_out) == {"ticket", "lang", "sealed", "agree"}  # neither name nor phone in clear
        assert "已登记" in phone.sees() and "未核验健康码" in phone.sees()
        assert phone.violations() == []
        clock = phone.driver.find_element(By.ID, "clock")
        first = clock.text
        WebDriverWait(phone.driver, 10).until(lambda _: clock.text != first)
        phone.picture("visitor-pass")
        assert NAME not in phone.driver.page_source and not phone.driver.get_cookies()
        # for a child, in English
        phone.driver.get(f"{poster}?lang=en")
        phone.driver.find_element(By.TAG_NAME, "summary").click()
        phone.fills(name=NAME, phone=PHONE, relation="child", other_name=CHILD)
        phone.agrees()
        assert phone.violations() == []
        phone.picture("visitor-proxy")
        phone.sends()
        assert "Checked in" in phone.sees()
        assert quote(CHILD) not in phone.posted()
        # a browser without WebCrypto says so, and sends only after it did
        phone.driver.execute_cdp_cmd(
            "Page.addScriptToEvaluateOnNewDocument",
            {"source": "Object.defineProperty(Crypto.prototype, 'subtle', {get() { return undefined; }})"},
        )
        phone.driver.get(poster)
        assert phone.driver.find_element(By.ID, "unsealed").is_displayed()
        assert not phone.driver.find_element(By.ID, "sealable").is_displayed()
    with phone_in(tmp_path, script=False) as phone:
        phone.driver.get(poster)
        assert phone.driver.find_element(By.ID, "unsealed").is_displayed()
        phone.picture("visitor-no-script")
        phone.fills(name=NAME, phone=PHONE)
        phone.agrees()
        phone.sends()
        assert "已由服务器收到后立即封存" in phone.sees()
    assert facts_of(site) == [(), (), ("sealed_on_arrival",)]
    # the vault indexes them, and an approved query by phone number finds all three, masked
    with site.house.database.reading() as reading:
        run = index_new(reading, site.world.client())
    assert (run.records, run.problems) == (3, 0)
    epi = sign_in(site.app, "epi")
    fields = {**query_form(site.house), "person_kind": "phone", "person": PHONE}
    asked = epi.post("/queries/new", fields, page="/queries/new")
    assert asked.status_code == 303, asked.text
    number = asked.location.rsplit("/", 1)[1]
    key = site.folder / "district.key"
    approve_as_district(site, number, key)
    result = epi.post(f"{asked.location}/look")
    assert result.status_code == 200, result.text
    assert result.text.count("手机登记") == 3
    assert result.text.count("欧**明") == 3 and "欧**一" in result.text and "+86138****8000" in result.text
    assert NAME not in result.text and CHILD not in result.text
    # and the resident learns of it, with a word of their own
    resident_asks(tmp_path, site)


def approve_as_district(site: Site, number: str, key: Path) -> None:
    """The approver signs with the key that stands in the vault's roster."""
    district = sign_in(site.app, "district")
    waiting = json.loads(district.get("/queries/waiting.json").text)["queries"]
    (one,) = [item for item in waiting if item["id"] == number]
    query = Query.from_bytes(base64.b64decode(one["body"]))
    word = site.world.approve(query, key=site.world.district_key, approver="district")
    answer = district.post(f"/queries/{number}/approve", {"approval": base64.b64encode(word).decode()})
    assert answer.status_code == 303 and answer.location.endswith("/inbox"), answer.location


def resident_asks(tmp_path: Path, site: Site) -> None:
    with site.app.app_context(), site.house.database.writing() as writing:
        user = writing.scalars(select(User).where(User.name == "wang")).one()
        resident = Resident(id="ab" * 8, user_id=user.id, created_at=NOON)
        resident.identity = close_identity(resident.id, Identity(NAME, ID_NUMBER, f"+86{PHONE}"))
        writing.add(resident)
    with phone_in(tmp_path) as phone:
        driver = phone.driver
        driver.get(f"{site.url}/sign-in")
        phone.fills(name="wang", password=PASSWORD)
        driver.find_element(By.ID, "password").submit()
        WebDriverWait(driver, 20).until(lambda d: not d.current_url.endswith("/sign-in"))
        driver.get(f"{site.url}/me/looks")
        assert phone.violations() == []
        phone.width = 1000
        phone.screen()
        assert phone.violations() == []
        phone.picture("resident-looks-ask")
        for word, told in (("山高月小水落石出", "流调人员"), ("a word of the web's", "与您设置的口令不符")):
            driver.get(f"{site.url}/me/looks")
            phone.fills(word=word)
            before = driver.find_element(By.TAG_NAME, "html")
            driver.find_element(By.CSS_SELECTOR, "#looks button").click()
            WebDriverWait(driver, 20).until(lambda d, old=before: d.find_element(By.TAG_NAME, "html") != old)
            assert told in phone.sees(), phone.sees()
            assert not re.search(r"\bEpi\b", phone.sees())  # the office, not the colleague
            if word.startswith("山"):
                assert "锦江区" in phone.sees() and "传染病防治法" in phone.sees()
                assert phone.violations() == []
                phone.picture("resident-looks")


def test_a_revoked_poster_says_so_on_a_phone(tmp_path: Path, site: Site) -> None:
    serial = open_code(site.app, 2)
    with site.house.database.reading() as reading:
        token = reading.get_one(VenueCode, serial).token
    sign_in(site.app, "street").post(f"/codes/{serial}/revocation", {"reason": "搬迁", "venue_name": "锦江图书馆"})
    with phone_in(tmp_path) as phone:
        phone.driver.get(f"{site.url}/v/{token}")
        assert "这张海报已被撤销" in phone.sees()
        assert phone.violations() == []
        phone.picture("visitor-revoked")


def test_staff_check_the_reference_in_a_browser(tmp_path: Path, site: Site) -> None:
    with phone_in(tmp_path) as phone:
        driver = phone.driver
        driver.get(f"{site.url}/sign-in")
        phone.fills(name="staff", password=PASSWORD)
        driver.find_element(By.ID, "password").submit()
        WebDriverWait(driver, 20).until(lambda d: not d.current_url.endswith("/sign-in"))
        driver.get(f"{site.url}/venues/{LIBRARY.hex()}/references")
        assert phone.violations() == []
        phone.fills(reference="ACD-EFHJ")
        before = driver.find_element(By.TAG_NAME, "html")
        driver.find_element(By.CSS_SELECTOR, "form.card button").click()
        WebDriverWait(driver, 20).until(lambda d: d.find_element(By.TAG_NAME, "html") != before)
        assert "否：" in phone.sees()
        assert phone.violations() == []
        phone.picture("visitor-reference")
