"""Runs exported packages in verifiers, as `vf-eval` does, and prints how it scored each row."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from pydantic_config import cli
from verifiers.v1.cli.eval.runner import run_eval
from verifiers.v1.cli.resolve import narrow_config, with_positional_taskset
from verifiers.v1.configs.cli.eval import EvalConfig

NOBODY = "http://127.0.0.1:9/v1"  # a model that does not reply
url, count, *modules = sys.argv[1:]
found: list[dict[str, Any]] = []
lacking: list[str] = []
for module, at in [*((module, url) for module in modules), (modules[0], NOBODY)]:
    options = ["-n", count, "-m", "virc-scripted", "--no-push", "--no-rich", "--output-dir", str(Path("runs"))]
    words = [module.replace("_", "-"), *options, "--client.base-url", at, "--client.api-key-var", "NO_KEY"]
    words = with_positional_taskset(words)
    sys.argv = ["vf-eval", *words]
    for episode in asyncio.run(run_eval(cli(narrow_config(EvalConfig, words)))):
        for trace in episode.traces:
            if at == NOBODY:
                lacking += [f"{trace.rewards} {error.message}" for error in trace.errors]
                continue
            given = trace.rewards.get("reward")
            scores = {"terms": dict(trace.metrics), "reward": given.value if given else None}
            errors = [error.message for error in trace.errors]
            found.append({"module": module, "row": trace.task.data.row, "errors": errors, **scores})
Path("lacking.json").write_text(json.dumps(lacking))
Path("found.json").write_text(json.dumps(found))
