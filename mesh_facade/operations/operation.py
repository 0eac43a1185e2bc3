"""An operation of Mesh's API, as the clients run it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, ParamSpec, Protocol, TypeAlias, TypeVar

import attrs
from mesh_connect_client.types import Response

from mesh_facade.engine.bodies import Answer
from mesh_facade.errors import MeshError
from mesh_facade.operations import envelope

P = ParamSpec("P")
Result_co = TypeVar("Result_co", covariant=True)


GeneratedResponse: TypeAlias = Response[Any]
"""What generated functions return.

They are annotated with `Response[Any | …]`. pyright accepts them only as `Response[Any]`.
"""


class GeneratedModule(Protocol):
    """A module of the generated client, with the functions of one operation."""

    @property
    def sync_detailed(self) -> Callable[..., GeneratedResponse]: ...

    @property
    def asyncio_detailed(self) -> Callable[..., Awaitable[GeneratedResponse]]: ...


@attrs.define
class GeneratedArguments:
    """What a call passes to the generated function.

    Secrets belong in the body. The engine caches paths and headers in memory
    (`_shared_url_and_headers` in `engine/engine.py`).

    Attributes:
        keywords: The function's keyword arguments, without `client`.
        secrets: The secrets among them; they are redacted from errors.
    """

    keywords: Mapping[str, object] = attrs.field(repr=False)
    secrets: tuple[str, ...] = attrs.field(repr=False)


@attrs.frozen(eq=False)  # compared by identity: operations are keys of a dict
class Operation(Generic[P, Result_co]):
    """An operation of Mesh's API.

    Attributes:
        generated_module: The generated module whose functions run it.
        build_arguments: Checks a call's arguments, and turns them into those of the generated
            function. Raises TypeError or ValueError if they cannot be sent.
        check_and_complete: Checks an envelope with the status `ok`, and adds fields that Mesh left
            out, as null. Returns what is wrong with the envelope, or None if it holds a result.
        build_result: Turns what the generated function returned into the result of the call.
        is_safe_to_repeat: True for a read. If False, no request is ever sent twice.
    """

    generated_module: GeneratedModule
    build_arguments: Callable[P, GeneratedArguments]
    check_and_complete: envelope.CheckAndComplete
    build_result: Callable[[GeneratedResponse], Result_co]
    is_safe_to_repeat: bool

    def judge(self, answer: Answer) -> MeshError | None:
        """Return the error that an answer means; None if it holds a result."""
        return envelope.judge(answer, self.check_and_complete)
