"""Bodies: those that the contract allows are exact balances, and all others are refused."""

from __future__ import annotations

import copy
import functools
import json
import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from mesh_facade import AccountBalance, MeshAPIError, MeshClient, MeshResponseError
from tests.faults.observation import Outcome, try_call
from tests.trust import corpus

if TYPE_CHECKING:
    from tests.conftest import Mode

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2000"))
"""Bodies of a run, in `make test`; `make fuzz` sets more and lets chance choose them."""

PART = 1000  # hypothesis remembers each body of a part
in_parts = pytest.mark.parametrize("part", range(EXAMPLES // (2 * PART)))
fuzzed = hypothesis.settings(
    max_examples=PART,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


class Server:
    """A handler for httpx.MockTransport that answers with the body it holds."""

    body = b""

    def __call__(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=self.body)


def test_corpus_has_at_least_120_bodies() -> None:
    assert len(corpus.ALLOWED) + len(corpus.REFUSED) >= 120


def test_corpus_agrees_with_the_spec() -> None:
    allowed = {name: corpus.is_balance(body) for name, body in corpus.ALLOWED.items()}
    assert [name for name, is_balance in allowed.items() if not is_balance] == []
    refused = {name: corpus.is_balance(body) for name, body in corpus.REFUSED.items()}
    assert [name for name, is_balance in refused.items() if is_balance] == []


@pytest.mark.parametrize("body", corpus.ALLOWED.values(), ids=corpus.ALLOWED)
def test_allowed_body_is_a_balance(mode: Mode, body: bytes) -> None:
    server = Server()
    server.body = body

    balance = mode.client(transport=httpx.MockTransport(server)).read()

    assert is_exact(balance, body)


@pytest.mark.parametrize("body", corpus.REFUSED.values(), ids=corpus.REFUSED)
def test_body_that_is_not_allowed_raises_response_error_after_one_attempt(
    mode: Mode, body: bytes
) -> None:
    server = Server()
    server.body = body
    mesh = mode.client(transport=httpx.MockTransport(server))

    error = try_call(mesh.read, "token").error

    assert type(error) is MeshResponseError
    assert (error.attempts, error.http_status) == (1, 200)


def is_exact(balance: AccountBalance, body: bytes) -> bool:
    """Return True if a balance has the amounts of the body, digit for digit."""
    content = json.loads(body, parse_float=Decimal, parse_int=Decimal)["content"]
    keys = ("currencyCode", "cash", "buyingPower", "cryptocurrencyBuyingPower")
    sent = [tuple(map(row.get, keys)) for row in content.get("balances") or ()]
    totals = (content.get("totalCashUsdValue"), content.get("totalBuyingPowerUsdValue"))
    # As text: Decimal("1.0") equals Decimal("1"), and is not what was sent.
    return str([tuple(attrs.astuple(row)) for row in balance.rows]) == str(sent) and str(
        (balance.total_cash_usd, balance.total_buying_power_usd)
    ) == str(totals)


# --- from the spec's schemas --------------------------------------------------------------------


@attrs.frozen
class Text:
    """A number, or any other piece of JSON, as it is written in the body."""

    json: str


def write(value: Any) -> str:
    """Write JSON from plain objects and pieces of JSON."""
    if isinstance(value, Text):
        return value.json
    if isinstance(value, dict):
        return "{" + ", ".join(f"{write(key)}: {write(it)}" for key, it in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(write, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


texts = st.sampled_from(["", "USD", "eur", "ok", "a b", "€✓", "\U0001f600", "\0", '"\\', "x" * 99])
numbers = st.builds(
    lambda number, fraction, exponent: Text(f"{number}{fraction}{exponent}"),
    st.integers(-(10**24), 10**24),
    st.sampled_from(["", ".0", ".50", f".{'0' * 30}1"]) | st.integers(0, 10**20).map(".{}".format),
    st.just("") | st.integers(-250, 250).map("e{}".format),
)
anything: st.SearchStrategy[Any] = st.one_of(
    texts,
    numbers,
    st.sampled_from([None, True, False, [], {}, [None, "x"], {"cash": 1}, {"a": {"b": [[]]}}]),
)


def conforming(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for all that a schema allows, unknown fields included."""
    found: st.SearchStrategy[Any]
    schema = corpus.resolve(schema)
    match schema.get("type"):
        case "object":
            known = {name: conforming(inner) for name, inner in schema["properties"].items()}
            unknown = st.dictionaries(texts.map("x-".__add__), anything, max_size=2)
            found = st.builds(dict.__or__, unknown, st.fixed_dictionaries({}, optional=known))
        case "array":
            found = st.lists(conforming(schema["items"]), max_size=4)
        case "number":
            found = numbers
        case "string":
            found = texts
        case _:
            found = anything
    return st.one_of(found, st.none()) if schema.get("nullable") else found


some_content = conforming({**corpus.CONTENT, "nullable": False}).filter(
    lambda content: any(name in content for name in corpus.CONTENT["properties"])
)
envelopes = st.builds(
    lambda envelope, content: {**envelope, "status": "ok", "content": content},
    conforming(corpus.ENVELOPE),
    some_content,
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """List each place in a value, as its container and its key."""
    keys: Any = range(len(value)) if isinstance(value, list) else value
    if not isinstance(value, list | dict):
        return []
    return [place for key in keys for place in [(value, key), *_places(value[key])]]


JUNK = st.one_of(
    anything,
    st.sampled_from(
        [Text(text) for text in ("NaN", "-Infinity", "1e999", "1e-999", "9" * 400, "", '"\\ud800"')]
    ),
    st.sampled_from(["ok", "OK", "badRequest", "ofTomorrow", [], {}, False]),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Take an envelope that the schemas allow, and change a few things in it."""
    envelope = copy.deepcopy(draw(envelopes))
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(_places(envelope)))
        match draw(st.sampled_from(["replace", "remove", "rename", "repeat"])):
            case "remove":
                del container[key]
            case "rename" if isinstance(container, dict):
                container[draw(texts)] = container.pop(key)
            case "repeat" if isinstance(container, dict):
                container[Text(write(key))] = copy.deepcopy(container[key])
            case _:
                container[key] = copy.deepcopy(draw(JUNK))  # sampled values are shared
        if not envelope:
            break
    body = write(envelope).encode()
    if draw(st.booleans()):
        return body
    start = draw(st.integers(0, len(body)))
    length = draw(st.integers(0, 4))
    return body[:start] + draw(st.binary(max_size=4)) + body[start + length :]


SERVER = Server()


@functools.cache
def _mesh() -> MeshClient:
    return MeshClient("client-id", "client-secret", transport=httpx.MockTransport(SERVER))


def read(body: bytes) -> Outcome:
    SERVER.body = body
    return try_call(lambda token: _mesh().get_account_balance(token, "coinbase"), "token")


@in_parts
@fuzzed
@hypothesis.given(body=envelopes.map(write).map(str.encode))
def test_body_that_the_schemas_allow_is_an_exact_balance(
    part: int,  # noqa: ARG001 — each is a draw of its own
    body: bytes,
) -> None:
    outcome = read(body)

    assert outcome.error is None
    assert is_exact(outcome.value, body)


def _refusal(body: bytes) -> type[Exception]:
    """Return the class that a body which is no balance may raise, besides MeshResponseError."""
    try:
        status = json.loads(body.decode())["status"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return MeshResponseError
    return MeshAPIError if isinstance(status, str) and status != "ok" else MeshResponseError


@in_parts
@fuzzed
@hypothesis.given(body=mutated())
def test_mutated_body_is_a_balance_only_if_the_schemas_allow_it(
    part: int,  # noqa: ARG001 — each is a draw of its own
    body: bytes,
) -> None:
    outcome = read(body)

    if corpus.is_balance(body):
        assert outcome.error is None
        assert is_exact(outcome.value, body)
    else:
        assert isinstance(outcome.error, (MeshResponseError, _refusal(body)))


@pytest.mark.parametrize("status", ["ofTomorrow", "OK ", "", *corpus.KNOWN_STATUSES[1:]])
@pytest.mark.usefixtures("no_backoff")
def test_balance_with_another_status_raises_api_error(status: str) -> None:
    outcome = read(corpus.envelope('{"balances": []}', status=json.dumps(status)))

    assert isinstance(outcome.error, MeshAPIError)
    assert outcome.error.status == status
