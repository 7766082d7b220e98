"""`virc export`: a system for others' trainers. `write.py` is the command itself; the other file is its subcommand."""

from virc_cli.commands.export.write import FAILURE as FAILURE
from virc_cli.console.options import default, folder

command = folder(__name__, "Package a system for other trainers and evaluators.", cls=default("write"))
