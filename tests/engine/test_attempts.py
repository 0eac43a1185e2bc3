"""Reports of attempts to `on_attempt`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from mesh_facade import Attempt, AuthenticationError, MeshConfigurationError, MeshError
from tests.support import OK, Script, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode


def test_on_attempt_receives_each_attempt(mode: Mode, clock: Clock) -> None:
    attempts: list[Attempt] = []
    script = Script(response(503, b"", {"Retry-After": "2"}), httpx.ReadError(""), OK)

    mode.client(transport=script, on_attempt=attempts.append).read()

    assert [(each.number, each.error, each.http_status) for each in attempts] == [
        (1, "ServerError", 503),
        (2, "MeshConnectionError", None),
        (3, None, None),
    ]
    assert [each.pause for each in attempts] == [*clock.pauses, None]
    assert attempts[0].pause == 2
    assert all(each.elapsed >= 0 for each in attempts)


def test_on_attempt_receives_a_final_failure(mode: Mode) -> None:
    attempts: list[Attempt] = []

    with pytest.raises(AuthenticationError):
        mode.client(transport=Script(response(401, b"")), on_attempt=attempts.append).read()

    assert [(each.number, each.error, each.pause) for each in attempts] == [
        (1, "AuthenticationError", None)
    ]


def test_client_of_with_options_reports_attempts(mode: Mode) -> None:
    attempts: list[Attempt] = []
    caller = mode.client(transport=Script(OK), on_attempt=attempts.append)

    caller.with_options(deadline=5).read()

    assert len(attempts) == 1


def test_error_of_on_attempt_propagates_to_the_caller(mode: Mode) -> None:
    def fail(_: Attempt) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        mode.client(transport=Script(OK), on_attempt=fail).read()


def test_error_of_a_client_that_is_closed_between_attempts_counts_them(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh_facade.engine.retries.FIRST_BACKOFF", 0.0)

    def find_secret() -> str:
        if script.requests:
            caller.client._runner.engine.pool.stop_signal.set()
        return "client-secret"

    script = Script(response(503, b""))
    caller = mode.client(client_secret=find_secret, transport=script)

    with pytest.raises(MeshError, match=r"^this client is closed$") as caught:
        caller.read()

    assert caught.value.attempts == 1


def test_error_of_a_secret_that_cannot_be_a_key_counts_the_attempts(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh_facade.engine.retries.FIRST_BACKOFF", 0.0)
    script = Script(response(503, b""))
    secrets = iter(["client-secret", "two words"])
    caller = mode.client(client_secret=lambda: next(secrets), transport=script)

    with pytest.raises(MeshConfigurationError) as caught:
        caller.read()

    assert caught.value.attempts == 1
