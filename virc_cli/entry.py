"""The console script: Ctrl-C ends it quietly from its first line on, while commands are imported and after they end."""

# What `signal` has, without its import of enum.
import _signal  # type: ignore[import-not-found, unused-ignore]
import gc
import os
import sys

from virc_cli.console.interrupts import leave

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # under nohup, or a shell's &, it is ignored
    _signal.signal(_signal.SIGINT, leave)


def main() -> int:
    """Run the command line of this process and return its exit code."""
    if sys.platform != "win32" and "VIRC_DEBUG" not in os.environ:  # the memory in a core file holds keys
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    gc.disable()  # until the command that is named begins: what is imported up to there stays
    from virc_cli.main import main as run

    return run()
