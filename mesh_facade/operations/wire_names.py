"""The names that fields have on the wire, read off the generated models.

A generated model knows them only inside its `to_dict`. So `WireNames` builds a model with a
different marker in each attribute, calls `to_dict()`, and looks under which name each marker comes
out.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, Self, cast

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable


class _Model(Protocol):
    def to_dict(self) -> dict[str, object]: ...


class _Marker:
    """An object that comes out of a generated `to_dict` as itself, whatever type the field has.

    `to_dict` writes an enum as its `value`, another model as its `to_dict()`, a time as its
    `isoformat()`, and a list as a list of its members. Each of these is the marker itself. A field
    that is written otherwise, as by `str()`, loses its marker, and gets no name here.
    """

    @property
    def value(self) -> Self:
        return self

    def to_dict(self) -> Self:
        return self

    def isoformat(self) -> Self:
        return self

    def __iter__(self) -> Iterator[Self]:
        yield self


class WireNames:
    """The names on the wire of a generated model's attributes."""

    def __init__(self, model: type[attrs.AttrsInstance]) -> None:
        self._model_name = model.__name__
        markers = {field.name: _Marker() for field in attrs.fields(model) if field.init}
        # Generated constructors are annotated more narrowly, but check nothing.
        build = cast("Callable[..., _Model]", model)
        wire_name_by_marker_id: dict[int, str] = {}
        for wire_name, written in build(**markers).to_dict().items():
            marker = written
            if isinstance(written, list):  # the marker's only member is the marker itself
                marker = written[0]
            wire_name_by_marker_id[id(marker)] = wire_name
        self._wire_name_by_attribute: dict[str, str] = {}
        for attribute, marker in markers.items():
            if id(marker) in wire_name_by_marker_id:
                self._wire_name_by_attribute[attribute] = wire_name_by_marker_id[id(marker)]

    def __getitem__(self, attribute: str) -> str:
        """Return the name on the wire.

        Raises:
            LookupError: The generated model has no such attribute, or writes it in another form.
        """
        if attribute not in self._wire_name_by_attribute:
            raise LookupError(
                f"the generated model {self._model_name} has no field {attribute!r}, or writes it "
                "in another form: the spec has changed, and so must the module in "
                "mesh_facade/operations/ that reads the field"
            )
        return self._wire_name_by_attribute[attribute]

    def get_or_guess(self, attribute: str) -> str:
        """Return the name on the wire, even if this version of the spec lacks the field.

        In that case the name is guessed: in camel case, as Mesh writes all names, such as
        `teamCode`.
        """
        if attribute in self._wire_name_by_attribute:
            return self._wire_name_by_attribute[attribute]
        first, *others = attribute.split("_")
        return first + "".join(word.title() for word in others)
