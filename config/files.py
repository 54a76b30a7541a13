"""Writes files whole or not at all, and unpacks archives into their folder and nowhere else."""

from __future__ import annotations

import os
import secrets
import tarfile
from pathlib import Path


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Put *data* at *path*, on disk when this returns: temporary file, fsync, rename, fsync of the folder.

    Raises OSError; then the old file stands as it was.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack *archive* below *folder*: files, folders, and links that stay inside; nothing is owned by anybody else,
    nothing is setuid or writable by others. Raises tarfile.TarError for anything else, with what came before it there.

    That is the standard library's filter "data" (PEP 706). Python 3.11 before 3.11.4, Debian 12's among them, has none:
    there the same is asked of each member here.
    """
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
        return
    for member in archive:
        archive.extract(_harmless(member, folder), folder)


def _harmless(member: tarfile.TarInfo, folder: Path) -> tarfile.TarInfo:
    inside = os.path.realpath(folder)
    name = member.name.lstrip("/")
    place = os.path.realpath(os.path.join(inside, name))
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise tarfile.ExtractError(f"{member.name} is no file, folder or link")
    wanted = [place]
    if member.issym() or member.islnk():
        if os.path.isabs(member.linkname):
            raise tarfile.ExtractError(f"{member.name} is a link to an absolute path")
        begin = os.path.dirname(os.path.join(inside, name)) if member.issym() else inside
        wanted.append(os.path.realpath(os.path.join(begin, member.linkname)))
    for path in wanted:
        if os.path.commonpath([path, inside]) != inside:
            raise tarfile.ExtractError(f"{member.name} leads out of the folder")
    member.name = name
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
    return member
