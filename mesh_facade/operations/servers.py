"""The spec's servers, and the names of the headers that carry the API keys.

`options`, `credentials` and `cli/doctor.py` use them. They are read here because, in this package,
only `operations/`, `client.py` and, for `BrokerType`, `__init__.py` import the generated client.
"""

from collections.abc import Iterable

from mesh_connect_client.spec import API_KEY_HEADERS, SERVERS

PRODUCTION = "production"
SANDBOX = "sandbox"


def map_environments_to_servers(servers: Iterable[str]) -> dict[str, str]:
    """Return the server of each environment.

    The spec gives its servers no names, but the sandbox's address says what it is.

    Raises:
        LookupError: The spec has two servers for one environment. Then this function must be
            changed to choose one.
    """
    server_by_environment: dict[str, str] = {}
    for server in servers:
        environment = PRODUCTION
        if "sandbox" in server:
            environment = SANDBOX
        if environment in server_by_environment:
            raise LookupError(
                f"the spec has two servers for {environment}: say in "
                "mesh_facade/operations/servers.py which one is meant"
            )
        server_by_environment[environment] = server
    return server_by_environment


SERVER_BY_ENVIRONMENT = map_environments_to_servers(SERVERS)
CLIENT_ID_HEADER = API_KEY_HEADERS["Client-Id"]
CLIENT_SECRET_HEADER = API_KEY_HEADERS["Client-Secret"]
