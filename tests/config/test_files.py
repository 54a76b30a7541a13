"""An archive is unpacked into its folder and nowhere else, also by a Python whose library cannot filter."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from config.files import unpack


@pytest.fixture(params=["filter", "ours"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways; the library's where there is one."""
    if request.param == "ours":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


pytestmark = pytest.mark.usefixtures("_way")


def packed(*members: tarfile.TarInfo) -> tarfile.TarFile:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for member in members:
            if member.isreg():
                member.size = 5
            archive.addfile(member, io.BytesIO(b"hello") if member.isreg() else None)
    data.seek(0)
    return tarfile.open(fileobj=data)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, mode
    made.uid = made.gid = 4321
    made.uname = made.gname = "nobody-here"
    return made


def test_files_folders_and_links_inside_are_there(tmp_path: Path) -> None:
    with packed(
        member("bin", tarfile.DIRTYPE, mode=0o755),
        member("bin/run", mode=0o6777),
        member("lib/deep/data"),
        member("bin/other", tarfile.SYMTYPE, "../lib/deep/data"),
        member("same", tarfile.LNKTYPE, "lib/deep/data"),
    ) as archive:
        unpack(archive, tmp_path)
    assert (tmp_path / "bin/other").read_text() == (tmp_path / "same").read_text() == "hello"
    run = (tmp_path / "bin/run").stat()
    assert stat.S_IMODE(run.st_mode) == 0o755 and (run.st_uid, run.st_gid) == (os.geteuid(), os.getegid())
    assert stat.S_IMODE((tmp_path / "lib/deep/data").stat().st_mode) == 0o644


def test_an_absolute_name_becomes_one_below_the_folder(tmp_path: Path) -> None:
    with packed(member("/etc/passwd")) as archive:
        unpack(archive, tmp_path)
    assert (tmp_path / "etc/passwd").read_text() == "hello"


OUT: dict[str, Callable[[], list[tarfile.TarInfo]]] = {
    "name": lambda: [member("../out")],
    "deep name": lambda: [member("a/../../out")],
    "link": lambda: [member("l", tarfile.SYMTYPE, "../out")],
    "absolute link": lambda: [member("l", tarfile.SYMTYPE, "/etc/passwd")],
    "hard link": lambda: [member("l", tarfile.LNKTYPE, "../out")],
    "through a link": lambda: [member("l", tarfile.SYMTYPE, "."), member("l/../../out")],
    "device": lambda: [member("d", tarfile.CHRTYPE)],
    "pipe": lambda: [member("p", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("how", OUT)
def test_nothing_leads_out_and_nothing_is_special(tmp_path: Path, how: str) -> None:
    inside, out = tmp_path / "inside", tmp_path / "out"
    inside.mkdir()
    with packed(*OUT[how]()) as archive, pytest.raises(tarfile.TarError):
        unpack(archive, inside)
    assert not out.exists() and not any(path.is_fifo() for path in inside.iterdir())
