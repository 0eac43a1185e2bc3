"""Compares the public names of two versions of a Python package, for `make changes`.

griffe's own check compares no types, and finds no new names. The rule here: the type of a value
that callers give may only become wider, and the type of a value that they get may only become
narrower. The rule assumes that callers give the arguments of a constructor by keyword.

Either all public names of a package are compared (`compare_packages`), or only those of some of its
modules (`compare_modules`).
"""

import ast
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import griffe
from attrs import Factory, define, field, frozen

from openapi_tools.json_values import SpecError

# A call of `field` in attrs or dataclasses, or of `ib` in attrs.
_FIELD_CALL = re.compile(r"(\w+\.)*(field|ib)\(")
# If such a call has one of these arguments, the constructor does not require a value.
_DEFAULT_OF_FIELD = re.compile(r"\b(default|factory|default_factory)=|\binit=False")

# The kinds of parameters that callers can give by position, and those that they can give by
# keyword. The kinds of `*args` and `**options` are in neither set.
_BY_POSITION = {
    griffe.ParameterKind.positional_only,
    griffe.ParameterKind.positional_or_keyword,
}
_BY_KEYWORD = {
    griffe.ParameterKind.keyword_only,
    griffe.ParameterKind.positional_or_keyword,
}


class Change(NamedTuple):
    """A change of one public name."""

    effect: str
    """`breaking` or `additive`."""
    place: str
    sentence: str


@frozen
class _Role:
    """Whether callers give the values of a type, and whether they get them."""

    is_given: bool
    is_gotten: bool


# The role of each kind of definition. An `operation` is a function below `.api.` in the generated
# client. Its result is not compared here, because scripts/changes.py compares the specs for that.
#
# For a class, the bases are compared: losing one breaks callers, and gaining one does not. The type
# of a parameter follows the same rule, so a class has the role of a parameter.
#
# The other kinds are not listed. The role of an attribute or a type alias depends on how the
# package uses it (`_find_role`). For an import or a module, only path and kind are compared, so the
# role makes no difference.
_ROLES = {
    "parameter": _Role(is_given=True, is_gotten=False),
    "class": _Role(is_given=True, is_gotten=False),
    "function": _Role(is_given=False, is_gotten=True),
    "property": _Role(is_given=False, is_gotten=True),
    "operation": _Role(is_given=False, is_gotten=False),
}


@define
class _Identifiers:
    """The identifiers in a type."""

    values: set[str] = Factory(set)
    """The identifiers in the type of the value itself."""
    arguments: set[str] = Factory(set)
    """If the value is callable: the identifiers in the types of its arguments.

    They count in the opposite direction: a caller who gives a callback gets its arguments.
    """


@define
class _Uses:
    """The identifiers in the types of all values that callers give, and of all that they get."""

    given: set[str] = Factory(set)
    gotten: set[str] = Factory(set)

    def add(self, identifiers: _Identifiers, role: _Role) -> None:
        """Add the identifiers in a type. `role` says whether callers give or get its values."""
        if role.is_given:
            self.given |= identifiers.values
            self.gotten |= identifiers.arguments
        if role.is_gotten:
            self.gotten |= identifiers.values
            self.given |= identifiers.arguments

    def role_of(self, identifier: str) -> _Role:
        """Return the role of the class or type alias that an identifier names."""
        return _Role(is_given=identifier in self.given, is_gotten=identifier in self.gotten)


@frozen
class _Definition:
    """The facts about a public name that are compared."""

    kind: str
    """A key of `_ROLES`, or `attribute`, `type alias`, `alias` (an import) or `module`."""
    content: str
    """A type, or another expression.

    - of a parameter, a property or an attribute: its type
    - of an attribute without a type: its value
    - of a function or an operation: the type of its result
    - of a type alias: the type for which it stands
    - of a class: its bases, written like a union; empty if it has none
    - of an import or a module: always empty
    """
    is_required: bool = False
    """Whether callers must give a value."""
    by_position: bool = False
    """Whether callers can give the parameter by position."""
    by_keyword: bool = False
    """Whether callers can give the parameter by keyword."""
    module: griffe.Module | None = field(default=None, eq=False, repr=False)
    """The module that the content was read in, for a parameter, a function or an attribute."""

    def alternatives(self) -> set[str]:
        """Return the members of the content if it is a union, or else the content alone.

        A union inside the brackets of a member is not split. If such a union changes, the whole
        member counts as replaced by another.
        """
        if not self.content:
            return set()
        try:
            expression = ast.parse(self.content, mode="eval")
        except SyntaxError:  # a type that is no expression, such as `*Ts`
            return {self.content}
        found: set[str] = set()
        unread = [expression.body]
        while unread:
            node = unread.pop()
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
                unread += [node.left, node.right]
            else:
                found.add(ast.unparse(node))
        return found

    def describe_content(self) -> str:
        """Return the content for a sentence: "`A | B`", or "without a base"."""
        if not self.content:
            return "without a base"
        return f"`{self.content}`"


def compare_packages(old: Path, new: Path, package: str) -> Iterator[Change]:
    """Yield what changed in a package from the folder `old` to the folder `new`.

    Raise SpecError if a module of the package is not valid Python.
    """
    before = dict(_walk(package, _load(old, package)))
    after = dict(_walk(package, _load(new, package)))
    yield from _compare(before, after)


def compare_modules(old: Path, new: Path, modules: Sequence[str]) -> Iterator[Change]:
    """Yield what changed in the public names of some modules, from folder `old` to folder `new`.

    All `modules` are in one package. A name that one of them imports and makes public is compared
    wherever it is defined.

    Other modules may define types that the signatures of these names mention. If such a type is
    there in both folders, it is compared, too. It is not reported as new or gone, because callers
    know it only through the signatures.

    Raise SpecError if a module of the package is not valid Python.
    """
    before = _load_names(old, modules)
    after = _load_names(new, modules)
    names_before = before.names
    names_after = after.names
    for path in before.mentioned_types.keys() & after.mentioned_types.keys():
        names_before |= before.mentioned_types[path]
        names_after |= after.mentioned_types[path]
    yield from _compare(names_before, names_after)


def _compare(before: dict[str, _Definition], after: dict[str, _Definition]) -> Iterator[Change]:
    """Yield what changed from the definitions `before` to the definitions `after`."""
    _keep_paths_of_keyword_only_parameters(before, after)
    _follow_renamed_parameters(before, after)
    uses = _find_uses(before | after)
    for path in sorted(before.keys() | after.keys()):
        holder = _holder_of(path)
        if (holder in before) != (holder in after):
            continue  # The holder is gone, or new. That is reported once, for the holder itself.
        was = before.get(path)
        now = after.get(path)
        if now is None:
            yield _change(path, "is no longer there", breaks=True)
            continue
        role = _ROLES.get(now.kind)
        if role is None:
            role = _find_role(path, now, uses)
        yield from _compare_definitions(path, was, now, role)


def _keep_paths_of_keyword_only_parameters(
    before: Mapping[str, _Definition], after: dict[str, _Definition]
) -> None:
    """Give parameters in `after` their paths in `before`, if they were keyword-only.

    A keyword-only parameter has a path such as 'f(a)'. If callers can now give it by position, too,
    its path is 'f(0: a)', and it would be taken for another parameter.
    """
    for path, definition in list(after.items()):
        if definition.by_position and definition.by_keyword:
            name = path.rpartition(": ")[2].removesuffix(")")
            keyword_only_path = f"{_holder_of(path)}({name})"
            if keyword_only_path in before:
                after[keyword_only_path] = after.pop(path)


def _follow_renamed_parameters(
    before: dict[str, _Definition], after: Mapping[str, _Definition]
) -> None:
    """Give parameters in `before` their paths in `after`, if callers do not use their names.

    Nobody is affected if another name is given to `*args`, to `**options`, or to a parameter that
    could only be given by position.
    """
    paths_after: dict[str, str] = {}
    for path, definition in after.items():
        if definition.kind == "parameter":
            paths_after[_without_parameter_name(path)] = path
    for path, definition in list(before.items()):
        if definition.kind == "parameter" and not definition.by_keyword:
            path_after = paths_after.get(_without_parameter_name(path))
            if path_after is not None:
                before[path_after] = before.pop(path)


def _without_parameter_name(path: str) -> str:
    """Return the path of a parameter without its name: 'f(0: ' for 'f(0: a)'."""
    return re.sub(r"\w+\)$", "", path)


def _holder_of(path: str) -> str:
    """Return the path of the module, class or function that holds a name.

    It is 'package.A' for 'package.A.x', and 'package.f' for 'package.f(0: a)'.
    """
    if path.endswith(")"):
        return path.rpartition("(")[0]
    return path.rpartition(".")[0]


def _last_part(path: str) -> str:
    """Return the last part of a dotted path: 'A' for 'package.A'."""
    return path.rpartition(".")[2]


def _find_role(path: str, definition: _Definition, uses: _Uses) -> _Role:
    """Return the role of a type alias or an attribute.

    An attribute has the role of the class that holds it.
    """
    role = uses.role_of(_identifier_of_type(path, definition))
    if not role.is_given and not role.is_gotten:
        # Nothing in the package says what callers do with the type: they may do both.
        return _Role(is_given=True, is_gotten=True)
    return role


def _identifier_of_type(path: str, definition: _Definition) -> str:
    """Return the identifier with which annotations refer to a class or a type alias.

    For an attribute, return the identifier of its class.
    """
    if definition.kind == "attribute":
        return _last_part(_holder_of(path))
    return _last_part(path)


def _compare_definitions(
    path: str, was: _Definition | None, now: _Definition, role: _Role
) -> Iterator[Change]:
    """Yield the changes of one name that callers notice."""
    if was is None:
        sentence = "is new"
        if now.is_required:
            sentence = "is new, and required"
        yield _change(path, sentence, breaks=role.is_given and now.is_required)
    elif was.kind != now.kind and not _are_attributes(was, now):
        sentence = f"is {_with_article(now.kind)}, and was {_with_article(was.kind)}"
        yield _change(path, sentence, breaks=True)
    else:
        yield from _compare_contents(path, was, now, role)
        yield from _compare_requirements(path, was, now, role)


def _are_attributes(was: _Definition, now: _Definition) -> bool:
    """Return True if each definition is an attribute or a type alias.

    For callers, the two are the same: the annotation `TypeAlias` alone makes the difference.
    """
    kinds = {"attribute", "type alias"}
    return was.kind in kinds and now.kind in kinds


def _with_article(kind: str) -> str:
    if kind[0] in "aeiou":
        return f"an {kind}"
    return f"a {kind}"


def _compare_contents(
    path: str, was: _Definition, now: _Definition, role: _Role
) -> Iterator[Change]:
    """Yield how the type of a name changed."""
    old = was.alternatives()
    new = now.alternatives()
    is_wider = bool(new - old)
    is_narrower = bool(old - new)
    if (is_wider or is_narrower) and (role.is_given or role.is_gotten):
        breaks = (role.is_given and is_narrower) or (role.is_gotten and is_wider)
        sentence = f"is {now.describe_content()}, and was {was.describe_content()}"
        yield _change(path, sentence, breaks=breaks)


def _compare_requirements(
    path: str, was: _Definition, now: _Definition, role: _Role
) -> Iterator[Change]:
    """Yield changes in whether callers must give a value, and in how they can give it.

    If callers can no longer give a parameter by position, it has another path. `_compare` then
    reports that the old path is no longer there.
    """
    if now.is_required and not was.is_required:
        yield _change(path, "is now required", breaks=role.is_given)
    if was.is_required and not now.is_required:
        yield _change(path, "is no longer required", breaks=False)
    if now.by_position and not was.by_position:
        yield _change(path, "can now be given by position, too", breaks=False)
    if now.by_keyword and not was.by_keyword:
        yield _change(path, "can now be given by keyword, too", breaks=False)
    if was.by_keyword and not now.by_keyword:
        yield _change(path, "can no longer be given by keyword", breaks=True)


def _change(path: str, sentence: str, *, breaks: bool) -> Change:
    effect = "additive"
    if breaks:
        effect = "breaking"
    return Change(effect, path, sentence)


def _find_uses(definitions: Mapping[str, _Definition]) -> _Uses:
    """Return the identifiers in the types of all values that callers give or get.

    If an identifier names a class, the identifiers in its bases and in the types of its attributes
    are included. If it names a type alias, the identifiers in the type for which the alias stands
    are included. This is repeated until no more identifiers are found.

    Results of operations are included, although they are not compared: callers get them.
    """
    identifiers = {
        path: _identifiers_in(definition.content) for path, definition in definitions.items()
    }
    uses = _Uses()
    count = -1
    while count < len(uses.given) + len(uses.gotten):
        count = len(uses.given) + len(uses.gotten)
        for path, definition in definitions.items():
            if definition.kind == "parameter":
                role = _Role(is_given=True, is_gotten=False)
            elif definition.kind in {"function", "property", "operation"}:
                role = _Role(is_given=False, is_gotten=True)
            else:
                role = uses.role_of(_identifier_of_type(path, definition))
            uses.add(identifiers[path], role)
    return uses


def _identifiers_in(content: str) -> _Identifiers:
    """Return the identifiers in a type, or in another expression."""
    identifiers = _Identifiers()
    try:
        expression = ast.parse(content, mode="eval")
    except SyntaxError:  # nothing, or a type that is no expression, such as `*Ts`
        identifiers.values.update(re.findall(r"\w+", content))
    else:
        _collect_identifiers(expression, identifiers.values, identifiers.arguments)
    return identifiers


def _collect_identifiers(node: ast.AST, values: set[str], arguments: set[str]) -> None:
    """Add the identifiers in a type to `values`, except those in the arguments of callables.

    Add those to `arguments`.
    """
    if isinstance(node, ast.Name):
        values.add(node.id)
    elif isinstance(node, ast.Attribute):
        values.add(node.attr)
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.Subscript) and isinstance(child, ast.Tuple) and _is_callable(node):
            # It is `Callable[[First, Second], Result]`. If an argument is a callable itself, the
            # direction of its own arguments is reversed once more.
            _collect_identifiers(child.elts[0], arguments, values)
            for result in child.elts[1:]:
                _collect_identifiers(result, values, arguments)
        else:
            _collect_identifiers(child, values, arguments)


def _is_callable(node: ast.Subscript) -> bool:
    """Return True if the node is `Callable[…]`, or `typing.Callable[…]`."""
    return _last_part(ast.unparse(node.value)) == "Callable"


def _load(folder: Path, package: str) -> griffe.Object | griffe.Alias:
    """Load a package from a folder, without importing it.

    Raise SpecError if one of its modules is not valid Python.
    """
    # By itself, griffe leaves out a module inside the package that is not valid.
    for file in sorted((folder / package).rglob("*.py")):
        try:
            ast.parse(file.read_bytes())
        except (SyntaxError, ValueError) as error:  # ValueError for a null byte
            raise SpecError(f"{file}: this is not valid Python: {error}") from None
    return griffe.load(package, search_paths=[folder], try_relative_path=False)


@define
class _NamesOfModules:
    """The public names of some modules, and the types that these names mention."""

    names: dict[str, _Definition] = Factory(dict)
    """The definitions of the modules, of their public names, and of the names inside these names.

    The keys are their paths. That of an imported name begins with the module that makes it public,
    not with the one that defines it.
    """
    mentioned_types: dict[str, dict[str, _Definition]] = Factory(dict)
    """The definitions of each mentioned type without a public name, and of the names inside it.

    The outer keys are the paths at which the types are defined.
    """


def _load_names(folder: Path, modules: Sequence[str]) -> _NamesOfModules:
    """Load the public names of some modules of one package. A missing module has no names."""
    package = modules[0].partition(".")[0]
    root = _load(folder, package)
    loaded = _NamesOfModules()
    objects: dict[str, griffe.Object] = {}
    """The objects behind the public names, by the paths of these names."""
    for path in modules:
        module = _find_object(root, path)
        if module is not None:
            loaded.names[path] = _Definition("module", "")
            _collect_public_names(path, module, loaded.names, objects)
    public_paths = {target.path for target in objects.values()}
    for path, target in objects.items():
        loaded.names |= _walk_member(path, target, public_paths)
    unread = list(loaded.names.values())
    while unread:
        for target in _find_mentioned_types(root, unread.pop()):
            if target.path not in public_paths and target.path not in loaded.mentioned_types:
                definitions = dict(_walk_member(target.path, target, public_paths))
                loaded.mentioned_types[target.path] = definitions
                unread += definitions.values()
    return loaded


def _collect_public_names(
    path: str,
    module: griffe.Object,
    names: dict[str, _Definition],
    objects: dict[str, griffe.Object],
) -> None:
    """Add the objects behind the public names of a module to `objects`, by the paths of the names.

    If the content of a name is not compared, add the name to `names` instead. Leave out the modules
    inside.
    """
    for name, member in module.members.items():
        if not member.is_public:
            continue
        target = _final_target(member)
        if target is None:
            names[f"{path}.{name}"] = _Definition("alias", "")
        elif name == "__version__":
            # Its value changes with each release, which breaks nobody.
            names[f"{path}.{name}"] = _Definition("attribute", "")
        elif not target.is_module:
            objects[f"{path}.{name}"] = target


def _find_mentioned_types(
    root: griffe.Object | griffe.Alias, definition: _Definition
) -> Iterator[griffe.Object]:
    """Yield the classes and the type aliases of the package that the content of a definition names.

    Yield nothing for a class: its definition has no module, and the members of its bases are
    compared as its own.
    """
    if definition.module is None:
        return
    identifiers = _identifiers_in(definition.content)
    for identifier in sorted(identifiers.values | identifiers.arguments):
        try:
            path = definition.module.resolve(identifier)
        except griffe.NameResolutionError:  # a builtin, or no name of the module
            continue
        target = _find_object(root, path)
        if target is not None and (target.is_class or _is_type_alias(target)):
            yield target


def _find_object(root: griffe.Object | griffe.Alias, path: str) -> griffe.Object | None:
    """Return the object at a path, or None if the loaded package has none."""
    try:
        return _final_target(root.modules_collection.get_member(path))
    except (KeyError, griffe.GriffeError):
        return None


def _final_target(member: griffe.Object | griffe.Alias) -> griffe.Object | None:
    """Return the object that a name stands for, or None if the loaded package does not have it."""
    if not isinstance(member, griffe.Alias):
        return member
    try:
        return member.final_target
    except griffe.GriffeError:
        return None


def _walk(
    path: str, holder: griffe.Object | griffe.Alias, public_classes: Collection[str] | None = None
) -> Iterator[tuple[str, _Definition]]:
    """Yield the public names inside a module or a class: path and definition.

    `path` is the path of the holder. The paths of the names begin with it:
    'package.module.function', or 'package.module.function(parameter)'.

    `public_classes` holds the paths at which the classes with a public name are defined. Without
    it, these are all classes whose names do not begin with `_`. A class is walked without the
    members that it inherits from them.
    """
    members = holder.members
    if holder.is_class:
        members = holder.all_members
    for name, member in members.items():
        if not member.is_public:
            continue
        member_path = f"{path}.{name}"
        if not isinstance(member, griffe.Alias):
            yield from _walk_member(member_path, member, public_classes)
        elif holder.is_class and member.inherited:
            if not _is_walked_with_its_base(member, public_classes):
                yield from _walk_member(member_path, member.final_target, public_classes)
        else:  # an import that is made public
            yield member_path, _Definition("alias", "")


def _is_walked_with_its_base(member: griffe.Alias, public_classes: Collection[str] | None) -> bool:
    """Return True if an inherited member is found when the base that defines it is walked."""
    base = _holder_of(member.final_target.path)
    if public_classes is None:
        return not _last_part(base).startswith("_")
    return base in public_classes


def _walk_member(
    path: str, member: griffe.Object, public_classes: Collection[str] | None = None
) -> Iterator[tuple[str, _Definition]]:
    """Yield a member of a module or a class, and the names inside it: path and definition.

    `path` is the path by which callers reach the member. `member.path` would be where it is
    defined, which differs if it is imported or inherited.

    A type alias is recognised by its annotation, `TypeAlias`. Without it, the alias counts as an
    attribute.
    """
    if isinstance(member, griffe.Attribute):
        kind = "attribute"
        content = str(member.annotation or member.value)
        if "property" in member.labels:
            kind = "property"
        elif _is_type_alias(member):
            kind = "type alias"
            content = str(member.value).strip("'\"")
        is_required = _is_required(member)
        yield path, _Definition(kind, content, is_required=is_required, module=member.module)
    elif isinstance(member, griffe.Function):
        yield from _walk_function(path, member)
    elif isinstance(member, griffe.Class):
        yield path, _Definition("class", " | ".join(str(base) for base in member.bases))
        yield from _walk(path, member, public_classes)
    else:
        yield path, _Definition(member.kind.value, "")
        yield from _walk(path, member, public_classes)


def _is_type_alias(member: griffe.Object) -> bool:
    """Return True for an attribute with the annotation `TypeAlias`."""
    if not isinstance(member, griffe.Attribute):
        return False
    return _last_part(str(member.annotation)) == "TypeAlias"


def _is_required(attribute: griffe.Attribute) -> bool:
    """Return True if the constructor of the class must be given a value for the attribute."""
    holder = attribute.parent
    if _has_default(attribute) or "property" in attribute.labels:
        return False
    if not isinstance(holder, griffe.Class):  # a module, which has no constructor
        return False
    if holder.keywords.get("total") == "False":  # a TypedDict in which each key may be missing
        return False
    # If the class defines `__init__`, the parameters of `__init__` are compared instead.
    return "__init__" not in holder.members


def _has_default(attribute: griffe.Attribute) -> bool:
    """Return True if a class gives an attribute a default.

    The value after the `=` is the default, unless it is a call of `field`: then the default, if
    there is one, is an argument of the call.
    """
    if attribute.value is None:
        return False
    value = str(attribute.value)
    if not _FIELD_CALL.match(value):
        return True
    return _DEFAULT_OF_FIELD.search(value) is not None


def _walk_function(path: str, function: griffe.Function) -> Iterator[tuple[str, _Definition]]:
    """Yield a function and its parameters: path and definition."""
    kind = "function"
    if ".api." in path:
        kind = "operation"
    yield path, _Definition(kind, str(function.returns), module=function.module)
    for index, parameter in enumerate(function.parameters):
        definition = _Definition(
            "parameter",
            str(parameter.annotation),
            is_required=parameter.required,
            by_position=parameter.kind in _BY_POSITION,
            by_keyword=parameter.kind in _BY_KEYWORD,
            module=function.module,
        )
        yield f"{path}({_describe_parameter(index, parameter)})", definition


def _describe_parameter(index: int, parameter: griffe.Parameter) -> str:
    """Return the part of a path that names a parameter: '0: a', or 'a' if it is keyword-only.

    The number is the position of the parameter. For `*args`, it is the position of the first of
    these arguments.
    """
    match parameter.kind:
        case griffe.ParameterKind.keyword_only:
            return parameter.name
        case griffe.ParameterKind.var_keyword:
            return f"**{parameter.name}"
        case griffe.ParameterKind.var_positional:
            return f"{index}: *{parameter.name}"
        case _:
            return f"{index}: {parameter.name}"
