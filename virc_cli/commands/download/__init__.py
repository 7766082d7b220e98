"""`virc download`: the hub to the workspace. `get.py` is the command itself; the other files are its subcommands."""

from virc_cli.commands.download.get import FAILURE as FAILURE
from virc_cli.console.options import default, folder

command = folder(__name__, "Download datasets, models, judges and benchmarks.", cls=default("get"))
