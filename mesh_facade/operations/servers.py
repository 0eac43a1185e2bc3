"""The spec's servers, and the names of the headers that carry the API keys.

`options` and `credentials` use them. They are read here because only `operations/` and `client.py`
may import the generated client.
"""

from mesh_connect_client.spec import API_KEY_HEADERS, SERVERS

PRODUCTION = "production"
SANDBOX = "sandbox"

# The spec gives its servers no names, but the sandbox's address says what it is.
SERVER_BY_ENVIRONMENT = {
    (SANDBOX if "sandbox" in server else PRODUCTION): server for server in SERVERS
}
CLIENT_ID_HEADER = API_KEY_HEADERS["Client-Id"]
CLIENT_SECRET_HEADER = API_KEY_HEADERS["Client-Secret"]
