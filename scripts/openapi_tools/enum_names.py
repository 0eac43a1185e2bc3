"""Names for the members of the generated enums, none of which depends on a position in a list.

By itself, the generator names a value that does not begin with a letter by its position
(`VALUE_57`), and fails if two values would have the same name. So `make generate` uses this module,
which passes a name for each value to the generator as `x-enum-varnames`. A null among the values
has been taken out of the enum before (`nullable_enums.py`). The rules:

1. A string that begins with a letter is named by its own letters and digits in capitals, as the
   generator does: `krakenDirect` is KRAKENDIRECT, `a-b` is A_B. An integer is also named as the
   generator does: 7 is VALUE_7, and -7 is VALUE_NEGATIVE_7.
2. Any other string gets the prefix VALUE_. The characters before its first letter or digit are
   spelled by their Unicode names, or by their numbers if Unicode does not name them: '3commas' is
   VALUE_3COMMAS, the string '-1' is VALUE_HYPHEN_MINUS_1, a tab is VALUE_U0009, and the empty
   string is VALUE_EMPTY.
3. If several values would have the same name, and exactly one of them is in camel case, that one
   keeps the name. In camel case, a value has only letters and digits of ASCII, and the first is a
   small letter: `coinbase`, `krakenDirect`. The name of each other value gets a suffix of eight
   hexadecimal digits, which are computed from the value alone: `Coinbase` beside `coinbase` is
   COINBASE_8266DECA.
4. `x-enum-varnames` in the overlay overrides rules 1 to 3 for the values that it names. It maps a
   value to its name: `x-enum-varnames: {3commas: THREE_COMMAS}`. If a value without an entry there
   would have one of these names by rule 1 or 2, its name gets the suffix of rule 3. The spec itself
   may have `x-enum-varnames` in the generator's own form: a list of names, one for each value.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping

from attrs import evolve
from openapi_python_client.strings import DELIMITERS, in_double_quote_literal, sanitize, snake_case

from openapi_tools.json_values import JSON, JSONObject, SpecError, expect_list
from openapi_tools.objects import (
    SpecObject,
    advise_removal,
    advise_update,
    find_objects,
    json_path,
    quote,
)

VARNAMES = "x-enum-varnames"

Value = str | int
"""A value of an enum for which the generator makes a member."""

_CAMEL_CASE = re.compile("[a-z][A-Za-z0-9]*")
_SUFFIX_DIGITS = 8


def name_enum_members(
    document: JSONObject, paths_in_spec: Mapping[str, str] | None = None
) -> list[str]:
    """Give the members of each enum stable names, in place; return notes for the reader.

    `paths_in_spec` holds the path in the spec of each enum that was moved since, by its path in the
    document. Notes and errors name the path in the spec, because the overlay is applied to that.

    If an enum lists a value several times, only the first is kept, with its name. One kind of note
    reports a name that differs from the generator's own and is not in the overlay. The other
    reports a name in the overlay whose value is gone. Raise SpecError if a value cannot be named;
    the message has the action to add to the overlay.
    """
    if paths_in_spec is None:
        paths_in_spec = {}
    notes: list[str] = []
    for schema in find_objects(document):
        values = schema.node.get("enum")
        if not isinstance(values, list):
            continue
        # The generator makes no enum of booleans, nor of a lone null.
        if schema.node.get("type") == "boolean" or values == [None]:
            continue
        path = paths_in_spec.get(schema.path, schema.path)
        notes += _name_members(evolve(schema, path=path))
    return notes


def _name_members(schema: SpecObject) -> list[str]:
    """Give the members of one enum stable names, in place; return notes for the reader."""
    values = _read_values(schema)
    given = _read_given_names(schema, values)
    notes = _describe_unused_names(schema, values)
    names = _derive_names(values, given)
    _check_names(schema, names)
    # `names` has each value once, even if the enum lists it twice.
    schema.node["enum"] = list(names)
    # `x-enum-varnames` is written again below, for all values, unless the generator itself would
    # choose all these names.
    schema.node.pop(VARNAMES, None)
    if all(name == _default_name(value) for value, name in names.items()):
        return notes
    schema.node[VARNAMES] = list(names.values())
    for value, name in names.items():
        if value not in given and name != _default_name(value):
            advice = _advise_name(schema, value)
            notes.append(f"{schema.path}: {value!a} is named {name}; for another name, {advice}")
    return notes


def _read_values(schema: SpecObject) -> list[Value]:
    """Return the values of an enum; raise SpecError for one that no generated enum can hold."""
    values: list[Value] = []
    for value in expect_list(schema.node["enum"], f"{schema.path}.enum"):
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise _refusal(schema, value, f"{value!a} is neither a string nor an integer")
        problem = _describe_problem(value, schema, values)
        if problem:
            raise _refusal(schema, value, problem)
        values.append(value)
    return values


def _refusal(schema: SpecObject, value: JSON, problem: str) -> SpecError:
    return SpecError(f"{schema.path}.enum: {problem}; {advise_removal(_path_of(value, schema))}")


def _describe_problem(value: Value, schema: SpecObject, earlier: list[Value]) -> str:
    """Return why a value cannot be a member beside the earlier ones, or the empty string."""
    if schema.node.get("type") == "string" and not isinstance(value, str):
        return f"{value} is a number in an enum of strings"
    if earlier and type(value) is not type(earlier[0]):
        return f"{value!a} and {earlier[0]!a} are of two types"
    if isinstance(value, str) and _generated_value(value) != value:
        return f"{value!a} holds a character that the generator drops"
    return ""


def _generated_value(value: str) -> str:
    """Return the value that the generated member will have.

    The generator drops some characters when it writes a value as a string literal of Python.
    """
    # The literals that it writes are valid JSON too, so json reads them as Python will.
    literal = f'"{in_double_quote_literal(value)}"'
    generated: str = json.loads(literal)
    return generated


def _advise_name(schema: SpecObject, value: Value) -> str:
    """Return the advice to add an action to the overlay that gives a value another name."""
    names = f"{{{quote(value)}: NAME}}"
    return advise_update(schema.path, f"{{{VARNAMES}: {names}}}")


def _path_of(value: JSON, schema: SpecObject) -> str:
    """Return the JSONPath of one value, or of the whole enum if no path can name the value."""
    path = f"{schema.path}.enum"
    if not isinstance(value, str | int | float):
        return path
    # Tools for JSONPath refuse control characters and lone surrogates, escaped or not.
    for character in str(value):
        if unicodedata.category(character) in {"Cc", "Cs"}:
            return path
    return f"{path}[?@ == {quote(value)}]"


def _path_of_names(schema: SpecObject) -> str:
    """Return the JSONPath of the names that the spec or the overlay gives."""
    return json_path(schema.path, VARNAMES)


def _read_given_names(schema: SpecObject, values: list[Value]) -> dict[Value, str]:
    """Return the names that the spec or the overlay gives, by value."""
    varnames = schema.node.get(VARNAMES, {})
    path = _path_of_names(schema)
    given: dict[Value, JSON] = {}
    if isinstance(varnames, dict):
        for value in values:
            if str(value) in varnames:
                given[value] = varnames[str(value)]
    elif isinstance(varnames, list) and len(varnames) == len(values):
        for value, name in zip(values, varnames, strict=True):
            given.setdefault(value, name)  # of a value that is listed twice, the first name is kept
    else:
        problem = f"expected a mapping from value to name, or a list of {len(values)} names"
        raise SpecError(f"{path}: {problem}; {advise_removal(path)}")
    names: dict[Value, str] = {}
    for value, name in given.items():
        if not isinstance(name, str):
            raise SpecError(
                f"{path}: the name of {value!a} is not a string; {advise_removal(path)}"
            )
        names[value] = _normalised(name)
    return names


def _describe_unused_names(schema: SpecObject, values: list[Value]) -> list[str]:
    """Return a note on each name that is given to a value that the enum does not have."""
    varnames = schema.node.get(VARNAMES, {})
    if not isinstance(varnames, dict):
        return []
    known = {str(value) for value in values}
    path = _path_of_names(schema)
    return [
        f"{path}: {value!a} is not in the enum any more" for value in varnames if value not in known
    ]


def _derive_names(values: list[Value], given: dict[Value, str]) -> dict[Value, str]:
    """Return the name of each value, in the order of the values."""
    # The name of each value before rule 3: the given one, or that of rule 1 or 2.
    first_names: dict[Value, str] = {}
    values_by_name: dict[str, list[Value]] = {}
    for value in values:
        if value in first_names:  # the enum lists it twice
            continue
        name = given.get(value)
        if name is None:
            name = _plain_name(value)
        first_names[value] = name
        values_by_name.setdefault(name, []).append(value)
    names: dict[Value, str] = {}
    for value, name in first_names.items():
        if value in given or _keeps_plain_name(value, values_by_name[name], given):
            names[value] = name
        else:
            names[value] = f"{name}_{_suffix(value)}"
    return names


def _keeps_plain_name(value: Value, claimants: list[Value], given: dict[Value, str]) -> bool:
    """Return True if a value without a given name keeps its name without a suffix: rules 3 and 4.

    `claimants` holds all values that would have this name, `value` included.
    """
    if claimants == [value]:
        return True
    if any(claimant in given for claimant in claimants):
        return False
    in_camel_case = [each for each in claimants if _CAMEL_CASE.fullmatch(str(each))]
    return in_camel_case == [value]


def _plain_name(value: Value) -> str:
    """Return the name of a value by itself: rules 1 and 2."""
    if isinstance(value, int):
        return _default_name(value)
    if not value:
        return "VALUE_EMPTY"
    if value[0].isalpha() and _is_kept(value[0]):
        return _normalised(value.upper())
    words = ["VALUE"]
    rest = value
    while rest and not _is_kept(rest[0]):
        words.append(unicodedata.name(rest[0], f"U{ord(rest[0]):04X}"))
        rest = rest[1:]
    words.append(rest)
    return _normalised("_".join(words).upper())


def _is_kept(character: str) -> bool:
    """Return True if a character is a letter or digit that a Python name can hold."""
    return sanitize(character) == character and character not in DELIMITERS


def _default_name(value: Value) -> str:
    """Return the name that the generator itself would give a value.

    Return the empty string for a value that the generator would name by its position in the enum.
    """
    if isinstance(value, int):
        if value < 0:
            return f"VALUE_NEGATIVE_{-value}"
        return f"VALUE_{value}"
    if not value[:1].isalpha():
        return ""
    return snake_case(value.upper()).upper()


def _normalised(name: str) -> str:
    """Return a name as the generator will write it and Python will read it."""
    capitals = snake_case(unicodedata.normalize("NFKC", name)).upper()
    # The generator converts the name that it is given once more. That changes letters such as İ,
    # whose lower case has two characters.
    return unicodedata.normalize("NFKC", snake_case(capitals).upper())


def _suffix(value: Value) -> str:
    """Return the eight digits that rule 3 adds to the name of a value."""
    digest = hashlib.sha256(str(value).encode("utf-8", "surrogatepass")).hexdigest()
    return digest[:_SUFFIX_DIGITS].upper()


def _check_names(schema: SpecObject, names: dict[Value, str]) -> None:
    """Raise SpecError if a name is not a valid identifier, or if two values have the same name."""
    taken: dict[str, Value] = {}
    for value, name in names.items():
        problem = ""
        if not name.isidentifier() or _normalised(name) != name:
            problem = f"{value!a} would be named {name!a}, which is not a valid Python identifier"
        elif name in taken:
            problem = f"{taken[name]!a} and {value!a} would both be named {name}"
        if problem:
            advice = _advise_name(schema, value)
            if isinstance(schema.node.get(VARNAMES), list):
                # An overlay cannot change a single name in a list. If it removes the list, rules 1
                # to 3 name all values.
                advice = advise_removal(_path_of_names(schema))
            raise SpecError(f"{schema.path}.enum: {problem}; {advice}")
        taken[name] = value
