"""Published frames of every other device, any chunking, and one damaged byte."""

from __future__ import annotations

import hashlib
from datetime import date

import pytest

from firmware_bridge.codecs import gm65, gymcu90614, modbus, sam_v, text_codes, wedge
from firmware_bridge.codecs.modbus import READ_COILS, READ_HOLDING, WRITE_COIL, Refusal, Reply, ReplyFinder, Request
from firmware_bridge.codecs.modbus_ir import PROFILES
from firmware_bridge.codecs.sam_v import CardKind, CardUnreadable
from firmware_bridge.simulators.sam_v import foreigner_card, read_reply, reply_frame, resident_card


def pieces(line: bytes, size: int) -> list[bytes]:
    return [line[at : at + size] for at in range(0, len(line), size)]


# -- GY-MCU90614 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "seen", "ambient"),
    [("5A 5A 45 04 0C 78 0D 19 A7", 31.92, 33.53), ("5A 5A 45 04 0D 7C 09 E3 72", 34.52, 25.31)],
)
def test_gymcu90614_published_frames(frame: str, seen: float, ambient: float) -> None:
    (found,) = gymcu90614.Decoder().feed(bytes.fromhex(frame))
    assert (found.object_celsius, found.ambient_celsius) == (seen, ambient)
    assert found.to_bytes() == bytes.fromhex(frame)


@pytest.mark.parametrize("size", [1, 2, 5, 9, 10, 1000])
def test_gymcu90614_resynchronises_on_the_head_and_not_on_a_stride(size: int) -> None:
    frame = bytes.fromhex("5A 5A 45 04 0D 7C 09 E3 72")
    line = b"\x5a\x5a" + frame + b"\x01" + frame + b"\x5a" + frame[:6] + frame  # tenth byte, stray 5A, half a frame
    decoder = gymcu90614.Decoder()
    found = [f for piece in pieces(line, size) for f in decoder.feed(piece)]
    assert [f.to_bytes() for f in found] == [frame] * 3


def test_gymcu90614_one_damaged_byte_gives_no_reading() -> None:
    frame = bytes.fromhex("5A 5A 45 04 0D 7C 09 E3 72")
    for place in range(len(frame)):
        for wrong in set(range(256)) - {frame[place]}:
            line = frame[:place] + bytes((wrong,)) + frame[place + 1 :]
            assert gymcu90614.Decoder().feed(line) == []


def test_a_231_degree_frame_is_passed_on_as_it_is_for_the_rule_to_refuse() -> None:
    frame = gymcu90614.Temperatures(0x5A5A, 0x5A5A).to_bytes()
    (found,) = gymcu90614.Decoder().feed(frame)
    assert found.object_celsius == 231.30


def test_the_array_modules_frame_is_recognised_as_a_stranger() -> None:
    words = [0x5A5A, 0x0602, *(3300 + 5 * (i % 32) for i in range(768)), 2531]
    line = b"".join(w.to_bytes(2, "little") for w in words)
    line += (sum(words) & 0xFFFF).to_bytes(2, "little")
    assert len(line) == 1544 and hashlib.sha256(line).hexdigest().startswith("4db831b19e3cdc3d")
    decoder = gymcu90614.Decoder()
    assert decoder.feed(line) == [] and decoder.array_heads == 1


# -- Modbus -----------------------------------------------------------------------------------------------------------


def test_modbus_published_requests() -> None:
    assert PROFILES["pyrominibus"].poll(1).to_bytes() == bytes.fromhex("01 03 00 0B 00 07 75 CA")
    assert PROFILES["pyrousb"].poll(1).to_bytes() == bytes.fromhex("01 03 00 12 00 04 E4 0C")
    assert PROFILES["mq485a"].poll(1).to_bytes() == bytes.fromhex("01 03 00 00 00 02 C4 0B")
    assert Request(1, WRITE_COIL, 0, 0xFF00).to_bytes() == bytes.fromhex("01 05 00 00 FF 00 8C 3A")
    assert Request(1, WRITE_COIL, 0, 0x0000).to_bytes() == bytes.fromhex("01 05 00 00 00 00 CD CA")
    assert Request(1, READ_COILS, 0, 8).to_bytes() == bytes.fromhex("01 01 00 00 00 08 3D CC")


GOOD = bytes.fromhex("01 03 0E 01 59 01 55 01 5D 01 59 01 5A 01 06 00 00 9A FD")
ERROR = bytes.fromhex("01 03 0E 01 59 01 55 01 5D 01 59 01 5A 01 06 00 01 5B 3D")
POLL = PROFILES["pyrominibus"].poll(1)


def answer(line: bytes, size: int = 1000, request: Request = POLL, *, echoes: bool = False) -> Reply | Refusal | None:
    finder = ReplyFinder(request, echoes=echoes)
    for piece in pieces(line, size):
        found = finder.feed(piece)
        if found is not None:
            return found
    return None


@pytest.mark.parametrize("size", [1, 2, 3, 8, 1000])
@pytest.mark.parametrize("before", [b"", b"\x00\xff\x01\x03\x99\x01", POLL.to_bytes(), GOOD[:9], b"\x02" + GOOD[1:]])
def test_a_modbus_reply_is_found_behind_noise_echo_and_strangers(size: int, before: bytes) -> None:
    found = answer(before + GOOD, size)
    assert isinstance(found, Reply)
    profile = PROFILES["pyrominibus"]
    assert profile.celsius(profile.object_word(found)) == 34.5
    assert profile.celsius(profile.ambient_word(found)) == 26.2
    assert profile.faults(found) == ()


def test_a_status_bit_is_a_named_fault() -> None:
    found = answer(ERROR)
    assert isinstance(found, Reply) and PROFILES["pyrominibus"].faults(found) == ("measurement_error",)


def test_the_mq485a_sheet_example() -> None:
    found = answer(bytes.fromhex("01 03 04 0D 7C 09 E3 7E 9E"), request=PROFILES["mq485a"].poll(1))
    assert isinstance(found, Reply) and (found.word(0), found.word(1)) == (3452, 2531)
    sheet = Request(1, READ_HOLDING, 0, 8)
    assert sheet.to_bytes() == bytes.fromhex("01 03 00 00 00 08 44 0C")
    reply = answer(bytes.fromhex("01 03 10 0A 13 0B FB") + bytes(12) + bytes.fromhex("61 42"), request=sheet)
    assert isinstance(reply, Reply) and (reply.word(0), reply.word(1)) == (2579, 3067)


def test_a_modbus_exception_is_a_refusal() -> None:
    assert answer(bytes.fromhex("01 83 02 C0 F1")) == Refusal(2)


def test_an_answer_of_another_address_or_length_is_nobodys() -> None:
    assert answer(modbus.with_crc(b"\x02" + GOOD[1:-2])) is None
    assert answer(bytes.fromhex("01 03 04 0D 7C 09 E3 7E 9E")) is None


def test_an_echoed_write_is_not_taken_for_its_confirmation() -> None:
    on = Request(1, WRITE_COIL, 0, 0xFF00)
    assert isinstance(answer(on.to_bytes(), request=on), Reply)
    assert answer(on.to_bytes(), request=on, echoes=True) is None
    assert isinstance(answer(on.to_bytes() * 2, request=on, echoes=True), Reply)


def test_one_damaged_byte_in_a_modbus_reply_gives_nothing() -> None:
    for place in range(len(GOOD)):
        for flip in range(1, 256):
            line = bytearray(GOOD)
            line[place] ^= flip
            assert answer(bytes(line)) is None


def test_the_coil_reply_of_the_relay_page() -> None:
    found = answer(bytes.fromhex("01 01 01 01 90 48"), request=Request(1, READ_COILS, 0, 8))
    assert isinstance(found, Reply) and found.payload == b"\x01"


@pytest.mark.parametrize("address", [0, -1, 256])
def test_broadcasts_are_never_sent(address: int) -> None:
    with pytest.raises(ValueError):
        Request(address, READ_HOLDING, 0, 1)


# -- GM65 -------------------------------------------------------------------------------------------------------------


def test_gm65_published_frames() -> None:
    assert gm65.read_zones(0x000A) == bytes.fromhex("7E 00 07 01 00 0A 01 EE 8A")
    assert gm65.read_zones(0x000D) == bytes.fromhex("7E 00 07 01 00 0D 01 77 1D")
    assert gm65.write_zones(0x000A, b"\x3e") == bytes.fromhex("7E 00 08 01 00 0A 3E 4C CF")
    assert gm65.write_zones(0x0002, b"\x01") == bytes.fromhex("7E 00 08 01 00 02 01 02 DA")
    assert gm65.write_zones(0x002A, b"\x1a\x00") == bytes.fromhex("7E 00 08 02 00 2A 1A 00 E4 7E")
    assert gm65.write_zones(0x0000, b"\xd5") == bytes.fromhex("7E 00 08 01 00 00 D5 EF 41")
    assert gm65.write_zones(0x0000, b"\xd6") == bytes.fromhex("7E 00 08 01 00 00 D6 DF 22")
    assert gm65.save() == bytes.fromhex("7E 00 09 01 00 00 00 DE C8")
    assert gm65.reply_frame(b"\x3e") == bytes.fromhex("02 00 00 01 3E E4 AC")
    assert gm65.reply_frame(b"\xd5") == bytes.fromhex("02 00 00 01 D5 A8 E9")
    assert gm65.reply_frame(b"\x00") == bytes.fromhex("02 00 00 01 00 33 31")


ACK = bytes.fromhex("02 00 00 01 00 33 31")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("before", "after"), [(b"", b""), (b"CODE-1\r", b""), (b"CO", b"DE-1\r"), (b"\x02\x00\x02", b"x")]
)
def test_a_gm65_reply_is_taken_out_of_the_codes_around_it(size: int, before: bytes, after: bytes) -> None:
    splitter = gm65.Splitter()
    splitter.expect(1)
    text, replies = b"", []
    for piece in pieces(before + ACK + after, size):
        got, reply = splitter.feed(piece)
        text += got
        replies += [reply] if reply else []
    assert text == before + after
    assert [r.data for r in replies] == [b"\x00"]


def test_an_acknowledgement_nobody_asked_for_is_text() -> None:
    assert gm65.Splitter().feed(ACK) == (ACK, None)


def test_a_missing_gm65_reply_gives_the_held_bytes_back() -> None:
    splitter = gm65.Splitter()
    splitter.expect(1)
    assert splitter.feed(b"A\x02\x00") == (b"A", None)
    assert splitter.give_up() == b"\x02\x00"


# -- codes as text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("tail", [b"\r", b"\n", b"\r\n"])
def test_codes_end_at_any_usual_tail(size: int, tail: bytes) -> None:
    decoder = text_codes.LineDecoder()
    line = b"JK1:ABC" + tail + "健康".encode() + tail
    assert [c for p in pieces(line, size) for c in decoder.feed(p)] == [b"JK1:ABC", "健康".encode()]


def test_a_code_of_three_kilobytes_passes_and_one_over_the_limit_is_dropped_whole() -> None:
    decoder = text_codes.LineDecoder(4096)
    assert decoder.feed(b"x" * 3000 + b"\r") == [b"x" * 3000]
    assert decoder.feed(b"y" * 100_000) == []
    assert decoder.feed(b"\rz\r") == [b"z"]
    assert decoder.too_long == 1


def test_a_code_with_nul_is_dropped_and_counted() -> None:
    decoder = text_codes.LineDecoder()
    assert decoder.feed(b"AB\x00CD\rok\r") == [b"ok"]
    assert decoder.damaged == 1


def test_half_a_code_is_dropped_unless_the_head_sends_no_tail() -> None:
    decoder = text_codes.LineDecoder()
    decoder.feed(b"half")
    assert decoder.silence(ends_code=False) is None and decoder.cut_short == 1
    decoder.feed(b"whole")
    assert decoder.silence(ends_code=True) == b"whole"


def test_text_is_utf8_or_gb18030_or_nothing() -> None:
    assert text_codes.to_text("门哨".encode()) == "门哨"
    assert text_codes.to_text("门哨".encode("gb18030")) == "门哨"
    assert text_codes.to_text(b"\xff\xff\xff") is None


def press(text: list[tuple[int, int]], decoder: wedge.KeyDecoder, start_s: float = 0.0) -> list[str]:
    codes = []
    for number, (key, value) in enumerate(text):
        code = decoder.feed(wedge.KeyEvent(wedge.EV_KEY, key, value), start_s + number * 0.001)
        codes += [code] if code else []
    return codes


def typed(text: str) -> list[tuple[int, int]]:
    """What a gun presses for *text*, shift and all."""
    keys = []
    for char in text:
        code, shifted = next((c, s == char and p != char) for c, (p, s) in wedge.KEYS.items() if char in (p, s))
        keys += [(wedge.KEY_LEFT_SHIFT, 1)] if shifted else []
        keys += [(code, 1), (code, 0)]
        keys += [(wedge.KEY_LEFT_SHIFT, 0)] if shifted else []
    return keys


EVERY_SIGN = "".join(map(chr, range(0x20, 0x7F)))


def test_a_gun_that_types_gives_back_every_sign() -> None:
    assert press([*typed(EVERY_SIGN), (wedge.KEY_ENTER, 1)], wedge.KeyDecoder()) == [EVERY_SIGN]


def test_an_unplugged_gun_leaves_no_half_code() -> None:
    decoder = wedge.KeyDecoder()
    assert press(typed("JK1:"), decoder) == []
    assert press([*typed("OK"), (wedge.KEY_ENTER, 1)], decoder, start_s=1.0) == ["OK"]
    assert decoder.cut_short == 1


def test_a_key_nobody_knows_drops_the_code_and_the_kernels_repeats_count_once() -> None:
    decoder = wedge.KeyDecoder()
    assert press([(30, 1), (30, 2), (30, 2), (30, 0), (wedge.KEY_ENTER, 1)], decoder) == ["a"]
    assert press([(30, 1), (200, 1), (wedge.KEY_ENTER, 1)], decoder) == []
    assert decoder.damaged == 1


def test_kernel_events_are_read_as_the_kernel_packs_them() -> None:
    packed = wedge.EVENT.pack(1, 2, wedge.EV_KEY, 30, 1) + b"rest"
    assert wedge.events(packed) == [wedge.KeyEvent(wedge.EV_KEY, 30, 1)]


# -- SAM --------------------------------------------------------------------------------------------------------------


def test_sam_published_frames() -> None:
    head = "AA AA AA 96 69 "
    for command, rest in (
        (sam_v.RESET, "00 03 10 FF EC"),
        (sam_v.STATUS, "00 03 11 FF ED"),
        (sam_v.SAM_NUMBER, "00 03 12 FF EE"),
        (sam_v.FIND, "00 03 20 01 22"),
        (sam_v.SELECT, "00 03 20 02 21"),
        (sam_v.READ_TEXT_PHOTO, "00 03 30 01 32"),
    ):
        assert sam_v.request(command) == bytes.fromhex(head + rest)
    assert reply_frame(0x9F, bytes(4)) == bytes.fromhex(head + "00 08 00 00 9F 00 00 00 00 97")
    assert reply_frame(0x90, bytes(8)) == bytes.fromhex(head + "00 0C 00 00 90 00 00 00 00 00 00 00 00 9C")
    assert reply_frame(0x80) == bytes.fromhex(head + "00 04 00 00 80 84")
    assert reply_frame(0x81) == bytes.fromhex(head + "00 04 00 00 81 85")


def test_sam_golden_read_reply() -> None:
    line = read_reply(resident_card())
    assert len(line) == 1295 and line[-1] == 0x25
    assert line[:14] == bytes.fromhex("AA AA AA 96 69 05 08 00 00 90 01 00 04 00")
    assert hashlib.sha256(line).hexdigest().startswith("24cc6d3f4ca77ed3")


@pytest.mark.parametrize("size", [1, 7, 64, 5000])
def test_a_resident_card_is_read_in_any_pieces(size: int) -> None:
    decoder = sam_v.Decoder()
    replies = [r for p in pieces(b"\xaa\xaa" + read_reply(resident_card()), size) for r in decoder.feed(p)]
    assert [r.status for r in replies] == [sam_v.DONE]
    card = sam_v.parse_text(sam_v.split_text_and_photo(replies[0].data))
    assert (card.kind, card.name, card.number) == (CardKind.RESIDENT, "测试甲", "11010519491231002X")
    assert (card.birth, card.valid_from, card.valid_to) == (date(1949, 12, 31), date(2020, 1, 1), date(2040, 1, 1))
    assert (card.nation, card.issuer, card.address) == ("01", "北京市公安局测试分局", "北京市朝阳区测试路1号")


def test_long_term_is_no_date_and_no_crash() -> None:
    assert sam_v.parse_text(bytearray(resident_card(valid_to="长期"))).valid_to is None


def test_the_two_other_confirmed_layouts() -> None:
    hmt = sam_v.parse_text(bytearray(resident_card(type="J", nation="", pass_number="H00000000", issue_count="01")))
    assert (hmt.kind, hmt.pass_number, hmt.nation) == (CardKind.HMT_RESIDENT, "H00000000", "")
    foreign = sam_v.parse_text(bytearray(foreigner_card()))
    assert (foreign.kind, foreign.latin_name, foreign.name) == (CardKind.FOREIGNER, "TEST, PERSON", "测试乙")
    assert (foreign.number, foreign.nation, foreign.birth) == ("UTO110080010101", "UTO", date(1980, 1, 1))


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (resident_card(number=""), "number"),
        (resident_card(number="110105194912310021"), "number"),
        (resident_card(birth="19491230"), "birth"),
        (resident_card(birth="19491331"), "date"),
        (resident_card(valid_from="长期"), "valid_from"),
        (resident_card(name="\ud800"), "encoding"),
        (resident_card(name=""), "name"),
        (resident_card(name="A\x07"), "control_character"),
        (resident_card(sex="x"), "sex"),
        (resident_card(nation="zz"), "nation"),
        (resident_card(type="Y"), "unknown_type"),
        (resident_card(type="Q"), "unknown_type"),
        (foreigner_card(number="123"), "number"),
        (foreigner_card(latin_name=""), "name"),
        (b"", "text_length"),
    ],
)
def test_an_unreadable_card_is_a_typed_error_without_content(block: bytes, code: str) -> None:
    with pytest.raises(CardUnreadable) as caught:
        sam_v.parse_text(bytearray(block))
    assert caught.value.code == code and str(caught.value) == code
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x01", "too_short"),
        (b"\x00\x00\x04\x00" + bytes(1024), "text_length"),
        (b"\xff\xff\x04\x00" + bytes(1280), "text_length"),
        (b"\x01\x00\x00\x00" + bytes(1280), "photo_length"),
    ],
)
def test_lengths_that_lie_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(CardUnreadable) as caught:
        sam_v.split_text_and_photo(bytearray(data))
    assert caught.value.code == code


def test_a_photo_of_no_bytes_still_gives_the_text() -> None:
    block = resident_card()
    assert sam_v.split_text_and_photo(bytearray(b"\x01\x00\x00\x00" + block)) == block


def test_a_card_never_shows_itself_and_its_bytes_are_wiped() -> None:
    card = sam_v.parse_text(bytearray(resident_card()))
    assert "测试" not in repr(card) and "1101" not in f"{card}"
    decoder = sam_v.Decoder()
    (reply,) = decoder.feed(read_reply(resident_card()))
    assert "data" not in repr(reply)
    reply.wipe()
    assert not any(reply.data)


def test_a_length_field_of_ffff_does_not_make_the_decoder_wait() -> None:
    decoder = sam_v.Decoder()
    lie = sam_v.PREAMBLE + b"\xff\xff\x00\x00\x90"
    assert [r.status for r in decoder.feed(lie + reply_frame(0x80))] == [0x80]


def test_the_standards_own_number_has_the_right_check_digit() -> None:
    assert sam_v.has_right_check_digit("11010519491231002X")
    for wrong in ("110105194912310021", "11010519491231003X", "1101051949123100２X", ""):
        assert not sam_v.has_right_check_digit(wrong)
