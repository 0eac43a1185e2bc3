"""Shows what this project does, without API keys or network.

It goes from the source that Mesh publishes to a spec, a generated client and a balance.

`make demo` runs it.
"""

import asyncio
import sys

from check_drift import check_generated
from import_spec import check_source
from openapi_tools.command_line import command
from openapi_tools.json_values import SpecError

from mesh_facade import AccountBalance, AuthenticationError, MeshError
from mesh_facade.testing import MockServer

AUTH_TOKEN = "a-users-token"  # noqa: S105 — invented, for the mock server
BROKER = "coinbase"


class DemoError(Exception):
    """The demo found something that is not as it says."""


def _read_balances(mesh: MockServer) -> AccountBalance:
    """Read the same account with both clients, and return the balance if they agree."""
    with mesh.client() as client:
        balance = client.get_account_balance(AUTH_TOKEN, BROKER)
    if asyncio.run(_read_balance_async(mesh)) != balance:
        raise DemoError("MeshClient and AsyncMeshClient read different balances")
    return balance


async def _read_balance_async(mesh: MockServer) -> AccountBalance:
    async with mesh.async_client() as client:
        return await client.get_account_balance(AUTH_TOKEN, BROKER)


def _print_balance(balance: AccountBalance) -> None:
    """Print a balance as a table, one line for each currency."""
    _print_row("", "cash", "buying power")
    for row in balance.rows:
        _print_row(row.currency, row.cash, row.buying_power)
    _print_row("total in USD", balance.total_cash_usd, balance.total_buying_power_usd)


def _print_row(*cells: object) -> None:
    print("   {!s:<14}{!s:>10}{!s:>16}".format(*cells))


def _show_refusal(mesh: MockServer) -> None:
    """Print the error that a wrong secret raises."""
    with mesh.client(client_secret=f"not-{mesh.client_secret}") as client:
        try:
            client.get_account_balance(AUTH_TOKEN, BROKER)
        except AuthenticationError as error:
            print(f"5. With a wrong secret it raises {type(error).__name__}: {error}.")
        else:
            raise DemoError("a wrong secret was accepted")


@command(reported_errors=(DemoError, SpecError, MeshError, OSError))
def main() -> None:
    """Run the command line."""
    check_source()
    print("1. Imported the source in openapi/source/: mesh.yaml is the same, byte for byte.")
    check_generated()
    print("2. Generated a client from it: generated/ is the same, byte for byte.")
    with MockServer() as mesh:
        print(f"3. Started a mock Mesh server, which follows the spec: {mesh.url}")
        balance = _read_balances(mesh)
        print("4. MeshClient and AsyncMeshClient read the same balance from it, over HTTP:")
        _print_balance(balance)
        print("   (It is the example in Mesh's spec, whose totals are not the sums of its rows.)")
        _show_refusal(mesh)


if __name__ == "__main__":
    sys.exit(main())
