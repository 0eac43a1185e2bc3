"""`mesh-balance doctor`: checks keys, address, proxy, connection and clock of this machine."""

import datetime as dt
import email.utils
import http
import os
import ssl
import time
from collections.abc import Callable

import attrs
import httpx

from mesh_facade import MeshClient, MeshConfigurationError, MeshConnectionError, MeshError
from mesh_facade.cli.exit_codes import find_verdict
from mesh_facade.cli.terminal import one_line
from mesh_facade.cli.variables import check_api_keys_are_set, name_key_variables

# These names are not public. The checks need them to open the same connection as a client.
from mesh_facade.engine.proxies import find_proxy, uses_tls
from mesh_facade.engine.thread_connection import ThreadConnection
from mesh_facade.engine.tls import find_ssl_context
from mesh_facade.operations.servers import PRODUCTION, SANDBOX, SERVER_BY_ENVIRONMENT
from mesh_facade.options import find_base_url

_MAX_CLOCK_DIFFERENCE = 60  # seconds
_TIMEOUT = 10.0  # seconds
_SANDBOX_PREFIX = "sk_sandbox_"
_UNREAD_CERTIFICATE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # httpx reads neither
# OpenSSL gives one of these reasons if a server answers without TLS; from 3.2 on, the last one.
_REASONS_OF_PLAIN_TEXT = (
    "WRONG_VERSION_NUMBER",
    "PACKET_LENGTH_TOO_LONG",
    "HTTP_REQUEST",
    "RECORD_LAYER_FAILURE",
)


@attrs.frozen
class CheckResult:
    """The result of one check: exit code 0 where it passed, and a line that explains it."""

    name: str
    exit_code: int
    detail: str


def run_checks(environment: str | None) -> list[CheckResult]:
    """Run all checks; one that fails does not keep the next from running."""
    return [
        _run_check("keys", _check_keys, environment),
        _run_check("connection", _check_connection, environment),
    ]


def _run_check(
    name: str, check: Callable[[str | None], str], environment: str | None
) -> CheckResult:
    """Run a check: it returns the detail, or raises an error whose message becomes the detail."""
    try:
        detail = check(environment)
    except (MeshError, OSError, ImportError) as error:
        detail = one_line(name_key_variables(str(error)))
        return CheckResult(name, find_verdict(error).exit_code, detail)
    return CheckResult(name, 0, detail)


def _check_keys(environment: str | None) -> str:
    """Check the keys alone: `_check_connection` checks the address, the proxy and TLS."""
    check_api_keys_are_set()
    # The constructor checks the keys, and MESH_LOG. With this address it needs neither TLS nor a
    # proxy, so it does not check them.
    MeshClient(environment=PRODUCTION, base_url="http://localhost").close()
    try:
        url = find_base_url(environment, None)
    except MeshConfigurationError:
        pass  # the check of the connection reports it
    else:
        _check_environment_of_keys(url.host, environment)
    return "present and well-formed; only `mesh-balance get` shows whether Mesh accepts them"


def _check_environment_of_keys(host: str, environment: str | None) -> None:
    """Raise MeshConfigurationError if sandbox keys are used in production, or the reverse.

    Args:
        host: The host to which calls go.
        environment: The option --environment, for the advice.
    """
    environment_by_host = {
        httpx.URL(server).host: name for name, server in SERVER_BY_ENVIRONMENT.items()
    }
    if host not in environment_by_host:
        return  # a mock server, or a gateway
    is_sandbox_host = environment_by_host[host] == SANDBOX
    is_sandbox_key = os.environ["MESH_CLIENT_SECRET"].startswith(_SANDBOX_PREFIX)
    if is_sandbox_key and not is_sandbox_host:
        raise MeshConfigurationError(
            f"MESH_CLIENT_SECRET is a sandbox key (it starts with {_SANDBOX_PREFIX}), but {host} "
            "is the production host: use production keys, or "
            f"{_advise_to_change_environment(SANDBOX, environment)}"
        )
    if is_sandbox_host and not is_sandbox_key:
        raise MeshConfigurationError(
            f"MESH_CLIENT_SECRET is not a sandbox key (it does not start with {_SANDBOX_PREFIX}), "
            f"but {host} is the sandbox host: use sandbox keys, or "
            f"{_advise_to_change_environment(PRODUCTION, environment)}"
        )


def _advise_to_change_environment(wanted: str, environment: str | None) -> str:
    """Return advice on how to switch to the wanted environment."""
    advice = f"set MESH_ENVIRONMENT={wanted}"
    if environment is not None:
        advice = f"pass --environment {wanted}"  # the option takes precedence over the variable
    if os.environ.get("MESH_BASE_URL"):
        advice = f"unset MESH_BASE_URL and {advice}"  # it takes precedence over both
    return advice


def _check_connection(environment: str | None) -> str:
    """Send a request without keys, and compare the clock with the server's."""
    url = find_base_url(environment, None)
    proxy = find_proxy(url, None)
    address = _format_address(url)
    route = address
    if proxy is not None:
        route = f"{address} through the proxy {_format_address(proxy.url)}"
    try:
        response = _send_without_keys(url, proxy)
    except httpx.TransportError as error:
        problem = f"{type(error).__name__}: {error}"
        advice = "check the host name, the network, the proxy and SSL_CERT_FILE"
        if os.environ.get("SSL_CERT_DIR"):
            advice += " (or SSL_CERT_DIR)"
        tls_error = _find_tls_error(error)
        if tls_error is not None:
            if _means_plain_text(tls_error):
                advice = (
                    "the server does not answer with TLS: check the port, and whether the URL "
                    "should start with http:// or https://"
                )
                if proxy is not None and proxy.url.scheme == "https":
                    advice = (
                        "the server or the proxy does not answer with TLS: check the ports, and "
                        "whether the URLs should start with http:// or https://"
                    )
            else:
                advice += _describe_unread_variables()
        raise MeshConnectionError(f"cannot reach {route} ({problem}): {advice}") from None

    clock_clause = _check_clock(response, address)
    answer = f"HTTP {response.status_code}"
    if response.status_code == http.HTTPStatus.UNAUTHORIZED:
        answer += " to a request without keys, as expected"
    return f"{route} answers ({answer}), {clock_clause}"


def _format_address(url: httpx.URL) -> str:
    """Return the host, and the port unless it is the usual one; never the user or password."""
    return url.netloc.decode("ascii")


def _send_without_keys(url: httpx.URL, proxy: httpx.Proxy | None) -> httpx.Response:
    """Send a HEAD request on a connection such as a client would open."""
    ssl_context = find_ssl_context(verify=True, is_tls=uses_tls(url, proxy))
    connection = ThreadConnection(url, ssl_context, proxy)
    connection.deadline_at = time.monotonic() + _TIMEOUT
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), _TIMEOUT)
    try:
        return connection.send(httpx.Request("HEAD", url, extensions={"timeout": timeout}))
    finally:
        connection.close()


def _check_clock(response: httpx.Response, address: str) -> str:
    """Compare the clock with the server's, and return the end of the sentence that reports it.

    Raises:
        MeshConfigurationError: The clocks differ.
    """
    server_time = _read_date(response)
    if server_time is None:
        return "and the clocks were not compared, because it sends no readable time"
    seconds_ahead = (dt.datetime.now(dt.UTC) - server_time).total_seconds()
    if seconds_ahead > _MAX_CLOCK_DIFFERENCE:
        difference = f"{seconds_ahead:.0f} s ahead of"
    elif seconds_ahead < -_MAX_CLOCK_DIFFERENCE:
        difference = f"{-seconds_ahead:.0f} s behind"
    else:
        return "and the clocks agree"
    raise MeshConfigurationError(
        f"the clock of this machine is {difference} the clock of {address}: set it"
    )


def _read_date(response: httpx.Response) -> dt.datetime | None:
    """Return the time in the header Date; None if it is missing or cannot be read."""
    try:
        date = email.utils.parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError, OverflowError):  # OverflowError: a year of 20 digits
        return None
    if date.tzinfo is None:  # the zone is -0000, which means UTC
        date = date.replace(tzinfo=dt.UTC)
    return date


def _means_plain_text(error: ssl.SSLError) -> bool:
    """Return True if a TLS error means that the server answered without TLS."""
    # A Python that is older than its OpenSSL does not know the reason. Then `error.reason` is None,
    # but the text still says "record layer failure".
    return error.reason in _REASONS_OF_PLAIN_TEXT or "record layer failure" in str(error)


def _find_tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Return the first TLS error among this error and those that led to it; None if none is."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _describe_unread_variables() -> str:
    """Return advice about variables that name certificates for other programs only."""
    ssl_cert_file = os.environ.get("SSL_CERT_FILE")
    names: list[str] = []
    for name in _UNREAD_CERTIFICATE_VARIABLES:
        file = os.environ.get(name)
        if file and file != ssl_cert_file:
            names.append(name)
    if not names:
        return ""
    verb = "are"
    if len(names) == 1:
        verb = "is"
    subject = " and ".join(names)
    return f"; {subject} {verb} set, but not read here: set SSL_CERT_FILE to the same file"
