"""`virc systems`: models, chat protocol, stages and overlays, one YAML each; one file per subcommand, named as it."""

import importlib
import pkgutil

from virc_cli.console.options import group

command = group("List, show, copy, check and create systems.")

for _found in pkgutil.iter_modules(__path__):
    command.command(_found.name)(importlib.import_module(f"{__name__}.{_found.name}").command)
