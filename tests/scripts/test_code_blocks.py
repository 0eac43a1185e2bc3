"""The YAML block of a docs page: which one it is, and what a page that is cut short looks like."""

import pytest
from openapi_tools.code_blocks import split_page
from openapi_tools.json_values import SpecError

from tests.scripts.importing import MESH, PAGE


def test_a_page_is_split_into_prose_and_block() -> None:
    page = split_page("# A\n\n## OpenAPI\n\n````yaml post /x\na: 1\n````\n\nMore.\n")
    assert page is not None
    assert page.prose == "# A\n\n## OpenAPI\n\n"
    assert page.block == "\n\n\n\n\na: 1\n"  # in the line that it has in the page


@pytest.mark.parametrize(
    "text",
    ["", "a: 1\n", '{"a": "```yaml"}', "a: |\n  ```yaml\n  b\n", "```json\n{}\n```\n", "# A\n"],
)
def test_text_without_a_yaml_block_is_no_page(text: str) -> None:
    assert split_page(text) is None


def test_a_whole_document_is_no_page() -> None:
    assert split_page(MESH.decode()) is None


@pytest.mark.parametrize(
    "block",
    [
        "```yaml\na: 1\n```",
        "````yaml post /x\na: 1\n````",
        "~~~yml\na: 1\n~~~~  ",
        "``` YAML theme={null}\na: 1\n```",
    ],
)
def test_a_block_may_be_fenced_in_any_way_of_markdown(block: str) -> None:
    page = split_page(f"## OpenAPI\n{block}\n")
    assert page is not None
    assert page.block.strip() == "a: 1"


def test_a_shorter_fence_in_the_block_does_not_close_it() -> None:
    page = split_page("## OpenAPI\n````yaml\na: |\n  b\n```\nc: 1\n````\n")
    assert page is not None
    assert page.block.strip() == "a: |\n  b\n```\nc: 1"


def test_code_within_a_line_is_no_block() -> None:
    assert split_page("# A\n\n```yaml``` and ```json``` are code.\n") is None


def test_only_line_feeds_end_a_line() -> None:
    page = split_page("# A\n\n## OpenAPI\n```yaml\na: 'b\u2028c\x85d\x0ce'\n```\n")
    assert page is not None
    assert page.block.strip() == "a: 'b\u2028c\x85d\x0ce'"


def test_code_samples_in_the_description_are_passed_over() -> None:
    samples = "```yaml\nsample: 1\n```\n\n```bash\n## OpenAPI\n```\n\n~~~\n```yaml\n~~~\n"
    page = split_page(f"# A\n\n{samples}\n## OpenAPI\n\n````yaml\na: 1\n````\n")
    assert page is not None
    assert page.prose == f"# A\n\n{samples}\n## OpenAPI\n\n"
    assert page.block.strip() == "a: 1"


def test_a_lone_yaml_block_is_the_block_also_without_its_heading() -> None:
    page = split_page("# A\n\n```yaml\na: 1\n```\n")
    assert page is not None
    assert page.block.strip() == "a: 1"


@pytest.mark.parametrize("heading", ["", "## OpenAPI\n\n"])
def test_several_blocks_are_refused(heading: str) -> None:
    block = f"{heading}```yaml\na: 1\n```\n\n"
    with pytest.raises(SpecError, match=r"^the page has more than one YAML block$"):
        split_page(block * 2)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# A\n\n## OpenAPI\n\n````yaml\na: 1\n", 5),
        ("# A\n\n## OpenAPI\n\n````yaml\na: 1\n```\n", 5),
        ("# A\n\n## OpenAPI\n\n````yaml", 5),
        ("# A\n\n```bash\ncurl\n", 3),
    ],
)
def test_a_block_that_is_never_closed_is_refused(text: str, line: int) -> None:
    with pytest.raises(SpecError) as refusal:
        split_page(text)
    assert str(refusal.value) == (
        f"line {line}: the code block that begins here is never closed: the page is cut short"
    )


def test_a_page_that_ends_before_its_block_is_refused() -> None:
    with pytest.raises(SpecError, match=r"no YAML block below '## OpenAPI': it is cut short$"):
        split_page("# A\n\n## OpenAPI\n\n")


def test_a_page_that_is_cut_short_anywhere_in_its_block_is_refused() -> None:
    text = PAGE.read_text("utf-8")
    first = text.index("````yaml") + len("````yaml")
    last = text.rindex("````") + len("```")
    for end in range(first, last, 97):
        with pytest.raises(SpecError, match=r"the page is cut short$"):
            split_page(text[:end])
