"""What can be said of other platforms on this one: modules import without the names that Windows does not have."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

POSIX = """
fcntl grp pwd resource termios tty pty
os.fork os.killpg os.getpgid os.setsid os.geteuid os.getuid os.nice os.uname os.sched_getaffinity os.register_at_fork
os.pidfd_open os.mkfifo os.wait4 os.O_DIRECTORY os.O_NOFOLLOW os.O_NONBLOCK os.O_CLOEXEC
signal.SIGKILL signal.SIGHUP signal.SIGUSR1 signal.SIGUSR2 signal.SIGALRM signal.SIGPROF signal.SIGSTOP signal.SIGCONT
signal.SIGCHLD signal.SIGPIPE signal.SIGQUIT signal.setitimer signal.ITIMER_REAL signal.ITIMER_PROF
signal.pthread_sigmask
socket.AF_UNIX
"""
INSIDE = "virc.core.limits.bounded_worker virc.scoring.worker virc.envs.lock virc.cluster.ray.nodes"
"""Programs that virc starts, one on Linux alone, and modules of a developer's, an engine's and others' environments."""
SCRIPT = """
import asyncio, importlib, json, multiprocessing, pathlib, pkgutil, platform, selectors, socketserver, subprocess, sys
import tempfile, types
import concurrent.futures.process, http.server, shutil, signal, socket, ssl, os, zipfile, tarfile, webbrowser
import click, fastapi, starlette.applications, uvicorn, uvicorn.protocols.http.h11_impl, uvicorn.lifespan.on, sysconfig
import filelock, huggingface_hub.hf_api, huggingface_hub.utils._fixes
import gymnasium, mcp.client.stdio, mcp.server.lowlevel, mcp.server.stdio, mcp.server.streamable_http_manager
import httpx2, jinja2, jsonschema, lz4, msgspec, PIL.Image, PIL.ImageDraw, tqdm, typer, typer.main, yaml
import virc, virc_cli

modules = [m.name for p in (virc, virc_cli) for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".")]
for name in [n for n in sys.modules if n.partition(".")[0] in ("virc", "virc_cli")]:
    del sys.modules[name]
sys.modules["msvcrt"] = types.SimpleNamespace(locking=lambda file, mode, length: None, LK_NBLCK=2, LK_UNLCK=0)
for name in sys.argv[1].split():
    module, _, attribute = name.partition(".")
    if attribute:
        vars(importlib.import_module(module)).pop(attribute, None)
    else:
        sys.modules[module] = None
sys.platform = "win32"
failed = []
for name in modules:
    if not name.startswith(("virc.engines.", "virc_cli.__main__")) and name not in sys.argv[2].split():
        try:
            importlib.import_module(name)
        except Exception as error:
            failed.append(f"{name}: {error!r}")
from virc_cli.main import main
codes = [main(line.split()) for line in sys.argv[3].splitlines()]
print(json.dumps({"failed": failed, "codes": codes}))
"""
LINES = {
    "--help": 0,
    "doctor": 0,
    "systems ls": 0,
    "data synth --to drawn --count 1": 0,
    "batch drawn/problems.jsonl --to answers.csv": 0,
    "train virc --stage instruct --dry-run": 0,
    "env create sft": 4,
    "runs ls": 0,
}
"""Command lines, and their exit codes there."""


@pytest.mark.integration
def test_commands_end_with_a_sentence_where_names_of_posix_are_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, POSIX, INSIDE, "\n".join(LINES)]
    env = {**os.environ, "VIRC_CACHE": str(tmp_path / "cache"), "VIRC_CONFIG": str(tmp_path / "config.yaml")}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "internal" not in done.stderr
    (report,) = [line for line in done.stdout.splitlines() if line.startswith('{"failed"')]
    assert json.loads(report) == {"failed": [], "codes": list(LINES.values())}
