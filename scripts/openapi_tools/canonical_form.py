"""Brings an OpenAPI document into its canonical form, by the rules that openapi/import.yaml states.

The importer (`make spec`) uses it: sources that state the same facts have the same canonical form.
"""

from collections.abc import Iterable

from attrs import Factory, define

from openapi_tools.json_values import (
    JSON,
    JSONObject,
    SpecError,
    copy_object,
    copy_objects,
    expect_list,
    expect_text,
)
from openapi_tools.keywords import HOLDS_NAMES, HOLDS_SCHEMAS, holds_data, is_extension_beside_names
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
"""How many objects a document may have once its references are replaced by their targets.

GitHub's document has 40,000 with all of its operations. A document that exceeds this limit has
references that multiply.
"""


def to_canonical_form(
    document: JSONObject,
    wanted: Iterable[tuple[str, str]],
    scheme_names: dict[str, str],
    schema_names: dict[str, str],
) -> JSONObject:
    """Return a document with only the wanted operations, and the components that they need.

    `wanted` holds the path and the method of each operation. `scheme_names` maps the header of an
    API key to our name of its security scheme. `schema_names` maps the document's name of a schema
    to ours; the wanted operations must need each of these schemas.

    Raise SpecError if the document is malformed, if its references are missing, circular or too
    many, or if `schema_names` does not fit it.
    """
    names_by_header = {header.lower(): name for header, name in scheme_names.items()}
    translator = _Translator(document, names_by_header, schema_names)
    paths: dict[str, dict[str, JSONObject]] = {}
    for path, method in wanted:
        paths.setdefault(path, {})[method] = translator.translate_operation(path, method)
    operations = [operation for item in paths.values() for operation in item.values()]
    spec: JSONObject = {"components": translator.translate_components()}
    spec.update(_take_shared(operations))
    spec["paths"] = {path: dict(item) for path, item in paths.items()}
    return {keyword: value for keyword, value in spec.items() if value}


def _take_shared(operations: list[JSONObject]) -> JSONObject:
    """Take servers and security out of the operations where all of them have the same."""
    shared: JSONObject = {}
    if not operations:
        return shared
    for keyword in ("servers", "security"):
        first = operations[0][keyword]
        if all(operation[keyword] == first for operation in operations):
            shared[keyword] = first
            for operation in operations:
                del operation[keyword]
    return shared


@define
class _Translator:
    """Translates operations of a document, and then the components that they need.

    The parameter `place` of the methods says where a value is in the document. Error messages begin
    with it.
    """

    document: JSONObject
    scheme_names: dict[str, str]
    """Our names of security schemes, by their header in lower case."""
    schema_names: dict[str, str]
    """Our names of schemas, by their name in the document."""
    schemas: dict[str, JSONObject] = Factory(dict)
    """The translated schemas, by their name in the document. Those in `pending` are still empty."""
    pending: list[str] = Factory(list)
    """The names of the schemas that are needed, but not yet translated."""
    schemes: dict[str, JSONObject] = Factory(dict)
    """The translated security schemes, by our name."""
    open_references: list[str] = Factory(list)
    """The references that are being replaced by their targets, from the outermost inwards."""
    object_count: int = 0
    """How many objects were translated."""

    @property
    def allows_any_keyword(self) -> bool:
        """Return True if schemas may have keywords that the standard does not define."""
        return str(self.document.get("openapi")).startswith("3.1")

    # --- operations -----------------------------------------------------------------------------

    def translate_operation(self, path: str, method: str) -> JSONObject:
        """Return an operation with its servers and security, which it may inherit."""
        place = f"paths.{path}.{method}"
        item = copy_object(copy_object(self.document["paths"], "paths")[path], f"paths.{path}")
        own = copy_object(item[method], place)
        servers = _inherited("servers", own, item, self.document)
        security = _inherited("security", own, item, self.document)
        parameters = self._translate_parameters(item, own, f"{place}.parameters")
        own.pop("parameters", None)

        # A parameter that holds an API key becomes a security scheme.
        key_schemes: JSONObject = {}
        arguments: list[JSON] = []
        for parameter in parameters:
            if self._key_name(parameter) is None:
                arguments.append(parameter)
            else:
                key_schemes[self._add_key(parameter)] = []
        operation = copy_object(self._translate(own, place), place)
        if arguments:
            operation["parameters"] = arguments
        operation["servers"] = servers
        operation["security"] = self._translate_security(security, key_schemes, place)
        return operation

    def _translate_parameters(
        self, item: JSONObject, own: JSONObject, place: str
    ) -> list[JSONObject]:
        """Return the parameters of an operation, sorted; its own replace those of its path."""
        parameters: dict[tuple[str, str], JSONObject] = {}
        for node in (item, own):
            for parameter in expect_list(node.get("parameters", []), place):
                plain = copy_object(self._translate(parameter, place), place)
                parameters[str(plain.get("in")), str(plain.get("name"))] = plain
        return [parameters[key] for key in sorted(parameters)]

    def _translate_security(self, requirements: JSON, key_schemes: JSONObject, place: str) -> JSON:
        """Return the alternative security requirements, with `key_schemes` added to each."""
        alternatives = copy_objects(requirements, f"{place}.security")
        if key_schemes and not alternatives:
            alternatives = [{}]
        security: list[JSON] = []
        for alternative in alternatives:
            requirement = dict(key_schemes)
            for name, scopes in alternative.items():
                requirement[self._add_scheme(name, f"{place}.security")] = scopes
            security.append(requirement)
        return security

    # --- security schemes -----------------------------------------------------------------------

    def _key_name(self, node: JSONObject) -> str | None:
        """Return our name of the API key in a parameter or security scheme, or None.

        None means that it holds no key, or one that the settings do not name.
        """
        if node.get("in") != "header":
            return None
        return self.scheme_names.get(str(node.get("name")).lower())

    def _add_scheme(self, name: str, place: str) -> str:
        """Add the security scheme with this name in the document, and return our name of it."""
        reference = component_reference("securitySchemes", name)
        scheme = copy_object(self._translate_target(reference, place, is_schema=False), reference)
        if self._key_name(scheme) is not None:
            return self._add_key(scheme)
        self.schemes.setdefault(name, scheme)
        return name

    def _add_key(self, node: JSONObject) -> str:
        """Add a security scheme for a parameter or scheme that holds a named API key.

        Return our name of it.
        """
        name = str(self._key_name(node))
        scheme: JSONObject = {"type": "apiKey"}
        for keyword in ("description", "in", "name"):
            if keyword in node:
                scheme[keyword] = node[keyword]
        self.schemes.setdefault(name, scheme)
        return name

    # --- schemas --------------------------------------------------------------------------------

    def translate_components(self) -> JSONObject:
        """Return the components that the operations need, which must be translated before."""
        while self.pending:
            name = self.pending.pop()
            place = f"components.schemas.{name}"
            schema = resolve(self.document, schema_reference(name), place)
            self.schemas[name] = copy_object(self._translate(schema, place, is_schema=True), place)
        self._check_circles()
        components: JSONObject = {}
        schemas = self._rename_schemas()
        if schemas:
            components["schemas"] = schemas
        if self.schemes:
            components["securitySchemes"] = dict(self.schemes)
        return components

    def _rename_schemas(self) -> JSONObject:
        """Return the translated schemas by our names."""
        advice = "correct `schemas` in openapi/import.yaml"
        unused = sorted(self.schema_names.keys() - self.schemas.keys())
        if unused:
            raise SpecError(
                f"the settings rename the schema '{unused[0]}', but the imported operations need no"
                f" schema with this name: {advice}"
            )
        renamed: JSONObject = {}
        for name, schema in self.schemas.items():
            our_name = self.schema_names.get(name, name)
            if our_name in renamed:
                raise SpecError(f"the settings give two schemas the name '{our_name}': {advice}")
            renamed[our_name] = schema
        return renamed

    def _check_circles(self) -> None:
        """Raise SpecError if following references leads from a schema back to itself.

        That concerns only schemas that consist of a reference, and nothing else.
        """
        for first in self.schemas:
            seen = [first]
            name = self._aliased_schema(first)
            while name is not None:
                if name in seen:
                    circle = " → ".join([*seen, name])
                    raise SpecError(
                        f"components.schemas.{first}: these schemas are nothing but references to"
                        f" each other: {circle}"
                    )
                seen.append(name)
                name = self._aliased_schema(name)

    def _aliased_schema(self, name: str) -> str | None:
        """Return the name of the schema to which a schema refers, if it does nothing else."""
        schema = resolve(self.document, schema_reference(name), f"components.schemas.{name}")
        if "$ref" not in schema or len(schema) > 1:
            return None
        return schema_name(str(schema["$ref"]))

    def _need_schema(self, name: str, place: str) -> str:
        """Note that a schema is needed, and return our name of it.

        Raise SpecError if the document does not have it.
        """
        if name not in self.schemas:
            resolve(self.document, schema_reference(name), place)
            self.schemas[name] = {}
            self.pending.append(name)
        return self.schema_names.get(name, name)

    # --- values ---------------------------------------------------------------------------------

    def _translate(self, value: JSON, place: str, *, is_schema: bool = False) -> JSON:
        """Return a value as OpenAPI 3.0 writes it, with references replaced or renamed.

        `is_schema` says that the value is a schema, or a list of schemas.
        """
        if isinstance(value, list):
            return [
                self._translate(item, f"{place}[{index}]", is_schema=is_schema)
                for index, item in enumerate(value)
            ]
        if not isinstance(value, dict):
            return value
        self.object_count += 1
        if self.object_count > MAX_OBJECTS:
            raise SpecError(
                f"{place}: with its references replaced by what they point to, the document has"
                f" more than {MAX_OBJECTS:,} objects"
            )
        node: JSONObject = {}
        # `allow_null` comes first: it looks for members that are `type: 'null'` in OpenAPI 3.1.
        for keyword, member in allow_null(value).items():
            if keyword != "$ref":
                node[keyword] = self._translate_keyword(keyword, member, f"{place}.{keyword}")
        node = simplify(node, place)
        if is_schema and self.allows_any_keyword:
            node = rename_unknown_keywords(node)
        if "$ref" not in value:
            return node
        reference = expect_text(value["$ref"], f"{place}.$ref")
        return self._translate_reference(reference, node, place, is_schema=is_schema)

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
                if is_extension_beside_names(keyword, name):
                    named[name] = item
                else:
                    named[name] = self._translate(item, f"{place}.{name}", is_schema=is_schema)
            return named
        return self._translate(value, place, is_schema=is_schema)

    def _translate_discriminator(self, value: JSON, place: str) -> JSON:
        """Return a discriminator whose mapping uses our names of the schemas."""
        discriminator = copy_object(value, place)
        if "mapping" in discriminator:
            mapping: JSONObject = {}
            for tag, target in copy_object(discriminator["mapping"], f"{place}.mapping").items():
                mapping[tag] = self._translate_mapping_target(target, f"{place}.mapping.{tag}")
            discriminator["mapping"] = mapping
        return discriminator

    def _translate_mapping_target(self, value: JSON, place: str) -> str:
        """Return a target in the mapping of a discriminator, with our name of the schema.

        The target is a reference to a schema, or its bare name. Raise SpecError for any other.
        """
        target = expect_text(value, place)
        name = schema_name(target)
        if name is not None:
            return schema_reference(self._need_schema(name, place))
        if target in components_of(self.document, "schemas"):
            return self._need_schema(target, place)
        raise SpecError(
            f"{place}: '{target}' is neither the name of a schema in this document nor a reference"
            " to one (#/components/schemas/…)"
        )

    def _translate_reference(
        self, reference: str, siblings: JSONObject, place: str, *, is_schema: bool
    ) -> JSON:
        """Return a reference to a schema with our name of it; replace any other by its target.

        `siblings` holds the keywords beside the reference. For a schema, they become keywords
        around it (`allOf`); for anything else, they are ignored, as OpenAPI says.
        """
        name = schema_name(reference)
        if name is not None:
            schema: JSON = {"$ref": schema_reference(self._need_schema(name, place))}
        elif is_part_of_schema(reference):
            schema = self._translate_target(reference, place, is_schema=True)
        else:
            return self._translate_target(reference, place, is_schema=is_schema)
        if not siblings:
            return schema
        others = expect_list(siblings.get("allOf", []), f"{place}.allOf")
        return {**siblings, "allOf": [schema, *others]}

    def _translate_target(self, reference: str, place: str, *, is_schema: bool) -> JSON:
        """Return the target of a reference, as OpenAPI 3.0 writes it.

        Raise SpecError if there is no target, or if it contains the reference itself.
        """
        if reference in self.open_references:
            circle = " → ".join([*self.open_references, reference])
            raise SpecError(f"{place}: these references lead in a circle: {circle}")
        self.open_references.append(reference)
        target = resolve(self.document, reference, place)
        translated = self._translate(target, place, is_schema=is_schema)
        self.open_references.pop()
        return translated


def _inherited(keyword: str, *levels: JSONObject) -> JSON:
    """Return the value of a keyword at the first level that has it, or an empty list."""
    for level in levels:
        if keyword in level:
            return level[keyword]
    return []
