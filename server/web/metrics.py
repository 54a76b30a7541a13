"""What Prometheus reads: requests counted by all web processes together, and the service's state from the database.

No label holds anything of a person, a venue or an address: routes, methods, statuses, conditions, actions.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, Request, Response, current_app, g, request
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.errors import ConfigError
from config.server import ServerSettings
from server.cases.models import Case
from server.context import House, house
from server.kiosks.fleet import IN_SERVICE, Condition, is_in
from server.kiosks.models import Kiosk
from server.worker.models import WorkerRun

if TYPE_CHECKING:  # at run time it is imported by `install`: it looks at SHARED_FOLDER when it is imported
    from prometheus_client import CollectorRegistry, Counter, Histogram, Metric

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
MIN_TOKEN_CHARACTERS = 20
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


def share_between_processes() -> None:
    """Let the web processes that come count together, in files of a fresh folder; call it before `create_app`."""
    memory = Path("/dev/shm")  # noqa: S108  counting must not wait for a disk
    os.environ[SHARED_FOLDER] = tempfile.mkdtemp(prefix="gatehouse-metrics-", dir=memory if memory.is_dir() else None)


def install(app: Flask) -> None:
    """Count the requests of *app*. Raises ConfigError when the token's file is named and unusable."""
    app.extensions["gatehouse_metrics"] = _Counting(_token(app.extensions["gatehouse"].settings))
    app.after_request(_count)


def may_read(asked: Request) -> bool:
    """Whether *asked* comes from this machine itself, through no proxy, or carries `metrics_token_file`'s token."""
    counting: _Counting = current_app.extensions["gatehouse_metrics"]
    scheme, _, given = asked.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and counting.token:
        return hmac.compare_digest(given.strip().encode("utf-8", "replace"), counting.token)
    if any(name in asked.headers for name in FORWARDED):
        return False  # a proxy on this machine speaks for somebody elsewhere
    try:
        return ipaddress.ip_address(asked.remote_addr or "").is_loopback
    except ValueError:
        return False


def page() -> Response:
    """Everything in Prometheus' text format."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess

    counting: _Counting = current_app.extensions["gatehouse_metrics"]
    with house().database.reading() as reading:
        state = list(_state(reading, house()))
    registry = CollectorRegistry(auto_describe=False)
    if os.environ.get(SHARED_FOLDER):
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(counting.registry)
    registry.register(_Fixed(state))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _Counting:
    """The counters of one application."""

    def __init__(self, token: bytes) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.token = token
        self.registry: CollectorRegistry = CollectorRegistry()
        self.requests: Counter = Counter(
            "gatehouse_requests", "Answered requests.", ["route", "method", "status"], registry=self.registry
        )
        self.seconds: Histogram = Histogram(
            "gatehouse_request_seconds",
            "Time from the request's arrival in the application to its answer.",
            ["route"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )


class _Fixed:
    """Figures read before, so that a scrape holds no database connection while it is written out."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client asks."""
        yield from self._metrics


def count(app: Flask, route: str, method: str, status: int, started_s: float | None) -> None:
    """Count one answer of *app*; *route* is the endpoint, never the path, which can hold a token."""
    counting: _Counting = app.extensions["gatehouse_metrics"]
    counting.requests.labels(route, method, str(status)).inc()
    if started_s is not None:
        counting.seconds.labels(route).observe(time.monotonic() - started_s)


def _count(response: Response) -> Response:
    method = request.method if request.method in {"GET", "HEAD", "POST", "OPTIONS"} else "other"
    count(current_app, request.endpoint or "none", method, response.status_code, g.get("started"))
    return response


def _token(settings: ServerSettings) -> bytes:
    path = settings.operations.metrics_token_file
    if path is None:
        return b""
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.", hint="It holds the token of /metrics."
        ) from error
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise ConfigError(
            f"The token in {path} has {len(token)} characters; it needs {MIN_TOKEN_CHARACTERS}.",
            hint="Make one, for example with: openssl rand -hex 20",
        )
    return token


def _state(reading: Session, of: House) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    now, fleet = of.now(), of.settings.fleet
    kiosks = GaugeMetricFamily("gatehouse_kiosks", "Kiosks by condition.", labels=["condition"])
    columns = [func.count().filter(is_in(condition, now, fleet)) for condition in Condition]
    serving = Kiosk.state.in_(IN_SERVICE)
    *counts, oldest, unsent = reading.execute(
        select(
            *columns,
            func.min(Kiosk.oldest_unsent_at).filter(serving),
            func.sum(Kiosk.unsent_count).filter(serving),
        ).select_from(Kiosk)
    ).one()
    for condition, count in zip(Condition, counts, strict=True):
        kiosks.add_metric([condition.value], count)
    yield kiosks
    yield GaugeMetricFamily(
        "gatehouse_oldest_unsent_seconds",
        "Age of the oldest record that a kiosk in service told of and still holds.",
        value=(now - oldest).total_seconds() if oldest is not None else 0,
    )
    yield GaugeMetricFamily("gatehouse_unsent_records", "Records that kiosks in service hold.", value=int(unsent or 0))
    overdue = reading.scalar(select(func.count()).where(Case.closed_at.is_(None), Case.due_at < now))
    yield GaugeMetricFamily("gatehouse_cases_overdue", "Open cases whose deadline is over.", value=overdue or 0)
    since = GaugeMetricFamily(
        "gatehouse_worker_success_age_seconds", "Since an action of the worker last succeeded.", labels=["action"]
    )
    failures = GaugeMetricFamily(
        "gatehouse_worker_failures", "Failures in a row of an action of the worker.", labels=["action"]
    )
    for run in reading.scalars(select(WorkerRun).order_by(WorkerRun.action)):
        failures.add_metric([run.action], run.failures)
        if run.succeeded_at is not None:
            since.add_metric([run.action], (now - run.succeeded_at).total_seconds())
    yield since
    yield failures
