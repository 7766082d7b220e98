"""Package a system for other trainers and evaluators.

`write.py` is the command `virc export` itself; the other file is its subcommand.
"""

from virc_cli.console.options import default, folder
from virc_extras.export.commands.write import FAILURE as FAILURE

command = folder(__name__, cls=default("write"))
