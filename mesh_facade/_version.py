"""The version, apart from the package so that its own modules can read it."""

__version__ = "0.1.0"
