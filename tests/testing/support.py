"""What the tests of the mock server share: a request that it accepts."""

from __future__ import annotations

import sys

import httpx

from mesh_facade.testing import MockServer

PATH = "/api/v1/balance/get"
KEYS = {"X-Client-Id": MockServer.client_id, "X-Client-Secret": MockServer.client_secret}
BODY = {"authToken": "a-token", "type": "coinbase"}

# The system's words for a port that another program listens on.
PORT_IS_TAKEN = "in use"
if sys.platform == "win32":
    PORT_IS_TAKEN = "Only one usage of each socket address"

Either = tuple[MockServer, httpx.Client]
