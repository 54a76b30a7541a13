"""Keeps judged files sealed in the database, so that every web process has them and backups hold no readable one."""

from __future__ import annotations

import hashlib

from flask import Response, abort
from sqlalchemy.orm import Session
from werkzeug.datastructures import FileStorage

from server.context import house
from server.db import new_id
from server.keystore import KeyStoreError
from server.uploads.models import Upload
from server.uploads.reading import MOST_BYTES, Judged

ENDINGS = {"image/jpeg": "jpg", "application/pdf": "pdf"}
# A picture is shown inside our pages; opened alone, nothing in it may act. A PDF is never shown, only saved.
FILE_POLICY = "default-src 'none'; sandbox"


def received(file: FileStorage | None) -> bytes:
    """What was sent in a file field: at most one byte more than is ever taken; empty when nothing was chosen."""
    return file.stream.read(MOST_BYTES + 1) if file is not None and file.filename else b""


def keep(writing: Session, judged: Judged, *, by: str) -> Upload:
    """Seal and store *judged*; *by* is a user's id, or "stranger"."""
    upload_id = new_id(16)
    row = Upload(
        id=upload_id,
        media_type=judged.media_type,
        size_bytes=len(judged.content),
        width=judged.width,
        height=judged.height,
        digest=hashlib.sha256(judged.content).digest(),
        sealed=house().keys.seal_file(judged.content, file_id=upload_id),
        sent_by=by,
        at=house().now(),
    )
    writing.add(row)
    writing.flush()
    return row


def content_of(row: Upload) -> bytes:
    """What was kept; raises KeyStoreError when row and keys do not belong together."""
    return house().keys.open_file(row.sealed, file_id=row.id)


def handed_out(row: Upload, name: str) -> Response:
    """The file as an answer: a picture for our own pages, everything else as a download named *name*."""
    try:
        content = content_of(row)
    except KeyStoreError:
        abort(503)
    return as_file(content, row.media_type, name)


def as_file(content: bytes, media_type: str, name: str) -> Response:
    """*content* as an answer that no browser runs: its type is one of ENDINGS, and alone it lives in a sandbox."""
    answer = Response(content, mimetype=media_type)
    how = "inline" if media_type.startswith("image/") else "attachment"
    answer.headers["Content-Disposition"] = f'{how}; filename="{name}.{ENDINGS[media_type]}"'
    answer.headers["Content-Security-Policy"] = FILE_POLICY
    return answer
