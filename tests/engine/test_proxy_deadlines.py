"""Calls through slow proxies and to slow servers behind proxies end in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.engine.proxy_servers import Send, forwarder, http_proxy, send_dripping, send_whole
from tests.engine.proxy_support import (
    DEADLINE,
    KINDS,
    Certificates,
    SetUpProxy,
    answer_dripping,
    assert_times_out_after,
)
from tests.support import Peer

if TYPE_CHECKING:
    from tests.conftest import Mode, Serve


@attrs.frozen
class SlowPart:
    """What is slow between a client and its answer; see `SetUpProxy`."""

    handle_server: Callable[[Peer], None] = Peer.answer_all
    handle_proxy: Callable[[Peer], None] | None = None
    reply: Callable[[Peer], Send] = send_whole
    tunnel: Callable[[Peer], Send] = send_whole


SLOW_PARTS = {
    "silent proxy": SlowPart(handle_proxy=Peer.hold),
    "reply of the proxy drips": SlowPart(reply=send_dripping, tunnel=send_dripping),
    "handshake with the server drips": SlowPart(tunnel=send_dripping),
    "answer of the server drips": SlowPart(handle_server=answer_dripping),
    "silent server": SlowPart(handle_server=Peer.hold),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slow_part", SLOW_PARTS.values(), ids=SLOW_PARTS)
def test_deadline_ends_a_call_whichever_part_is_slow(
    set_up_proxy: SetUpProxy, kind: str, slow_part: SlowPart
) -> None:
    setup = set_up_proxy(
        kind,
        handle_server=slow_part.handle_server,
        handle_proxy=slow_part.handle_proxy,
        reply=slow_part.reply,
        tunnel=slow_part.tunnel,
        deadline=DEADLINE,
    )

    assert_times_out_after(DEADLINE, setup.caller)


def test_deadline_ends_a_call_while_the_handshake_with_its_proxy_drips(
    mode: Mode, serve: Serve, certificates: Certificates
) -> None:
    proxy = serve(http_proxy(), tls=certificates.server)
    slow = serve(forwarder(proxy.port, send_dripping))
    caller = mode.client(
        base_url="https://127.0.0.1:1",
        proxy=f"https://127.0.0.1:{slow.port}",
        verify=certificates.trust,
        deadline=DEADLINE,
    )

    assert_times_out_after(DEADLINE, caller)


@pytest.mark.parametrize("kind", KINDS)
def test_timeout_ends_the_wait_for_a_silent_proxy(set_up_proxy: SetUpProxy, kind: str) -> None:
    setup = set_up_proxy(kind, handle_proxy=Peer.hold, timeout=0.2, max_attempts=1)

    assert_times_out_after(0.2, setup.caller)


def test_timeout_ends_the_handshake_with_a_silent_server(
    set_up_proxy: SetUpProxy,
) -> None:
    def reply_and_fall_silent(peer: Peer) -> None:
        peer.receive()
        peer.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        peer.hold()

    setup = set_up_proxy("https", handle_proxy=reply_and_fall_silent, timeout=0.2, max_attempts=1)

    assert_times_out_after(0.2, setup.caller)
