"""Compares the public names of two versions of a Python package, for `make changes`.

griffe's own check compares no types, and finds no new names. The rule here: the type of a value
that callers give may only become wider, and the type of a value that they get may only become
narrower. The rule assumes that callers give the arguments of a constructor by keyword.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import griffe
from attrs import Factory, define, frozen

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
    """Yield what changed in a package from the folder `old` to the folder `new`."""
    before = _load_definitions(old, package)
    after = _load_definitions(new, package)
    _keep_paths_of_keyword_only_parameters(before, after)
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

    If callers can no longer give a parameter by position, its path is another: `compare_packages`
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


def _load_definitions(folder: Path, package: str) -> dict[str, _Definition]:
    """Return the definitions of the public names of a package, by path, without importing it."""
    module = griffe.load(package, search_paths=[folder], try_relative_path=False)
    return dict(_walk(module))


def _walk(holder: griffe.Object | griffe.Alias) -> Iterator[tuple[str, _Definition]]:
    """Yield the public names inside a module or a class: path and definition.

    A path is 'package.module.function', or 'package.module.function(parameter)'.
    """
    members = holder.members
    if holder.is_class:
        members = holder.all_members
    for member in members.values():
        if not member.is_public:
            continue
        if not isinstance(member, griffe.Alias):
            yield from _walk_member(member.path, member)
        elif holder.is_class and member.inherited:
            if _is_from_private_base(member):
                yield from _walk_member(member.path, member.final_target)
            # The members of a public base are found when that base is walked.
        else:  # an import that is made public
            yield member.path, _Definition("alias", "")


def _walk_member(
    path: str, member: griffe.Object | griffe.Alias
) -> Iterator[tuple[str, _Definition]]:
    """Yield a member of a module or a class, and the names inside it: path and definition.

    `path` is the path by which callers reach the member. It is not always the path of `member`: if
    a class inherits a member, that is the path in the base.

    A type alias is recognised by its annotation, `TypeAlias`. Without it, the alias counts as an
    attribute.
    """
    if isinstance(member, griffe.Attribute):
        kind = "attribute"
        content = str(member.annotation or member.value)
        if "property" in member.labels:
            kind = "property"
        elif _last_part(content) == "TypeAlias":
            kind = "type alias"
            content = str(member.value).strip("'\"")
        yield path, _Definition(kind, content, is_required=_is_required(member))
    elif isinstance(member, griffe.Function):
        yield from _walk_function(path, member)
    elif isinstance(member, griffe.Class):
        yield path, _Definition("class", " | ".join(str(base) for base in member.bases))
        yield from _walk(member)
    else:
        yield path, _Definition(member.kind.value, "")
        yield from _walk(member)


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
    """Return True if an attribute has a default: any value but a call of `field` without one."""
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
    yield path, _Definition(kind, str(function.returns))
    for index, parameter in enumerate(function.parameters):
        definition = _Definition(
            "parameter",
            str(parameter.annotation),
            is_required=parameter.required,
            by_position=parameter.kind in _BY_POSITION,
            by_keyword=parameter.kind in _BY_KEYWORD,
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


def _is_from_private_base(member: griffe.Alias) -> bool:
    """Return True if a class inherits the member from a base whose name begins with `_`."""
    base = member.final_target.parent
    return base is not None and base.name.startswith("_")
