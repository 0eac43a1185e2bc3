"""What the facade knows about Mesh's API.

An *operation* is a call of the API. A *result* is what a successful call returns. An *envelope* is
the JSON object around every answer; its `status` is not the HTTP status.

`envelope` is what all operations share: which answer is a result, and which is which error. Each
operation has a module of its own, such as `account_balance`, which defines an `Operation`. The
names of fields on the wire are read off the generated models, not written by hand. `servers` reads
the spec's servers and key headers off the generated client, for `options` and `credentials`. Only
`operations/` and `client.py` may import the generated client (and `mesh_facade/__init__.py` its
`BrokerType`).

To add an operation, pin it in `openapi/import.yaml`, run `make spec` and `make generate`, write its
module here, add a method (with its decorator) to each client in `mesh_facade/client.py`, and export
the class of its result in `mesh_facade/__init__.py`. That class can stand in the operation's
module. (AccountBalance has a module of its own because it is large.) docs/guides/operation.md shows
each step.
"""
