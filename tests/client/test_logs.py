"""Log records: failed attempts as metadata, and never a secret."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from mesh_facade import NotFoundError
from tests.leaks import ECHOED_FIELDS, find_secrets
from tests.support import OK, Peer, Script, envelope, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode, Serve


def test_failed_attempt_is_logged_as_metadata_without_any_secret(
    mode: Mode, serve: Serve, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_and_answer(peer: Peer) -> None:
        peer.receive()
        peer.answer(envelope("serverFailure", **ECHOED_FIELDS), status=500)
        peer.answer_all()

    caller = mode.client(base_url=serve(fail_and_answer).url)

    with caplog.at_level(logging.DEBUG):
        caller.read()

    [record, call] = [record for record in caplog.records if record.name.startswith("mesh_facade")]
    assert record.levelno == logging.DEBUG
    assert call.levelno == logging.INFO
    fields = {name: value for name, value in vars(record).items() if name.startswith("mesh_")}
    assert fields == {
        "mesh_attempt_number": 1,
        "mesh_attempt_elapsed": 0.0,
        "mesh_attempt_error": "ServerError",
        "mesh_attempt_http_status": 500,
        "mesh_attempt_pause": clock.pauses[0],
        "mesh_attempt_key": None,
    }
    texts = [record.getMessage() + repr(vars(record)) for record in caplog.records]
    assert len(texts) > 10  # httpcore's, too
    assert find_secrets("".join(texts)) == []
    assert len(clock.pauses) == 1


def test_each_call_is_logged_at_info(
    mode: Mode, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caller = mode.client(transport=Script(OK, response(404, b"")))

    with caplog.at_level(logging.INFO):
        caller.read()
        with pytest.raises(NotFoundError):
            caller.read()

    accepted, failed = caplog.records
    fields = ("attempts", "elapsed", "error", "http_status", "key")
    assert [vars(accepted)[f"mesh_call_{name}"] for name in fields] == [1, 0.0, None, None, None]
    assert [vars(failed)[f"mesh_call_{name}"] for name in fields] == [
        1,
        0.0,
        "NotFoundError",
        404,
        None,
    ]
    assert accepted.getMessage() == "call ended after 1 attempt and 0.000 s: ok"
    assert failed.getMessage() == "call ended after 1 attempt and 0.000 s: NotFoundError"
    assert clock.pauses == []


def test_no_call_is_logged_unless_somebody_listens(
    mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        mode.client(transport=Script(OK)).read()

    assert caplog.records == []
