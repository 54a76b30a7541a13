"""Rebuilds what a disk may hold after a power cut, from the record of a process's writes and syncs.

The rules are those a file system promises and no more. Bytes are safe when their file was synced after them. A name
(made, renamed, removed) is safe when its folder was synced after it; names become safe in the order of their making, as
a journalled file system does it. What is not safe may be there, be missing, or be there in part, by pages and sectors.
"""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

_HEAD = struct.Struct("=IIqqq")
PAGE_BYTES, SECTOR_BYTES = 4096, 512


class Kind(IntEnum):
    """What one entry of the record tells (shim.c, enum kind)."""

    CREATE = 1
    KNOWN = 2
    WRITE = 3
    TRUNCATE = 4
    SYNC = 5
    RENAME = 6
    UNLINK = 7
    MKDIR = 8
    FAULT = 9


class Loss(IntEnum):
    """How much of what was not synced a power cut takes."""

    NOTHING = 0  # the disk was quicker than the cut
    ALL = 1  # the most that may go
    TAIL = 2  # everything after one moment, which falls inside a write
    PAGES = 3  # any page of any write, sectors torn, holes full of zeros


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the record."""

    kind: Kind
    id: int
    offset: int
    size: int
    payload: bytes


@dataclass
class _File:
    safe: bytearray
    pending: list[tuple[int, Entry]] = field(default_factory=list)  # with its moment


def entries(record: Path) -> Iterator[Entry]:
    """Read a record; an entry that its process died in is left out."""
    data = record.read_bytes() if record.exists() else b""
    at = 0
    while at + _HEAD.size <= len(data):
        kind, id_, offset, size, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if at + length > len(data):
            return
        yield Entry(Kind(kind), id_, offset, size, data[at : at + length])
        at += length


def faults(record: Path) -> int:
    """How often a plan of the shim took hold."""
    return sum(entry.kind is Kind.FAULT for entry in entries(record))


def cut_power(folder: Path, before: Path, record: Path, loss: Loss, chance: random.Random) -> None:
    """Put in the place of *folder* what its disk may hold: *before* is a copy from when the record began."""
    log = list(entries(record))
    names: list[tuple[int, Entry]] = []
    files: dict[int, _File] = {}
    folders: dict[int, str] = {}
    place: dict[Path, int] = {}  # the files that were there before, by their names of then
    renamed: dict[str, str] = {}
    safe_names = 0
    for moment, entry in enumerate(log):
        if entry.kind is Kind.KNOWN:
            path = entry.payload.decode()
            if entry.offset:
                folders[entry.id] = path
            else:
                then = Path(renamed.get(path, path)).relative_to(folder)
                files[entry.id] = _File(bytearray((before / then).read_bytes()))
                place[then] = entry.id
        elif entry.kind is Kind.CREATE:
            files[entry.id] = _File(bytearray())
            names.append((moment, entry))
        elif entry.kind in (Kind.RENAME, Kind.UNLINK, Kind.MKDIR):
            names.append((moment, entry))
            if entry.kind is Kind.RENAME:
                old, new = entry.payload[: entry.offset].decode(), entry.payload[entry.offset :].decode()
                renamed[new] = renamed.pop(old, old)
        elif entry.kind in (Kind.WRITE, Kind.TRUNCATE):
            files[entry.id].pending.append((moment, entry))
        elif entry.kind is Kind.SYNC and entry.id in folders:
            within = [n for n, (_, e) in enumerate(names) if _touches(e, folders[entry.id])]
            safe_names = max(safe_names, within[-1] + 1 if within else 0)
        elif entry.kind is Kind.SYNC:
            _apply(files[entry.id].safe, (e for _, e in files[entry.id].pending))
            files[entry.id].pending.clear()
    moment = {Loss.NOTHING: len(log), Loss.ALL: -1}.get(loss, chance.randrange(len(log) + 1))
    kept_names = {Loss.NOTHING: len(names), Loss.ALL: safe_names}.get(loss)
    if kept_names is None:
        kept_names = chance.randint(safe_names, len(names))
        if loss is Loss.TAIL:
            kept_names = max(safe_names, sum(m <= moment for m, _ in names))
    for file in files.values():
        if loss is Loss.PAGES:
            _apply_pages(file, chance)
        else:
            kept = [e for m, e in file.pending if m < moment]
            torn = next((e for m, e in file.pending if m == moment and e.kind is Kind.WRITE), None)
            if torn is not None:
                sectors = chance.randint(0, -(-torn.size // SECTOR_BYTES))
                kept.append(_part(torn, 0, min(torn.size, sectors * SECTOR_BYTES)))
            _apply(file.safe, kept)
    _lay_out(folder, before, place, names[:kept_names], files)


def _touches(entry: Entry, folder: str) -> bool:
    paths = [entry.payload.decode()]
    if entry.kind is Kind.RENAME:
        paths = [entry.payload[: entry.offset].decode(), entry.payload[entry.offset :].decode()]
    return any(str(Path(path).parent) == folder for path in paths)


def _part(entry: Entry, start: int, end: int) -> Entry:
    return Entry(entry.kind, entry.id, entry.offset + start, end - start, entry.payload[start:end])


def _apply(content: bytearray, changes: Iterator[Entry] | list[Entry]) -> None:
    for entry in changes:
        if entry.kind is Kind.TRUNCATE:
            del content[entry.offset :]
            content.extend(bytes(entry.offset - len(content)))
        elif entry.size:
            content.extend(bytes(max(0, entry.offset - len(content))))
            content[entry.offset : entry.offset + entry.size] = entry.payload


def _apply_pages(file: _File, chance: random.Random) -> None:
    """Each page of each write comes or not; a size may have come without the bytes."""
    kept: list[Entry] = []
    reached = len(file.safe)
    for _, entry in file.pending:
        if entry.kind is Kind.TRUNCATE:
            if chance.random() < 0.5:
                kept.append(entry)
                reached = entry.offset
            continue
        reached = max(reached, entry.offset + entry.size)
        start = 0
        while start < entry.size:
            end = min(entry.size, start + PAGE_BYTES - (entry.offset + start) % PAGE_BYTES)
            dice = chance.random()
            if dice < 0.45:
                kept.append(_part(entry, start, end))
            elif dice < 0.6:
                kept.append(_part(entry, start, min(end, start + SECTOR_BYTES * chance.randint(0, 7))))
            start = end
    _apply(file.safe, kept)
    if chance.random() < 0.3 and reached > len(file.safe):
        file.safe.extend(bytes(reached - len(file.safe)))


def _lay_out(
    folder: Path, before: Path, place: dict[Path, int], names: list[tuple[int, Entry]], files: dict[int, _File]
) -> None:
    """Write the files under the names that are safe."""
    fresh = folder.with_name(f"{folder.name}.cut")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(before, fresh)

    def local(raw: bytes) -> Path:
        return Path(raw.decode()).relative_to(folder)

    for _, entry in names:
        if entry.kind is Kind.MKDIR:
            (fresh / local(entry.payload)).mkdir(exist_ok=True)
        elif entry.kind is Kind.CREATE:
            place[local(entry.payload)] = entry.id
        elif entry.kind is Kind.UNLINK:
            place.pop(local(entry.payload), None)
            (fresh / local(entry.payload)).unlink(missing_ok=True)
        elif entry.kind is Kind.RENAME:
            old, new = local(entry.payload[: entry.offset]), local(entry.payload[entry.offset :])
            (fresh / new).unlink(missing_ok=True)
            place.pop(new, None)
            if old in place:
                place[new] = place.pop(old)
            if (fresh / old).exists():
                (fresh / old).rename(fresh / new)
    for path, id_ in place.items():
        (fresh / path).write_bytes(files[id_].safe)
    for path in fresh.rglob("*-shm"):  # memory shared by SQLite's connections: a new boot makes it anew
        path.unlink()
    shutil.rmtree(folder)
    fresh.rename(folder)
