"""Balances in data frames: every digit of an amount arrives, and null stays null."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mesh_facade import LinkedAccount, Outcome
from mesh_facade.testing import MockServer

LONG = Decimal("12345678901234567.891")
COLUMNS = ["currency", "cash", "buying_power", "cryptocurrency_buying_power"]


@pytest.fixture
def outcomes(mesh_in_process: MockServer) -> list[Outcome]:
    mesh_in_process.answers(
        "token-0", cash={"USD": LONG, "EUR": None}, buying_power={"USD": "0.10"}
    )
    mesh_in_process.answers("token-1", cash={"USD": "-1"})
    mesh_in_process.fails("token-2", "unauthorized-token")
    accounts = [LinkedAccount(f"token-{number}", "coinbase", number) for number in range(3)]
    with mesh_in_process.client() as mesh:
        return sorted(mesh.get_account_balances(accounts), key=lambda outcome: outcome.account.key)


def rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return what the guide shows: a row for each currency of each account that was read."""
    return [
        {"account": outcome.account.key, **record}
        for outcome in outcomes
        if outcome.balance
        for record in outcome.balance.to_records()
    ]


def test_pandas_keeps_decimals(outcomes: list[Outcome]) -> None:
    frame = pd.DataFrame(rows(outcomes))

    assert list(frame.columns) == ["account", *COLUMNS]
    assert frame["cash"].tolist() == [LONG, None, Decimal(-1)]
    assert frame.groupby("account")["buying_power"].first()[0] == Decimal("0.10")


def test_pandas_on_arrow_adds_them_up_exactly(outcomes: list[Outcome]) -> None:
    cash = pd.DataFrame(rows(outcomes))["cash"].astype(pd.ArrowDtype(pa.decimal128(38, 3)))

    assert cash.sum() == LONG - 1
    assert cash.isna().tolist() == [False, True, False]


def test_polars_keeps_decimals(outcomes: list[Outcome]) -> None:
    amounts = dict.fromkeys(COLUMNS[1:], pl.Decimal(38, 3))
    frame = pl.DataFrame(rows(outcomes), schema_overrides=amounts)

    assert frame["cash"].to_list() == [LONG, None, Decimal(-1)]
    assert frame["cash"].sum() == LONG - 1


def test_arrow_keeps_decimals(outcomes: list[Outcome]) -> None:
    table = pa.Table.from_pylist(rows(outcomes))

    assert pa.types.is_decimal(table.schema.field("cash").type)
    assert table["cash"].to_pylist() == [LONG, None, Decimal(-1)]
    assert table["currency"].to_pylist() == ["USD", "EUR", "USD"]
