"""What goes over the wire and what it means: arguments to request, answer to balance or error.

Pure: nothing here waits or sends. The wire's names are read off the generated models, so that a
regenerated client takes this module along.
"""

import math
import zlib
from collections.abc import Callable
from decimal import Decimal
from types import NoneType
from typing import Any, cast

import attrs
import httpx
from mesh_connect_client.models import (
    ApiResult,
    B2BBrokerAccountBalance,
    B2BBrokerAccountBalanceModel,
    B2BBrokerAccountBalanceModelApiResult,
    BalanceBrokerBaseRequest,
    BrokerType,
)
from mesh_connect_client.types import Response

from mesh_facade import errors
from mesh_facade._json import decode
from mesh_facade._retry import retry_after
from mesh_facade.balances import AccountBalance, CurrencyBalance

MAX_BODY_BYTES = 1024 * 1024
"""The largest body that is read, as sent and inflated: a rule of ours, not of Mesh."""

_MOST_ZEROS = 1000  # of a zero: a rule of ours
_SURELY_DOUBLE = 300  # any number of fewer digits than this lies in the range of a double

_ERRORS: list[tuple[int, str, type[errors.MeshAPIError]]] = [
    (400, "badRequest", errors.BadRequestError),
    (401, "", errors.AuthenticationError),
    (403, "permissionDenied", errors.PermissionDeniedError),
    (404, "notFound", errors.NotFoundError),
    (409, "conflict", errors.ConflictError),
    (423, "locked", errors.LockedError),
    (429, "tooManyRequest", errors.RateLimitError),
    (451, "unavailableForLegalReasons", errors.UnavailableForLegalReasonsError),
    (500, "serverFailure", errors.ServerError),
]
_BY_HTTP_STATUS = {http_status: kind for http_status, _, kind in _ERRORS}
_BY_STATUS = {status.lower(): kind for _, status, kind in _ERRORS if status}


def balance_request(auth_token: str, broker: BrokerType | str) -> BalanceBrokerBaseRequest:
    """Check the arguments of a call: TypeError or ValueError where they cannot be sent."""
    for name, value in (("auth_token", auth_token), ("broker", broker)):
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a string, not {type(value).__name__}")
        if not value.strip():
            raise ValueError(f"{name} is empty")
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError(f"{name} is not Unicode text: it holds half of a surrogate pair")
    return BalanceBrokerBaseRequest(auth_token, getattr(broker, "value", broker))


class Body:
    """A body on its way in: inflated as it comes, and never more than `MAX_BODY_BYTES` of it."""

    def __init__(self, response: httpx.Response) -> None:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        self.problem = "" if encoding in {"identity", "gzip"} else "its encoding was not asked for"
        self.content = bytearray()
        self._received = 0
        self._gzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None

    def feed(self, chunk: bytes) -> bool:
        """Take a chunk as sent; return whether more is wanted."""
        self._received += len(chunk)
        if self._gzip and not self.problem:
            try:
                chunk = self._gzip.decompress(chunk, MAX_BODY_BYTES - len(self.content) + 1)
            except zlib.error:
                self.problem = "its gzip encoding is damaged"
            if self._gzip.unused_data:
                self.problem = "its body goes on behind the end of its gzip encoding"
        self.content += chunk
        if max(self._received, len(self.content)) > MAX_BODY_BYTES:
            self.problem = f"its body is larger than {MAX_BODY_BYTES} bytes"
        return not self.problem

    def decoded(self) -> tuple[Any, str]:
        """Return what the whole body says, and what keeps it from being read, if anything does."""
        if self._gzip and not self._gzip.eof and not self.problem:
            self.problem = "its gzip encoding is cut off"
        try:
            return (None if self.problem else decode(bytes(self.content))), self.problem
        except UnicodeError:
            return None, "it is not UTF-8 text"
        except (ValueError, ArithmeticError, RecursionError):  # their texts may quote the body
            return None, "it is not JSON, or not JSON that all readers agree about"


def judge(
    response: httpx.Response, body: Body, find_problem: Callable[[Any], str | None]
) -> tuple[bytes, Any] | errors.MeshError:
    """Say what an answer means: its body and envelope where it is accepted, else the error."""
    envelope, problem = body.decoded()
    said: dict[str, Any] = envelope if type(envelope) is dict else {}
    status = _text(said.get(_RESULT["status"]))
    error_class: type[errors.MeshAPIError] | None = _BY_STATUS.get((status or "").lower())
    if error_class is None and not response.is_success:
        other = errors.MeshAPIError if response.is_error else None
        error_class = _BY_HTTP_STATUS.get(min(response.status_code, 500), other)
        problem = "it is neither an answer nor an error"
    elif error_class is None and status == "ok":
        problem = problem or find_problem(envelope) or ""
        if not problem:
            return bytes(body.content), envelope
    elif error_class is None and status is not None:
        error_class = errors.MeshAPIError
    error: errors.MeshResponseError | errors.MeshAPIError
    if error_class is None:
        problem = problem or "it is no envelope with a status"
        error = errors.MeshResponseError(
            f"Mesh's answer (HTTP {response.status_code}) cannot be used: {problem}"
        )
    else:
        names = ("status", "error_type", "message", "display_message", "error_hash")
        texts = {name: _text(said.get(_RESULT[name])) for name in names}
        shown = [texts["status"], texts["error_type"], texts["message"]]
        told = [f"Mesh answered HTTP {response.status_code}", *filter(None, shown)]
        error = error_class(": ".join(told))
        vars(error).update(texts, error_data=said.get(_RESULT["error_data"]))
        error.retry_after = retry_after(response.headers)
    error.http_status = response.status_code
    error.request_id = response.headers.get("x-request-id") or response.headers.get("cf-ray")
    return error


def find_balance_problem(envelope: Any) -> str | None:
    """Say what keeps a decoded answer from being a balance as the contract allows it.

    What Mesh left out is set to null, which means the same.
    """
    wrong = _find_wrong(envelope)
    return f"its {wrong} is not what the contract allows" if wrong else None


def _find_wrong(envelope: Any) -> str | None:
    content: Any = envelope.get(_ENVELOPE["content"])
    if type(content) is not dict or content.keys().isdisjoint(_CONTENT.values()):
        return "content"
    rows: Any = content.get(_CONTENT["balances"])
    rows = [] if rows is None else rows
    if type(rows) is not list:
        return "content.balances"
    if not {*map(type, rows)} <= {dict}:
        return f"content.balances[{[type(row) is dict for row in rows].index(False)}]"
    texts = [*map(envelope.get, _TEXTS), *[row.setdefault(_CODE) for row in rows]]
    amounts = [
        *map(content.setdefault, _TOTALS),
        *[row.setdefault(key) for key in _AMOUNTS for row in rows],
    ]
    if _are_texts(texts) and _are_amounts(amounts):
        return None
    wrong = (  # one by one takes five times as long
        f"content.balances[{number}].{key}"
        for number, row in enumerate(rows)
        for key in (_CODE, *_AMOUNTS)
        if not (_are_texts if key == _CODE else _are_amounts)([row[key]])
    )
    return next(wrong, "text or total")


def account_balance(answer: Response[Any]) -> AccountBalance:
    """Turn what the generated operation returned into the domain's terms."""
    content = cast("B2BBrokerAccountBalanceModelApiResult", answer.parsed).content
    content = cast("B2BBrokerAccountBalanceModel", content)
    told: Any = content.balances or ()  # the numbers in them, like the totals, are Decimal
    rows = [
        CurrencyBalance(
            row.currency_code, row.cash, row.buying_power, row.cryptocurrency_buying_power
        )
        for row in told
    ]
    totals: Any = content.total_cash_usd_value, content.total_buying_power_usd_value
    return AccountBalance(tuple(rows), totals[0], totals[1], answer.content)


def _are_texts(values: list[Any]) -> bool:
    return {*map(type, values)} <= {str, NoneType}


def _are_amounts(values: list[Any]) -> bool:
    """Whether all are null, or numbers within the range of the spec's `double`."""
    try:
        exponents = {*map(Decimal.adjusted, values)}
    except TypeError:  # null is among them, or what is no number
        numbers = [value for value in values if value is not None]
        return {*map(type, numbers)} <= {Decimal} and _are_amounts(numbers)
    is_surely = all(-_SURELY_DOUBLE < exponent < _SURELY_DOUBLE for exponent in exponents)
    return is_surely or all(map(_is_double, values))


def _is_double(number: Decimal) -> bool:
    """Nor may a zero have more digits than can be written out: 0e-999999999 takes a gigabyte."""
    is_held = bool(number) == bool(float(number)) and abs(float(number)) < math.inf
    return is_held and abs(number.adjusted()) < _MOST_ZEROS


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


class _WireNames(dict[str, str]):
    """The names that the attributes of a generated model have on the wire.

    One that this version of the spec lacks has the name that Mesh would give it.
    """

    def __init__(self, model: type[attrs.AttrsInstance]) -> None:
        marks = {field.name: object() for field in attrs.fields(model) if field.init}
        written = cast("Any", model)(**marks).to_dict()
        names = {id(value): key for key, value in written.items()}
        super().__init__({name: names[id(mark)] for name, mark in marks.items()})

    def __missing__(self, name: str) -> str:
        head, *tail = name.split("_")
        return head + "".join(map(str.title, tail))


_RESULT = _WireNames(ApiResult)
_ENVELOPE = _WireNames(B2BBrokerAccountBalanceModelApiResult)
_CONTENT = _WireNames(B2BBrokerAccountBalanceModel)
_ROW = _WireNames(B2BBrokerAccountBalance)
_ROW_FIELDS = ("currency_code", "cash", "buying_power", "cryptocurrency_buying_power")
_TEXTS = [_ENVELOPE[name] for name in ("message", "display_message", "error_hash", "error_type")]
_TOTALS = [_CONTENT[name] for name in ("total_cash_usd_value", "total_buying_power_usd_value")]
_CODE, *_AMOUNTS = (_ROW[name] for name in _ROW_FIELDS)
