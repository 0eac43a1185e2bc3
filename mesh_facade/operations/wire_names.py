"""The names that fields have on the wire, read off the generated models."""

from typing import TYPE_CHECKING, Protocol, cast

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable


class _Model(Protocol):
    def to_dict(self) -> dict[str, object]: ...


class WireNames:
    """Finds the name on the wire of a generated model's attribute.

    It builds a model with a different marker object in each attribute, calls `to_dict()`, and looks
    under which name each marker comes out.
    """

    def __init__(self, model: type[attrs.AttrsInstance]) -> None:
        markers = {field.name: object() for field in attrs.fields(model) if field.init}
        # Generated constructors are annotated more narrowly, but check nothing.
        build = cast("Callable[..., _Model]", model)
        written = build(**markers).to_dict()
        wire_names = {id(marker): wire_name for wire_name, marker in written.items()}
        self._wire_names = {
            attribute: wire_names[id(marker)] for attribute, marker in markers.items()
        }

    def __getitem__(self, attribute: str) -> str:
        """Return the name on the wire.

        An attribute that this version of the spec lacks, such as `team_code`, gets the name that
        Mesh would give it, in camel case.
        """
        wire_name = self._wire_names.get(attribute)
        if wire_name is None:
            first, *others = attribute.split("_")
            wire_name = first + "".join(word.title() for word in others)
        return wire_name
