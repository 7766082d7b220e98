"""A new folder that appears whole or not at all, and what a killed run left of it is cleared by the next."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virc_recipes.errors import UsageError
from virc_recipes.locks import held


@contextmanager
def fresh_folder(to: Path) -> Iterator[Path]:
    """Give a hidden folder beside `to` to fill; on leaving without an error it becomes `to`.

    Raises:
        UsageError: `to` is in use.
        ConfigError: another run is making it.
    """
    taken = UsageError(f"{to} is in use", "choose another folder with --to")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise taken
    whole = to.resolve()
    whole.parent.mkdir(parents=True, exist_ok=True)
    partial = whole.with_name(f".{whole.name}.partial")
    with held(whole):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            try:
                partial.replace(whole)
            except OSError as error:  # somebody else filled it meanwhile
                raise taken from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
