"""The HTTP library."""

import importlib
from functools import cache
from typing import Any


@cache
def http_library() -> Any:
    """The HTTP library that huggingface-hub brings: httpx2, or httpx before its version 2."""
    try:
        return importlib.import_module("httpx2")
    except ModuleNotFoundError:
        return importlib.import_module("httpx")
