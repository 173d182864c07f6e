"""The parameter tree: sharing, checking, overriding, writing and reading it."""
