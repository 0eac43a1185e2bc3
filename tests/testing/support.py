"""What the tests of the mock server share: a request that it accepts."""

from __future__ import annotations

import httpx

from mesh_facade.testing import MockServer

PATH = "/api/v1/balance/get"
KEYS = {"X-Client-Id": MockServer.client_id, "X-Client-Secret": MockServer.client_secret}
BODY = {"authToken": "a-token", "type": "coinbase"}

Either = tuple[MockServer, httpx.Client]
