"""The page of one kiosk's records in quarantine: why, since when, try again, export."""

from __future__ import annotations

import json

from flask import Blueprint, Response, abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from server.accounts.rights import Place, person, require
from server.accounts.roles import Act, Permission
from server.context import house
from server.db import session
from server.kiosks.models import Kiosk
from server.quarantine.retrying import count_of, exported, set_aside, try_again
from server.vault.client import VaultClient
from server.vault.errors import VaultError
from server.vault.indexing import sealed_records
from server.venues.models import Entrance, Venue
from server.web.access import needs
from server.web.language import tell

blueprint = Blueprint("quarantine", __name__)


@blueprint.get("/kiosks/<kiosk_id:kiosk_id>/quarantine")
@needs(Permission.KIOSKS, Act.READ)
def index(kiosk_id: bytes) -> ResponseReturnValue:
    """What is set aside of one kiosk; the queue behind it went on."""
    kiosk = _find(session(), kiosk_id, Act.READ)
    place = Place(kiosk.door.venue.area.path, kiosk.venue_id)
    return render_template(
        "quarantine/index.html",
        kiosk=kiosk,
        rows=set_aside(session(), kiosk.id),
        count=count_of(session(), kiosk.id),
        may_try=person().may_at(place, Permission.KIOSKS, Act.APPROVE),
    )


@blueprint.post("/kiosks/<kiosk_id:kiosk_id>/quarantine")
@needs(Permission.KIOSKS, Act.APPROVE)
def retry(kiosk_id: bytes) -> ResponseReturnValue:
    """Judge them again; what is released is handed to the vault, which must answer."""
    kiosk = _find(session(), kiosk_id, Act.APPROVE)
    tried = try_again(session(), kiosk, person().id, house().now())
    released = sealed_records(session(), [(kiosk.id, sequence) for sequence in tried.released])
    try:
        # the worker's marks are past them: it would not look back
        passages = [sealed for row, sealed in released if row.event is None]
        if passages:
            VaultClient(house().settings.vault_socket_path).index(passages, {})
    except VaultError:
        session().rollback()
        tell("The vault does not answer, so nothing was changed. Try again later.", "error")
    else:
        session().commit()
        tell("Tried again. What can be believed now has left the list.")
    return redirect(url_for("quarantine.index", kiosk_id=kiosk_id), 303)


@blueprint.get("/kiosks/<kiosk_id:kiosk_id>/quarantine.json")
@needs(Permission.KIOSKS, Act.APPROVE)
def export(kiosk_id: bytes) -> ResponseReturnValue:
    """The records as a file for technical support: open headers and ciphertext."""
    kiosk = _find(session(), kiosk_id, Act.APPROVE)
    name = f"quarantine-{kiosk.id.hex()}.json"
    headers = {"Content-Disposition": f"attachment; filename={name}"}
    return Response(json.dumps(exported(session(), kiosk.id)), content_type="application/json", headers=headers)


def _find(reading: Session, kiosk_id: bytes, act: Act) -> Kiosk:
    kiosk = reading.scalar(
        select(Kiosk)
        .where(Kiosk.id == kiosk_id)
        .options(joinedload(Kiosk.door).joinedload(Entrance.venue).joinedload(Venue.area))
    )
    if kiosk is None:
        abort(404)
    require(Permission.KIOSKS, act, place=Place(kiosk.door.venue.area.path, kiosk.venue_id))
    return kiosk
