"""`virc rewards`: what replies are rewarded for in RL; one file per subcommand, named as it."""

from virc_cli.console.options import folder

command = folder(__name__, "List rewards and their terms, and try them on rows.")
