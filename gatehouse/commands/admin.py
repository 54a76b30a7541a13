"""Look after a server: first set-up, accounts, areas, keys, the audit trail.

    gatehouse admin init --config FILE                 make what is missing of secrets, keys and tables
    gatehouse admin upgrade --config FILE              bring the database to this version
    gatehouse admin create-user NAME --role ROLE ...   make an account; prints its first password
    gatehouse admin set-password NAME                  set a new first password; ends that account's sessions
    gatehouse admin reset-second-factor NAME           remove app, passkeys and recovery codes of somebody who lost them
    gatehouse admin training-pass NAME --score N       record a passed exam on personal data
    gatehouse admin sessions [NAME] [--end]            who is signed in, or end those sessions
    gatehouse admin rotate-session-key                 a new key for cookies; signs everybody out
    gatehouse admin import-areas FILE.csv              read the area tree (code,parent,level,name_zh,name_en)
    gatehouse admin keys list | rotate USE | retire KID
    gatehouse admin kiosk-staff VENUE ID --name NAME   who may use the staff panel of a venue's kiosks, with a PIN
    gatehouse admin import-journal FILE                take a kiosk's journal from a stick; writes its receipt
    gatehouse admin ca init | issue                    an own authority for the TLS between kiosks and this server
    gatehouse admin rules FILE                         put CertLogic rules over certificates in force at the kiosks
    gatehouse admin value-sets FOLDER                  put the agreed lists of codes (EU value sets) in use
    gatehouse admin audit                              check the whole audit trail; exit code 1 when it was changed
    gatehouse admin cases                              check the history of every case; exit code 1 when one was changed
    gatehouse admin seed-demo                          fill an empty database with a made-up district

Exit codes: 0 done, 1 the audit trail was changed or a journal does not fit, 2 wrong arguments, settings or
surroundings.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from datetime import timedelta
from pathlib import Path

from flask import Flask

from config.errors import GatehouseError
from config.server import ServerSettings, load_server_settings
from gatehouse.commands import admin_ca
from protocol.staff import StaffRole
from server import create_app
from server.accounts import sessions
from server.accounts.gates import record_pass, standing_of
from server.accounts.making import create_user, first_password, set_password, user_named
from server.accounts.roles import Role
from server.accounts.second_factor import remove_all
from server.areas.importing import import_areas
from server.areas.models import Area
from server.audit import Thing, audit, first_break, head
from server.bundles.publishing import publish_all
from server.bundles.rules import RulesError
from server.bundles.rules import publish as publish_rules
from server.bundles.rules import upload as upload_rules
from server.bundles.staff import remove_staff, set_staff
from server.bundles.value_sets import put_value_sets, read_folder
from server.cases.checking import check_all
from server.context import House, utc_now
from server.db import Database
from server.demo import RESIDENTS, STAFF, VENUE_ID, seed
from server.ingest.appending import Result
from server.ingest.importing import import_journal
from server.keystore import OVERLAP, IssuerUse
from server.migrations import upgrade
from server.setup import add_missing_keys, initialise, replace_session_key


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of every subcommand."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, line: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=line, description=line)
        sub.add_argument("--config", type=Path, required=True, metavar="FILE", help="the server's settings")
        return sub

    admin_ca.configure(actions)
    add("init", "make what is missing of data folder, secrets, keys and tables")
    add("upgrade", "bring the database to this version; make a backup first")
    user = add("create-user", "make an account with one role")
    user.add_argument("name", help="what the person signs in with, lower case")
    user.add_argument("--display-name", help="what others see; default the name")
    user.add_argument("--role", required=True, choices=[role.value for role in Role], metavar="ROLE")
    user.add_argument("--area", metavar="CODE", help="the area the role is for, with everything below it")
    user.add_argument("--venue", metavar="HEX", help="the venue the role is for")
    user.add_argument("--hours", type=int, metavar="N", help="the role ends by itself after N hours (helpers)")
    _password_arguments(user)
    reset = add("set-password", "set a new first password and end every session of the account")
    reset.add_argument("name")
    _password_arguments(reset)
    factor = add("reset-second-factor", "remove app, passkeys and recovery codes of an account, and end its sessions")
    factor.add_argument("name")
    factor.add_argument("--reason", required=True, help="why; it stands in the audit trail")
    training = add("training-pass", "record that somebody has passed the exam on personal data")
    training.add_argument("name")
    training.add_argument("--score", type=int, required=True, metavar="N", help="of 100")
    signed = add("sessions", "list the sessions of everybody or of one account, or end them")
    signed.add_argument("name", nargs="?", help="one account; default: everybody")
    signed.add_argument("--end", action="store_true", help="end them; with no NAME everybody is signed out")
    add("rotate-session-key", "make a new key for cookies; everybody is signed out, servers must be started again")
    areas = add("import-areas", "read the area tree from a CSV file; all of it or nothing")
    areas.add_argument("file", type=Path)
    areas.add_argument("--dry-run", action="store_true", help="check the file and say what would be done")
    keys = add("keys", "list issuer keys, make a new one, or retire one")
    keys.add_argument("task", choices=["list", "rotate", "retire"])
    keys.add_argument(
        "which", nargs="?", help="rotate: " + ", ".join(use.value for use in IssuerUse) + "; retire: a key's number"
    )
    keys.add_argument("--now", action="store_true", help="rotate: sign with the new key at once (a key was stolen)")
    staff = add("kiosk-staff", "add or change a member of staff at a venue's kiosks, or remove one")
    staff.add_argument("venue", metavar="HEX", help="the venue's id")
    staff.add_argument("staff_id", metavar="ID", help="stands in the records they make; up to 32 characters")
    staff.add_argument("--name", help="what the kiosk's screen calls them")
    staff.add_argument("--role", choices=[role.value for role in StaffRole], default=StaffRole.HELPER.value)
    staff.add_argument("--pin-file", type=Path, metavar="FILE", help="take the PIN from FILE; default: ask for it")
    staff.add_argument("--remove", action="store_true", help="remove them; their records keep the id")
    journal = add("import-journal", "take a journal that gatehouse kiosk journal export wrote, and write its receipt")
    journal.add_argument("file", type=Path, help="the file from the kiosk")
    journal.add_argument("--receipt", type=Path, metavar="OUT", help="where the receipt goes; default FILE.receipt")
    rules = add("rules", "put a set of CertLogic rules over certificates in force at every kiosk")
    rules.add_argument("file", type=Path, help="a rule set as JSON; see docs/credentials.md")
    rules.add_argument("--area", help="an area's code: for its venues only; default: everywhere")
    sets = add("value-sets", "put the agreed lists of codes (EU value sets) in use, for rules and certificates")
    sets.add_argument("folder", type=Path, help="JSON files with valueSetId, valueSetDate and valueSetValues")
    add("audit", "check the whole audit trail")
    add("cases", "check the history of every case, and that the audit trail knows it")
    demo = add("seed-demo", "fill an empty database with a made-up district")
    demo.add_argument("--json", action="store_true", help="print the accounts as JSON")
    demo.add_argument("--anywhere", action="store_true", help="also when the server is not on localhost")
    _password_arguments(demo)


def _password_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--password-file", type=Path, metavar="FILE", help="take the password from FILE ('-': standard input)"
    )
    group.add_argument("--ask", action="store_true", help="ask for the password; default: make one and print it")


def run(args: argparse.Namespace) -> int:
    """Run one subcommand."""
    if args.action == "ca":
        return admin_ca.run(args)
    settings = load_server_settings(args.config)
    if args.action == "init":
        made = initialise(settings, now=utc_now())
        print("\n".join(f"made {path}" for path in made) or "everything is there already")
        print("Next: gatehouse admin create-user, then gatehouse server.")
        return 0
    if args.action == "upgrade":
        database = Database(settings.database)
        upgrade(database.engine)
        database.engine.dispose()
        for key in add_missing_keys(settings, now=utc_now()):
            print(f"made {key}")
        print("the database is at this version")
        return 0
    app = create_app(settings)
    house: House = app.extensions["gatehouse"]
    try:
        with app.app_context():
            return _ACTIONS[args.action](args, settings, house, app)
    finally:
        house.database.engine.dispose()


def _create_user(args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    password, is_made = _password(args)
    with house.database.writing() as writing:
        create_user(
            writing,
            name=args.name,
            display_name=args.display_name or args.name,
            role=Role(args.role),
            password=password,
            at=house.now(),
            area_code=args.area,
            venue_id=_hex(args.venue, "--venue") if args.venue else None,
            ends_at=house.now() + timedelta(hours=args.hours) if args.hours is not None else None,
        )
    print(f"made {args.name}" + (f", first password: {password}" if is_made else ""))
    return 0


def _set_password(args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    password, is_made = _password(args)
    with house.database.writing() as writing:
        set_password(writing, args.name, password, at=house.now())
    print(f"set anew for {args.name}" + (f", first password: {password}" if is_made else ""))
    return 0


def _reset_second_factor(args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    with house.database.writing() as writing:
        user = user_named(writing, args.name)
        remove_all(writing, user.id)
        ended = sessions.end_all(writing, user.id)
        audit(writing, "account.factor_reset", Thing("user", user.id), args.reason)
    print(f"removed the second factor of {args.name}; {ended} sessions ended")
    print("where the role needs one, the next sign-in asks for a new one")
    return 0


def _training_pass(args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    with house.database.writing() as writing:
        user = user_named(writing, args.name)
        row = record_pass(writing, user.id, args.score, house.now(), recorded_by=None)
        is_signed = standing_of(writing, user.id, house.now()).signed_at is not None
    print(f"recorded for {args.name}, valid until {row.ends_at:%Y-%m-%d}")
    if not is_signed:
        print("note: the confidentiality agreement is not signed yet; the person signs it on the page of their account")
    return 0


def _sessions(args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    with house.database.writing() as writing:
        user_id = user_named(writing, args.name).id if args.name else None
        if args.end:
            ended = sessions.end_all(writing, user_id)
            audit(writing, "account.sessions_ended", Thing("user", user_id or "everybody"), f"{ended} sessions")
            print(f"{ended} sessions ended")
            return 0
        rows = sessions.everywhere(writing, user_id)
    for row, name in rows:
        times = f"since {row.started_at:%Y-%m-%d %H:%M}  seen {row.seen_at:%Y-%m-%d %H:%M}"
        print(f"{name:20}  {row.method:9}  {row.browser:20}  {times} UTC")
    print(f"{len(rows)} sessions")
    return 0


def _rotate_session_key(_args: argparse.Namespace, settings: ServerSettings, house: House, _app: Flask) -> int:
    with house.database.writing() as writing:
        replace_session_key(settings)
        ended = sessions.end_all(writing)
        audit(writing, "sessions.key_rotated", Thing("server", "session-key"))
    print(f"made a new {settings.secret_key_path}; {ended} sessions ended")
    print("Now start every web process again; until then it signs cookies with the old key.")
    return 0


class _DryRun(Exception):
    """Ends the transaction of a dry run without keeping it."""


def _import_areas(args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    try:
        with house.database.writing() as writing:
            done = import_areas(writing, args.file, at=house.now())
            if args.dry_run:
                raise _DryRun
    except _DryRun:
        print("dry run, nothing was changed:", end=" ")
    print(f"{done.added} added, {done.renamed} renamed, {done.unchanged} unchanged")
    return 0


def _keys(args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    keys, now = house.keys, house.now()
    if args.task == "list":
        for key in keys.issuer_keys():
            ends = f"retired {key.retired_at:%Y-%m-%d}" if key.retired_at else f"until {key.not_after:%Y-%m-%d}"
            signs = "signs" if key.signs_at(now) else "-"
            print(f"{key.kid.hex()}  {key.use.value:12}  from {key.not_before:%Y-%m-%d}  {ends}  {signs}")
        return 0
    if not args.which:
        raise GatehouseError(f"keys {args.task} needs to know which.", hint="See: gatehouse admin keys --help")
    if args.task == "retire":
        kid = _hex(args.which, "the key's number")
        keys.retire_issuer_key(kid, at=now)
        with house.database.writing() as writing:
            audit(writing, "keys.retired", Thing("issuer_key", kid.hex()))
        print(f"{kid.hex()} signs nothing new; what it has signed stays trusted until it runs out")
        return 0
    try:
        use = IssuerUse(args.which)
    except ValueError:
        uses = ", ".join(use.value for use in IssuerUse)
        raise GatehouseError(f"{args.which!r} is not a use.", hint=f"Uses: {uses}.") from None
    begins = now if args.now else now + OVERLAP
    made = keys.add_issuer_key(use, not_before=begins)
    with house.database.writing() as writing:
        audit(writing, "keys.made", Thing("issuer_key", made.kid.hex()), f"{use.value} from {begins:%Y-%m-%d}")
    waits = (
        "at once; kiosks that are off line refuse its codes until their next bundle"
        if args.now
        else (f"from {begins:%Y-%m-%d} on; until then kiosks learn it with their bundles")
    )
    print(f"made {made.kid.hex()}: it signs {use.value} {waits}")
    return 0


def _cases(_args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    with house.database.reading() as reading:
        checked = check_all(reading)
    for case_id, what in checked.problems:
        print(f"case {case_id}: {what}", file=sys.stderr)
    print(f"{checked.cases} cases with {checked.entries} entries, {len(checked.problems)} that do not hold")
    return 1 if checked.problems else 0


def _audit(_args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    with house.database.reading() as reading:
        broken_at, (last, digest) = first_break(reading), head(reading)
    if broken_at is not None:
        print(f"the trail was changed: line {broken_at} does not fit (of {last})", file=sys.stderr)
        return 1
    print(f"{last} lines, all fit; newest {digest.hex()}")
    return 0


def _import_journal(args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    done, receipt = import_journal(house, args.file)
    out: Path = args.receipt or args.file.with_name(args.file.name + ".receipt")
    try:
        out.write_bytes(receipt)
    except OSError as error:
        raise GatehouseError(
            f"The records are taken, but {out} cannot be written: {error.strerror}.",
            hint="Run this again with --receipt OUT; taking a file twice changes nothing.",
        ) from error
    print(f"kiosk {done.kiosk.hex()}: records {done.after_sequence + 1} to {done.last_sequence} in the file")
    known = done.records - done.stored
    print(f"  {done.stored} stored, {known} known before or not taken, {len(done.quarantined)} in quarantine")
    print(f"  held up to record {done.held}; receipt: {out}")
    if done.result is Result.GAP:
        print(
            f"  GAP: records {done.held + 1} to {done.after_sequence} are missing. Import the earlier file first, then"
        )
        print("  this one again; or export with --all on the kiosk.")
    elif done.result is Result.FORK:
        print("  FORK: the file tells another history than the one held here; it is kept aside as evidence. Keep the")
        print("  stick and the kiosk's card as they are: was the card copied or restored?")
    return 0 if done.result is Result.OK else 1


def _rules(args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    data = _read(args.file, "FILE").encode()
    try:
        with house.database.writing() as writing:
            area = writing.get(Area, args.area) if args.area else None
            if args.area and area is None:
                raise GatehouseError(f"There is no area {args.area}.", hint="See: gatehouse admin import-areas")
            rules = upload_rules(writing, house, data, area=area)
            publish_rules(writing, house, rules)
            print(f"rules version {rules.version} of {rules.issued_at:%Y-%m-%d}: {rules.rule_count} rules")
    except RulesError as error:
        raise GatehouseError(f"{error.message} {error.detail}".strip(), hint=error.hint, code=error.code) from error
    print("kiosks learn them with their next bundle; their screens show version and age")
    if not set(house.settings.entry.accepts) & {"eu_dcc"}:
        print("note: entry.accepts in the settings does not name eu_dcc: certificates are held all the same")
    return 0


def _value_sets(args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    sets, is_other = put_value_sets(house, read_folder(args.folder))
    codes = sum(len(one.values) for one in sets.sets)
    print(f"value sets version {sets.version}: {len(sets.sets)} sets, {codes} codes, {len(sets.to_bytes())} bytes")
    print("kiosks get them with their next bundle" if is_other else "the same as before; their age is confirmed")
    return 0


def _seed_demo(args: argparse.Namespace, settings: ServerSettings, house: House, _app: Flask) -> int:
    if settings.is_https and not args.anywhere:
        raise GatehouseError(
            "This server is not on localhost.", hint="Demo accounts share one password. If you mean it: --anywhere"
        )
    password, _ = _password(args)
    now = house.now()
    with house.database.writing() as writing:
        seed(writing, password=password, at=now - timedelta(seconds=1))
    accounts = [{"name": name, "role": role.value} for name, _, role, _ in STAFF]
    accounts += [{"name": person.name, "role": Role.RESIDENT.value} for person in RESIDENTS]
    if args.json:
        print(json.dumps({"password": password, "venue": VENUE_ID.hex(), "entrances": [1, 2], "accounts": accounts}))
        return 0
    print(f"password of every account: {password}")
    for account in accounts:
        print(f"  {account['name']:14} {account['role']}")
    return 0


def _kiosk_staff(args: argparse.Namespace, _settings: ServerSettings, house: House, _app: Flask) -> int:
    venue = _hex(args.venue, "VENUE")
    with house.database.writing() as writing:
        if args.remove:
            remove_staff(writing, venue, args.staff_id)
        else:
            pin = getpass.getpass("PIN: ") if args.pin_file is None else _read(args.pin_file, "--pin-file")
            set_staff(writing, venue, args.staff_id, args.name or args.staff_id, StaffRole(args.role), pin, house.now())
        audit(writing, "kiosk_staff.removed" if args.remove else "kiosk_staff.set", Thing("venue", args.venue))
    publish_all(house, house.now())
    print("the venue's kiosks learn it at their next exchange")
    return 0


_ACTIONS = {
    "kiosk-staff": _kiosk_staff,
    "create-user": _create_user,
    "set-password": _set_password,
    "reset-second-factor": _reset_second_factor,
    "training-pass": _training_pass,
    "sessions": _sessions,
    "rotate-session-key": _rotate_session_key,
    "import-areas": _import_areas,
    "keys": _keys,
    "import-journal": _import_journal,
    "rules": _rules,
    "value-sets": _value_sets,
    "audit": _audit,
    "cases": _cases,
    "seed-demo": _seed_demo,
}


def _password(args: argparse.Namespace) -> tuple[str, bool]:
    """The password to set, and whether it was made here and must be printed."""
    if args.ask:
        return getpass.getpass("Password: "), False
    if args.password_file is None:
        return first_password(), True
    if str(args.password_file) == "-":
        return sys.stdin.readline().rstrip("\r\n"), False
    return _read(args.password_file, "--password-file"), False


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise GatehouseError(f"{path} cannot be read: {error.strerror}.", hint=f"Check {what}.") from error


def _hex(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise GatehouseError(f"{what} is {text!r}.", hint="Expected hex digits.") from None
