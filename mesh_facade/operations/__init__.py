"""What the facade knows about Mesh's API.

An *operation* is a call of the API. A *result* is what a successful call returns. An *envelope* is
the JSON object around every answer; its `status` is not the HTTP status. docs/guides/operation.md
shows how to add an operation.

`envelope` is what all operations share: which answer is a result, and which is which error. Each
operation has a module of its own, such as `account_balance`, which defines an `Operation`. The
names of fields on the wire are read off the generated models, so that a field that Mesh renames
needs no change here.
"""
