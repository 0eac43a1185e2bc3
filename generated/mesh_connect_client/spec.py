"""The servers and the API keys of the spec."""

SERVERS: tuple[str, ...] = (
    "https://integration-api.meshconnect.com",
    "https://sandbox-integration-api.meshconnect.com",
)
"""The servers' URLs, in the order of the spec."""

API_KEY_HEADERS: dict[str, str] = {
    "Client-Id": "X-Client-Id",
    "Client-Secret": "X-Client-Secret",
}
"""The header that carries each API key, by the name of the key's security scheme."""
