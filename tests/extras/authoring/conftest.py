from tools.conftest import none_loaded, own

__all__ = ["none_loaded", "own"]
