"""The demo: server, vault, worker and one kiosk as real processes, and people who walk up to it.

Only the world outside is made up: what the camera sees (an MJPEG stream), the skin in front of the thermometer and the
gate's contact (both behind real ptys that speak the devices' own bytes). Everything else is the product.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from config.server import load_server_settings
from firmware_bridge.simulators.gy614v import Gy614vSimulator
from firmware_bridge.simulators.lcus import LcusSimulator
from gatehouse.demo.asking import Asked, Desk, ask_and_open
from gatehouse.demo.console import Visitor, code_on
from gatehouse.demo.processes import DemoError, Processes
from gatehouse.demo.scene import Scene, SceneServer, Style
from protocol.cose import Alg
from protocol.credentials import health_code
from protocol.vault_keys import claimed_fingerprint
from protocol.words import Colour
from server.demo import KIOSK_PIN, VENUE_ID
from server.keystore import IssuerUse, KeyStore, read_passphrase

READY_S = 60.0
VERDICT_WAIT_S = 12.0
PAUSE_S = 1.2  # between two people


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of visitor: who shows what, and what stands in front of the thermometer."""

    words: str
    resident: str | None  # whose code; None: see `style`
    scene: str = "normal"
    style: Style = Style.NORMAL
    is_expired: bool = False
    without_thermometer: bool = False
    reads: bool = True  # False: no decoder can read this code
    expects: str = "admit"


PARTS: tuple[Part, ...] = (
    Part("绿码，体温正常 green and well", "wang"),
    Part("红码 red code", "zhao", expects="deny"),
    Part("绿码，发热 green with fever", "li", scene="fever", expects="deny"),
    Part("绿码（深色屏幕） green, dark screen", "ouyang", style=Style.DARK),
    Part("过期的码 expired code", "liu", is_expired=True, expects="hold"),
    Part("看不清的码 unreadable code", "liu", style=Style.UNREADABLE, reads=False, expects=""),
    Part("绿码，体温计被拔掉 green, thermometer unplugged", "liu", without_thermometer=True, expects="hold"),
    Part("黄码 yellow code", "zhang", expects="hold"),
    Part("绿码，纸质 green, on paper", "liu", style=Style.PAPER),
)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the demo listens; all on loopback."""

    server: int = 8470
    screen: int = 8460


@dataclass(frozen=True, slots=True)
class Tally:
    """What happened; `is_complete` is the demo's promise."""

    outcomes: Counter[str]
    receipted: int
    opened: Asked | None

    @property
    def is_complete(self) -> bool:
        """Passages were admitted, denied, synced, receipted, and opened through an approved query."""
        return bool(
            self.outcomes["admit"] and self.outcomes["deny"] and self.receipted and self.opened and self.opened.is_right
        )


class Street:
    """One demo run in one folder. Use as a context manager."""

    def __init__(self, folder: Path, ports: Ports, say: Callable[[str], None]) -> None:
        self.folder, self.ports, self.say = folder, ports, say
        self.base = f"http://localhost:{ports.server}"
        self.screen = f"http://127.0.0.1:{ports.screen}"
        self.password = f"demo-{secrets.token_hex(4)}"
        self.processes = Processes(folder / "logs")
        self.scene = Scene()
        self.camera = SceneServer(self.scene)
        self.thermometer = Gy614vSimulator(folder / "thermometer", scene="empty")
        self.gate = LcusSimulator(folder / "gate")
        self._open = ExitStack()
        self._residents: dict[str, Visitor] = {}
        self._keys: KeyStore | None = None

    def __enter__(self) -> Street:
        with ExitStack() as stack:
            stack.enter_context(self.camera)
            stack.enter_context(self.thermometer)
            stack.enter_context(self.gate)
            stack.enter_context(self.processes)  # ends first: no device is pulled from under a running kiosk
            self._set_up()
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.say("正在停止… stopping")
        self._open.close()

    # -- setting up --------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        for port in (self.ports.server, self.ports.screen):
            _must_be_free(port)
        run, folder = self.processes.run, self.folder
        self.say("1/6 保险库 making the vault's keys")
        for name in ("vault-passphrase", "approver-passphrase"):
            path = folder / name
            path.write_text(secrets.token_urlsafe(24) + "\n", encoding="ascii")
            path.chmod(0o600)
        (folder / "server").mkdir()
        (folder / "vault").mkdir()
        (folder / "vault.toml").write_text(
            f'folder = "vault"\npassphrase_file = "vault-passphrase"\npasskey_origins = ["{self.base}"]\n',
            encoding="utf-8",
        )
        run("vault", "init", "--config", str(folder / "vault.toml"))
        fingerprint = claimed_fingerprint((folder / "vault" / "vault-public.cbor").read_bytes()).hex()
        (folder / "server.toml").write_text(
            f'public_url = "{self.base}"\ndata_dir = "server"\n'
            "[accounts]\nsecond_factor_roles = []\n"  # to try it out the password is enough; the page says so
            f"[listen]\nport = {self.ports.server}\nworkers = 1\nthreads = 8\n"
            f'[vault]\npublic_file = "vault/vault-public.cbor"\nsocket = "vault/vault.sock"\n'
            f'fingerprint = "{fingerprint}"\n',
            encoding="utf-8",
        )
        (folder / "kiosk.toml").write_text(
            f'data_dir = "kiosk"\n[camera]\nsource = "{self.camera.url}"\nfps = 12.0\n'
            f'[thermometer]\ndriver = "gy614v"\nport = "{self.thermometer.link}"\nwarm_at_start = true\n'
            f'[gate]\ndriver = "lcus"\nport = "{self.gate.link}"\n'
            f'[screen]\nport = {self.ports.screen}\nvoice_cache = "voice"\n[sync]\ninterval_s = 5.0\n',
            encoding="utf-8",
        )
        self.say("2/6 审批钥匙 making the approver's own key")
        approver = ("--passphrase-file", str(folder / "approver-passphrase"))
        run("approve", "keygen", "--out", str(folder / "approver.key"), *approver)
        run(
            *("vault", "approvers", "add", "district", "--key", str(folder / "approver.key.pub")),
            *("--purposes", "epi_trace,drill", "--yes", "--config", str(folder / "vault.toml")),
        )
        self.say("3/6 服务器 filling the server with a made-up district")
        config = ("--config", str(folder / "server.toml"))
        run("admin", "init", *config)
        run("admin", "seed-demo", "--json", "--password-file", "-", *config, stdin=self.password)
        self.say("4/6 启动 starting vault, server and worker")
        start = self.processes.start
        start("vault", "vault", "run", "--config", str(folder / "vault.toml"))
        self.processes.wait_for("vault", (folder / "vault" / "vault.sock").exists, READY_S)
        self.start_server()
        start("worker", "worker", *config)
        self.say("5/6 入口 starting the kiosk; its camera reads the enrolment code from the console")
        start("kiosk", "kiosk", "--config", str(folder / "kiosk.toml"))
        self.processes.wait_for("kiosk", lambda: _answers(f"{self.screen}/state"), READY_S)
        self._enrol()
        self.say("6/6 就绪 ready")

    def start_server(self) -> None:
        """Start the web server (again) and wait until it answers."""
        self.processes.start("server", "server", "--config", str(self.folder / "server.toml"))
        self.processes.wait_for("server", lambda: _answers(f"{self.base}/healthz"), READY_S)

    def _enrol(self) -> None:
        street = Visitor(self.base, "street", self.password)
        path = f"/venues/{VENUE_ID.hex()}/enrol"
        page = street.post(path, {"kiosk_name": "东门一号机 East 1", "entrance": "1"}, form=path)
        self.scene.show(code_on(page.text))
        self.processes.wait_for("kiosk", lambda: self.state().get("view") == "idle", READY_S)
        self.scene.show(None)

        def has_rules() -> bool:
            state = self.state()
            return state.get("banner", {}).get("unsent") == 0 and bool(state.get("venue", {}).get("zh"))

        self.processes.wait_for("kiosk", has_rules, READY_S)

    # -- the people --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What the entrance screen shows now; empty while it does not answer."""
        try:
            answer = requests.get(f"{self.screen}/state", timeout=5)
            found: dict[str, Any] = answer.json() if answer.ok else {}
            return found
        except requests.RequestException:
            return {}

    def code_of(self, part: Part) -> str:
        """The resident's own code, fetched as they would; for an expired one, what they had on the phone yesterday."""
        assert part.resident is not None
        if part.is_expired:
            return self._old_code()
        visitor = self._residents.get(part.resident)
        if visitor is None:
            visitor = self._residents[part.resident] = Visitor(self.base, part.resident, self.password)
        return str(visitor.get("/me/code.json").json()["text"])

    def _old_code(self) -> str:
        """A code as the server issued it twenty minutes ago: made with the issuer's key and the time of then."""
        if self._keys is None:
            settings = load_server_settings(self.folder / "server.toml")
            self._keys = KeyStore.open(settings.key_dir, read_passphrase(settings.passphrase_path))
        then = datetime.now(UTC) - timedelta(minutes=20)
        key = self._keys.issuer_signing_key(IssuerUse.HEALTH_CODE, datetime.now(UTC))
        return health_code.issue(
            key=key.private_key,
            alg=Alg.ES256,
            kid=key.kid,
            colour=Colour.GREEN,
            issued_at=then,
            cti=secrets.token_bytes(8),
        )

    def walk(self, part: Part, text: str | None = None) -> str:
        """One person comes, shows what they have, waits for the verdict and leaves; returns the outcome's word.

        *text* is a code that they fetched before; without it they fetch one now.
        """
        before = self._reference()
        if part.without_thermometer:
            self.thermometer.unplug()
        self.thermometer.scene.set(part.scene)
        self.scene.show(text or self.code_of(part), part.style)
        outcome, deadline = "", time.monotonic() + (VERDICT_WAIT_S if part.reads else 4.0)
        while time.monotonic() < deadline:
            verdict = self.state().get("verdict")
            if isinstance(verdict, dict) and verdict["reference"] != before:
                outcome = _OUTCOMES[str(verdict["face"])]
                break
            time.sleep(0.05)
        self._say(part, outcome)
        time.sleep(PAUSE_S)
        self.scene.show(None)
        self.thermometer.scene.set("empty")
        if part.without_thermometer:
            self.thermometer.plug()
            self.processes.wait_for("kiosk", self._has_thermometer, READY_S)
        time.sleep(PAUSE_S)
        self.processes.check()
        return outcome

    def _has_thermometer(self) -> bool:
        """Whether the screen says that the thermometer is ready: somebody plugged it in, it found itself again."""
        return any(part["part"] == "thermometer" and part["good"] for part in self.state().get("parts", ()))

    def _reference(self) -> str:
        verdict = self.state().get("verdict")
        return str(verdict["reference"]) if isinstance(verdict, dict) else ""

    def _say(self, part: Part, outcome: str) -> None:
        words = {
            "admit": "请进 come in",
            "deny": "止步 stopped",
            "hold": "人工核验 checked by hand",
            "": "读不出，没有记录 not read, nothing recorded",
        }
        self.say(f"  {datetime.now():%H:%M:%S}  {part.words:<42} → {words[outcome]}")  # noqa: DTZ005  local, for people

    def everybody(self) -> Iterator[tuple[Part, str]]:
        """Let people come, for ever."""
        while True:
            for part in PARTS:
                yield part, self.walk(part)

    def receipted(self) -> int:
        """How many of the kiosk's records the server has confirmed: its own word is in the kiosk's journal."""
        report = json.loads(self.processes.run("kiosk", "journal", "verify", str(self.folder / "kiosk"), "--json"))
        if not report["whole"]:
            raise DemoError("The kiosk's journal is not whole.", hint="; ".join(report["findings"]))
        return int(report["receipted"])


_OUTCOMES = {"pass": "admit", "stop": "deny", "check": "hold", "unknown": "hold"}


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def _must_be_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DemoError(
                f"Port {port} is in use: {error.strerror}.",
                hint="Stop what uses it, or choose others with --server-port and --screen-port.",
            ) from error


@contextmanager
def demo_folder(keep: Path | None) -> Iterator[Path]:
    """A folder for one run: a temporary one that is removed, or *keep*, which must be new or empty."""
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise DemoError(f"{keep} is not empty.", hint="Give a new folder; the demo starts from nothing each time.")
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="gatehouse-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def play(folder: Path, ports: Ports, seconds: float | None, say: Callable[[str], None]) -> Tally:
    """Run the demo for *seconds* (None: until Ctrl-C) and count what happened."""
    outcomes: Counter[str] = Counter()
    opened: Asked | None = None
    with Street(folder, ports, say) as street:
        say(_addresses(street))
        ends = None if seconds is None else time.monotonic() + seconds
        try:
            for part, outcome in street.everybody():
                outcomes[outcome or "unread"] += 1
                if part.expects != outcome:
                    say(f"    !! expected {part.expects or 'nothing'}")
                if opened is None and outcomes["admit"] and outcomes["deny"] and street.receipted() > 2:
                    opened = ask_and_open(Desk(street.base, street.password, folder, street.processes))
                    say(f"    查询已审批并由保险库打开 an approved query was opened: {opened.line}")
                if ends is not None and time.monotonic() > ends:
                    break
        except KeyboardInterrupt:
            pass
        return Tally(outcomes, street.receipted(), opened)


def _addresses(street: Street) -> str:
    people = (
        ("street", "街道管理员 issues codes, enrols kiosks"),
        ("investigator", "流调人员 asks for records"),
        ("district", "区指挥部 approves queries"),
        ("officer", "数据保护 sees every look"),
        ("wang", "居民 has a health code"),
    )
    lines = [
        "",
        f"  入口屏幕 entrance screen   {street.screen}/",
        f"  管理后台 console           {street.base}/",
        f"  密码 password of everyone  {street.password}",
        *(f"    {name:<13} {words}" for name, words in people),
        f"  工作人员 PIN at the entrance screen (hold the corner)  {KIOSK_PIN}",
        "  按 Ctrl-C 停止 press Ctrl-C to stop",
        "",
    ]
    return "\n".join(lines)
