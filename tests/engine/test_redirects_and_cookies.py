"""Redirects are never followed, and cookies are never kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mesh_facade import MeshResponseError
from tests.support import OK, Peer

if TYPE_CHECKING:
    from tests.conftest import Mode, Serve


@pytest.mark.parametrize("http_status", [300, 301, 302, 303, 307, 308])
def test_redirects_are_never_followed(mode: Mode, serve: Serve, http_status: int) -> None:
    sink = serve()

    def redirect(peer: Peer) -> None:
        while True:
            peer.receive()
            peer.answer(b"", f"Location: {sink.url}/", status=http_status)

    caller = mode.client(base_url=serve(redirect).url)

    with pytest.raises(MeshResponseError, match=f"HTTP {http_status}"):
        caller.read()

    assert sink.connections == 0


def test_cookies_are_never_sent_back(mode: Mode, serve: Serve) -> None:
    def set_cookie(peer: Peer) -> None:
        while True:
            peer.receive()
            peer.answer(OK, "Set-Cookie: session=of-one-user; Path=/")

    server = serve(set_cookie)
    caller = mode.client(base_url=server.url)

    for _ in range(3):
        caller.read()
    caller.with_options(timeout=1).read()

    assert len(server.requests) == 4
    assert not [request for request in server.requests if b"cookie" in request.lower()]
