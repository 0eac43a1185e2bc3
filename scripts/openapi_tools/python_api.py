"""Compares the public names of two versions of a Python package, for `make changes`.

griffe's own check sees neither annotations nor new names. The rule here: the type of a value that
callers give may only become wider, and the type of a value that they get may only become narrower.
It assumes that constructors are called with keywords.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import griffe
from attrs import Factory, define, frozen

# A call of `field` in attrs or dataclasses, and the arguments of that call with which the
# constructor does not require a value.
_FIELD_CALL = re.compile(r"(\w+\.)*(field|ib)\(")
_DEFAULT_OF_FIELD = re.compile(r"\b(default|factory|default_factory)=|\binit=False")


class Change(NamedTuple):
    """A change of one public name: `breaking` or `additive`, where, and a sentence."""

    kind: str
    place: str
    sentence: str


@frozen
class _Role:
    """Whether callers give a value of a type, and whether they get one."""

    is_given: bool
    is_gotten: bool


# The roles of an attribute and of a type alias depend on how the types are used (`_Uses`). Of an
# import or a module, only the name and the kind are compared, so its role makes no difference.
#
# Of a class, its bases are compared. Losing one breaks callers, and gaining one does not. The
# alternatives of a parameter's type follow the same rule, so a class has the same role. What an
# operation returns is not compared here: scripts/changes.py compares the specs for that.
_ROLES = {
    "parameter": _Role(is_given=True, is_gotten=False),
    "class": _Role(is_given=True, is_gotten=False),
    "function": _Role(is_given=False, is_gotten=True),
    "property": _Role(is_given=False, is_gotten=True),
    "operation": _Role(is_given=False, is_gotten=False),
}


@define
class _Words:
    """The words in a type."""

    values: set[str] = Factory(set)
    """Those that name types of the value itself."""
    arguments: set[str] = Factory(set)
    """Those that name types of the arguments with which the value is called, if it is callable.

    These arguments go the other way: a caller who gives a callback gets its arguments.
    """


@define
class _Uses:
    """The words in the types of all values that callers give, and of all that they get."""

    given: set[str] = Factory(set)
    gotten: set[str] = Factory(set)

    def add(self, words: _Words, role: _Role) -> None:
        """Add the words in a type whose values have a role."""
        if role.is_given:
            self.given |= words.values
            self.gotten |= words.arguments
        if role.is_gotten:
            self.gotten |= words.values
            self.given |= words.arguments

    def role_of(self, word: str) -> _Role:
        """Return the role of the values of a type."""
        return _Role(is_given=word in self.given, is_gotten=word in self.gotten)


@frozen
class _Name:
    """A public name, and what is compared of it."""

    kind: str
    content: str
    """The type of a parameter, an attribute or a result; the value of an attribute without a type;
    what a type alias stands for; or the bases of a class, written like a union, and empty if it has
    none.
    """
    is_required: bool = False
    """Whether callers must give a value."""

    def alternatives(self) -> set[str]:
        """Return the members of a union, or the one type; the bases of a class."""
        if not self.content:
            return set()
        return set(self.content.split(" | "))

    def describe_content(self) -> str:
        """Return the content for a sentence: "`A | B`", or "without a base"."""
        if not self.content:
            return "without a base"
        return f"`{self.content}`"


def compare_packages(old: Path, new: Path, package: str) -> Iterator[Change]:
    """Yield what changed in a package from the folder `old` to the folder `new`."""
    before = _load_names(old, package)
    after = _load_names(new, package)
    uses = _find_uses(before | after)
    for path in sorted(before.keys() | after.keys()):
        holder = _holder_of(path)
        if (holder in before) != (holder in after):
            continue  # its holder has come or gone, which is reported once
        was = before.get(path)
        now = after.get(path)
        if now is None:
            yield _change(path, "is no longer there", breaks=True)
            continue
        role = _ROLES.get(now.kind)
        if role is None:
            role = _find_role(path, now, uses)
        yield from _compare_names(path, was, now, role)


def _holder_of(path: str) -> str:
    """Return the path of the module, class or function that holds a name.

    It is 'package.A' for 'package.A.x', and 'package.f' for 'package.f(0: a)'.
    """
    if path.endswith(")"):
        return path.rpartition("(")[0]
    return path.rpartition(".")[0]


def _last_word(path: str) -> str:
    """Return the last word of a path: 'A' for 'package.A'."""
    return path.rpartition(".")[2]


def _find_role(path: str, name: _Name, uses: _Uses) -> _Role:
    """Return the role of an attribute or a type alias."""
    role = uses.role_of(_type_word(path, name))
    if not role.is_given and not role.is_gotten:
        # Nothing in the package says what callers do with the type: they may do both.
        return _Role(is_given=True, is_gotten=True)
    return role


def _type_word(path: str, name: _Name) -> str:
    """Return the word that types have for a class or a type alias, or for an attribute's class."""
    if name.kind == "attribute":
        return _last_word(_holder_of(path))
    return _last_word(path)


def _compare_names(path: str, was: _Name | None, now: _Name, role: _Role) -> Iterator[Change]:
    """Yield the changes of one name that callers notice."""
    if was is None:
        sentence = "is new"
        if now.is_required:
            sentence = "is new, and required"
        yield _change(path, sentence, breaks=role.is_given and now.is_required)
    elif was.kind != now.kind:
        sentence = f"is {_with_article(now.kind)}, and was {_with_article(was.kind)}"
        yield _change(path, sentence, breaks=True)
    else:
        yield from _compare_contents(path, was, now, role)


def _with_article(kind: str) -> str:
    if kind[0] in "aeiou":
        return f"an {kind}"
    return f"a {kind}"


def _compare_contents(path: str, was: _Name, now: _Name, role: _Role) -> Iterator[Change]:
    """Yield how the type of a name changed, and whether callers must now give a value."""
    old = was.alternatives()
    new = now.alternatives()
    is_wider = bool(new - old)
    is_narrower = bool(old - new)
    if (is_wider or is_narrower) and (role.is_given or role.is_gotten):
        breaks = (role.is_given and is_narrower) or (role.is_gotten and is_wider)
        sentence = f"is {now.describe_content()}, and was {was.describe_content()}"
        yield _change(path, sentence, breaks=breaks)
    if now.is_required and not was.is_required:
        yield _change(path, "is now required", breaks=role.is_given)
    if was.is_required and not now.is_required:
        yield _change(path, "is no longer required", breaks=False)


def _change(path: str, sentence: str, *, breaks: bool) -> Change:
    kind = "additive"
    if breaks:
        kind = "breaking"
    return Change(kind, path, sentence)


def _find_uses(names: Mapping[str, _Name]) -> _Uses:
    """Return the words in the types of all values that callers give or get.

    If a word names a class, the words in its bases and in the types of its attributes are included.
    If it names a type alias, the words in what that stands for are included. And so on.
    """
    words = {path: _words_of(name.content) for path, name in names.items()}
    uses = _Uses()
    count = -1
    while count < len(uses.given) + len(uses.gotten):  # until a round finds no more words
        count = len(uses.given) + len(uses.gotten)
        for path, name in names.items():
            if name.kind == "parameter":
                uses.add(words[path], _Role(is_given=True, is_gotten=False))
            elif name.kind in {"function", "property", "operation"}:
                uses.add(words[path], _Role(is_given=False, is_gotten=True))
            else:
                uses.add(words[path], uses.role_of(_type_word(path, name)))
    return uses


def _words_of(content: str) -> _Words:
    """Return the words in a type, or in another expression."""
    words = _Words()
    try:
        expression = ast.parse(content, mode="eval")
    except SyntaxError:  # nothing, or a type that is no expression, such as `*Ts`
        words.values.update(re.findall(r"\w+", content))
    else:
        _collect_words(expression, words.values, words.arguments)
    return words


def _collect_words(node: ast.AST, words: set[str], arguments: set[str]) -> None:
    """Add the words in a type to `words`, but those in arguments of callables to `arguments`."""
    if isinstance(node, ast.Name):
        words.add(node.id)
    elif isinstance(node, ast.Attribute):
        words.add(node.attr)
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.Subscript) and isinstance(child, ast.Tuple) and _is_callable(node):
            # It is `Callable[[First, Second], Result]`. For the arguments of a callable among the
            # arguments, the direction changes once more.
            _collect_words(child.elts[0], arguments, words)
            for result in child.elts[1:]:
                _collect_words(result, words, arguments)
        else:
            _collect_words(child, words, arguments)


def _is_callable(node: ast.Subscript) -> bool:
    return ast.unparse(node.value).rpartition(".")[2] == "Callable"


def _load_names(folder: Path, package: str) -> dict[str, _Name]:
    """Return the public names of a package, without importing it."""
    module = griffe.load(package, search_paths=[folder], try_relative_path=False)
    return dict(_walk(module))


def _walk(holder: griffe.Object | griffe.Alias) -> Iterator[tuple[str, _Name]]:
    """Yield the public names inside a module or a class, each with its path.

    A path is 'package.module.function', or 'package.module.function(parameter)'.
    """
    members = holder.members
    if holder.is_class:
        members = holder.all_members
    for member in members.values():
        if not member.is_public:
            continue
        if not isinstance(member, griffe.Alias):
            yield from _walk_definition(member.path, member)
        elif holder.is_class and member.inherited:
            if _is_from_private_base(member):
                yield from _walk_definition(member.path, member.final_target)
            # A public base is walked itself.
        else:  # an import that is made public
            yield member.path, _Name("alias", "")


def _walk_definition(
    path: str, definition: griffe.Object | griffe.Alias
) -> Iterator[tuple[str, _Name]]:
    """Yield a definition under the path by which callers reach it, and the names inside it."""
    if isinstance(definition, griffe.Attribute):
        kind = "attribute"
        content = str(definition.annotation or definition.value)
        if "property" in definition.labels:
            kind = "property"
        elif _last_word(content) == "TypeAlias":
            kind = "type alias"
            content = str(definition.value).strip("'\"")
        yield path, _Name(kind, content, is_required=_is_required(definition))
    elif isinstance(definition, griffe.Function):
        yield from _walk_function(path, definition)
    elif isinstance(definition, griffe.Class):
        yield path, _Name("class", " | ".join(str(base) for base in definition.bases))
        yield from _walk(definition)
    else:
        yield path, _Name(definition.kind.value, "")
        yield from _walk(definition)


def _is_required(attribute: griffe.Attribute) -> bool:
    """Return True if the constructor of the class must be given a value for the attribute."""
    holder = attribute.parent
    if _has_default(attribute) or "property" in attribute.labels:
        return False
    if not isinstance(holder, griffe.Class):  # a module, which nobody constructs
        return False
    if holder.keywords.get("total") == "False":  # a TypedDict, each key of which may be left out
        return False
    # A constructor that is written out has parameters, which are compared themselves.
    return "__init__" not in holder.members


def _has_default(attribute: griffe.Attribute) -> bool:
    """Return True if an attribute has a default: any value but a call of `field` without one."""
    if attribute.value is None:
        return False
    value = str(attribute.value)
    if not _FIELD_CALL.match(value):
        return True
    return _DEFAULT_OF_FIELD.search(value) is not None


def _walk_function(path: str, function: griffe.Function) -> Iterator[tuple[str, _Name]]:
    """Yield a function and its parameters."""
    kind = "function"
    if ".api." in path:
        kind = "operation"
    yield path, _Name(kind, str(function.returns))
    for index, parameter in enumerate(function.parameters):
        yield (
            f"{path}({_describe_parameter(index, parameter)})",
            _Name("parameter", str(parameter.annotation), is_required=parameter.required),
        )


def _describe_parameter(index: int, parameter: griffe.Parameter) -> str:
    """Return the name of a parameter as a path has it: '0: a', or 'a' if it is keyword-only.

    A position is part of the name wherever callers may give arguments by position. For `*args`, it
    is the position of the first of them.
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
    base = member.final_target.parent
    return base is not None and base.name.startswith("_")
