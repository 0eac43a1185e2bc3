"""The names that fields have on the wire."""

from __future__ import annotations

from mesh_connect_client.models import BalanceBrokerBaseRequest

from mesh_facade.operations.wire_names import WireNames


def test_wire_names_come_from_the_model_or_are_derived_from_the_attribute() -> None:
    names = WireNames(BalanceBrokerBaseRequest)
    assert (names["auth_token"], names["type_"]) == ("authToken", "type")
    assert names["error_of_tomorrow"] == "errorOfTomorrow"
