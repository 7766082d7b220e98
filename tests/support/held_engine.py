"""An engine that waits at a moment, so that a test stops it there however fast the machine is."""

import json
import textwrap
from pathlib import Path

import pytest
from support.engine_python import interpreter

from virc.envs.pins import get

_HOOK = textwrap.dedent('''
    """Wait at the audit event HELD_AT, `EVENT:NAME OF A FILE`, while HELD_WHILE is there, until it is asked to save."""

    import os
    import signal
    import sys
    import time

    wanted, _, name = os.environ.get("HELD_AT", "").partition(":")


    def hold(event, arguments):
        if event != wanted or os.path.basename(str(arguments[0])) != name:
            return
        if event == "open" and not str(arguments[1]).startswith("w"):
            return
        told = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)  # SavesOnSignal of LLaMA-Factory's process
        while os.path.exists(os.environ["HELD_WHILE"]) and not getattr(told, "_stopping", False):
            time.sleep(0.02)


    if wanted:
        sys.addaudithook(hold)
''')


class Hold:
    """Holds the engine while it is on.

    Args:
        file: an engine waits while it is there.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def on(self) -> None:
        """Have the engine wait when it comes there."""
        self._file.touch()

    def off(self) -> None:
        """Let it go on."""
        self._file.unlink()


def hold_at(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str = "sft") -> Hold:
    """Have the engines that this test starts wait at a moment, until they are asked to save and end; it is on.

    The engine gets a cache of its own, in which its interpreter is registered as a script: virc sets the engine's
    PYTHONPATH itself, and hands on no variables that it does not know.

    Args:
        moment: an audit event of Python and the name of its file, such as `os.mkdir:checkpoint-3`: LLaMA-Factory has
            logged the step by then, and verl the step before. `open` is that for writing.
    """
    hook, cache, hold = tmp_path / "hook", tmp_path / "cache", Hold(tmp_path / "held")
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(_HOOK)
    script = hook / "python"
    given = f'HELD_AT="{moment}" HELD_WHILE="{tmp_path / "held"}" PYTHONPATH="{hook}:$PYTHONPATH"'
    script.write_text(f'#!/bin/sh\n{given} exec "{interpreter(engine)}" "$@"\n')
    script.chmod(0o755)
    for device in ("cpu", "cuda"):
        registration = get(engine, device, cache).registration
        registration.parent.mkdir(parents=True, exist_ok=True)
        registration.write_text(json.dumps({"python": str(script)}))
    hold.on()
    monkeypatch.setenv("VIRC_CACHE", str(cache))
    return hold
