"""Runs exported packages in inspect_ai, as `inspect eval` does, and writes how it scored each row."""

import json
import sys
from importlib import import_module
from pathlib import Path

from inspect_ai import eval

url, count, *modules = sys.argv[1:]
tasks = [import_module(module).evaluation(tries=1) for module in modules]
options = {"model_base_url": url, "display": "none", "fail_on_error": False, "max_tasks": 4}
logs = eval(tasks, "openai-api/virc/virc-scripted", **options)
found = []
for module, log in zip(modules, logs, strict=True):
    assert log.status == "success", log.error
    for sample in log.samples:
        score = dict(sample.scores["virc"].value) if sample.scores else {}
        reward, errors = score.pop("reward", None), [sample.error.message] if sample.error else []
        row = sample.metadata["row"] - 1
        found.append({"module": module, "row": row, "errors": errors, "terms": score, "reward": reward})
Path("found.json").write_text(json.dumps(found))
