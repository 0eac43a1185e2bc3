"""What the mock server records."""

from __future__ import annotations

import time

from tests.testing.support import BODY, PATH, Either


def test_calls_record_method_path_fields_headers_and_time(either: Either) -> None:
    mesh, client = either
    start = time.monotonic()

    client.post(PATH + "?a=1&a=2&b=", json=BODY)
    client.post("/nowhere", content=b"no JSON", headers={"X-Client-Id": "other"})

    first, second = mesh.calls
    assert (first.method, first.path) == ("POST", PATH)
    assert first.fields == {"a": "2"} | BODY
    assert first.headers["x-client-id"] == mesh.client_id
    assert start <= first.time <= second.time <= time.monotonic()
    assert (second.path, second.fields) == ("/nowhere", {})


def test_the_repr_of_a_call_shows_no_secret(either: Either) -> None:
    mesh, client = either

    client.post(PATH + "?UserId=user-secret", json=BODY)

    shown = repr(mesh.calls)
    assert PATH in shown
    for secret in ("a-token", "user-secret", mesh.client_id, mesh.client_secret):
        assert secret not in shown
