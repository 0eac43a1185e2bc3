import ast
from pathlib import Path

import pytest
from openapi_tools.python_api import compare_modules, compare_packages

import mesh_facade


def changes(tmp_path: Path, old: str, new: str) -> list[tuple[bool, str, str]]:
    """Compare two versions of a package of one module, and leave out the module's name."""
    for folder, source in (("old", old), ("new", new)):
        package = tmp_path / folder / "package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(source)
    found = compare_packages(tmp_path / "old", tmp_path / "new", "package")
    return [
        (effect == "breaking", place.removeprefix("package."), says)
        for effect, place, says in found
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # What comes and goes.
        ("x = 1", "", [(True, "x", "is no longer there")]),
        ("", "def f(a): ...", [(False, "f", "is new")]),
        ("class A:\n  x: int", "", [(True, "A", "is no longer there")]),
        ("_x = 1", "", []),
        ("from os import path as p\n__all__ = ['p']", "", [(True, "p", "is no longer there")]),
        ("from os import path", "", []),
        ("def f(): ...", "f = 1", [(True, "f", "is an attribute, and was a function")]),
        ("x = 1", "x = 2", [(True, "x", "is `2`, and was `1`")]),
        ("class A(B, C): ...", "class A(B): ...", [(True, "A", "is `B`, and was `B | C`")]),
        ("class A(B): ...", "class A(B, C): ...", [(False, "A", "is `B | C`, and was `B`")]),
        ("class A: ...", "class A(B): ...", [(False, "A", "is `B`, and was without a base")]),
        ("class A(B): ...", "class A: ...", [(True, "A", "is without a base, and was `B`")]),
        # What callers give.
        ("def f(a: X): 1", "def f(a: X | Y): 1", [(False, "f(0: a)", "is `X | Y`, and was `X`")]),
        ("def f(a: X | Y): 1", "def f(a: X): 1", [(True, "f(0: a)", "is `X`, and was `X | Y`")]),
        ("def f(a=1): ...", "def f(a): ...", [(True, "f(0: a)", "is now required")]),
        ("def f(a): ...", "def f(a=1): ...", [(False, "f(0: a)", "is no longer required")]),
        ("def f(): ...", "def f(a): ...", [(True, "f(0: a)", "is new, and required")]),
        ("def f(): ...", "def f(*, a=1): ...", [(False, "f(a)", "is new")]),
        ("def f(*, a, b): ...", "def f(*, b, a): ...", []),
        # What they get.
        ("def f() -> X: ...", "def f() -> X | Y: ...", [(True, "f", "is `X | Y`, and was `X`")]),
        ("def f() -> X | Y: ...", "def f() -> X: ...", [(False, "f", "is `X`, and was `X | Y`")]),
    ],
)  # fmt: skip
def test_a_change_breaks_if_callers_must_give_more_or_get_something_else(
    tmp_path: Path, old: str, new: str, expected: list[tuple[bool, str, str]]
) -> None:
    assert changes(tmp_path, old, new) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("*, a=1", "a=1", [(False, "f(a)", "can now be given by position, too")]),
        ("x, *, a", "x, a", [(False, "f(a)", "can now be given by position, too")]),
        ("a, /", "a", [(False, "f(0: a)", "can now be given by keyword, too")]),
        ("a", "a, /", [(True, "f(0: a)", "can no longer be given by keyword")]),
        ("*, a=1", "a=1, /", [(True, "f(a)", "is no longer there"), (False, "f(0: a)", "is new")]),
        ("a=1", "*, a=1", [(True, "f(0: a)", "is no longer there"), (False, "f(a)", "is new")]),
    ],
)
def test_parameter_breaks_callers_only_if_they_lose_a_way_to_give_it(
    tmp_path: Path, old: str, new: str, expected: list[tuple[bool, str, str]]
) -> None:
    found = changes(tmp_path, f"def f({old}): ...", f"def f({new}): ...")

    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a, /", "b, /", []),
        ("a, c, /", "b, c, /", []),
        ("*a", "*b", []),
        ("**a", "**b", []),
        ("a, *b, c, **d", "a, *e, c, **f", []),
        ("a, /", "b", [(False, "f(0: b)", "can now be given by keyword, too")]),
        ("a=1, /", "b, /", [(True, "f(0: b)", "is now required")]),
        ("*a: X", "*b: Y", [(True, "f(0: *b)", "is `Y`, and was `X`")]),
        ("*a", "", [(True, "f(0: *a)", "is no longer there")]),
    ],
)
def test_new_name_of_a_parameter_breaks_nobody_if_callers_cannot_use_the_name(
    tmp_path: Path, old: str, new: str, expected: list[tuple[bool, str, str]]
) -> None:
    assert changes(tmp_path, f"def f({old}): ...", f"def f({new}): ...") == expected


def test_other_changes_of_a_parameter_that_can_now_be_given_by_position_are_reported(
    tmp_path: Path,
) -> None:
    found = changes(tmp_path, "def f(*, a: X = 1): ...", "def f(a: Y): ...")

    assert found == [
        (True, "f(a)", "is `Y`, and was `X`"),
        (True, "f(a)", "is now required"),
        (False, "f(a)", "can now be given by position, too"),
    ]


def test_parameter_that_takes_the_first_place_breaks_those_who_give_another_by_position(
    tmp_path: Path,
) -> None:
    found = changes(tmp_path, "def f(x=1, *, a=1): ...", "def f(a=1, x=1): ...")

    assert found == [
        (True, "f(0: x)", "is no longer there"),
        (False, "f(1: x)", "is new"),
        (False, "f(a)", "can now be given by position, too"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        # In brackets, a `|` does not separate alternatives of the parameter.
        ("list[A | B]", "list[A | B | C]", True),
        ("list[A | B] | None", "list[A | B] | C | None", False),
        ("Callable[[A | B], None]", "Callable[[A | X | B], None]", True),
        ("Literal['a | b'] | None", "Literal['a | c', 'b'] | None", True),
        ("A | (B | C)", "C | B | A | D", False),
    ],
)
def test_only_new_alternatives_of_the_whole_type_make_a_parameter_wider(
    tmp_path: Path, old: str, new: str, *, breaks: bool
) -> None:
    found = changes(tmp_path, f"def f(a: {old}): ...", f"def f(a: {new}): ...")

    assert [(breaks_callers, place) for breaks_callers, place, _ in found] == [(breaks, "f(0: a)")]


def test_alternatives_in_another_order_are_no_change(tmp_path: Path) -> None:
    old = "def f(a: dict[str, A | B] | None): ..."
    new = "def f(a: None | dict[str, A | B]): ..."

    assert changes(tmp_path, old, new) == []


def test_type_and_necessity_that_change_together_are_both_reported(tmp_path: Path) -> None:
    assert changes(tmp_path, "def f(a: X = 1): ...", "def f(a: X | Y): ...") == [
        (False, "f(0: a)", "is `X | Y`, and was `X`"),
        (True, "f(0: a)", "is now required"),
    ]


def test_new_keyword_only_parameter_before_keyword_arguments_is_additive(tmp_path: Path) -> None:
    found = changes(tmp_path, "def f(a, **options): ...", "def f(a, *, b=1, **options): ...")

    assert found == [(False, "f(b)", "is new")]


def test_new_parameter_before_positional_arguments_breaks_callers(tmp_path: Path) -> None:
    found = changes(tmp_path, "def f(a, *rest): ...", "def f(a, b=1, *rest): ...")

    assert (True, "f(1: *rest)", "is no longer there") in found


def test_new_property_of_a_class_that_callers_construct_is_additive(tmp_path: Path) -> None:
    old = "class A:\n  x: int\ndef f(a: A): ..."
    new = "class A:\n  x: int\n  @property\n  def y(self) -> int: ...\ndef f(a: A): ..."

    assert changes(tmp_path, old, new) == [(False, "A.y", "is new")]


def test_wider_property_breaks_callers_even_if_they_construct_its_class(tmp_path: Path) -> None:
    old = "class A:\n  @property\n  def y(self) -> int: ...\ndef f(a: A): ..."
    new = old.replace("-> int", "-> int | None")

    found = changes(tmp_path, old, new)

    assert found == [(True, "A.y", "is `int | None`, and was `int`")]


@pytest.mark.parametrize(
    "old",
    [
        "x: int",
        "class A(TypedDict, total=False):\n  x: int",
        "class A:\n  def __init__(self): ...\n  x: int",
    ],
)
def test_new_attribute_that_no_constructor_requires_is_additive(tmp_path: Path, old: str) -> None:
    found = changes(tmp_path, old, old.replace("x: int", "x: int; y: int"))

    assert [(breaks, sentence) for breaks, _, sentence in found] == [(False, "is new")]


def test_arguments_that_change_places_break_those_who_give_them_by_position(tmp_path: Path) -> None:
    found = changes(tmp_path, "def f(a, b): ...", "def f(b, a): ...")

    assert [place for breaks, place, _ in found if breaks] == [
        "f(0: a)",
        "f(0: b)",
        "f(1: a)",
        "f(1: b)",
    ]


@pytest.mark.parametrize(
    ("use", "wider", "narrower", "required"),
    [
        ("def f(a: A): ...", False, True, True),
        ("def f() -> A: ...", True, False, False),
        ("def f(a: A) -> A: ...", True, True, True),
        ("", True, True, True),
        ("class B:\n  a: A\ndef f(b: list[B]): ...", False, True, True),
        ("class B:\n  a: A\ndef f() -> B | None: ...", True, False, False),
        ("def f(*a: *A): ...", False, True, True),
        # A callback gets its arguments and gives its result; callers get a function's callable.
        ("def f(a: Callable[[A], object]): ...", True, False, False),
        ("def f(a: typing.Callable[[int], A] | None): ...", False, True, True),
        ("def f(a: Callable[..., A]): ...", False, True, True),
        ("def f(a: Callable[[Callable[[A], int]], int]): ...", False, True, True),
        ("def f() -> Callable[[A], int]: ...", False, True, True),
        ("class B:\n  a: Callable[[A], int]\ndef f(b: B): ...", True, False, False),
        # A type alias is used as it says.
        ("T: TypeAlias = A | int\ndef f(a: list[T]): ...", False, True, True),
        ("T: typing.TypeAlias = 'A | int'\ndef f() -> T: ...", True, False, False),
        ("T: TypeAlias = Callable[[A], int]\ndef f(a: T): ...", True, False, False),
        # So is a class that another one is derived from.
        ("class B(A): ...\ndef f(b: B): ...", False, True, True),
        ("class B(A): ...\nclass C(B): ...\ndef f() -> C: ...", True, False, False),
    ],
)
def test_the_use_of_a_class_decides_which_changes_of_its_attributes_break(
    tmp_path: Path, use: str, *, wider: bool, narrower: bool, required: bool
) -> None:
    narrow = f"class A:\n  x: int = 1\n{use}"
    wide = f"class A:\n  x: int | str = 1\n{use}"
    more = f"class A:\n  x: int = 1\n  y: int\n{use}"

    assert [breaks for breaks, *_ in changes(tmp_path / "wider", narrow, wide)] == [wider]
    assert [breaks for breaks, *_ in changes(tmp_path / "narrower", wide, narrow)] == [narrower]
    assert [breaks for breaks, *_ in changes(tmp_path / "required", narrow, more)] == [required]


@pytest.mark.parametrize(
    ("use", "wider", "narrower"),
    [
        ("def f(a: T): ...", False, True),
        ("def f() -> T: ...", True, False),
        ("", True, True),
    ],
)
def test_the_use_of_a_type_alias_decides_which_of_its_changes_break(
    tmp_path: Path, use: str, *, wider: bool, narrower: bool
) -> None:
    narrow = f"T: TypeAlias = 'A'\n{use}"
    wide = f"T: TypeAlias = 'A | B'\n{use}"

    assert changes(tmp_path / "wider", narrow, wide) == [(wider, "T", "is `A | B`, and was `A`")]
    assert changes(tmp_path / "narrower", wide, narrow) == [
        (narrower, "T", "is `A`, and was `A | B`")
    ]


def test_type_aliases_of_the_facade_have_the_annotation_by_which_they_are_recognised() -> None:
    not_recognised: list[str] = []
    for file in Path(mesh_facade.__file__).parent.rglob("*.py"):
        for statement in ast.parse(file.read_text("utf-8")).body:
            if not isinstance(statement, ast.Assign):
                continue
            name = ast.unparse(statement.targets[0])
            # Names in capitals are those of constants, except for this one.
            may_be_alias = name == "JSON" or not name.isupper()
            if may_be_alias and isinstance(statement.value, ast.BinOp | ast.Subscript):
                not_recognised.append(f"{file.name}: {name}")

    assert not_recognised == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("T = A | B", "T: TypeAlias = A | B", []),
        ("T: TypeAlias = A | B", "T = A | B", []),
        ("T = A | B", "T: TypeAlias = A", [(True, "T", "is `A`, and was `A | B`")]),
    ],
)
def test_type_alias_that_is_annotated_or_no_longer_annotated_breaks_nobody(
    tmp_path: Path, old: str, new: str, expected: list[tuple[bool, str, str]]
) -> None:
    assert changes(tmp_path, old, new) == expected


def test_wider_type_alias_of_what_callers_give_is_additive(tmp_path: Path) -> None:
    use = "class Client:\n  def __init__(self, *, secret: Secret | None = None): ..."

    found = changes(
        tmp_path,
        f"Secret: TypeAlias = str\n{use}",
        f"Secret: TypeAlias = str | Callable[[], str]\n{use}",
    )

    assert found == [(False, "Secret", "is `str | Callable[[], str]`, and was `str`")]


def test_answers_of_an_operation_are_left_to_the_wire_view(tmp_path: Path) -> None:
    for folder, answer in (("old", "A"), ("new", "A | B")):
        api = tmp_path / folder / "package" / "api"
        api.mkdir(parents=True)
        for module in (api.parent / "__init__.py", api / "__init__.py"):
            module.touch()
        (api / "operation.py").write_text(f"def sync() -> {answer}: ...")

    assert list(compare_packages(tmp_path / "old", tmp_path / "new", "package")) == []


def test_change_in_a_private_base_is_reported_for_each_public_class(tmp_path: Path) -> None:
    source = (
        "class _Base:\n  def __init__(self, *, a=1): ...\nclass A(_Base): ...\nclass B(_Base): ..."
    )

    found = changes(tmp_path, source, source.replace("a=1", "a"))

    assert [place for _, place, _ in found] == ["A.__init__(a)", "B.__init__(a)"]


def test_change_in_a_public_base_is_reported_once(tmp_path: Path) -> None:
    source = "class Base:\n  def f(self, *, a=1): ...\nclass A(Base): ..."

    found = changes(tmp_path, source, source.replace("a=1", "a"))

    assert [place for _, place, _ in found] == ["Base.f(a)"]


@pytest.mark.parametrize(
    ("value", "is_required"),
    [
        ("attrs.field(repr=False)", True),
        ("field()", True),
        ("attrs.field(default=None)", False),
        ("attrs.field(factory=list)", False),
        ("dataclasses.field(default_factory=list)", False),
        ("field(init=False)", False),
        ("make_field()", False),
    ],
)
def test_field_without_a_default_is_required(
    tmp_path: Path, value: str, *, is_required: bool
) -> None:
    start = "def f(a: A): ...\nclass A:\n  x: int\n"

    found = changes(tmp_path, start, f"{start}  y: int = {value}\n")

    sentence = "is new, and required" if is_required else "is new"
    assert found == [(is_required, "A.y", sentence)]


# --- the public names of some modules -----------------------------------------------------------


def changes_of_modules(
    tmp_path: Path, old: dict[str, str], new: dict[str, str]
) -> list[tuple[bool, str, str]]:
    """Compare the public names of the modules `p` and `p.kit` in two versions of a package."""
    for folder, sources in (("old", old), ("new", new)):
        for name, source in {"__init__": "", **sources}.items():
            file = tmp_path / folder / "p" / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
    found = compare_modules(tmp_path / "old", tmp_path / "new", ["p", "p.kit"])
    return [(effect == "breaking", place, sentence) for effect, place, sentence in found]


def exporting(*names: str, module: str = "p.inner") -> str:
    """Return a module that imports names from another one and makes them public."""
    return f"from {module} import {', '.join(names)}\n__all__ = {list(names)!r}\n"


def test_names_of_other_modules_are_not_compared(tmp_path: Path) -> None:
    old = {"inner": "def f(): ...\nclass A:\n  x = 1", "gone": "y = 1"}

    assert changes_of_modules(tmp_path, old, {"inner": "def f(a): ..."}) == []


@pytest.mark.parametrize("module", ["__init__", "kit"])
def test_imported_name_is_compared_where_it_is_defined(tmp_path: Path, module: str) -> None:
    old = {module: exporting("f", "A"), "inner": "def f(): ...\nclass A:\n  def g(self): ..."}
    new = {module: exporting("f", "A"), "inner": "def f(a): ...\nclass A:\n  def g(self, b): ..."}

    found = changes_of_modules(tmp_path, old, new)

    path = "p"
    if module == "kit":
        path = "p.kit"
    assert found == [
        (True, f"{path}.A.g(1: b)", "is new, and required"),
        (True, f"{path}.f(0: a)", "is new, and required"),
    ]


def test_name_that_is_no_longer_imported_is_reported(tmp_path: Path) -> None:
    source = {"inner": "def f(): ...\ndef g(): ..."}

    found = changes_of_modules(
        tmp_path,
        {"__init__": exporting("f", "g"), **source},
        {"__init__": exporting("f"), **source},
    )

    assert found == [(True, "p.g", "is no longer there")]


def test_definition_that_moves_to_another_module_breaks_nobody(tmp_path: Path) -> None:
    source = "class A:\n  def g(self): ..."

    found = changes_of_modules(
        tmp_path,
        {"__init__": exporting("A"), "inner": source},
        {"__init__": exporting("A", module="p.other"), "other": source},
    )

    assert found == []


def test_module_that_is_gone_or_new_is_reported_once(tmp_path: Path) -> None:
    kit = {"kit": "def f(): ..."}

    assert changes_of_modules(tmp_path / "gone", kit, {}) == [(True, "p.kit", "is no longer there")]
    assert changes_of_modules(tmp_path / "new", {}, kit) == [(False, "p.kit", "is new")]


@pytest.mark.parametrize(
    ("names", "places"),
    [(("A", "B"), ["p.A.f(1: a)", "p.B.f(1: a)"]), (("A", "Base"), ["p.Base.f(1: a)"])],
)
def test_inherited_member_is_compared_with_the_base_if_callers_can_import_the_base(
    tmp_path: Path, names: tuple[str, ...], places: list[str]
) -> None:
    old = "class Base:\n  def f(self): ...\nclass A(Base): ...\nclass B(Base): ..."
    new = old.replace("self", "self, a")
    export = {"__init__": exporting(*names)}

    found = changes_of_modules(tmp_path, {**export, "inner": old}, {**export, "inner": new})

    assert [place for _, place, _ in found] == places


def test_type_that_a_signature_mentions_is_compared(tmp_path: Path) -> None:
    kit = {"kit": "from p.inner import Options\ndef f(**options: Unpack[Options]): ..."}
    old = (
        "Amount: TypeAlias = 'int | str'\n"
        "class Options(TypedDict, total=False):\n"
        "  x: Amount\n"
        "  y: T"
    )
    new = old.replace("int | str", "int").replace("y: T", "z: T")

    found = changes_of_modules(tmp_path, {**kit, "inner": old}, {**kit, "inner": new})

    assert found == [
        (True, "p.inner.Amount", "is `int`, and was `int | str`"),
        (True, "p.inner.Options.y", "is no longer there"),
        (False, "p.inner.Options.z", "is new"),
    ]


def test_mentioned_type_with_a_public_name_is_compared_under_this_name(tmp_path: Path) -> None:
    export = {"__init__": exporting("A", "f")}
    old = "class A:\n  def g(self): ...\ndef f() -> A: ..."
    new = old.replace("self", "self, b")

    found = changes_of_modules(tmp_path, {**export, "inner": old}, {**export, "inner": new})

    assert found == [(True, "p.A.g(1: b)", "is new, and required")]


def test_names_in_a_signature_that_are_not_types_of_the_package_are_not_compared(
    tmp_path: Path,
) -> None:
    kit = {
        "kit": "from other import X\nfrom p.inner import check\ndef f(a: Annotated[X, check]): ..."
    }

    found = changes_of_modules(
        tmp_path,
        {**kit, "inner": "def check(a): ..."},
        {**kit, "inner": "def check(a, b): ..."},
    )

    assert found == []


def test_mentioned_type_that_moves_to_another_module_breaks_nobody(tmp_path: Path) -> None:
    source = {"inner": "Amount: TypeAlias = int", "other": "Amount: TypeAlias = int"}
    kit = "from p.{} import Amount\ndef f(a: Amount): ..."

    found = changes_of_modules(
        tmp_path,
        {"kit": kit.format("inner"), **source},
        {"kit": kit.format("other"), **source},
    )

    assert found == []


def test_name_from_another_package_and_the_version_are_compared_by_their_presence(
    tmp_path: Path,
) -> None:
    old = "from other import A, B\n__version__ = '1'\n__all__ = ['A', 'B', '__version__']"
    new = "from other import A\n__version__ = '2'\n__all__ = ['A', '__version__']"

    found = changes_of_modules(tmp_path, {"__init__": old}, {"__init__": new})

    assert found == [(True, "p.B", "is no longer there")]
