"""The response that generated code gets for an accepted answer."""

from __future__ import annotations

import httpx

from mesh_facade.engine.bodies import Answer
from mesh_facade.engine.engine import AcceptedAnswer
from mesh_facade.engine.httpx_clients import AcceptedResponse


def test_accepted_response_can_be_printed() -> None:
    answer = Answer(200, httpx.Headers(), b"{}", {}, "")

    assert repr(AcceptedResponse(AcceptedAnswer(answer, 1))) == "<AcceptedResponse [200]>"
