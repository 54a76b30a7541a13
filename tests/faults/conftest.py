"""One zygote and one template town for all tests that kill, and servers of one's own for those that cut cables."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.postgres import MISSING, programs
from tests.torture import shim
from tests.torture.town import Template, Town, own_cluster
from tests.torture.zygote import Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    if not shim.has_compiler():
        if os.environ.get("CI"):
            pytest.fail(shim.NO_COMPILER)
        pytest.skip(shim.NO_COMPILER)
    with Zygote() as started:
        yield started


@pytest.fixture(scope="session")
def template(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Template:
    return Template.make(tmp_path_factory.mktemp("torture") / "template", zygote)


@pytest.fixture(scope="session")
def postgresql_template(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    """The same with the server's records in a PostgreSQL that writes as in service."""
    if programs() is None:
        pytest.skip(MISSING)
    with contextlib.closing(own_cluster()) as cluster:
        yield Template.make(tmp_path_factory.mktemp("torture") / "template-postgresql", zygote, cluster)


@pytest.fixture
def postgresql_town(
    zygote: Zygote, postgresql_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    made = Town(3, tmp_path_factory.mktemp("town") / "t", postgresql_template, zygote)
    yield made
    made.close()


@pytest.fixture
def town(
    zygote: Zygote, template: Template, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Town]:
    """A town whose number is the test's `parametrize`d one, or 1."""
    number = getattr(request, "param", 1)
    made = Town(number, tmp_path_factory.mktemp("town") / "t", template, zygote)
    yield made
    made.close()
