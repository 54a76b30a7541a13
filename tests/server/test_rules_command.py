"""What entrances accept: rules put in force, settings that cannot be meant, and keys that an upgrade makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.server import ADMITTING, CATEGORIES, EntrySettings, TrustSettings, load_server_settings
from gatehouse.cli import main
from protocol.policy import EntryPolicy
from protocol.words import CredentialKind
from server.bundles.rules import StoredRules
from server.db import Database
from server.keystore import KeyStore, read_passphrase
from server.venues.models import Category

RULE = {
    "Identifier": "VR-XX-0001",
    "Version": "1.0.0",
    "Type": "Acceptance",
    "CertificateType": "Vaccination",
    "ValidFrom": "2021-01-01T00:00:00Z",
    "ValidTo": "2040-01-01T00:00:00Z",
    "Logic": {">": [{"var": "payload.v.0.dn"}, 2]},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "server.toml"
    path.write_text('public_url = "http://localhost:8470"\ndata_dir = "data"\n', encoding="utf-8")
    assert main(["admin", "init", "--config", str(path)]) == 0
    return path


def put(config: Path, content: object) -> int:
    file = config.parent / "set.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return main(["admin", "rules", str(file), "--config", str(config)])


def test_rules_are_put_in_force_and_each_change_needs_a_higher_version(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = {"version": 2, "issued_at": "2026-01-05T00:00:00Z", "rules": [RULE]}
    assert put(config, rules) == 0
    said = capsys.readouterr().out
    assert "version 2 of 2026-01-05: 1 rules" in said and "does not name eu_dcc" in said
    assert in_force(config) == [(2, rules)]
    for version in (1, 2):
        assert put(config, rules | {"version": version, "rules": []}) == 2
        assert "version 2 is in force" in capsys.readouterr().err
    assert in_force(config) == [(2, rules)]
    assert put(config, rules | {"version": 3, "rules": []}) == 0
    assert [version for version, _ in in_force(config)] == [3]
    assert main(["admin", "audit", "--config", str(config)]) == 0


@pytest.mark.parametrize(
    "content",
    ["", "[", "[]", "{}", {"version": 1, "issued_at": "yesterday", "rules": []}, {"version": 1, "rules": [RULE]}],
)
def test_what_is_no_rule_set_is_refused(config: Path, capsys: pytest.CaptureFixture[str], content: object) -> None:
    assert put(config, content) == 2
    assert "rule set" in capsys.readouterr().err.lower()
    assert in_force(config) == []


def test_a_rule_that_cannot_work_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = RULE | {"Logic": {">=<": [1, 2]}}
    assert put(config, {"version": 1, "issued_at": "2026-01-05T00:00:00Z", "rules": [wrong]}) == 2
    assert "VR-XX-0001, Logic: operation >=<" in capsys.readouterr().err


def test_an_area_that_is_not_there_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config.parent / "set.json"
    file.write_text(json.dumps({"version": 1, "issued_at": "2026-01-05T00:00:00Z", "rules": [RULE]}))
    assert main(["admin", "rules", str(file), "--area", "999999", "--config", str(config)]) == 2
    assert "no area 999999" in capsys.readouterr().err


def test_value_sets_are_put_in_use_and_confirmed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = config.parent / "sets"
    folder.mkdir()
    assert main(["admin", "value-sets", str(folder), "--config", str(config)]) == 2
    assert "holds no value sets" in capsys.readouterr().err
    content = {"valueSetId": "names", "valueSetDate": "2022-04-01", "valueSetValues": {"A": {}, "B": {}}}
    (folder / "names.json").write_text(json.dumps(content))
    assert main(["admin", "value-sets", str(folder), "--config", str(config)]) == 0
    assert "version 1: 1 sets, 2 codes" in capsys.readouterr().out
    assert main(["admin", "value-sets", str(folder), "--config", str(config)]) == 0
    assert "the same as before" in capsys.readouterr().out
    content["valueSetValues"] = {"A": {}}
    (folder / "names.json").write_text(json.dumps(content))
    assert main(["admin", "value-sets", str(folder), "--config", str(config)]) == 0
    assert "version 2: 1 sets, 1 codes" in capsys.readouterr().out
    (folder / "broken.json").write_text("{")
    assert main(["admin", "value-sets", str(folder), "--config", str(config)]) == 2
    assert "broken.json is no value set" in capsys.readouterr().err


def in_force(config: Path) -> list[tuple[int, object]]:
    """Version and content of what is in force everywhere."""
    database = Database(load_server_settings(config).database)
    with database.reading() as reading:
        rows = reading.query(StoredRules).all()
        found = [(row.version, json.loads(row.body)) for row in rows if row.is_in_force]
    database.engine.dispose()
    return found


def test_an_upgrade_makes_the_keys_that_an_older_version_did_not_have(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = config.parent / "data" / "keys"
    rows = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    old = [row for row in rows if row["use"] not in {"paper_code", "staff_badge"}]
    (folder / "index.json").write_text(json.dumps(old), encoding="utf-8")
    assert main(["admin", "upgrade", "--config", str(config)]) == 0
    said = capsys.readouterr().out
    assert "for paper_code" in said and "for staff_badge" in said and "for health_code" not in said
    settings = load_server_settings(config)
    keys = KeyStore.open(settings.key_dir, read_passphrase(settings.passphrase_path))
    assert len(keys.issuer_keys()) == len(rows)


def test_the_example_of_the_documentation_can_be_put_in_force(config: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "credentials.md").read_text(encoding="utf-8")
    example = page.split("```json\n")[1].split("```")[0]
    assert put(config, example) == 0


def test_the_settings_name_what_the_product_knows() -> None:
    assert {category.value for category in Category} == set(CATEGORIES)
    assert set(ADMITTING) <= {kind.value for kind in CredentialKind}
    assert EntrySettings().accepts == EntryPolicy().accepts


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        (EntrySettings, {"accepts": ("staff_badge",)}, "entry.accepts names staff_badge"),
        (EntrySettings, {"stale_holds_at": ("hospital",)}, "entry.stale_holds_at names hospital"),
        (TrustSettings, {"signer": "00"}, "trust.signer"),
        (TrustSettings, {"signer": "G" * 64}, "trust.signer"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(section: type, values: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        section(**values)


def test_a_policy_that_names_no_sort_of_venue_is_what_older_kiosks_read() -> None:
    plain = EntryPolicy()
    assert b"\x0e\x81" not in plain.to_bytes() and EntryPolicy.from_bytes(plain.to_bytes()) == plain
    some = EntryPolicy(stale_holds_at=("culture",))
    assert EntryPolicy.from_bytes(some.to_bytes()) == some
    assert some.at_venue("culture").stale_rules_hold and not some.at_venue("market").stale_rules_hold
