"""What the facade knows about Mesh's API.

An *operation* is a call of the API. A *result* is what a successful call returns. An *envelope* is
the JSON object around every answer; its `status` is not the HTTP status.

`envelope` is what all operations share: which answer is a result, and which is which error. Each
operation has a module of its own, such as `account_balance`, which defines an `Operation`. The
names of fields on the wire are read off the generated models, so that a field that Mesh renames
needs no change here. `servers` reads the spec's servers and key headers off the generated code, for
modules outside: here is the only place, but for `client`, that may import it.

Another operation takes a module here, a method in each client (`mesh_facade/client.py`), and the
export of its result's class (`mesh_facade/__init__.py`). docs/guides/operation.md shows each step.
"""
