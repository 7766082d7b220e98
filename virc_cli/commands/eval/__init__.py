"""Ask models a benchmark, and score and compare them."""

from collections.abc import Sequence

from virc.core.errors import UsageError
from virc_cli.commands.eval import ask
from virc_cli.console import options

FAILURE = ask.FAILURE


def explain_usage(args: Sequence[str], error: UsageError) -> UsageError | None:
    from virc.download import benchmarks

    if "BENCHMARK" not in error.message:
        return None
    return UsageError(error.message, f"virc eval {' | '.join(benchmarks.names())} | FILE")


command = options.folder(__name__, cls=options.default("ask"))
