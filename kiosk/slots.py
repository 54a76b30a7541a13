"""Two versions of the program side by side: which one runs, which one is proved, and what became of the last update.

ROOT/slots/a, ROOT/slots/b   the versions; whole when slot.json, written last, is there
ROOT/current                 link to the version that the service starts
ROOT/good                    link to the version that proved itself; differs from current only while a new one is tried
ROOT/update.json             what became of the last update
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.errors import GatehouseError
from config.files import sync_folder, write_whole

NAMES = ("a", "b")
CURRENT, GOOD = "current", "good"
NOTE, SLOT, LOCK = "update.json", "slot.json", ".lock"


class UpdateError(GatehouseError):
    """The program stays as it was.

    Codes: no_slots, busy, not_a_package, not_ours, damaged, older, unsent, not_enrolled, no_rules, no_room, disk,
    install, proof, trial.
    """

    code = "update"


@dataclass(frozen=True, slots=True)
class UpdateNote:
    """What became of the last update."""

    state: str  # "trying", "done", "went_back"
    before: str  # version
    after: str  # version
    why: str  # a code of UpdateError, or "power"; "" when all went well
    at_ms: int  # by this machine's clock

    def to_json(self) -> bytes:
        """For the file."""
        told = {"state": self.state, "before": self.before, "after": self.after, "why": self.why, "at_ms": self.at_ms}
        return json.dumps(told).encode()

    @staticmethod
    def from_json(data: bytes) -> UpdateNote:
        """Read back; raises ValueError for anything else."""
        told = json.loads(data)
        try:
            texts = (str(told["state"]), str(told["before"]), str(told["after"]), str(told["why"]))
            return UpdateNote(*texts, int(told["at_ms"]))
        except (KeyError, TypeError) as error:
            raise ValueError("not a note of an update") from error


class Slots:
    """The folder of both versions. Every change of a link is one rename that is on disk when the call returns."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def is_laid_out(self) -> bool:
        """Whether this folder holds versions at all; a developer's machine has none."""
        return self.linked(GOOD) is not None

    def folder(self, name: str) -> Path:
        """Where version *name* ("a" or "b") stands."""
        return self.root / "slots" / name

    def linked(self, link: str) -> str | None:
        """Which version a link leads to; None when there is no such link, or it leads elsewhere."""
        try:
            target = os.readlink(self.root / link)
        except OSError:
            return None
        name = target.rpartition("/")[2]
        return name if name in NAMES and target == f"slots/{name}" else None

    def point(self, link: str, name: str) -> None:
        """Let *link* lead to version *name*, at once and for good."""
        fresh = self.root / f".{link}.{secrets.token_hex(4)}"
        os.symlink(f"slots/{name}", fresh)
        try:
            os.replace(fresh, self.root / link)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        sync_folder(self.root)

    def version(self, name: str) -> str | None:
        """The version that stands whole in a slot; None for an empty one, or one whose making was cut short."""
        try:
            told = json.loads((self.folder(name) / SLOT).read_bytes())
        except (OSError, ValueError):
            return None
        version = told.get("version") if isinstance(told, dict) else None
        return version if isinstance(version, str) else None

    def seal(self, name: str, version: str, digest: bytes) -> None:
        """Declare a slot whole; everything in it is on disk before the declaration is."""
        os.sync()
        write_whole(self.folder(name) / SLOT, json.dumps({"version": version, "digest": digest.hex()}).encode())

    def clear(self, name: str) -> None:
        """Empty a slot; its declaration goes first, so that half a version never looks whole."""
        folder = self.folder(name)
        if folder.is_symlink():
            raise UpdateError(f"{folder} is a link.", hint="Remove it; versions are plain folders.", code="no_slots")
        if not folder.exists():
            return
        (folder / SLOT).unlink(missing_ok=True)
        sync_folder(folder)
        shutil.rmtree(folder)
        sync_folder(folder.parent)

    def spare(self) -> str:
        """The slot that may be written: the one that is neither proved nor running."""
        used = {self.linked(GOOD), self.linked(CURRENT)}
        free = [name for name in NAMES if name not in used]
        if not free:
            raise UpdateError(
                "Both versions are in use: the last update was cut short.",
                hint="Run gatehouse kiosk update settle first.",
                code="busy",
            )
        return free[0]

    def note(self) -> UpdateNote | None:
        """What became of the last update; None when there was none, or its note cannot be read."""
        try:
            return UpdateNote.from_json((self.root / NOTE).read_bytes())
        except (OSError, ValueError):
            return None

    def keep_note(self, note: UpdateNote) -> None:
        """Remember what became of an update."""
        write_whole(self.root / NOTE, note.to_json())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else changes versions meanwhile; raises UpdateError `busy`. A killed holder holds nothing."""
        try:
            lock = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UpdateError(
                f"{self.root} cannot be written: {error.strerror}.",
                hint="Run this as the user that the folder belongs to (docs/install-pi.md).",
                code="disk",
            ) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UpdateError("An update is under way.", hint="Wait for it to end.", code="busy") from error
            yield
        finally:
            os.close(lock)

    def settle(self, now_ms: int) -> UpdateNote | None:
        """At each start: a version that was still being tried when the power went is left for the proved one.

        Returns the note when something was changed, None when all was in order or an update is under way.
        """
        good = self.linked(GOOD)
        if good is None:
            return None
        try:
            with self.alone():
                current = self.linked(CURRENT)
                note = self.note()
                was_trying = note is not None and note.state == "trying"
                if current == good and not was_trying:
                    return None
                if current != good:
                    self.point(CURRENT, good)
                before = self.version(good) or "unknown"
                if note is not None and was_trying and note.after == before and current == good:
                    settled = UpdateNote("done", note.before, note.after, "", now_ms)  # proved; only the note was late
                else:
                    after = note.after if note is not None and was_trying else "unknown"
                    settled = UpdateNote("went_back", before, after, "power", now_ms)
                self.keep_note(settled)
                return settled
        except UpdateError as error:
            if error.code == "busy":
                return None
            raise

    def health(self) -> tuple[tuple[str, str], ...]:
        """For the server's fleet page: what became of the last update; nothing where no versions stand side by side."""
        note = self.note() if self.is_laid_out else None
        if note is None:
            return ()
        return (("update", f"{note.state} {note.after} {note.why}".strip()[:64]),)
