"""Show or change this user's defaults."""

import os
from typing import Annotated

from virc_cli.console import completion, output
from virc_cli.console.options import Json, argument, group

command = group(__doc__)

FAILURE: dict[str, object] = {"path": None, "settings": None}

Key = Annotated[str, argument("KEY", "Name of the setting.", autocompletion=completion.settings)]


@command.command("show")
def show(as_json: Json = False) -> None:
    """Print every setting, its value and its source."""
    from virc.config import user as config
    from virc.models import registry as models

    path = config.config_path(os.environ)
    resolved = config.chosen()
    rows = {key: (setting.value, setting.source) for key, setting in resolved.items()}
    for key in ("api_key", "headers"):
        if resolved[key].value:
            rows[key] = "set", resolved[key].source
    if resolved["model"].value is None and resolved["endpoint"].value is None:
        rows["model"] = models.default(config.values(resolved).system), "default"
    if as_json:
        settings = {key: {"value": value, "source": source} for key, (value, source) in rows.items()}
        output.emit("virc.config/1", {"path": str(path), "settings": settings})
        return
    for key, (value, source) in rows.items():
        text = "-" if value is None else str(value)
        output.line(f"{key:<12} {text:<30} {f'file {path}' if source == 'file' else source}")


@command.command("set", context_settings={"ignore_unknown_options": True})
def set_(key: Key, value: Annotated[str, argument("VALUE", "Its value.")]) -> None:
    """Set a default.

    For example: `virc config set model ViRC-3B`.
    """
    from virc.config import user as config
    from virc.families import registry as families

    path = config.config_path(os.environ)
    if key == "family":
        families.get(value)
    output.note(f"{key} is now {config.store(path, key, value)} in {path}")


@command.command("unset")
def unset(key: Key) -> None:
    """Remove a setting from the config file."""
    from virc.config import user as config

    config.remove(config.config_path(os.environ), key)


@command.command("path")
def path() -> None:
    """Print the path of the config file."""
    from virc.config import user as config

    output.line(str(config.config_path(os.environ)))
