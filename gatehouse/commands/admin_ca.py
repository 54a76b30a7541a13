"""`gatehouse admin ca ...`: a small certificate authority for the TLS between kiosks and their server."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from server.authority import CERTIFICATE, MOST_DAYS, issue, load_authority, make_authority
from server.context import utc_now


def configure(actions: Any) -> None:
    """Declare `ca init` and `ca issue`; neither needs a server's settings, and the key belongs on another machine."""
    line = "a certificate authority of one's own for TLS, or a server's certificate"
    ca = actions.add_parser("ca", help=line, description=line).add_subparsers(dest="what", required=True)
    init = ca.add_parser("init", help="make the authority: ca.pem for the kiosks, ca-key.pem to be locked away")
    init.add_argument("--name", default="Gatehouse CA", help="shown by programs that look at certificates")
    make = ca.add_parser("issue", help="make a server's certificate and key, one file")
    make.add_argument("--ca", type=Path, required=True, metavar="DIR", help="where ca init wrote")
    make.add_argument("--host", action="append", required=True, help="name or address of the server; may be repeated")
    make.add_argument("--days", type=int, default=MOST_DAYS, help=f"how long it lasts, at most {MOST_DAYS}")
    for parser in (init, make):
        parser.add_argument("--out", type=Path, required=True, help="new folder (init) or file (issue)")
        parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="protects the authority's key")


def run(args: argparse.Namespace) -> int:
    """Make the authority, or a certificate of it."""
    passphrase = args.passphrase_file.read_bytes().strip() if args.passphrase_file else None
    if args.what == "init":
        made = make_authority(args.out, args.name, utc_now(), passphrase)
        print(f"{args.out / CERTIFICATE}: give it to every kiosk as sync.ca_file; SHA-256 {made.fingerprint}")
        print("its key signs whatever is asked of it: keep it off the server, and lock it away")
        return 0
    issue(load_authority(args.ca, passphrase), args.host, args.out, utc_now(), days=args.days)
    print(f"{args.out}: key and certificate for {', '.join(args.host)}; give it to the TLS proxy, renew it in time")
    return 0
