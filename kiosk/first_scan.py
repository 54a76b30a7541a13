"""Proves that a first scan would work with this very program: read, check, decide, record, show - on copies only.

A new version runs it before it is started (kiosk/update.py). Nothing of the entrance is changed: the journal is a copy,
the code and its issuer are made up for the moment, and the screen stands on a port of its own.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import qrcode
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from numpy.typing import NDArray

from config.errors import GatehouseError
from config.kiosk import KioskSettings
from firmware_bridge.reading import typed_reading
from kiosk.admission import Rules, Verdict, decide
from kiosk.board import setup_state
from kiosk.bundle_store import BundleStore
from kiosk.clock import KioskClock
from kiosk.decoder import Decoder
from kiosk.enrol import load_identity
from kiosk.screen import Screen
from kiosk.store import Journal
from kiosk.verifying import verify_journal
from protocol.cose import Alg
from protocol.credentials import check, health_code
from protocol.credentials.policy import CheckPolicy
from protocol.passage import Facts
from protocol.policy import EntryPolicy
from protocol.trust import TrustedKey, TrustList, spki_of
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured

KID = b"first scan"
READ_WITHIN_S = 10.0
SIDE_PIXELS = 480
NORMAL_CELSIUS = 36.5


class ProofError(GatehouseError):
    """This program would not get through a first scan. Codes: not_enrolled, bundle, decode, check, journal, screen."""

    code = "proof"


def prove_first_scan(settings: KioskSettings, journal_copy: Path) -> None:
    """Go through one passage on *journal_copy*; raises ProofError, or the GatehouseError of whatever is in the way.

    The steps: (1) identity and bundle of this kiosk are readable, (2) a code is read from a picture, (3) checked,
    (4) decided, (5) sealed, chained and committed, (6) the chain holds, (7) the screen answers.
    """
    identity = load_identity(settings.data_dir)  # (1)
    if identity is None:
        raise ProofError("This kiosk is not enrolled.", hint="Enrol it first.", code="not_enrolled")
    bundles = BundleStore(settings.data_dir / "bundle", identity.enrolment)
    if bundles.trouble is not None:
        raise ProofError(
            f"The rules on this kiosk cannot be read ({bundles.trouble}).",
            hint="Connect the network, let the kiosk fetch them, and try again.",
            code="bundle",
        )
    now = datetime.now(UTC)
    issuer = ec.generate_private_key(ec.SECP256R1())
    text = health_code.issue(
        key=issuer, alg=Alg.ES256, kid=KID, colour=Colour.GREEN, issued_at=now, cti=os.urandom(8), pseudonym=bytes(8)
    )
    decoder, until_s, image = Decoder(), time.monotonic() + READ_WITHIN_S, _picture(text)
    while text not in [code.text for code in decoder.read(image)]:  # (2)
        if time.monotonic() > until_s:
            raise ProofError("A plain code is not read.", hint="Are all packages installed?", code="decode")
    entry = TrustedKey(KID, int(Alg.ES256), spki_of(issuer.public_key()), frozenset({CredentialKind.HEALTH_CODE.value}))
    checked = check(text, TrustList((entry,), issued_at=now), at=now, status=None, policy=CheckPolicy())  # (3)
    if not checked.valid:
        raise ProofError("A good code is refused.", hint=", ".join(r.value for r in checked.reasons), code="check")
    policy = bundles.held.policy if bundles.held is not None else EntryPolicy()
    reading = typed_reading(NORMAL_CELSIUS, taken_at=now, taken_mono_s=time.monotonic())
    verdict = decide(checked, (reading,), policy, Rules(version=1, age_s=0))  # (4)
    if not isinstance(verdict, Verdict):
        raise ProofError("A person with a normal temperature gets no verdict.", hint=verdict.value, code="check")
    facts = Facts(
        direction=Direction(settings.direction),
        mode=EntryMode.SCAN,
        credential=CredentialKind.HEALTH_CODE,
        colour=Colour.GREEN,
        measured=Measured.NORMAL,
        outcome=verdict.outcome,
        reasons=verdict.reasons,
        bundle_version=bundles.version,
        bundle_age_s=0,
    )
    journal = Journal(journal_copy, identity.enrolment.kiosk, identity.vault.seal[0].load())  # (5)
    try:
        clock = KioskClock(journal.last_stamp_ms())
        journal.append(identity.enrolment.place, clock.stamp(), facts, day=clock.day())
    finally:
        journal.close()
    report = verify_journal(journal_copy)  # (6)
    if not report.is_chain_whole:
        raise ProofError("The journal's chain does not hold.", hint=report.findings[0], code="journal")
    _show(settings, journal_copy.parent)  # (7)


def _picture(text: str) -> NDArray[np.uint8]:
    """A picture of a code as a camera would give it."""
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_M, border=6)
    code.add_data(text)
    code.make(fit=True)
    modules = np.array(code.get_matrix(), np.uint8)
    large = cv2.resize(modules, (SIDE_PIXELS, SIDE_PIXELS), interpolation=cv2.INTER_NEAREST)
    grey = np.where(large > 0, 20, 235).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _show(settings: KioskSettings, aside: Path) -> None:
    quiet = replace(settings.screen, port=0, voice=False, sound="none", voice_cache=aside / "voice")
    with Screen(quiet) as screen:
        screen.publish(setup_state(1, None, None))
        try:
            state = requests.get(screen.address + "state", timeout=10)
            page = requests.get(screen.address, timeout=10)
        except requests.RequestException as error:
            raise ProofError("The screen does not answer.", hint=str(error), code="screen") from error
        if state.status_code != 200 or page.status_code != 200 or "<main" not in page.text:
            raise ProofError("The screen shows nothing.", hint="Are all packages installed?", code="screen")
