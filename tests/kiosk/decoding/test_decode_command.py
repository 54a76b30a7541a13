"""`gatehouse decode`: one line a picture, in order, whatever the files are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gatehouse.cli import main
from gatehouse.demo.scene import Showing, render_video
from tests.kiosk.decoding.drawing import draw_code, save


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_picture_gives_one_line_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, empty, broken = tmp_path / "good.png", tmp_path / "empty.png", tmp_path / "broken.png"
    save(good, draw_code("JK1:HELLO"))
    save(empty, draw_code("x") * 0 + 200)
    broken.write_bytes(good.read_bytes()[:60])
    assert main(["decode", str(broken), str(good), str(empty), str(tmp_path / "absent.png"), "--json"]) == 0
    first, second, third, fourth = lines(capsys)
    assert [first["codes"], third["codes"], fourth["codes"]] == [[], [], []]
    assert first["error"] and fourth["error"] and "error" not in third
    assert second["file"] == str(good)
    (code,) = second["codes"]  # type: ignore[misc]
    assert (code["text"], code["format"]) == ("JK1:HELLO", "QRCode")
    assert code["engine"] and len(code["corners"]) == 4
    assert isinstance(second["ms"], float)


def test_a_sequence_tells_the_frame_of_first_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = tmp_path / "film.avi"
    render_video(film, [Showing(0.5, None), Showing(2.5, "JK1:HELLO")], fps=6)
    assert main(["decode", "--sequence", str(film), "--fps", "6", "--json"]) == 0
    *frames, last = lines(capsys)
    assert [f["frame"] for f in frames] == list(range(18))
    assert last["frames"] == 18
    (read,) = last["first_read"]  # type: ignore[misc]
    assert read["text"] == "JK1:HELLO"
    assert frames[read["frame"]]["codes"] and not any(f["codes"] for f in frames[: read["frame"]])


def test_nothing_that_opens_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decode", str(tmp_path / "absent.png")]) == 2
    assert main(["decode", "--sequence", str(tmp_path / "absent"), "--json"]) == 2
    assert main(["decode"]) == 2
    assert "--help" in capsys.readouterr().err
