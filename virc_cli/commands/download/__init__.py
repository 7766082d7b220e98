"""Download datasets, models, judges and benchmarks."""

from virc_cli.commands.download.get import FAILURE as FAILURE
from virc_cli.console.options import default, folder

command = folder(__name__, cls=default("get"))
