"""The whole site on loopback for journeys: a real vault process, the web server over HTTP, people who sign in."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flask import Flask
from werkzeug.serving import make_server

from config.server import ServerSettings, VaultSettings
from server import create_app
from server.context import House
from server.setup import initialise
from tests.server.people import PASSWORD_ALONE, furnish
from tests.server.queries.conftest import real_now
from tests.server.vault.world import PASSPHRASE, TOP, World


@dataclass
class Site:
    """What a journey needs to know."""

    url: str
    world: World
    app: Flask
    folder: Path

    @property
    def house(self) -> House:
        found: House = self.app.extensions["gatehouse"]
        return found

    def command(self, *arguments: str, **files: str) -> subprocess.CompletedProcess[str]:
        """Run `gatehouse ARGUMENTS` as a person would; *files* become `--name-file PATH` with that content."""
        for name, content in files.items():
            path = self.folder / f"{name}.secret"
            path.write_text(content)
            arguments = (*arguments, f"--{name}-file", str(path))
        return subprocess.run(
            [sys.executable, "-m", "gatehouse", *arguments],
            cwd=TOP,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "GATEHOUSE_VAULT_PASSPHRASE": PASSPHRASE.decode()},
        )


@contextlib.contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Start everything on a free port, and stop it again."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        url = f"http://localhost:{listener.getsockname()[1]}"
        world = World.make(folder / "vault")
        process = world.start("--origin", url)
        settings = ServerSettings(
            public_url=url,
            data_dir=folder / "data",
            accounts=PASSWORD_ALONE,
            vault=VaultSettings(public_file=world.folder / "vault-public.cbor", socket=world.client().path),
        )
        initialise(settings, now=real_now())
        app = create_app(settings, now=real_now)
        with app.app_context():
            furnish(app.extensions["gatehouse"])
        server = make_server("127.0.0.1", 0, app, threaded=True, fd=listener.fileno())
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Site(url, world, app, folder)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            app.extensions["gatehouse"].database.engine.dispose()
            process.terminate()
            process.communicate(timeout=30)
