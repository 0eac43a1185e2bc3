"""The names that fields have on the wire."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from mesh_connect_client.models import BalanceBrokerBaseRequest

from mesh_facade.operations.wire_names import WireNames


def test_wire_names_come_from_the_model() -> None:
    names = WireNames(BalanceBrokerBaseRequest)

    assert (names["auth_token"], names["type_"]) == ("authToken", "type")


def test_unknown_attribute_raises_an_error_that_names_model_and_field() -> None:
    names = WireNames(BalanceBrokerBaseRequest)

    with pytest.raises(LookupError) as caught:
        names["cash_amount"]

    assert str(caught.value) == (
        "the generated model BalanceBrokerBaseRequest has no field 'cash_amount', or writes it in "
        "another form: the spec has changed, and so must the module in mesh_facade/operations/ "
        "that reads the field"
    )


def test_name_of_a_field_that_the_spec_may_lack_is_guessed_in_camel_case() -> None:
    names = WireNames(BalanceBrokerBaseRequest)

    assert names.get_or_guess("auth_token") == "authToken"
    assert names.get_or_guess("error_of_tomorrow") == "errorOfTomorrow"


@attrs.define
class ModelOfTomorrow:
    """A model with a required field of each kind that generated code writes in its own way."""

    an_enum: Any
    a_model: Any
    a_time: Any
    some_models: Any
    a_file: Any

    def to_dict(self) -> dict[str, Any]:
        return {
            "anEnum": self.an_enum.value,
            "aModel": self.a_model.to_dict(),
            "aTime": self.a_time.isoformat(),
            "someModels": [each.to_dict() for each in self.some_models],
            "aFile": str(self.a_file),
        }


def test_fields_of_each_kind_have_their_names() -> None:
    names = WireNames(ModelOfTomorrow)

    assert names["an_enum"] == "anEnum"
    assert names["a_model"] == "aModel"
    assert names["a_time"] == "aTime"
    assert names["some_models"] == "someModels"


def test_field_that_is_written_in_another_form_does_not_hide_the_others() -> None:
    names = WireNames(ModelOfTomorrow)

    assert names["an_enum"] == "anEnum"
    with pytest.raises(LookupError, match="ModelOfTomorrow has no field 'a_file'"):
        names["a_file"]
