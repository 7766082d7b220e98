"""`virc systems`: models, chat protocol, stages and overlays, one YAML each; one file per subcommand, named as it."""

from virc_cli.console.options import folder

command = folder(__name__, "List, show, check and create systems.")
