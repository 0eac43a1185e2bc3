"""Brings an OpenAPI document into its canonical form, by the rules that openapi/import.yaml states.

The importer (`make spec`) uses it: sources that state the same facts have the same canonical form.
"""

from collections.abc import Iterable, Iterator

from attrs import Factory, define

from openapi_tools.json_values import (
    JSON,
    JSONObject,
    SpecError,
    copy_object,
    copy_objects,
    expect_list,
    expect_object,
    expect_text,
    to_text,
)
from openapi_tools.keywords import (
    HOLDS_NAMES,
    HOLDS_SCHEMAS,
    holds_data,
    is_extension,
    is_extension_beside_names,
)
from openapi_tools.openapi_30 import (
    rename_unknown_keywords,
    replace_null_alternatives,
    to_openapi_30,
    unwrap,
)
from openapi_tools.operations import METHODS
from openapi_tools.references import (
    component_reference,
    components_of,
    is_part_of_schema,
    pointer_parts,
    resolve,
    schema_name,
    schema_reference,
)

# In OpenAPI 3.1, `summary` and `description` beside a `$ref` override those of the target, but only
# if the target is a component of a kind that has such a field. These are the kinds, by field.
_KINDS_WITH_TEXT = {
    "summary": frozenset({"examples", "pathItems"}),
    "description": frozenset(
        {
            "examples",
            "headers",
            "links",
            "parameters",
            "pathItems",
            "requestBodies",
            "responses",
            "securitySchemes",
        }
    ),
}

_ADVICE_ON_SCHEMAS = "correct `schemas` in openapi/import.yaml"

MAX_OBJECTS = 100_000
"""How many objects a document may have once its references are replaced by their targets.

GitHub's document, one of the largest, has 40,000. Without a limit, a small document could become
huge, because the target of each reference can hold several other references.
"""


def to_canonical_form(
    document: JSONObject,
    locations: Iterable[tuple[str, str]],
    api_key_names: dict[str, str],
    our_schema_names: dict[str, str],
    *,
    may_rename_unneeded_schemas: bool = False,
) -> JSONObject:
    """Return the canonical form of some operations of a document, with the components they need.

    `locations` holds the path and the method of each of these operations. `api_key_names` maps the
    header of an API key to our name of its security scheme. `our_schema_names` maps the document's
    name of a schema to ours.

    Raise SpecError if the document is malformed, if the target of a reference is missing, if
    schemas are nothing but references to each other, if other references lead in a circle, if the
    document is too large once they are replaced, or if two different security schemes or two
    schemas would have one name. Also raise it if `our_schema_names` renames a schema that none of
    the operations needs, unless `may_rename_unneeded_schemas` is true.
    """
    api_key_names_by_header = {header.lower(): name for header, name in api_key_names.items()}
    translator = _Translator(document, api_key_names_by_header, our_schema_names)
    # `paths` and `operations` hold the same objects: what is removed from one is gone from both.
    paths: JSONObject = {}
    operations: list[JSONObject] = []
    for path, method in locations:
        operation = translator.translate_operation(path, method)
        if path not in paths:
            paths[path] = translator.fields_of_path(path)
        path_item = expect_object(paths[path], path)
        path_item[method] = operation
        operations.append(operation)
    spec: JSONObject = {"components": translator.translate_components(operations)}
    if not may_rename_unneeded_schemas:
        translator.check_renamed_schemas()
    spec.update(_remove_shared(operations))
    spec["paths"] = paths
    # At the root, an empty list or object means the same as a missing one.
    return {keyword: value for keyword, value in spec.items() if value}


def _remove_shared(operations: list[JSONObject]) -> JSONObject:
    """Return the servers and the security that all operations share.

    Remove them from the operations.
    """
    shared: JSONObject = {}
    if not operations:
        return shared
    for keyword in ("servers", "security"):
        first = operations[0][keyword]
        if all(to_text(operation[keyword]) == to_text(first) for operation in operations):
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
    api_key_names_by_header: dict[str, str]
    """Our names of the security schemes of API keys, by their header in lower case."""
    our_schema_names: dict[str, str]
    """Our names of the schemas that the settings rename, by their name in the document."""
    schemas: dict[str, JSONObject] = Factory(dict)
    """The translated schemas, by their name in the document. Those in `pending` are still empty."""
    pending: list[str] = Factory(list)
    """Names of schemas to which a reference was found, but which are not translated yet."""
    security_schemes: dict[str, JSONObject] = Factory(dict)
    """The translated security schemes, by their name in the canonical form."""
    open_references: list[str] = Factory(list)
    """The references that are being replaced by their targets, from the outermost inwards."""
    object_count: int = 0
    """How many objects were translated."""

    @property
    def is_openapi_31(self) -> bool:
        """Return True if the document is of version 3.1.

        Two rules apply only to 3.1: a schema may have keywords that the standard does not define,
        and a summary or description beside a reference overrides that of the target.
        """
        return str(self.document.get("openapi")).startswith("3.1")

    # --- paths and operations -------------------------------------------------------------------

    def fields_of_path(self, path: str) -> JSONObject:
        """Return the fields that stay at a path, such as its summary and its extensions.

        The servers and parameters of a path move to its operations, so they are left out here.
        """
        path_item = self._path_item(path)
        moved = {*METHODS, "parameters", "servers"}
        return {keyword: value for keyword, value in path_item.items() if keyword not in moved}

    def _path_item(self, path: str) -> JSONObject:
        paths = expect_object(self.document["paths"], "paths")
        return expect_object(paths[path], f"paths.{path}")

    def translate_operation(self, path: str, method: str) -> JSONObject:
        """Return the canonical form of an operation, and queue the schemas to which it refers.

        The result has all servers, security requirements and parameters of the operation, including
        those that the operation inherits from its path or from the document.

        Raise SpecError if the operation is malformed, or if its path has `security`.
        """
        path_item = self._path_item(path)
        if "security" in path_item:
            raise SpecError(
                f"paths.{path}.security: OpenAPI has no 'security' for all operations of a path:"
                " move it to each of these operations"
            )
        place = f"paths.{path}.{method}"
        source = copy_object(path_item[method], place)
        servers = _nearest_value("servers", source, path_item, self.document)
        security = _nearest_value("security", source, self.document)
        parameters: dict[tuple[str, str], JSONObject] = {}
        self._collect_parameters(path_item, f"paths.{path}", parameters)
        self._collect_parameters(source, place, parameters)
        # The parameters are translated already. `security` is translated separately, below.
        source.pop("parameters", None)
        source.pop("security", None)

        # A parameter that holds an API key becomes a security scheme.
        api_key_requirement: JSONObject = {}
        other_parameters: list[JSON] = []
        for location_and_name in sorted(parameters):
            parameter = parameters[location_and_name]
            api_key_name = self._our_api_key_name(parameter)
            if api_key_name is None:
                other_parameters.append(parameter)
            else:
                self._add_api_key(api_key_name, parameter, f"{place}.parameters")
                api_key_requirement[api_key_name] = []
        operation = copy_object(self._translate(source, place), place)
        if other_parameters:
            operation["parameters"] = other_parameters
        operation["servers"] = servers
        operation["security"] = self._translate_security(
            security, api_key_requirement, f"{place}.security"
        )
        return operation

    def _collect_parameters(
        self, holder: JSONObject, place: str, parameters: dict[tuple[str, str], JSONObject]
    ) -> None:
        """Add the translated parameters of a path or an operation to `parameters`.

        The keys of `parameters` are location and name. A parameter replaces an earlier one with the
        same key: an operation's own replaces that of its path.
        """
        listed = expect_list(holder.get("parameters", []), f"{place}.parameters")
        for index, entry in enumerate(listed):
            here = f"{place}.parameters[{index}]"
            parameter = copy_object(self._translate(entry, here), here)
            parameters[str(parameter.get("in")), str(parameter.get("name"))] = parameter

    def _translate_security(
        self, requirements: JSON, api_key_requirement: JSONObject, place: str
    ) -> JSON:
        """Return the alternative security requirements, with `api_key_requirement` added to each.

        Also add the security schemes that the requirements name to `security_schemes`, under their
        names in the canonical form.
        """
        alternatives = copy_objects(requirements, place)
        if api_key_requirement and not alternatives:
            alternatives = [{}]
        security: list[JSON] = []
        for alternative in alternatives:
            requirement = dict(api_key_requirement)
            for name, scopes in alternative.items():
                our_name = self._add_scheme(name, place)
                requirement[our_name] = scopes
            security.append(requirement)
        return security

    # --- security schemes -----------------------------------------------------------------------

    def _our_api_key_name(self, node: JSONObject) -> str | None:
        """Return our name of the API key in a parameter or security scheme, or None.

        None means that the node holds no API key, or one that the settings do not name.
        """
        if node.get("in") != "header":
            return None
        return self.api_key_names_by_header.get(str(node.get("name")).lower())

    def _add_scheme(self, name: str, place: str) -> str:
        """Translate the security scheme that has this name in the document, and add it.

        Return its name in the canonical form. That is our name if the scheme is an API key that the
        settings name.
        """
        reference = component_reference("securitySchemes", name)
        scheme = copy_object(self._translate_target(reference, place, is_schema=False), reference)
        api_key_name = self._our_api_key_name(scheme)
        if api_key_name is None:
            self._define_scheme(name, scheme, place)
            return name
        self._add_api_key(api_key_name, scheme, place)
        return api_key_name

    def _add_api_key(self, name: str, node: JSONObject, place: str) -> None:
        """Add the security scheme of an API key under our name.

        `node` is the parameter or the security scheme that holds the key in the document.
        """
        scheme: JSONObject = {"type": "apiKey"}
        for keyword, value in node.items():
            if keyword in {"description", "in", "name"} or is_extension(keyword):
                scheme[keyword] = value
        self._define_scheme(name, scheme, place)

    def _define_scheme(self, name: str, scheme: JSONObject, place: str) -> None:
        """Add a security scheme under its name in the canonical form.

        Raise SpecError if a different scheme already has this name. If two parameters hold the same
        key, but describe it in other words, the first description is kept.
        """
        earlier = self.security_schemes.get(name)
        if earlier is None:
            self.security_schemes[name] = scheme
        elif to_text(_distinguishing_facts(earlier)) != to_text(_distinguishing_facts(scheme)):
            raise SpecError(
                f"{place}: two different security schemes would have the name '{name}': give the"
                " API key another name in `securitySchemes` of openapi/import.yaml"
            )

    # --- schemas --------------------------------------------------------------------------------

    def translate_components(self, operations: list[JSONObject]) -> JSONObject:
        """Return the components that the operations need.

        `operations` are all translated operations. Call this method after translating the last one:
        each translation queues the schemas that the operation needs.
        """
        while self.pending:
            name = self.pending.pop()
            place = f"components.schemas.{name}"
            schema = resolve(self.document, schema_reference(name), place)
            self.schemas[name] = copy_object(self._translate(schema, place, is_schema=True), place)
        self._remove_unneeded_schemas(operations)
        components: JSONObject = {}
        schemas = self._rename_schemas()
        self._add_mappings_of_derived_schemas(schemas)
        self._refuse_circular_aliases()
        if schemas:
            components["schemas"] = schemas
        if self.security_schemes:
            components["securitySchemes"] = dict(self.security_schemes)
        return components

    def _remove_unneeded_schemas(self, operations: list[JSONObject]) -> None:
        """Remove the translated schemas that no operation needs.

        Schemas are queued even if the value that refers to them is then left out: a parameter of a
        path that the operation overrides, the schema of a parameter that becomes a security scheme,
        or a keyword that OpenAPI ignores because it stands beside a reference.
        """
        schemas_by_our_name: dict[str, list[JSONObject]] = {}
        for name, schema in self.schemas.items():
            schemas_by_our_name.setdefault(self._our_schema_name(name), []).append(schema)
        needed: set[str] = set()
        unread: list[JSONObject] = list(operations)
        while unread:
            for our_name in _schemas_named_in(unread.pop()):
                if our_name not in needed:
                    needed.add(our_name)
                    unread += schemas_by_our_name.get(our_name, [])
        for name in list(self.schemas):
            if self._our_schema_name(name) not in needed:
                del self.schemas[name]

    def _rename_schemas(self) -> JSONObject:
        """Return the translated schemas by our names; raise SpecError if two have the same name."""
        renamed: JSONObject = {}
        for name, schema in self.schemas.items():
            our_name = self._our_schema_name(name)
            if our_name in renamed:
                raise SpecError(
                    f"the settings give two schemas the name '{our_name}': {_ADVICE_ON_SCHEMAS}"
                )
            renamed[our_name] = schema
        return renamed

    def _add_mappings_of_derived_schemas(self, schemas: JSONObject) -> None:
        """Add renamed schemas to the mappings of the schemas from which they are derived.

        A schema is derived from each schema in its `allOf`, from the schema that it is an alias of,
        and from all schemas from which these are derived. `schemas` holds the translated schemas by
        our names.
        """
        for name, schema in self.schemas.items():
            found: set[str] = set()
            unread = [schema]
            while unread:
                for ancestor_name in _parents_of(unread.pop()):
                    if ancestor_name not in found:
                        found.add(ancestor_name)
                        ancestor = expect_object(schemas[ancestor_name], ancestor_name)
                        self._add_implicit_mapping(ancestor, [name])
                        unread.append(ancestor)

    def _add_implicit_mapping(self, schema: JSONObject, names: Iterable[str]) -> None:
        """Add renamed schemas to the mapping of a translated schema's discriminator, if it has one.

        If the mapping does not list a schema, the value that selects it on the wire is its name in
        the document, not ours. `names` holds the document's names of the schemas to add. Schemas
        that are not renamed need no entry.
        """
        discriminator = schema.get("discriminator")
        if not isinstance(discriminator, dict):
            return
        mapping = copy_object(discriminator.get("mapping", {}), "mapping")
        listed = [schema_name(str(target)) or target for target in mapping.values()]
        for name in names:
            our_name = self._our_schema_name(name)
            if our_name != name and our_name not in listed and name not in mapping:
                mapping[name] = schema_reference(our_name)
                discriminator["mapping"] = mapping

    def check_renamed_schemas(self) -> None:
        """Raise SpecError if the settings rename a schema that none of the operations needs.

        Call this method after `translate_components`.
        """
        unused = sorted(self.our_schema_names.keys() - self.schemas.keys())
        if unused:
            raise SpecError(
                f"the settings rename the schema '{unused[0]}', but the imported operations need no"
                f" schema with this name: {_ADVICE_ON_SCHEMAS}"
            )

    def _our_schema_name(self, name: str) -> str:
        """Return our name of a schema: the document's, unless the settings rename the schema."""
        return self.our_schema_names.get(name, name)

    def _refuse_circular_aliases(self) -> None:
        """Raise SpecError if a schema is an alias of itself, directly or through other aliases.

        An alias is a schema that consists of a reference to another schema, and of nothing else.
        """
        targets = self._find_aliases()
        for first in targets:
            seen = [first]
            name = targets[first]
            while name in targets:
                if name in seen:
                    circle = " → ".join([*seen, name])
                    raise SpecError(
                        f"components.schemas.{first}: these schemas are nothing but references to"
                        f" each other: {circle}"
                    )
                seen.append(name)
                name = targets[name]

    def _find_aliases(self) -> dict[str, str]:
        """Return the schema to which each alias refers, by the name of the alias.

        All names are those of the document, although the translated references use ours.
        """
        names_by_our_name: dict[str, str] = {}
        for name in self.schemas:
            names_by_our_name[self._our_schema_name(name)] = name
        targets: dict[str, str] = {}
        for name, schema in self.schemas.items():
            our_target = _target_of_alias(schema)
            if our_target is not None:
                targets[name] = names_by_our_name[our_target]
        return targets

    def _queue_schema(self, name: str, place: str) -> None:
        """Queue a schema, unless it was queued before; raise SpecError if the document lacks it."""
        if name not in self.schemas:
            # This raises SpecError if the schema is missing. It is translated later.
            resolve(self.document, schema_reference(name), place)
            self.schemas[name] = {}
            self.pending.append(name)

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
        # Alternatives that are null must be replaced before the members are translated: they are
        # recognised by `type: 'null'`, and a translated schema no longer has this type.
        for keyword, member in replace_null_alternatives(value).items():
            here = f"{place}.{keyword}"
            if keyword == "security" and not is_schema:
                # Only an operation in a callback has `security` here: translate_operation removes
                # the `security` of the imported operation.
                node[keyword] = self._translate_security(member, {}, here)
            elif keyword != "$ref":
                node[keyword] = self._translate_keyword(keyword, member, here)
        self._add_implicit_mapping(node, _alternatives_of(value))
        node = to_openapi_30(node, place)
        if is_schema and self.is_openapi_31:
            node = rename_unknown_keywords(node, place)
        if "$ref" not in value:
            return unwrap(node)
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
            for key, target in copy_object(discriminator["mapping"], f"{place}.mapping").items():
                mapping[key] = self._translate_mapping_target(target, f"{place}.mapping.{key}")
            discriminator["mapping"] = mapping
        return discriminator

    def _translate_mapping_target(self, value: JSON, place: str) -> str:
        """Return a target in the mapping of a discriminator, with our name of the schema.

        The target is a reference to a schema, or its bare name. Raise SpecError for any other.
        """
        target = expect_text(value, place)
        name = schema_name(target)
        if name is not None:
            self._queue_schema(name, place)
            return schema_reference(self._our_schema_name(name))
        if target in components_of(self.document, "schemas"):
            self._queue_schema(target, place)
            return self._our_schema_name(target)
        raise SpecError(
            f"{place}: '{target}' is neither the name of a schema in this document nor a reference"
            " to one (#/components/schemas/…)"
        )

    def _translate_reference(
        self, reference: str, siblings: JSONObject, place: str, *, is_schema: bool
    ) -> JSON:
        """Return the value that replaces a reference in the canonical form.

        If the reference names a schema, the value is a reference with our name of the schema.
        Otherwise, the value is the target.

        `siblings` holds the translated keywords beside the reference. If the reference stands for a
        schema or for a part of one, they are kept: the value is a schema that consists of the
        siblings and an `allOf`. The first entry of this `allOf` is the reference or its target; the
        entries of an `allOf` among the siblings follow. If the reference stands for anything else,
        `summary` and `description` override those of the target in OpenAPI 3.1, and all other
        keywords are ignored, as OpenAPI demands.
        """
        name = schema_name(reference)
        if name is not None:
            self._queue_schema(name, place)
            schema: JSON = {"$ref": schema_reference(self._our_schema_name(name))}
        elif is_schema or is_part_of_schema(reference):
            schema = self._translate_target(reference, place, is_schema=True)
        else:
            target = self._translate_target(reference, place, is_schema=is_schema)
            return self._replace_texts(target, siblings, reference)
        if not siblings:
            return schema
        others = expect_list(siblings.get("allOf", []), f"{place}.allOf")
        return {**siblings, "allOf": [schema, *others]}

    def _replace_texts(self, target: JSON, siblings: JSONObject, reference: str) -> JSON:
        """Return the target of a reference, with the summary and description beside the reference.

        If the document is not of version 3.1, return the target as it is.
        """
        if not self.is_openapi_31 or not isinstance(target, dict):
            return target
        kind = _kind_of_component(reference)
        replaced = dict(target)
        for keyword, kinds in _KINDS_WITH_TEXT.items():
            # Override the keyword if the target already has it, or if its kind of component allows
            # it.
            if keyword in siblings and (keyword in target or kind in kinds):
                replaced[keyword] = siblings[keyword]
        return replaced

    def _translate_target(self, reference: str, place: str, *, is_schema: bool) -> JSON:
        """Return the target of a reference, as OpenAPI 3.0 writes it.

        Raise SpecError if there is no target, or if the target contains the reference itself.
        """
        if reference in self.open_references:
            circle = " → ".join([*self.open_references, reference])
            raise SpecError(f"{place}: these references lead in a circle: {circle}")
        self.open_references.append(reference)
        target = resolve(self.document, reference, place)
        translated = self._translate(target, place, is_schema=is_schema)
        self.open_references.pop()
        return translated


def _nearest_value(keyword: str, *levels: JSONObject) -> JSON:
    """Return the value of a keyword at the first level that has it, or an empty list."""
    for level in levels:
        if keyword in level:
            return level[keyword]
    return []


def _distinguishing_facts(scheme: JSONObject) -> JSONObject:
    """Return the facts by which a security scheme differs from another.

    Its description is left out. The name of a header is in lower case, because its case means
    nothing.
    """
    facts = dict(scheme)
    facts.pop("description", None)
    if facts.get("in") == "header":
        facts["name"] = str(facts.get("name")).lower()
    return facts


def _schemas_named_in(value: JSON) -> Iterator[str]:
    """Yield our names of the schemas to which a translated value refers.

    Extensions are searched, too: some of them carry schemas, such as `x-prefixItems`. Data is not
    left out either, so some of the names may belong to no schema.
    """
    if isinstance(value, list):
        for item in value:
            yield from _schemas_named_in(item)
    elif isinstance(value, dict):
        for keyword, member in value.items():
            targets: list[JSON] = []
            if keyword == "$ref":
                targets.append(member)
            elif keyword == "mapping" and isinstance(member, dict):  # that of a discriminator
                targets += member.values()
            for target in targets:
                if isinstance(target, str):
                    yield schema_name(target) or target
            yield from _schemas_named_in(member)


def _alternatives_of(schema: JSONObject) -> list[str]:
    """Return the names of the schemas that are alternatives of a schema."""
    return [*_names_of_schemas(schema.get("anyOf")), *_names_of_schemas(schema.get("oneOf"))]


def _parents_of(schema: JSONObject) -> list[str]:
    """Return the names of the schemas that a schema includes through `allOf`, or as an alias."""
    return [*_names_of_schemas([schema]), *_names_of_schemas(schema.get("allOf"))]


def _names_of_schemas(values: JSON) -> list[str]:
    """Return the names of the schemas to which the items of a list refer."""
    names: list[str] = []
    if not isinstance(values, list):
        return names
    for value in values:
        if isinstance(value, dict) and "$ref" in value:
            name = schema_name(str(value["$ref"]))
            if name is not None:
                names.append(name)
    return names


def _target_of_alias(schema: JSONObject) -> str | None:
    """Return our name of the schema that an alias refers to, or None for any other schema."""
    if list(schema) != ["$ref"]:
        return None
    return schema_name(str(schema["$ref"]))


def _kind_of_component(reference: str) -> str:
    """Return the kind of component that a reference leads to, or '' if it leads elsewhere."""
    match pointer_parts(reference):
        case ["components", kind, _]:
            return kind
        case _:
            return ""
