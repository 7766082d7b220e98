"""`virc data`: rows in and out; one file per subcommand, named as it."""

import importlib
import pkgutil

from virc_cli.console.options import group

command = group("Check, convert, draw, show and sample rows.")

for _found in pkgutil.iter_modules(__path__):
    command.command(_found.name)(importlib.import_module(f"{__name__}.{_found.name}").command)
