"""Sign waiting queries with your own approval key, on your own machine.

    gatehouse approve keygen --out anna.key           make a key; give anna.key.pub to the vault's custodian
    gatehouse approve list --server URL --user anna   what waits for you
    gatehouse approve show ID --server URL --user anna
    gatehouse approve sign ID --server URL --user anna --key anna.key

What is shown is decoded from the very bytes that are signed, not from what the server says about them; only the venues'
names are the server's. The key never leaves this machine. Your password, and the code of your second factor where the
account has one, are asked for, or read from --password-file and --code-file; the key's passphrase is asked for, or read
from --passphrase-file.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import getpass
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.errors import GatehouseError
from protocol.errors import ProtocolError
from protocol.query import Approval, Purpose, Query, QueryKind, Reveal
from server.vault.approvals import ApproverKey, KeyKind, KeyWord
from server.vault.keyfile import spoken
from server.vault.locked import lock, unlock

SECONDS = 20
KEY_FORM = "gatehouse approval key 1"
MIN_PASSPHRASE = 12
MAX_ANSWER_BYTES = 4 * 1024 * 1024
PURPOSES = {
    Purpose.EPI_TRACE: "流调溯源 epidemiological tracing",
    Purpose.VENUE_CHECK: "本场所核查 check at one's own venue",
    Purpose.INSPECTION: "检查 inspection",
    Purpose.RESIDENT_REQUEST: "本人申请 the person's own request",
    Purpose.DRILL: "演练 drill",
}
KINDS = {
    QueryKind.RECORDS: "通行记录 records of passages",
    QueryKind.OVERLAPS: "同时在场的人 who was there at the same time",
    QueryKind.REUSED_CODES: "同一健康码在两处门口使用 one health code used at two entrances",
}
REVEALS = {
    Reveal.NAME: "姓名 full name",
    Reveal.ID_NUMBER: "证件号码 full ID number",
    Reveal.PHONE: "手机号码 full phone number",
    Reveal.TEMPERATURE: "体温 temperature",
}


class ApproveError(GatehouseError):
    """Something about the key, the server or the query that the approver has to know."""

    code = "approve"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One waiting query, decoded here from the bytes that will be signed."""

    query: Query
    venue_names: Mapping[str, str]  # as the server says

    @property
    def name(self) -> str:
        """Its id as people type it."""
        return self.query.query_id.hex()


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    keygen = actions.add_parser("keygen", help="make an approval key")
    keygen.add_argument("--out", type=Path, required=True, help="where the key goes; its public half goes to FILE.pub")
    keygen.add_argument("--passphrase-file", type=Path)
    for name, line in (("list", "what waits for you"), ("show", "one query in words"), ("sign", "approve one query")):
        one = actions.add_parser(name, help=line)
        if name != "list":
            one.add_argument("query", help="the query's id, or its beginning (8 or more characters)")
        one.add_argument("--server", required=True, help="the console's address, https://HOST")
        one.add_argument("--user", required=True, help="your user name in the console")
        one.add_argument("--password-file", type=Path)
        one.add_argument("--code-file", type=Path, help="your second factor's code; default: ask when it is wanted")
        one.add_argument("--ca", type=Path, help="the certificate authority's file, where it is your own")
        if name == "sign":
            one.add_argument("--key", type=Path, required=True, help="your approval key")
            one.add_argument("--passphrase-file", type=Path)
            one.add_argument("--yes", action="store_true", help="do not ask; you have read the query with `show`")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 1 when the answer to "approve?" is no or the server did not take the approval."""
    if args.action == "keygen":
        return _keygen(args)
    server = Server(args.server, args.ca)
    server.sign_in(
        args.user,
        _secret(args.password_file, f"Password of {args.user}: "),
        lambda: _secret(args.code_file, "Code of your authenticator app, or a recovery code: "),
    )
    waiting = server.waiting()
    if args.action == "list":
        for one in waiting:
            q = one.query
            print(f"{one.name[:8]}  {q.requester}  {q.purpose.value}  {q.case_reference}  until {_time(q.expires_ms)}")
        if not waiting:
            print("没有待审批的查询。 Nothing waits for your decision.")
        return 0
    chosen = _chosen(waiting, args.query)
    print(in_words(chosen))
    if args.action == "show":
        return 0
    key = _key(args.key, _secret(args.passphrase_file, f"Passphrase of {args.key}: "))
    if not args.yes and not _agreed():
        print("没有批准。 Not approved.")
        return 1
    query = chosen.query
    approval = Approval(query.digest(), args.user, True, time.time_ns() // 1_000_000).to_signed(key)
    if server.approve(query, args.user, approval):
        print("已批准。 Approved.")
        return 0
    print("gatehouse: the server did not take the approval; the query's page says why.", file=sys.stderr)
    return 1


def in_words(waiting: Waiting) -> str:
    """The query in words, from its signed bytes; everything that a terminal could be tricked with is left out."""
    q = waiting.query
    full = [REVEALS[r] for r in q.reveal if r is not Reveal.MASKED]
    venues = [f"{v.hex()} ({_plain(waiting.venue_names.get(v.hex(), '?'))})" for v in q.venues]
    whose = "一人（号码已密封） one person, sealed" if q.person else "范围内所有人 everybody in scope"
    apart = f"（相隔至多 {q.within_minutes} 分钟 at most this many minutes apart）" if q.within_minutes else ""
    lines = (
        ("查询 query", waiting.name),
        ("申请人 requester", _plain(q.requester)),
        ("用途 purpose", PURPOSES[q.purpose]),
        ("案件 case", _plain(q.case_reference)),
        ("法律依据 legal ground", _plain(q.legal_ground)),
        ("查找 looks for", KINDS[q.kind] + apart),
        ("场所 venues", ", ".join(venues)),
        ("时段 period", f"{_time(q.from_ms)} – {_time(q.to_ms)}"),
        ("对象 whose records", whose),
        ("明文显示 shown in full", ", ".join(full) or "无，全部脱敏 nothing, all masked"),
        ("最多条数 at most", f"{q.max_rows} 条 records"),
        ("有效至 valid until", _time(q.expires_ms)),
        ("摘要 digest", q.digest().hex()),
    )
    return "\n".join(f"{label}: {value}" for label, value in lines)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the console answered."""

    status: int
    text: str
    location: str = ""  # where a 303 leads


class Server:
    """The console, as a signed-in person sees it."""

    def __init__(self, address: str, ca: Path | None) -> None:
        url = urlsplit(address)
        is_local = url.scheme == "http" and url.hostname in {"localhost", "127.0.0.1", "::1"}
        if not (url.scheme == "https" or is_local) or not url.hostname:
            raise ApproveError(f"{address!r} is not the address of a console.", hint="Give https://HOST.")
        self._base = address.rstrip("/")
        self._session = requests.Session()
        self._session.verify = str(ca) if ca else True
        self._token = ""

    def sign_in(self, user: str, password: str, code: Callable[[], str]) -> None:
        """Sign in as a browser does; *code* is asked for where the account has a second factor.

        Raises ApproveError when name, password or code is wrong.
        """
        page = self._ask("GET", "/sign-in")
        found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        if page.status != 200 or not found:
            raise ApproveError(f"{self._base} is not a Gatehouse console.", hint="Look at --server again.")
        fields = {"csrf_token": found[1], "name": user, "password": password}
        answer = self._ask("POST", "/sign-in", fields)
        if answer.status != 303:
            raise ApproveError("The sign-in failed.", hint="Name or password is wrong, or wait a little and try again.")
        if answer.location != "/sign-in/second":
            return
        found = re.search(r'name="csrf_token" value="([^"]+)"', self._ask("GET", "/sign-in/second").text)
        fields = {"csrf_token": found[1] if found else "", "code": code()}
        if self._ask("POST", "/sign-in/second", fields).status != 303:
            raise ApproveError("The code is wrong, or was used already.", hint="Wait for the next one and try again.")

    def waiting(self) -> list[Waiting]:
        """What waits for this person. Raises ApproveError for an account without the right, and for strange answers."""
        answer = self._ask("GET", "/queries/waiting.json")
        if answer.status == 403:
            raise ApproveError("This account approves no queries.", hint="Ask the administrator of your area.")
        if answer.status == 303:
            raise ApproveError(
                "The account has a first password, or needs a second factor.",
                hint="Sign in with a browser and set it up first.",
            )
        try:
            item: Any = json.loads(answer.text)
            self._token = str(item["csrf_token"])
            return [
                Waiting(Query.from_bytes(base64.b64decode(one["body"], validate=True)), dict(one["venues"]))
                for one in item["queries"]
            ]
        except (ProtocolError, ValueError, KeyError, TypeError, binascii.Error) as error:
            raise ApproveError(
                f"The server's list of queries cannot be read: {error}.", hint="Server and this program must match."
            ) from error

    def approve(self, query: Query, user: str, approval: bytes) -> bool:
        """Send the signed approval; whether the query is no longer waiting then."""
        word = KeyWord(user, approval).to_bytes()
        fields = {"csrf_token": self._token, "approval": base64.b64encode(word).decode()}
        answer = self._ask("POST", f"/queries/{query.query_id.hex()}/approve", fields)
        still_waiting = {one.query.query_id for one in self.waiting()}
        return answer.status == 303 and query.query_id not in still_waiting

    def _ask(self, method: str, path: str, fields: Mapping[str, str] | None = None) -> Answer:
        try:
            with self._session.request(
                method, self._base + path, data=fields, timeout=SECONDS, allow_redirects=False, stream=True
            ) as answer:
                body = b""
                for piece in answer.iter_content(65536):
                    body += piece
                    if len(body) > MAX_ANSWER_BYTES:
                        break
        except (requests.RequestException, OSError) as error:
            raise ApproveError(
                f"{self._base} does not answer.", hint="Check the address, the network and --ca."
            ) from error
        if len(body) > MAX_ANSWER_BYTES:
            raise ApproveError(f"{self._base} answers with too much.", hint="Is this the console?")
        location = answer.headers.get("Location", "")
        return Answer(answer.status_code, body.decode("utf-8", "replace"), location)


def _keygen(args: argparse.Namespace) -> int:
    if args.out.exists():
        raise ApproveError(f"{args.out} is there already.", hint="Nothing was changed. Choose another name.")
    passphrase = _secret(args.passphrase_file, "A passphrase for the new key: ")
    if len(passphrase) < MIN_PASSPHRASE:
        raise ApproveError(f"The passphrase has fewer than {MIN_PASSPHRASE} characters.", hint="Take a longer one.")
    if not args.passphrase_file and getpass.getpass("Once more: ") != passphrase:
        raise ApproveError("The two passphrases differ.", hint="Nothing was made. Try again.")
    key = Ed25519PrivateKey.generate()
    locked = lock(key.private_bytes_raw(), passphrase.encode(), KEY_FORM)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public_path = args.out.with_name(args.out.name + ".pub")
    for path, content, mode in ((args.out, locked, 0o600), (public_path, public, 0o644)):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except OSError as error:
            raise ApproveError(f"{path} cannot be made: {error.strerror}.", hint="Choose another place.") from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    print(f"Your key: {args.out}. Keep it, and its passphrase, to yourself.")
    print(f"For the vault's custodian: {public_path}")
    print("They run: gatehouse vault approvers add NAME --key FILE.pub --purposes epi_trace,drill")
    print(f"and compare this fingerprint with you: {fingerprint(key)}")
    return 0


def fingerprint(key: Ed25519PrivateKey) -> str:
    """What approver and custodian compare; the same as `gatehouse vault approvers` prints."""
    return spoken(ApproverKey(KeyKind.KEY, key.public_key().public_bytes_raw()).fingerprint())


def _key(path: Path, passphrase: str) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(unlock(path.read_bytes(), passphrase.encode(), KEY_FORM))
    except OSError as error:
        raise ApproveError(f"{path} cannot be read: {error.strerror}.", hint="Give your key with --key.") from error
    except (ProtocolError, ValueError) as error:
        raise ApproveError(f"{path} does not open: {error}.", hint="Check key and passphrase.") from error


def _chosen(waiting: list[Waiting], name: str) -> Waiting:
    wanted = name.casefold()
    found = [one for one in waiting if len(wanted) >= 8 and one.name.startswith(wanted)]
    if len(found) != 1:
        raise ApproveError(
            f"{len(found)} waiting queries begin with {name!r}.",
            hint="See: gatehouse approve list, and give 8 characters.",
        )
    return found[0]


def _secret(path: Path | None, question: str) -> str:
    if path:
        try:
            return path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ApproveError(f"{path} cannot be read: {error}.", hint="Check the file.") from error
    if not sys.stdin.isatty():
        raise ApproveError("There is nobody to ask.", hint="Give --password-file and --passphrase-file.")
    return getpass.getpass(question)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise ApproveError("There is nobody to ask.", hint="Say --yes when you have read the query.")
    return input("批准这项查询？ Approve this query? [yes/no] ").strip().casefold() in {"yes", "是"}


def _plain(text: str) -> str:
    """*text* without control characters and without marks that turn the writing direction round."""
    return "".join(c for c in text if c.isprintable())


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M %z")
