"""`virc rewards`: what replies are rewarded for in RL; one file per subcommand, named as it."""

import importlib
import pkgutil

from virc_cli.console.options import group

command = group("List rewards and their terms, and try them on rows.")

for _found in pkgutil.iter_modules(__path__):
    command.command(_found.name)(importlib.import_module(f"{__name__}.{_found.name}").command)
