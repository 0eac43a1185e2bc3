"""Brings an OpenAPI document into its canonical form, by the rules that openapi/import.yaml states.

The importer (`make spec`) uses it: sources that state the same facts have the same canonical form.
"""

from collections.abc import Iterable

from attrs import Factory, define

from openapi_tools.json_values import (
    JSON,
    JSONObject,
    SpecError,
    elements,
    fields,
    items,
    text,
)
from openapi_tools.keywords import HOLDS_NAMES, HOLDS_SCHEMAS, holds_data, names_extension
from openapi_tools.openapi_30 import allow_null, rename_unknown_keywords, simplify
from openapi_tools.references import (
    component_reference,
    components_of,
    is_part_of_schema,
    resolve,
    schema_name,
    schema_reference,
)

MAX_OBJECTS = 100_000
"""How many objects a document may have once its references are replaced by what they point to.

GitHub's document has 40,000 with all of its operations. One whose references multiply has more.
"""


def canonical(
    document: JSONObject,
    wanted: Iterable[tuple[str, str]],
    keys: dict[str, str],
    names: dict[str, str],
) -> JSONObject:
    """Return a document with the wanted operations alone, and the components that they need.

    An operation is wanted by its path and method. `keys` maps the header that holds a key to our
    name of the security scheme. `names` maps the document's name of a schema to ours; the wanted
    operations must need each of these schemas.
    """
    headers = {header.lower(): name for header, name in keys.items()}
    form = _CanonicalForm(document, headers, names)
    paths: dict[str, dict[str, JSONObject]] = {}
    for path, method in wanted:
        paths.setdefault(path, {})[method] = form.operation(path, method)
    operations = [operation for item in paths.values() for operation in item.values()]
    shared: JSONObject = {}
    for keyword in ("servers", "security"):
        if operations and all(each[keyword] == operations[0][keyword] for each in operations):
            shared[keyword] = operations[0][keyword]
            for operation in operations:
                del operation[keyword]
    spec: JSONObject = {"components": form.components(), **shared}
    spec["paths"] = {path: dict(item) for path, item in paths.items()}
    return {keyword: value for keyword, value in spec.items() if value}


@define
class _CanonicalForm:
    """Brings the operations of a document into the canonical form, and collects their components.

    A place, in these methods, is where a value stands in the document: for messages.
    """

    document: JSONObject
    keys: dict[str, str]
    names: dict[str, str]
    schemas: dict[str, JSONObject] = Factory(dict)
    """The schemas that were carried, by their name in the document."""
    needed: list[str] = Factory(list)
    """The names of the schemas that are still to be carried."""
    schemes: dict[str, JSONObject] = Factory(dict)
    """The security schemes that were carried, by our name."""
    open_references: list[str] = Factory(list)
    """The references that are being replaced by what they point to, from the outermost inwards."""
    objects: int = 0
    """How many objects were carried."""

    @property
    def allows_any_keyword(self) -> bool:
        """Return True if schemas may have keywords that the standard does not define."""
        return str(self.document.get("openapi")).startswith("3.1")

    # --- operations -----------------------------------------------------------------------------

    def operation(self, path: str, method: str) -> JSONObject:
        """Return an operation, with the servers and the security that hold for it."""
        place = f"paths.{path}.{method}"
        item = fields(fields(self.document["paths"], "paths")[path], f"paths.{path}")
        own = fields(item[method], place)
        effective = {"servers": [], "security": [], **self.document, **item, **own}
        parameters = self._parameters(item, own, f"{place}.parameters")
        own.pop("parameters", None)

        key_schemes: JSONObject = {}
        arguments: list[JSON] = []
        for parameter in parameters:
            if self._key_name(parameter) is None:
                arguments.append(parameter)
            else:
                key_schemes[self._carry_key(parameter)] = []
        operation = fields(self._translate(own, place), place)
        if arguments:
            operation["parameters"] = arguments
        operation["servers"] = effective["servers"]
        operation["security"] = self._security(effective["security"], key_schemes, place)
        return operation

    def _parameters(self, item: JSONObject, own: JSONObject, place: str) -> list[JSONObject]:
        """Return the parameters of an operation, sorted; its own replace those of its path."""
        parameters: dict[tuple[str, str], JSONObject] = {}
        for node in (item, own):
            for parameter in elements(node.get("parameters", []), place):
                plain = fields(self._translate(parameter, place), place)
                parameters[str(plain.get("in")), str(plain.get("name"))] = plain
        return [parameter for _, parameter in sorted(parameters.items())]

    def _security(self, requirements: JSON, key_schemes: JSONObject, place: str) -> JSON:
        """Return the alternative requirements; keys among the parameters are needed in each."""
        alternatives = items(requirements, f"{place}.security")
        if key_schemes and not alternatives:
            alternatives = [{}]
        security: list[JSON] = []
        for alternative in alternatives:
            requirement = dict(key_schemes)
            for name, scopes in alternative.items():
                requirement[self._carry_scheme(name, f"{place}.security")] = scopes
            security.append(requirement)
        return security

    # --- security schemes -----------------------------------------------------------------------

    def _key_name(self, node: JSONObject) -> str | None:
        """Return our name of the key that a parameter or scheme holds, if it is a known key."""
        if node.get("in") != "header":
            return None
        return self.keys.get(str(node.get("name")).lower())

    def _carry_scheme(self, name: str, place: str) -> str:
        """Carry the security scheme of a name, and return our name of it."""
        reference = component_reference("securitySchemes", name)
        scheme = fields(self._translate({"$ref": reference}, place), reference)
        if self._key_name(scheme) is not None:
            return self._carry_key(scheme)
        self.schemes.setdefault(name, scheme)
        return name

    def _carry_key(self, node: JSONObject) -> str:
        """Carry a parameter or scheme that is a known key, and return our name of it."""
        name = str(self._key_name(node))
        scheme: JSONObject = {"type": "apiKey"}
        for keyword in ("description", "in", "name"):
            if keyword in node:
                scheme[keyword] = node[keyword]
        self.schemes.setdefault(name, scheme)
        return name

    # --- schemas --------------------------------------------------------------------------------

    def components(self) -> JSONObject:
        """Return the components that the operations need."""
        while self.needed:
            name = self.needed.pop()
            place = f"components.schemas.{name}"
            schema = resolve(self.document, schema_reference(name), place)
            self.schemas[name] = fields(self._translate(schema, place, is_schema=True), place)
        self._check_circles()
        unused = sorted(self.names.keys() - self.schemas.keys())
        if unused:
            raise SpecError(f"the settings rename the schema '{unused[0]}', which is not there")
        schemas: JSONObject = {}
        for name, carried in self.schemas.items():
            our_name = self.names.get(name, name)
            if our_name in schemas:
                raise SpecError(f"the settings give the schema '{name}' the name of another")
            schemas[our_name] = carried
        components: JSONObject = {}
        if schemas:
            components["schemas"] = schemas
        if self.schemes:
            components["securitySchemes"] = dict(self.schemes)
        return components

    def _check_circles(self) -> None:
        """Refuse schemas that are nothing but references to each other."""
        for first in self.schemas:
            name: str | None = first
            seen: list[str] = []
            while name is not None:
                if name in seen:
                    circle = " → ".join([*seen, name])
                    raise SpecError(
                        f"components.schemas.{first}: these schemas are nothing but references to"
                        f" each other: {circle}"
                    )
                seen.append(name)
                name = self._alias(name)

    def _alias(self, name: str) -> str | None:
        """Return the name of the schema that a schema only refers to, if it does."""
        target = resolve(self.document, schema_reference(name), f"components.schemas.{name}")
        if list(target) != ["$ref"]:
            return None
        return schema_name(str(target["$ref"]))

    def _need_schema(self, name: str, place: str) -> str:
        """Note that a schema is needed, and return our name of it."""
        if name not in self.schemas:
            resolve(self.document, schema_reference(name), place)
            self.schemas[name] = {}
            self.needed.append(name)
        return self.names.get(name, name)

    # --- nodes ----------------------------------------------------------------------------------

    def _translate(self, value: JSON, place: str, *, is_schema: bool = False) -> JSON:
        """Return a value as OpenAPI 3.0 writes it, with its references followed."""
        if isinstance(value, list):
            return [
                self._translate(item, f"{place}[{index}]", is_schema=is_schema)
                for index, item in enumerate(value)
            ]
        if not isinstance(value, dict):
            return value
        self.objects += 1
        if self.objects > MAX_OBJECTS:
            raise SpecError(
                f"{place}: with its references replaced by what they point to, the document has"
                f" more than {MAX_OBJECTS:,} objects"
            )
        node: JSONObject = {}
        for keyword, member in allow_null(value).items():
            node[keyword] = self._translate_keyword(keyword, member, f"{place}.{keyword}")
        reference = node.pop("$ref", None)
        node = simplify(node, place)
        if is_schema and self.allows_any_keyword:
            node = rename_unknown_keywords(node)
        if "$ref" not in value:
            return node
        return self._refer(text(reference, f"{place}.$ref"), node, place, is_schema=is_schema)

    def _translate_keyword(self, keyword: str, value: JSON, place: str) -> JSON:
        """Return the value of a keyword: data as it is, anything else as OpenAPI 3.0 writes it."""
        if holds_data(keyword, value):
            return value
        if keyword == "discriminator":
            return self._translate_discriminator(value, place)
        is_schema = keyword in HOLDS_SCHEMAS
        if keyword in HOLDS_NAMES and isinstance(value, dict):
            named: JSONObject = {}
            for name, item in value.items():
                if names_extension(keyword, name):
                    named[name] = item
                else:
                    named[name] = self._translate(item, f"{place}.{name}", is_schema=is_schema)
            return named
        return self._translate(value, place, is_schema=is_schema)

    def _translate_discriminator(self, value: JSON, place: str) -> JSON:
        """Return a discriminator whose mapping follows the names of the schemas."""
        discriminator = fields(value, place)
        if "mapping" in discriminator:
            mapping: JSONObject = {}
            for tag, target in fields(discriminator["mapping"], f"{place}.mapping").items():
                mapping[tag] = self._map_to_schema(target, f"{place}.mapping.{tag}")
            discriminator["mapping"] = mapping
        return discriminator

    def _map_to_schema(self, value: JSON, place: str) -> str:
        """Return the target of a discriminator: a reference to a schema, or its bare name."""
        target = text(value, place)
        name = schema_name(target)
        if name is not None:
            return schema_reference(self._need_schema(name, place))
        if target in components_of(self.document, "schemas"):
            return self._need_schema(target, place)
        raise SpecError(
            f"{place}: '{target}' is neither the name of a schema in this document nor a reference"
            " to one (#/components/schemas/…)"
        )

    def _refer(self, reference: str, beside: JSONObject, place: str, *, is_schema: bool) -> JSON:
        """Return a reference to a schema under our name, or the target of any other reference.

        `beside` holds the keywords beside the reference. They go around a schema, and are ignored
        for anything else, as OpenAPI says.
        """
        name = schema_name(reference)
        if name is None and not is_part_of_schema(reference):
            return self._target(reference, place, is_schema=is_schema)
        schema: JSON
        if name is None:
            schema = self._target(reference, place, is_schema=True)
        else:
            schema = {"$ref": schema_reference(self._need_schema(name, place))}
        if not beside:
            return schema
        others = elements(beside.get("allOf", []), f"{place}.allOf")
        return {**beside, "allOf": [schema, *others]}

    def _target(self, reference: str, place: str, *, is_schema: bool) -> JSON:
        """Return the target of a reference, as OpenAPI 3.0 writes it."""
        if reference in self.open_references:
            circle = " → ".join([*self.open_references, reference])
            raise SpecError(f"{place}: these references lead in a circle: {circle}")
        self.open_references.append(reference)
        target = resolve(self.document, reference, place)
        plain = self._translate(target, place, is_schema=is_schema)
        self.open_references.pop()
        return plain
