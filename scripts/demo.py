"""Shows the main job on this machine alone: Mesh's page, spec, client package, a balance."""

import asyncio
import sys

from check_drift import check_generated
from import_spec import check_source
from openapi_tools.command_line import command
from openapi_tools.documents import SpecError

from mesh_facade import AccountBalance, AuthenticationError, MeshError
from mesh_facade.testing import MockServer

ACCOUNT = ("a-users-token", "coinbase")


def _show_calls(mesh: MockServer) -> None:
    async def read() -> AccountBalance:
        async with mesh.async_client() as client:
            return await client.get_account_balance(*ACCOUNT)

    with mesh.client() as client:
        balance = client.get_account_balance(*ACCOUNT)
    if asyncio.run(read()) != balance:
        raise SpecError("MeshClient and AsyncMeshClient read different balances")
    print("4. MeshClient and AsyncMeshClient read the same balance from it, over HTTP:")
    rows = [(row.currency, row.cash, row.buying_power) for row in balance.rows]
    totals = ("total in USD", balance.total_cash_usd, balance.total_buying_power_usd)
    for line in [("", "cash", "buying power"), *rows, totals]:
        print("   {!s:<14}{!s:>10}{!s:>16}".format(*line))
    with mesh.client(client_secret=f"not-{mesh.client_secret}") as client:
        try:
            client.get_account_balance(*ACCOUNT)
        except AuthenticationError as error:
            print(f"5. With a wrong secret it raises {type(error).__name__}: {error}.")
        else:
            raise SpecError("a wrong secret was accepted")


@command
def main() -> None:
    """Run the command line."""
    try:
        check_source()
        print("1. Imported the page in openapi/source/: mesh.yaml is the same, byte for byte.")
        check_generated()
        print("2. Generated a client from it: generated/ is the same, byte for byte.")
        with MockServer() as mesh:
            print(f"3. Started a mock Mesh server, which follows the spec: {mesh.url}")
            _show_calls(mesh)
    except MeshError as error:
        raise SpecError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
