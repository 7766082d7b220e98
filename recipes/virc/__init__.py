"""Visual reasoning with tools: what the commands of `virc` do, as functions.

    import virc

    print(virc.solve("picture.png", "How large is angle A?").answer)

Each name is imported when it is first used, so that `import virc` loads nothing heavy.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.core.errors import VircError
    from virc.evaluation.api import evaluate
    from virc.merging.build import merge
    from virc.models.load import load
    from virc.serving.start import serve
    from virc.solving.api import solve
    from virc.training.api import train

_MODULES = {
    "VircError": "virc.core.errors",
    "evaluate": "virc.evaluation.api",
    "load": "virc.models.load",
    "merge": "virc.merging.build",
    "serve": "virc.serving.start",
    "solve": "virc.solving.api",
    "train": "virc.training.api",
}
__all__ = ["VircError", "evaluate", "load", "merge", "serve", "solve", "train"]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'virc' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
