"""`gatehouse COMMAND`: finds the subcommand's module, parses its arguments and runs it.

Exit codes, for every command: 0 done; 1 the answer is "no" (a check failed); 2 wrong arguments, settings or
surroundings (standard error says what was found and what to do); 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from config.errors import GatehouseError

COMMANDS: dict[str, str] = {
    # name -> one line for --help; the module is gatehouse.commands.NAME
    "demo": "run server, vault, worker and one simulated entrance on this machine",
    "kiosk": "run an entrance, or check its journal",
    "server": "run the web server",
    "vault": "run the process that alone can open sealed passages, or manage its keys",
    "audit-log": "check the vault's access log against a head kept elsewhere; needs no vault and no passphrase",
    "worker": "run due actions: indexing, deadlines, retention",
    "admin": "create users, import areas, make keys",
    "backup": "back up the server, check a backup, restore one",
    "approve": "sign or refuse a waiting query with your own approval key",
    "decode": "read codes from pictures or from a sequence of frames",
    "check": "check credentials, one per line, against a trust list",
    "trust": "make a signed trust list from certificates, key sets and DID documents",
    "certlogic": "evaluate CertLogic rules, one per line",
    "devices": "list, probe, watch, simulate and calibrate entrance hardware",
    "simulate": "be a headless kiosk: enrol, make sealed passages, sync them",
    "doctor": "say in plain words what is wrong here and what to do",
}


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"gatehouse.commands.{name.replace('-', '_')}")


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """Build the parser; only the chosen command's module is imported, so that a kiosk needs no server packages."""
    parser = argparse.ArgumentParser(
        prog="gatehouse",
        description="Gatehouse (门哨): an entrance kiosk and the server behind it.",
        epilog="Exit codes: 0 done, 1 the answer is no, 2 wrong arguments or surroundings, 130 interrupted.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, line in COMMANDS.items():
        if name == chosen:
            module = _module(name)
            sub = commands.add_parser(
                name,
                help=line,
                description=module.__doc__,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            module.configure(sub)
        else:
            commands.add_parser(name, help=line, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code described at the top of this module."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    try:
        parser = _parser(chosen if chosen in COMMANDS else None)
        args = parser.parse_args(arguments)
        return int(_module(args.command).run(args))
    except GatehouseError as error:
        print(f"gatehouse: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in {"gatehouse", "kiosk", "server", "protocol", "config"}:
            raise
        print(
            f"gatehouse: the Python package {error.name!r} is not installed.\n"
            "  Install this room's packages: pip install 'gatehouse[kiosk]' or 'gatehouse[server]'.",
            file=sys.stderr,
        )
        return 2
    except BrokenPipeError:
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"gatehouse: {where}{error.strerror or error}\n  Check that path, its owner and free space.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
