"""Fixtures of the trust suites: the facade, in both modes, as a client for the faults."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from mesh_facade import AsyncMeshClient, MeshClient
from tests.faults.catalogue import Bounds
from tests.faults.observation import Call, ClientFactory

KEYS: dict[str, Any] = {
    "client_id": "client-id-of-trust",
    "client_secret": "client-secret-of-trust",
}


@contextlib.contextmanager
def sync_facade(url: str, *, context: ssl.SSLContext, bounds: Bounds) -> Iterator[Call]:
    options: dict[str, Any] = {"timeout": bounds.timeout, "deadline": bounds.deadline}
    with MeshClient(**KEYS, base_url=url, verify=context, **options) as mesh:

        def call(token: str) -> Decimal | None:
            return mesh.get_account_balance(token, "coinbase").cash("USD")

        yield call


@contextlib.contextmanager
def async_facade(url: str, *, context: ssl.SSLContext, bounds: Bounds) -> Iterator[Call]:
    options: dict[str, Any] = {"timeout": bounds.timeout, "deadline": bounds.deadline}
    with asyncio.Runner() as runner:
        mesh = AsyncMeshClient(**KEYS, base_url=url, verify=context, **options)

        def call(token: str) -> Decimal | None:
            return runner.run(mesh.get_account_balance(token, "coinbase")).cash("USD")

        yield call
        runner.run(mesh.aclose())


@pytest.fixture
def client_factories() -> Mapping[str, ClientFactory]:
    return {"sync": sync_facade, "async": async_facade}


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no attempt wait for the next one."""
    monkeypatch.setattr(random, "uniform", min)
