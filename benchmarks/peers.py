"""Clients of other services as contenders: each makes a call that is like ours.

Each function sets a client up, and returns a function that makes a number of calls.
"""

import contextlib

from workload import CLIENT_ID, CLIENT_SECRET, TOKEN, MakeCalls, repeat


def sync_plaid(url: str) -> MakeCalls:
    """Return a function that reads balances with Plaid's client."""
    import plaid
    from plaid.api.plaid_api import PlaidApi
    from plaid.model.accounts_balance_get_request import AccountsBalanceGetRequest

    keys = {"clientId": CLIENT_ID, "secret": CLIENT_SECRET}
    api = PlaidApi(plaid.ApiClient(plaid.Configuration(host=url, api_key=keys)))

    def call() -> object:
        return api.accounts_balance_get(AccountsBalanceGetRequest(access_token=TOKEN))

    return repeat(call)


def sync_stripe(url: str) -> MakeCalls:
    """Return a function that reads balances with Stripe's client."""
    import stripe

    client = stripe.StripeClient("a-made-up-key", base_addresses={"api": url})

    def call() -> object:
        return client.v1.balance.retrieve()

    return repeat(call)


def sync_openai(url: str) -> MakeCalls:
    """Return a function that asks for completions of five characters with OpenAI's client."""
    import openai

    client = openai.OpenAI(api_key="a-made-up-key", base_url=f"{url}/v1")

    def call() -> object:
        return client.chat.completions.create(
            model="a-model", messages=[{"role": "user", "content": "balance?"}]
        )

    return repeat(call)


def sync_githubkit(url: str) -> MakeCalls:
    """Return a function that creates labels with githubkit.

    Both the request and the answer have a body, as in a call to Mesh.
    """
    import githubkit

    # Entered, and never left: otherwise githubkit opens a connection for each call.
    github = contextlib.ExitStack().enter_context(
        githubkit.GitHub("a-made-up-token", base_url=url, http_cache=False)
    )

    def call() -> object:
        response = github.rest.issues.create_label(
            owner="an-owner", repo="a-repository", name="balance"
        )
        return response.parsed_data

    return repeat(call)
