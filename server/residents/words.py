"""What colours and their causes are called on pages; English here, the Chinese in the catalogue."""

from __future__ import annotations

from protocol.words import Colour

COLOUR_NAMES: dict[Colour, str] = {
    Colour.GREEN: "Green code",
    Colour.YELLOW: "Yellow code",
    Colour.RED: "Red code",
    Colour.GREY: "No data",
}
COLOUR_MEANS: dict[Colour, str] = {
    Colour.GREEN: "Nothing stands against entering. The entrance also measures your temperature.",
    Colour.YELLOW: "Please have a test first. Staff at the entrance will help you.",
    Colour.RED: "Please stay where you are and call your community.",
    Colour.GREY: "There is no valid statement about you. Ask your community to renew it.",
}
CAUSE_NAMES: dict[str, str] = {
    "test_negative": "Negative test",
    "test_due": "A test is due",
    "test_positive": "Positive test",
    "close_contact": "Close contact",
    "returned_from_risk_area": "Back from a risk area",
    "no_risk_known": "No risk known",
    "expired": "The last statement has expired",
    "none": "No statement yet",
}
