"""Visual reasoning with tools: what the commands of `virc` do, as functions.

    import virc

    print(virc.solve("picture.png", "How large is angle A?").answer)

Each name is imported when it is first used, so that `import virc` loads nothing heavy.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.core.errors import (
        ConfigError,
        DataError,
        EngineError,
        LimitError,
        NetworkError,
        NoAnswerError,
        SetupError,
        UsageError,
        VircError,
    )
    from virc.evaluation.api import evaluate
    from virc.merging.build import merge
    from virc.models.load import load
    from virc.serving.start import serve
    from virc.solving.python.many import abatch, asolve, batch
    from virc.solving.python.one import solve
    from virc.solving.solution import Solution
    from virc.training.api import train
    from virc_extras.push.publish import push as push  # type: ignore[import-not-found, unused-ignore]

    __version__: str

_MODULES = {
    "Solution": "virc.solving.solution",
    "abatch": "virc.solving.python.many",
    "asolve": "virc.solving.python.many",
    "batch": "virc.solving.python.many",
    "evaluate": "virc.evaluation.api",
    "load": "virc.models.load",
    "merge": "virc.merging.build",
    "serve": "virc.serving.start",
    "solve": "virc.solving.python.one",
    "train": "virc.training.api",
}
"""Where a name is; errors are in `virc.core.errors`."""
__all__ = [
    "ConfigError",
    "DataError",
    "EngineError",
    "LimitError",
    "NetworkError",
    "NoAnswerError",
    "SetupError",
    "Solution",
    "UsageError",
    "VircError",
    "abatch",
    "asolve",
    "batch",
    "evaluate",
    "load",
    "merge",
    "serve",
    "solve",
    "train",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("virc")
    from virc.core import entry_points

    own = _MODULES.get(name) or ("virc.core.errors" if name in __all__ else None)
    module = importlib.import_module(own) if own else entry_points.hook(f"functions.{name}")
    if module is None:
        raise AttributeError(f"module 'virc' has no attribute {name!r}")
    return getattr(module, name)


def __dir__() -> list[str]:
    from virc.core import entry_points

    functions = [name[10:] for name in entry_points.own("virc.hooks") if name.startswith("functions.")]
    return sorted([*globals(), *__all__, *functions])
