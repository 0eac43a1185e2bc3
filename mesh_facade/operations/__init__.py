"""What the facade knows about Mesh's API.

`envelope` is what all operations share: which answer is a result, and which is which error. Each
operation has a module of its own, such as `account_balance`, which defines an `Operation`. The
names of fields on the wire come from the generated models, so that a new spec takes this package
along.
"""
