"""A regenerated client changes what the facade sends, without an edit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import generate

ROOT = Path(__file__).parents[2]
READ_A_BALANCE = """
import json, sys
from decimal import Decimal
import httpx
from mesh_facade import MeshClient

def answer(request):
    sent.append([request.method, request.url.path, json.loads(request.content)])
    return httpx.Response(200, text=sys.argv[1])

sent = []
with MeshClient("an-id", "a-secret", transport=httpx.MockTransport(answer)) as mesh:
    balance = mesh.get_account_balance("a-token", "coinbase")
print(json.dumps({"sent": sent, "balance": balance.to_dict()}))
"""


def test_facade_follows_another_path_method_and_field_names(
    tmp_path: Path,
) -> None:
    spec = (ROOT / "openapi/mesh.yaml").read_text(encoding="utf-8")
    overlay = (ROOT / "openapi/overlay.yaml").read_text(encoding="utf-8")
    renamed = {
        "/api/v1/balance/get": "/api/v2/balances/read",
        "    post:": "    put:",
        "authToken": "AuthToken",
        "cash:": "Cash:",
        "currencyCode": "CurrencyCode",
        "totalCashUsdValue": "TotalCashUsdValue",
        "content:\n          allOf": "Content:\n          allOf",
        "properties.content": "properties.Content",
    }
    for old, new in renamed.items():
        assert old in spec + overlay
        spec = spec.replace(old, new)
        overlay = overlay.replace(old, new)
    (tmp_path / "mesh.yaml").write_text(spec, encoding="utf-8")
    (tmp_path / "overlay.yaml").write_text(overlay, encoding="utf-8")
    generate.generate(tmp_path / "mesh.yaml", tmp_path / "overlay.yaml", tmp_path / "generated")

    answer = (
        '{"status": "ok", "Content": {"TotalCashUsdValue": 0.10, '
        '"balances": [{"CurrencyCode": "USD", "Cash": 1.50, "buyingPower": 2}]}}'
    )
    path = os.pathsep.join([str(tmp_path / "generated"), str(ROOT)])
    run = subprocess.run(
        [sys.executable, "-c", READ_A_BALANCE, answer],
        env={"PYTHONPATH": path, "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.stderr == ""
    assert json.loads(run.stdout) == {
        "sent": [["PUT", "/api/v2/balances/read", {"AuthToken": "a-token", "type": "coinbase"}]],
        "balance": {
            "rows": [
                {
                    "currency": "USD",
                    "cash": "1.50",
                    "buying_power": "2",
                    "cryptocurrency_buying_power": None,
                }
            ],
            "total_cash_usd": "0.10",
            "total_buying_power_usd": None,
        },
    }
