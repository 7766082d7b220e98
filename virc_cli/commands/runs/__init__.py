"""`virc runs`: what `virc train` leaves in `runs/`; one file per subcommand, named as it."""

import importlib
import pkgutil

from virc_cli.console.options import group

command = group("List, follow, draw, stop and remove runs of training.")

for _found in pkgutil.iter_modules(__path__):
    command.command(_found.name)(importlib.import_module(f"{__name__}.{_found.name}").command)
