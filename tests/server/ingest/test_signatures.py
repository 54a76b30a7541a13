"""Only a kiosk's signature makes an upload its own: the name in the envelope is anybody's to write."""

from __future__ import annotations

from server.context import House
from tests.server.ingest.fleet import PaperKiosk, refusal
from tests.server.ingest.test_exchange import stored


def test_the_right_name_with_a_wrong_signature_is_nobody(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(1)
    honest = kiosk.upload()
    last = 4 + int.from_bytes(honest[:4], "big") - 1  # of the envelope, and so of its signature
    forged = honest[:last] + bytes([honest[last] ^ 1]) + honest[last + 1 :]
    response = kiosk.post(forged)
    assert (response.status_code, refusal(response)) == (401, "bad_signature")
    assert stored(house, kiosk) == []
    assert kiosk.post(honest).status_code == 200
