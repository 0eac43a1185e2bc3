"""`with_options`: other bounds on the same connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mesh_facade import MeshConfigurationError, MeshTimeoutError, ServerError
from tests.support import KEYS, Script, response

if TYPE_CHECKING:
    from tests.conftest import Clock, Mode, Serve


def test_with_options_changes_only_the_given_options(mode: Mode, clock: Clock) -> None:
    script = Script(response(500, b""))
    caller = mode.client(transport=script, max_attempts=2)

    for changed, attempts in [
        (caller.with_options(timeout=3), 2),
        (caller.with_options(deadline=20), 2),
        (caller.with_options(max_attempts=1), 1),
        (caller.with_options(), 2),
        (caller, 2),
    ]:
        with pytest.raises(ServerError) as caught:
            changed.read()
        assert caught.value.attempts == attempts
    assert type(caller.with_options().client) is mode.client_class
    assert clock.pauses


def test_with_options_sets_timeout_and_deadline(mode: Mode, serve: Serve) -> None:
    server = serve(lambda peer: (peer.receive(), peer.hold()))
    caller = mode.client(base_url=server.url)

    with pytest.raises(MeshTimeoutError, match=r"the timeout of 0\.05 s"):
        caller.with_options(timeout=0.05, max_attempts=1).read()
    with pytest.raises(MeshTimeoutError, match=r"the deadline of 0\.05 s"):
        caller.with_options(deadline=0.05).read()


@pytest.mark.parametrize(
    "options", [{"timeout": 0}, {"deadline": -1}, {"max_attempts": 0}, {"max_attempts": True}]
)
def test_with_options_checks_values_like_the_constructor(mode: Mode, options: Any) -> None:
    with pytest.raises(MeshConfigurationError, match=f"^{next(iter(options))} must be"):
        mode.client().with_options(**options)


def test_unknown_option_raises_type_error_that_names_the_client(mode: Mode) -> None:
    match = rf"^{mode.client_class.__name__}\.with_options\(\) .*'foo'"

    with pytest.raises(TypeError, match=match):
        mode.client().with_options(foo=1)


@pytest.mark.parametrize("name", ["environment", "base_url", "client_id", "max_connections"])
def test_options_other_than_bounds_raise_type_error(mode: Mode, name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}'"):
        mode.client().with_options(**{name: 1})


def test_with_options_keeps_the_attributes_of_a_subclass(mode: Mode) -> None:
    class NamedClient(mode.client_class):  # type: ignore[name-defined, misc]
        def __init__(self, name: str) -> None:
            super().__init__(**KEYS, transport=Script())
            self.name = name

    client = NamedClient("reports")

    sibling = client.with_options(max_attempts=1)

    assert (type(sibling), sibling.name) == (NamedClient, "reports")
    mode.run(client.aclose() if mode.is_async else client.close())
