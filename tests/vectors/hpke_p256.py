"""RFC 9180 appendix A.3.1: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode, message 0."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vector:
    """One published message and the values on the way to it."""

    info: bytes
    ephemeral_private: bytes  # skEm
    recipient_private: bytes  # skRm
    recipient_public: bytes  # pkRm
    enc: bytes
    shared_secret: bytes
    key: bytes
    base_nonce: bytes
    plain: bytes
    associated: bytes
    ciphertext: bytes


_hex = bytes.fromhex
BASE = Vector(
    info=_hex("4f6465206f6e2061204772656369616e2055726e"),
    ephemeral_private=_hex("4995788ef4b9d6132b249ce59a77281493eb39af373d236a1fe415cb0c2d7beb"),
    recipient_private=_hex("f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2"),
    recipient_public=_hex(
        "04fe8c19ce0905191ebc298a9245792531f26f0cece2460639e8bc39cb7f706a82"
        "6a779b4cf969b8a0e539c7f62fb3d30ad6aa8f80e30f1d128aafd68a2ce72ea0"
    ),
    enc=_hex(
        "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac9"
        "8536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18c4"
    ),
    shared_secret=_hex("c0d26aeab536609a572b07695d933b589dcf363ff9d93c93adea537aeabb8cb8"),
    key=_hex("868c066ef58aae6dc589b6cfdd18f97e"),
    base_nonce=_hex("4e0bc5018beba4bf004cca59"),
    plain=_hex("4265617574792069732074727574682c20747275746820626561757479"),
    associated=_hex("436f756e742d30"),
    ciphertext=_hex("5ad590bb8baa577f8619db35a36311226a896e7342a6d836d8b7bcd2f20b6c7f9076ac232e3ab2523f39513434"),
)
