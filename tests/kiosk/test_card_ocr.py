"""A photographed card: what the parser makes of an engine's lines, and that nothing of the picture stays anywhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from kiosk import card_ocr, texts
from kiosk.actions import ActionRefused, ActionResult, parse_action
from kiosk.card_ocr import CardFields, Image, Line, OcrFailed, fields_of, is_installed, read_lines
from kiosk.card_photo import photograph_card
from kiosk.desk import Desk
from protocol.words import EntryMode
from tests.kiosk.test_desk import PERSON, STAFF, TODAY, Panel
from tests.rig import Rig

NUMBER = "11010519491231002X"
NOTO = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")


def rows(*texts: str) -> list[Line]:
    """Lines below each other."""
    return [Line(text, 100, 100.0 * n, 800, 100.0 * n + 50) for n, text in enumerate(texts)]


CARD = rows(
    "姓名 测试甲",
    "性别 男 民族 汉",
    "出生 1949 年 12 月 31 日",
    "住址 北京市朝阳区测试路1号",
    "院2号楼305室",
    f"公民身份号码 {NUMBER}",
)
WHOLE = CardFields("测试甲", "男", date(1949, 12, 31), "北京市朝阳区测试路1号院2号楼305室", NUMBER, ("sex",))


def test_a_clean_reading_gives_every_field() -> None:
    # the standard's sample number belongs to a woman (its 17th digit is even), and the card says man: that is noticed
    assert fields_of(CARD) == WHOLE
    assert fields_of(rows("性别女民族汉", f"公民身份号码{NUMBER}")).doubts == ()


def test_the_order_and_the_pieces_of_an_engine_do_not_matter() -> None:
    pieces = [
        Line("日", 620, 202, 650, 240),
        Line(NUMBER, 430, 575, 830, 620),
        Line("院2号楼305室", 290, 400, 540, 440),
        Line("公民身份号码", 190, 580, 400, 615),
        Line("住址", 190, 350, 270, 390),
        Line("12", 450, 201, 490, 241),
        Line("姓名", 190, 50, 270, 90),
        Line("年", 400, 203, 430, 240),
        Line("1949", 290, 200, 380, 242),
        Line("月", 510, 203, 540, 240),
        Line("31", 560, 200, 600, 240),
        Line("出生", 190, 204, 270, 240),
        Line("北京市朝阳区测试路1号", 290, 348, 715, 392),
        Line("测试甲", 290, 48, 410, 92),
        Line("性别", 190, 120, 270, 160),
        Line("男", 290, 118, 330, 160),
        Line("民族", 430, 120, 500, 160),
        Line("汉", 520, 118, 560, 160),
    ]
    assert fields_of(pieces) == WHOLE


@pytest.mark.parametrize(
    "read",
    [
        "11O1O519491231OO2X",
        "1101051949123100 2X",
        "l10I0519491231002x",
        "110105 19491231 002 ×",
        "１１０１０５１９４９１２３１００２Ｘ",
        "11010519491231oo2X",
        "1101051949l23lOO2X",
        "1IOlO5I949I23I0Q2x",
        "11010S1949123100ZX",
    ],
)
def test_letters_that_look_like_digits_are_read_as_digits_in_the_number(read: str) -> None:
    fields = fields_of(rows(f"公民身份号码{read}"))
    assert fields.number == NUMBER and "number" not in fields.doubts


@pytest.mark.parametrize("read", ["110105194912310021", "110105194912310O2O", "119105194912310029"])
def test_a_wrong_check_digit_is_kept_and_doubted_never_mended(read: str) -> None:
    fields = fields_of(rows(f"公民身份号码{read}"))
    assert fields.number and fields.number != NUMBER and "number" in fields.doubts


def test_a_letter_in_a_name_or_an_address_stays_what_it_is() -> None:
    fields = fields_of(rows("姓名 李亚男", "住址 上海市测试路O1弄B座1S室", f"公民身份号码 {NUMBER}"))
    assert (fields.name, fields.sex) == ("李亚男", "")
    assert fields.address == "上海市测试路O1弄B座1S室"


def test_what_is_printed_and_what_the_number_says_are_compared() -> None:
    assert "birth" in fields_of(rows("出生1949年12月30日", f"公民身份号码{NUMBER}")).doubts
    assert fields_of(rows("出生I949年l2月3I日")).birth == date(1949, 12, 31)
    assert fields_of(rows(f"公民身份号码{NUMBER}")).birth == date(1949, 12, 31), "taken from a number that holds"
    assert fields_of(rows("公民身份号码110105194912310021")).birth is None, "never from one that does not"
    assert fields_of(rows("出生2023年2月30日")).birth is None


@pytest.mark.parametrize(
    "lines",
    [
        [],
        rows(""),
        rows("中华人民共和国居民身份证", "签发机关 某某公安局", "有效期限 2020.01.01-2040.01.01"),
        rows("OOOOOOOOOOOOOOOOOOOOOOOO", "IlIlIlIlIlIlIlIlIl"),
        rows("姓名", "性别", "出生年月日", "住址", "公民身份号码"),
        rows("姓名 JOHN", "\ud800\udfff", "年" * 500),
    ],
)
def test_other_things_before_the_camera_are_no_person(lines: list[Line]) -> None:
    fields = fields_of(lines)
    assert fields.is_empty and "测试" not in repr(fields)


def test_neither_fields_nor_lines_show_themselves_in_a_log() -> None:
    assert "测试甲" not in repr(WHOLE) + repr(CARD[0]) and NUMBER not in repr(WHOLE) + repr(CARD[-1])


# -- the child ---------------------------------------------------------------------------------------------------------


def picture() -> Image:
    return np.full((60, 80, 3), 77, np.uint8)


def fake(folder: Path, body: str) -> list[str]:
    """A child that does *body* in place of reading."""
    path = folder / "engine.py"
    path.write_text(f"import json, os, sys, time\nheight, width = map(int, sys.argv[1:3])\n{body}\n")
    return [sys.executable, "-I", str(path)]


TAKE = "data = sys.stdin.buffer.read(height * width * 3)\n"


def test_the_child_gets_the_picture_and_its_lines_come_back(tmp_path: Path) -> None:
    told = "print(json.dumps([[f'{len(data)} {sorted(set(data))} {height}x{width}', 1, 2, 3, 4]]))"
    image = picture()
    (line,) = read_lines(image, command=fake(tmp_path, TAKE + told), within_s=30)
    assert line == Line("14400 [77] 60x80", 1.0, 2.0, 3.0, 4.0)
    assert not image.any(), "the picture is overwritten"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("time.sleep(60)", "late"),  # does not even take the picture
        (TAKE + "time.sleep(60)", "late"),
        (TAKE + "print('[', flush=True); time.sleep(60)", "late"),
        ("os.abort()", "ended"),
        (TAKE + "sys.exit(3)", "ended"),
        (TAKE + "print('not JSON')", "nonsense"),
        (TAKE + "print('[[1]]')", "nonsense"),
        (TAKE + "print('{\"a\": 1}')", "nonsense"),
        (TAKE + "print('x' * 10_000_000)", "nonsense"),
    ],
)
def test_a_child_that_fails_is_ended_and_named(tmp_path: Path, body: str, code: str) -> None:
    image = np.full((1000, 1000, 3), 77, np.uint8)  # more than a pipe holds
    noted = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
    with pytest.raises(OcrFailed) as failed:
        read_lines(image, command=fake(tmp_path, noted + body), within_s=1.5 if code == "late" else 30)
    assert failed.value.code == code
    assert not image.any(), "the picture is overwritten whatever happened"
    child = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_two_cards_are_never_read_at_once(tmp_path: Path) -> None:
    flag = tmp_path / "go"
    wait = f"while not os.path.exists({str(flag)!r}): time.sleep(0.01)\n"
    begun = f"open({str(tmp_path / 'begun')!r}, 'w').close()\n"
    command = fake(tmp_path, TAKE + begun + wait + "print('[]')")
    first = threading.Thread(target=read_lines, args=(picture(),), kwargs={"command": command, "within_s": 30})
    first.start()
    deadline = time.monotonic() + 20
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(OcrFailed) as failed:
        read_lines(picture(), command=command, within_s=30)
    flag.touch()
    first.join(20)
    assert failed.value.code == "busy"
    assert read_lines(picture(), command=command, within_s=30) == []


def test_our_child_overwrites_its_picture_and_writes_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Image] = []

    def engine(image: Image) -> list[list[Any]]:
        assert image.shape == (60, 80, 3) and (image == 77).all()
        seen.append(image)
        return [["姓名", 0, 0, 1, 1]]

    picture_in, picture_out = os.pipe()
    answer_in, answer_out = os.pipe()
    os.write(picture_out, picture().tobytes())
    monkeypatch.setattr(card_ocr.os, "readv", lambda _, buffers: _readv(picture_in, buffers))
    monkeypatch.setattr(card_ocr.resource, "setrlimit", lambda *limits: None)  # it would be this process's own
    card_ocr.main(["60", "80"], engine, answer_out)
    assert os.read(answer_in, 1000).decode() == '[["姓名", 0, 0, 1, 1]]'
    assert not seen[0].any()
    for end in (picture_in, picture_out, answer_in, answer_out):
        os.close(end)


_readv = os.readv


def test_without_the_extra_the_words_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_ocr, "PACKAGES", ("no_such_package_here",))
    assert not is_installed()
    image = picture()
    with pytest.raises(OcrFailed) as failed:
        read_lines(image)
    assert "gatehouse[ocr]" in texts.CARD_PHOTO[failed.value.code].en and not image.any()


# -- at the desk -------------------------------------------------------------------------------------------------------


def test_a_photographed_card_fills_the_form_and_its_confirmed_person_is_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    pictures: list[Image] = []

    def read(image: Image) -> list[Line]:
        pictures.append(image)
        assert image.any()
        return CARD

    with Rig(tmp_path) as rig:
        panel = Panel(rig)
        panel.desk = Desk(rig.lane, lambda: STAFF, photograph=lambda: photograph_card(rig.camera, read))
        assert not panel.press("photograph_card", operator="jian.cha").done, "an inspector registers nobody"
        panel.until(lambda: rig.camera.newest(0, 0.0) is not None)
        answer = panel.press("photograph_card")
        assert answer.done and answer.values["fields"]["number"] == NUMBER and answer.values["doubts"] == ["sex"]
        assert len(pictures) == 1 and not pictures[0].any(), "the copied picture is overwritten"
        panel.until(lambda: any(header.event == "card_photographed" for header in panel.headers()))
        assert all(header.facts is None for header in panel.headers()), "nobody is registered by a photograph"
        person = {**PERSON, "name": "测试甲", "read_by": "card_photo", "compared": {"name": True, "number": True}}
        assert panel.press("manual_entry", person=person, why="no_phone", celsius="36.5").done
        showing = panel.shows()
        facts = panel.headers()[showing.sequence - 1].facts
        assert facts is not None and (facts.mode, facts.operator) == (EntryMode.MANUAL, "li.na")
        opened = panel.opened(showing.sequence)
        assert (opened.name, opened.id_number) == ("测试甲", NUMBER) and ("read_by", "card_photo") in opened.extra
    assert "测试" not in caplog.text and NUMBER not in caplog.text
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or ("测试甲".encode() not in path.read_bytes())


@pytest.mark.parametrize("compared", [None, {}, {"name": True}, {"number": True}, {"name": "true", "number": True}, []])
def test_what_was_not_compared_is_not_taken(compared: object) -> None:
    person = {**PERSON, "read_by": "card_photo", "compared": compared}
    with pytest.raises(ActionRefused) as refused:
        parse_action("manual_entry", {"person": person, "why": "no_phone"}, operator="li.na", today=TODAY)
    assert refused.value.field.startswith("compared.")


@pytest.mark.parametrize("code", ["not_installed", "busy", "late", "ended", "nonsense"])
def test_every_failure_has_words(tmp_path: Path, code: str) -> None:
    def fails(image: Image) -> list[Line]:
        raise OcrFailed(code)

    with Rig(tmp_path) as rig:
        answer = photograph_card(rig.camera, fails)
        assert answer == ActionResult(False, texts.CARD_PHOTO[code])
        assert photograph_card(rig.camera, lambda image: []).message == texts.CARD_PHOTO["nothing"]


# -- the real engine ---------------------------------------------------------------------------------------------------


def drawn_card() -> Image:
    """A made-up card's text side, as a camera at arm's length would show it."""
    canvas = Picture.new("RGB", (1280, 720), (90, 90, 95))
    draw = ImageDraw.Draw(canvas)
    draw.rounded_rectangle((140, 60, 1140, 690), 30, fill=(222, 232, 236))
    label, value = ImageFont.truetype(str(NOTO), 34), ImageFont.truetype(str(NOTO), 40)
    for x, y, text in ((190, 110, "姓名"), (190, 190, "性别"), (430, 190, "民族"), (190, 270, "出生"), (400, 270, "年"),
                       (510, 270, "月"), (620, 270, "日"), (190, 350, "住址"), (190, 580, "公民身份号码")):  # fmt: skip
        draw.text((x, y), text, font=label, fill=(60, 110, 160))
    for x, y, text in ((290, 105, "测试甲"), (290, 185, "女"), (520, 185, "汉"), (290, 265, "1949"), (450, 265, "12"),
                       (560, 265, "31"), (290, 345, "北京市朝阳区测试路1号"), (290, 400, "院2号楼305室"),
                       (430, 575, NUMBER)):  # fmt: skip
        draw.text((x, y), text, font=value, fill=(20, 20, 20))
    drawn: Image = np.ascontiguousarray(np.array(canvas)[:, :, ::-1])
    return drawn


@pytest.mark.slow
@pytest.mark.skipif(
    not is_installed(),
    reason="the optional extra [ocr] (rapidocr, onnxruntime) is not installed: no real engine read a drawn card; "
    "pip install 'gatehouse[ocr]' runs this test, and the default installation leaves it out on purpose",
)
def test_the_real_engine_reads_a_drawn_card_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens: a download would fail
    image = drawn_card()
    fields = fields_of(read_lines(image, within_s=120))
    assert fields == CardFields("测试甲", "女", date(1949, 12, 31), "北京市朝阳区测试路1号院2号楼305室", NUMBER, ())
    assert not image.any()
