"""Fixtures of the tests of proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.proxy_support import Certificates, SetUpProxy, make_certificates, setup_function

if TYPE_CHECKING:
    from tests.conftest import Mode, Serve


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    return make_certificates()


@pytest.fixture
def set_up_proxy(mode: Mode, serve: Serve, certificates: Certificates) -> SetUpProxy:
    return setup_function(mode, serve, certificates)
