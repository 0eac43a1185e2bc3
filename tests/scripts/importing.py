"""What the tests of the importer share: a small document, and the command line that refuses one."""

import json
from pathlib import Path
from typing import Any

import import_spec
import pytest
import yaml

Json = dict[str, Any]

OPENAPI = Path(__file__).parents[2] / "openapi"
DATA = Path(__file__).parents[1] / "data"
PAGE = DATA / "get-account-balance.md"
# The page holds one operation alone, whatever else the project's own settings pin.
SETTINGS_FILE = DATA / "import.yaml"
PINNED = "POST /api/v1/balance/get"
OPERATION: Json = {"summary": "Get", "responses": {"200": {"description": "OK"}}}
SPEC: Json = {
    "openapi": "3.0.1",
    "info": {"title": "Theirs", "version": "9"},
    "paths": {
        "/api/v1/balance/get": {"post": {"operationId": "x", "tags": ["Money"], **OPERATION}},
        "/things/{id}": {
            "get": {
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
                ],
                **OPERATION,
            },
        },
    },
}
SETTINGS: Any = import_spec.read_settings(SETTINGS_FILE)
MESH = import_spec.import_source(PAGE.read_bytes(), SETTINGS).encode()


def imported(text: str | bytes, *wanted: str, **settings: Any) -> Json:
    """Return the spec that a source gives."""
    content = text.encode() if isinstance(text, str) else text
    spec: Json = yaml.safe_load(import_spec.import_source(content, SETTINGS | settings, wanted))
    return spec


def api(operation: Json, **rest: Any) -> str:
    """Return a document of one operation, `GET /x`."""
    paths = {"/x": {"get": OPERATION | operation}}
    return json.dumps({"openapi": "3.1.0", "paths": paths, **rest})


def newer_page(block: str) -> str:
    return (
        f"# Source: https://a.example\n\n# Get\n\n## OpenAPI\n\n````yaml post /x\n{block}\n````\n"
    )


def run_importer(source: str | Path, output: Path, *options: str) -> int:
    """Run the command line with the settings above, unless the options name others."""
    settings = ["--settings", str(SETTINGS_FILE)]
    return import_spec.main([str(source), "--output", str(output), *settings, *options])


class Refusal:
    """Runs the command line on sources that it must refuse."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._capsys = capsys

    def of_content(self, content: str | bytes, *options: str) -> str:
        """Return the reason why a file with this content is refused."""
        file = self._folder / "source"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.of(file, *options)

    def of(self, source: str | Path, *options: str, blamed: Path | None = None) -> str:
        """Return the reason why a source is refused: one line, and nothing is written.

        The line begins with the file at fault: the source, unless another is `blamed`.
        """
        file = blamed or source
        output = self._folder / "out" / "mesh.yaml"
        output.parent.mkdir(exist_ok=True)
        assert run_importer(source, output, *options) == 1
        assert list(output.parent.iterdir()) == []
        written = self._capsys.readouterr()
        assert written.out == ""
        assert written.err.startswith(f"error: {file}: ")
        assert written.err.count("\n") == 1
        return written.err.removeprefix(f"error: {file}: ").strip()
