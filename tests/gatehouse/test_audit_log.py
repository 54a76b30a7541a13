"""An inspector's check: heads kept on paper, proofs by mail, and neither the vault nor its passphrase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gatehouse.cli import main
from protocol.tree_head import InclusionProof
from server.vault.keyfile import new_secrets
from server.vault.log import LOG_FILE, AccessLog

AT = 1_795_000_000_000


@dataclass
class Papers:
    """What an inspector was given."""

    folder: Path
    log: Path

    def check(self, *arguments: str, head: str = "new") -> int:
        return main(
            [
                "audit-log",
                "verify",
                "--head",
                str(self.folder / head),
                "--public",
                str(self.folder / "public"),
                *arguments,
            ]
        )

    def __truediv__(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder, keys = tmp_path_factory.mktemp("papers"), new_secrets(AT)
    vault, other = folder / "vault", folder / "other"
    (folder / "public").write_bytes(keys.exported(AT))
    (folder / "stranger").write_bytes(new_secrets(AT).exported(AT))

    def write(log: AccessLog, count: int, case: str) -> None:
        for _ in range(count):
            log.append(AT, "opened", {"case": case})

    for place in (vault, other):
        place.mkdir()
    with AccessLog(vault, keys.signing_key()) as log:
        write(log, 12, "EPI-1")
        (folder / "old").write_text(log.signed_head(AT))
        write(log, 30, "EPI-2")
        (folder / "new").write_text(log.signed_head(AT + 1000))
        (folder / "line").write_text(log.prove(7, AT + 1000).to_text())
        (folder / "growth").write_text(log.prove_growth(12, AT + 1000).to_text())
        write(log, 5, "EPI-3")
        (folder / "line-later").write_text(log.prove(7, AT + 2000).to_text())
        (folder / "growth-later").write_text(log.prove_growth(42, AT + 2000).to_text())
    with AccessLog(other, keys.signing_key()) as log:  # the same key, another history
        write(log, 12, "EPI-1 without what was hidden")
        write(log, 30, "EPI-2")
        (folder / "rewritten").write_text(log.signed_head(AT + 1000))
        (folder / "rewritten-growth").write_text(log.prove_growth(12, AT + 1000).to_text())
        (folder / "rewritten-line").write_text(log.prove(7, AT + 1000).to_text())
    return Papers(folder, vault / LOG_FILE)


def test_a_line_and_a_years_growth_hold_without_the_vault(papers: Papers, capsys: pytest.CaptureFixture[str]) -> None:
    code = papers.check("--from", papers / "old", "--proof", papers / "growth", "--proof", papers / "line")
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert "12 lines are the beginning of 42" in said.out and "7 of 42" in said.out and "EPI-1" in said.out


def test_the_whole_log_may_stand_in_for_proofs(papers: Papers, capsys: pytest.CaptureFixture[str]) -> None:
    assert papers.check("--from", papers / "old", "--log", str(papers.log)) == 0
    assert "47 lines" in capsys.readouterr().out


def test_a_later_proof_counts_once_its_head_is_tied_to_the_kept_one(papers: Papers) -> None:
    assert papers.check("--proof", papers / "line-later") == 1
    assert papers.check("--proof", papers / "line-later", "--proof", papers / "growth-later") == 0


@pytest.mark.parametrize(
    ("arguments", "head", "named"),
    [
        (["--from", "old"], "new", "Nothing given shows"),
        (["--from", "old", "--proof", "rewritten-growth"], "rewritten", "rewritten-growth"),
        (["--from", "old", "--proof", "growth"], "rewritten", "another tree of 42 lines"),
        (["--proof", "rewritten-line"], "new", "rewritten-line"),
        (["--from", "new"], "rewritten", "two histories"),
        (["--from", "old", "--proof", "old"], "new", "old"),
        (["--proof", "line"], "old", "42 lines"),
    ],
)
def test_what_does_not_hold_is_named(
    papers: Papers, capsys: pytest.CaptureFixture[str], arguments: list[str], head: str, named: str
) -> None:
    given = [one if one.startswith("--") else papers / one for one in arguments]
    assert papers.check(*given, head=head) == 1
    assert named in capsys.readouterr().err


def _changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"EPI-2", b"EPI-9", 1))


def _cut(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:30]))


@pytest.mark.parametrize("harm", [_changed, _cut])
def test_a_changed_or_cut_log_is_named(
    papers: Papers, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], None]
) -> None:
    copy = tmp_path / "copy.log"
    copy.write_bytes(papers.log.read_bytes())
    assert papers.check("--log", str(copy)) == 0
    harm(copy)
    assert papers.check("--log", str(copy)) == 1
    assert "does not hold" in capsys.readouterr().err


def test_a_proof_of_a_line_that_was_changed_is_named(
    papers: Papers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = InclusionProof.from_text((papers.folder / "line").read_text())
    bad = tmp_path / "bad"
    bad.write_text(replace(proof, line=proof.line.replace(b"EPI-1", b"EPI-7")).to_text())
    assert papers.check("--proof", str(bad)) == 1
    assert str(bad) in capsys.readouterr().err


def test_another_vaults_keys_show_nothing(papers: Papers, capsys: pytest.CaptureFixture[str]) -> None:
    new = str(papers.folder / "new")
    assert main(["audit-log", "verify", "--head", new, "--public", papers / "stranger"]) == 1
    assert papers.check("--fingerprint", "00" * 16) == 1
    assert "another vault" in capsys.readouterr().err
