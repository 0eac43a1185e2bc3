"""docs/smallest_facade.py, which readers copy: it runs as it stands."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import httpx
import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "smallest_facade.py"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the file as a module whose attempts follow each other without a pause."""
    spec = importlib.util.spec_from_file_location("smallest_facade", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    return module


def read_cash(
    module: ModuleType, handler: Callable[[httpx.Request], httpx.Response]
) -> dict[str, Decimal | None]:
    facade = module.SmallFacade("https://mesh.example", "an-api-key", httpx.MockTransport(handler))
    cash: dict[str, Decimal | None] = facade.get_cash("a-token", "coinbase")
    facade.close()
    return cash


def envelope(rows: str) -> str:
    return f'{{"status": "ok", "content": {{"balances": {rows}}}}}'


def test_smallest_facade_shows_an_exact_result_after_a_retry_and_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "docs/smallest_facade.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "{'USD': Decimal('12345678901234567.89')}",
        "ApiError HTTP 401, and no JSON object",
    ]
    assert done.returncode == 0


def test_null_cash_is_none_and_never_zero(module: ModuleType) -> None:
    text = envelope('[{"currencyCode": "USD", "cash": null}]')

    assert read_cash(module, lambda _: httpx.Response(200, text=text)) == {"USD": None}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[]", id="a list"),
        pytest.param("[" * 100_000, id="nested too deeply"),
        pytest.param('{"status": "tooManyRequest"}', id="failure"),
        pytest.param('{"status": "ok", "content": null}', id="no content"),
        pytest.param('{"status": "ok", "content": {}}', id="no balances"),
        pytest.param(envelope("{}"), id="balances in an object"),
        pytest.param(envelope('["?"]'), id="a row that is a text"),
        pytest.param(
            envelope('[[["currencyCode", "USD"], ["cash", 1]]]'), id="a row that is a list of pairs"
        ),
        pytest.param(envelope('[{"cash": 1}]'), id="no currency"),
        pytest.param(envelope('[{"currencyCode": "USD"}]'), id="no cash"),
        pytest.param(envelope('[{"currencyCode": "USD", "cash": "1"}]'), id="cash in a text"),
        pytest.param(envelope('[{"currencyCode": "USD", "cash": true}]'), id="boolean cash"),
        pytest.param(envelope('[{"currencyCode": "USD", "cash": NaN}]'), id="NaN"),
        pytest.param(envelope('[{"currencyCode": "USD", "cash": Infinity}]'), id="infinity"),
        pytest.param(
            envelope(f'[{{"currencyCode": "USD", "cash": 1e{"9" * 20}}}]'), id="huge exponent"
        ),
        pytest.param(
            envelope(
                '[{"currencyCode": "USD", "cash": 1}, {"currencyCode": "USD", "cash": 2}]',
            ),
            id="one currency twice",
        ),
    ],
)
def test_answer_that_is_not_proven_to_be_a_balance_is_an_api_error(
    module: ModuleType, text: str
) -> None:
    with pytest.raises(module.ApiError):
        read_cash(module, lambda _: httpx.Response(200, text=text))


@pytest.mark.parametrize("http_status", [201, 204, 206, 302])
def test_http_status_that_the_generated_parser_does_not_know_is_an_api_error(
    module: ModuleType, http_status: int
) -> None:
    text = envelope('[{"currencyCode": "USD", "cash": 1}]')

    with pytest.raises(module.ApiError) as caught:
        read_cash(module, lambda _: httpx.Response(http_status, text=text))

    assert caught.value.http_status == http_status


def test_body_that_cannot_be_decompressed_is_an_error_that_leads_to_no_request(
    module: ModuleType,
) -> None:
    headers = {"Content-Encoding": "gzip"}

    with pytest.raises(module.ConnectionFailedError) as caught:
        read_cash(module, lambda _: httpx.Response(200, headers=headers, content=b"not gzip"))

    assert str(caught.value) == "DecodingError"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_status_and_headers_of_the_answer_reach_the_generated_function(module: ModuleType) -> None:
    answer = httpx.Response(200, headers={"X-Request-Id": "1"})

    checked = module.CheckedResponse(answer, {"decoded": "already"})

    assert checked.status_code == 200
    assert checked.headers["X-Request-Id"] == "1"
    assert checked.json() == {"decoded": "already"}


def test_closing_the_facade_closes_its_httpx_client(module: ModuleType) -> None:
    facade = module.SmallFacade("https://mesh.example", "an-api-key")

    facade.close()

    assert facade._engine.is_closed


def test_facade_pattern_links_to_the_smallest_facade_before_its_first_section() -> None:
    page = (ROOT / "docs" / "facade-pattern.md").read_text(encoding="utf-8")

    assert "(smallest_facade.py)" in page.partition("\n## ")[0]
