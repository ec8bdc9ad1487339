"""User code that cannot be imported."""

import importlib

importlib.import_module("a_package_that_nobody_has")


class Handler:
    """Never made."""
