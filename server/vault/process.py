"""The vault process: a Unix socket, who may speak on it, and one answer for each request."""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import pwd
import selectors
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from config.errors import ConfigError
from config.vault import VaultProcessSettings
from protocol.errors import ProtocolError
from protocol.fields import Fields
from protocol.own_looks import CHALLENGE_BYTES, SEALED_WORD_BYTES
from protocol.passage import KIOSK_ID_BYTES
from protocol.sealing import EPOCH_ID_BYTES
from server.vault.errors import Refused, VaultError
from server.vault.opening import Asker, Vault
from server.vault.patience import Patience
from server.vault.wire import (
    MAX_EPOCHS,
    MAX_INDEXED,
    MAX_KIOSKS,
    VERSION,
    ConnectionLost,
    Operation,
    receive,
    send,
    unpack_marks,
    unpack_records,
)

log = logging.getLogger("gatehouse.vault")
MAX_LOG_LINES = 200  # in one answer
# What asks for something about people. Residents ask with words of their own, which they may get wrong: they do not use
# up the patience for approved queries, nor the other way round.
LOOKS = {Operation.FIND.value: "looks", Operation.REUSED.value: "looks", Operation.OPEN.value: "looks"}
ASKING = {**LOOKS, Operation.OWN_LOOKS.value: "own looks"}
MAX_PERSONS = 2  # a resident's ID number and phone
_PEER = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


class VaultProcess:
    """Serves one `Vault` on its socket until told to stop."""

    def __init__(self, vault: Vault, settings: VaultProcessSettings) -> None:
        """Take the socket. Raises ConfigError when the settings name an unknown user or the socket is in use."""
        self._vault, self._settings = vault, settings
        self._allowed = _user_ids(settings.client_users) or {os.geteuid()}
        self._patience = Patience(settings.refusals_a_minute, settings.pause_seconds)
        self._patience_lock = threading.Lock()
        self._places = threading.BoundedSemaphore(settings.max_connections)
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self._is_stopping = False
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._listener = _listen(settings.socket_path, settings.socket_group)

    def run(self) -> None:
        """Serve until `stop`; then close every connection and the socket."""
        log.info("vault ready socket=%s uids=%s", self._settings.socket_path, sorted(self._allowed))
        threads: list[threading.Thread] = []
        with selectors.DefaultSelector() as selector, self._woken_by_signals():
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while not self._is_stopping:
                ready = {key.fd for key, _ in selector.select()}
                if self._wake_read in ready:
                    os.read(self._wake_read, 4096)
                threads = [thread for thread in threads if thread.is_alive()]
                if self._listener.fileno() in ready and (thread := self._accepted()) is not None:
                    threads.append(thread)
        self._listener.close()
        self._settings.socket_path.unlink(missing_ok=True)
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # its client has gone by itself
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(timeout=self._settings.request_seconds)
        os.close(self._wake_read)
        os.close(self._wake_write)
        log.info("vault stopped")

    def stop(self) -> None:
        """End `run`; safe in a signal handler."""
        self._is_stopping = True
        try:
            os.write(self._wake_write, b"x")
        except BlockingIOError:
            return  # it was told often enough

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        """A signal that comes just before `select` begins to wait ends the wait, too: its number is written to the
        pipe at once, while the handler that calls `stop` runs only when `select` is back."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)

    def _accepted(self) -> threading.Thread | None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            log.warning("vault accept failed errno=%s", error.errno)
            return None
        pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid not in self._allowed:
            log.warning("vault turned away pid=%s uid=%s", pid, uid)
            connection.close()
            return None
        if not self._places.acquire(blocking=False):
            log.warning("vault full connections=%s", self._settings.max_connections)
            connection.close()
            return None
        with self._open_lock:
            self._open.add(connection)
        thread = threading.Thread(target=self._serve, args=(connection, Asker(pid, uid)), daemon=True)
        thread.start()
        return thread

    def _serve(self, connection: socket.socket, asker: Asker) -> None:
        settings = self._settings
        try:
            with connection:
                is_going_on = True
                while is_going_on:
                    is_going_on, answer = self._answered(connection, asker)
                    if answer is not None:
                        send(connection, answer, settings.request_seconds)
        except ConnectionLost:
            log.debug("vault connection lost pid=%s", asker.pid)
        finally:
            with self._open_lock:
                self._open.discard(connection)
            self._places.release()

    def _answered(self, connection: socket.socket, asker: Asker) -> tuple[bool, dict[int, object] | None]:
        """Read one request; returns whether another may follow, and the answer."""
        settings = self._settings
        try:
            request = receive(connection, settings.idle_seconds, settings.request_seconds)
        except ProtocolError as error:
            return False, _no(error.code, error.message)  # where the next message begins is anybody's guess
        if request is None:
            return False, None
        try:
            f = Fields(request, "request")
            f.integer(1, VERSION, VERSION)
            name, arguments = f.text(2, at_most=32), f.any(3)
            f.done()
            handler = self._handlers().get(name)
            if handler is None:
                return True, _no("unknown_operation", "The vault knows no such operation.")
            if self._is_patience_over(name, asker):
                return True, _no(
                    "too_many", "Too many looks were refused. The vault reads no more of them for a while."
                )
            return True, {1: True, 2: self._tried(handler, name, arguments, asker)}
        except (ProtocolError, Refused, VaultError) as error:
            return True, _no(error.code, error.message)
        except Exception:  # the top of a loop that must live; the trace names code, not values
            log.exception("vault request failed pid=%s", asker.pid)
            return True, _no("internal", "The vault could not answer; its own log says why.")

    def _tried(
        self, handler: Callable[[Fields, Asker], dict[int, object]], name: str, arguments: object, asker: Asker
    ) -> dict[int, object]:
        """The answer of *handler*; a refusal is counted, and the one that ends our patience is logged, once."""
        try:
            return handler(Fields({} if arguments is None else arguments, name), asker)
        except (ProtocolError, Refused):
            if (kind := ASKING.get(name)) is not None:
                with self._patience_lock:
                    is_end = self._patience.refused((asker.uid, kind), time.monotonic())
                if is_end:
                    log.warning("vault patience over uid=%s what=%s", asker.uid, kind.replace(" ", "_"))
                    self._vault.note_too_many(kind, self._settings.pause_seconds, asker)
            raise

    def _is_patience_over(self, name: str, asker: Asker) -> bool:
        kind = ASKING.get(name)
        with self._patience_lock:
            return kind is not None and self._patience.is_over((asker.uid, kind), time.monotonic())

    def _handlers(self) -> dict[str, Callable[[Fields, Asker], dict[int, object]]]:
        return {
            Operation.STATUS.value: self._status,
            Operation.ROSTER.value: self._roster,
            Operation.MARKS.value: self._marks,
            Operation.INDEX.value: self._index,
            Operation.FIND.value: self._find,
            Operation.REUSED.value: self._reused,
            Operation.OVERLAPS.value: self._overlaps,
            Operation.OPEN.value: self._open_records,
            Operation.REVOKE.value: self._revoke,
            Operation.DESTROY.value: self._destroy,
            Operation.LOG.value: self._log_lines,
            Operation.TREE_HEAD.value: self._tree_head,
            Operation.PROVE.value: self._prove,
            Operation.PROVE_GROWTH.value: self._prove_growth,
            Operation.CHALLENGE.value: self._challenge,
            Operation.OWN_LOOKS.value: self._own_looks,
        }

    def _status(self, f: Fields, _asker: Asker) -> dict[int, object]:
        f.done()
        head, (tags, problems, destroyed) = self._vault.head(), self._vault.counts()
        return {1: self._vault.fingerprint(), 2: head.sequence, 3: head.hash, 4: tags, 5: problems, 6: destroyed}

    def _roster(self, f: Fields, _asker: Asker) -> dict[int, object]:
        f.done()
        roster = self._vault.roster()
        return {1: roster.version, 2: [approver.to_fields() for approver in roster.approvers]}

    def _marks(self, f: Fields, _asker: Asker) -> dict[int, object]:
        kiosks = _octet_list(f, 1, KIOSK_ID_BYTES, MAX_KIOSKS)
        f.done()
        return {1: [[kiosk, sequence] for kiosk, sequence in self._vault.marks(kiosks).items()]}

    def _index(self, f: Fields, asker: Asker) -> dict[int, object]:
        records, marks = unpack_records(f.any(1), MAX_INDEXED), unpack_marks(f.any(2))
        f.done()
        indexed = self._vault.index(records, marks, asker)
        return {1: indexed.records, 2: indexed.tags, 3: [list(p) for p in indexed.problems]}

    def _find(self, f: Fields, asker: Asker) -> dict[int, object]:
        query, approval = f.octets(1), f.octets(2)
        f.done()
        found, head = self._vault.find(query, approval, asker)
        return {1: [list(passage) for passage in found], 2: head.sequence, 3: head.hash}

    def _reused(self, f: Fields, asker: Asker) -> dict[int, object]:
        query, approval = f.octets(1), f.octets(2)
        f.done()
        pairs, head = self._vault.reused(query, approval, asker)
        return {1: [[*first, *second] for first, second in pairs], 2: head.sequence, 3: head.hash}

    def _overlaps(self, f: Fields, asker: Asker) -> dict[int, object]:
        query, approval = f.octets(1), f.octets(2)
        f.done()
        meetings, head = self._vault.overlaps(query, approval, asker)
        return {
            1: [[s.venue, s.from_ms, s.to_ms, [list(passage) for passage in s.passages]] for s in meetings.stays],
            2: [[o.stay, o.kiosk, o.sequence, o.together_ms, o.apart_ms] for o in meetings.others],
            3: meetings.is_cut,
            4: head.sequence,
            5: head.hash,
        }

    def _open_records(self, f: Fields, asker: Asker) -> dict[int, object]:
        query, approval, records = f.octets(1), f.octets(2), unpack_records(f.any(3))
        f.done()
        opening = self._vault.open(query, approval, records, asker)
        return {
            1: [row.to_fields() for row in opening.rows],
            2: [list(one) for one in opening.refused],
            3: opening.head.sequence,
            4: opening.head.hash,
            5: opening.proof,
        }

    def _revoke(self, f: Fields, asker: Asker) -> dict[int, object]:
        digest = f.octets(1, exactly=32)
        f.done()
        head = self._vault.revoke(digest, asker)
        return {1: head.sequence, 2: head.hash}

    def _destroy(self, f: Fields, asker: Asker) -> dict[int, object]:
        epochs = _octet_list(f, 1, EPOCH_ID_BYTES, MAX_EPOCHS)
        f.done()
        gone, head = self._vault.destroy(epochs, asker)
        return {1: gone, 2: head.sequence, 3: head.hash}

    def _log_lines(self, f: Fields, _asker: Asker) -> dict[int, object]:
        after, limit = f.integer(1), f.integer(2, 1, MAX_LOG_LINES)
        f.done()
        return {1: self._vault.log_lines(after, limit)}

    def _tree_head(self, f: Fields, _asker: Asker) -> dict[int, object]:
        f.done()
        return {1: self._vault.signed_head()}

    def _prove(self, f: Fields, _asker: Asker) -> dict[int, object]:
        sequence = f.integer(1)
        f.done()
        return {1: self._vault.prove(sequence)}

    def _prove_growth(self, f: Fields, _asker: Asker) -> dict[int, object]:
        old_size = f.integer(1)
        f.done()
        return {1: self._vault.prove_growth(old_size)}

    def _challenge(self, f: Fields, _asker: Asker) -> dict[int, object]:
        f.done()
        return {1: self._vault.challenge()}

    def _own_looks(self, f: Fields, asker: Asker) -> dict[int, object]:
        challenge, persons = f.octets(1, exactly=CHALLENGE_BYTES), f.take(2, list)
        word = f.octets(3, exactly=SEALED_WORD_BYTES)
        f.done()
        if not 1 <= len(persons) <= MAX_PERSONS or not all(type(p) is bytes and len(p) <= 256 for p in persons):
            raise ProtocolError("field 2 is not a list of one or two sealed persons", code="bad_list")
        looks = self._vault.own_looks(challenge, persons, word, asker)
        return {
            1: [line.to_list() for line in looks.lines],
            2: list(looks.unanswered),
            3: looks.head.sequence,
            4: looks.head.hash,
        }


def _no(code: str, message: str) -> dict[int, object]:
    return {1: False, 2: code, 3: message[:500]}


def _octet_list(f: Fields, key: int, exactly: int, most: int) -> list[bytes]:
    values = f.take(key, list)
    if len(values) > most or not all(type(v) is bytes and len(v) == exactly for v in values):
        raise ProtocolError(f"field {key} is not a list of at most {most} ids of {exactly} bytes", code="bad_list")
    return values


def _user_ids(names: tuple[str, ...]) -> set[int]:
    found = set()
    for name in names:
        if name.isdecimal():
            found.add(int(name))
            continue
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            raise ConfigError(
                f"client_users names {name!r}, and this machine has no such user.",
                hint="Give the user that the web server runs as.",
            ) from None
    return found


def _listen(path: Path, group: str) -> socket.socket:
    """Bind the socket (0660) at *path*, in place of one that nobody listens on any more."""
    if path.is_socket():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink(missing_ok=True)  # left behind by a process that was killed
            else:
                raise ConfigError(f"Somebody already listens on {path}.", hint="Stop the other vault first.")
    elif path.exists():
        raise ConfigError(f"{path} exists and is not a socket.", hint="Give another path, or move that file away.")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)  # the socket is 0660 from its first instant
    try:
        listener.bind(str(path))
        if group:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        raise ConfigError(f"socket_group names {group!r}, and there is no such group.", hint="Make it first.") from None
    except OSError as error:
        raise ConfigError(
            f"The vault cannot listen on {path}: {error}.",
            hint="Its folder must exist and belong to the vault's user; a socket's path has at most 107 bytes.",
        ) from error
    finally:
        os.umask(before)
    listener.listen(16)
    return listener
