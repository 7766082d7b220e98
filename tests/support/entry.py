"""What the tests of the house share: where the checkout is, and a command that fails on demand."""

import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

Env = dict[str, str]
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]

# A command file that fails on demand, added to the listed folder as an installed one would be.
BOOM = '''
"""Fails as it is told."""
import sys, time
from typing import Annotated
import typer
from virc_cli.console import output
from virc_cli.console.options import Json
from virc.core import errors

FAILURE = {"answer": None, "model": None}

def explain_usage(args, error):
    return errors.UsageError("say it in one word", "quote it") if "two" in args else None

def command(what: str, as_json: Json = False, size: int = 0) -> None:
    """Break as told."""
    output.know(model="m")
    if hasattr(errors, what):
        raise getattr(errors, what)("it broke", "mend it")
    elif what == "write":
        for _ in range(size):
            output.line("x" * 1000)
    elif what == "print":
        print("left in the buffer", file=output.stdout())
    elif what == "say":
        output.line("\\u2220 = 50\\u00b0 \\ud800")
        output.note("a\\x1b[2Jb")
        output.warn("careful", "slowly")
    elif what == "hostile":
        output.line("97\\x1b]0;title\\x07\\u202e")
        raise errors.NoAnswerError("csi \\x9b2J")
    elif what == "wait":
        try:
            output.line("ready")
            time.sleep(60)
        except KeyboardInterrupt:
            output.note("kept")
            raise
    else:
        raise {"bug": ZeroDivisionError("by zero"), "memory": MemoryError(), "denied":
               PermissionError(13, "Permission denied", "out.json")}[what]
'''

DRIVER = """
import sys, virc_cli.commands
virc_cli.commands.__path__.append(sys.argv.pop(1))
from virc_cli.main import main
sys.exit(main())
"""
