"""The sections of a card that say how a model or rows are used from their place on the hub, and what was measured."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.core.json_stream import one_line
from virc.evaluation.summary import Score
from virc.merging.card import PROTOCOL, USAGE, cell
from virc.reasoning.protocol import FILE_NAME

MEASURED = "Measured"
"""The heading of the section of results."""
_TABLE = re.compile(r"\.(csv|json|jsonl|parquet)$")
_SHARD = re.compile(r"-\d{5}-of-\d{5}")

_TRANSFORMERS = """# pip install transformers torchvision accelerate
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained("REPO", dtype="auto", device_map="auto")
processor = AutoProcessor.from_pretrained("REPO")
content = [{"type": "image", "path": "IMAGE"}, {"type": "text", "text": "QUESTION"}]
inputs = processor.apply_chat_template(
    [{"role": "user", "content": content}],
    add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
).to(model.device)
reply = model.generate(**inputs, max_new_tokens=512)[0, inputs["input_ids"].shape[1]:]
print(processor.decode(reply, skip_special_tokens=True))"""


class Measured(msgspec.Struct, frozen=True):
    benchmark: str
    score: Score
    settings: Mapping[str, Any] = {}


def usage(repo: str, files: Sequence[str]) -> str:
    """How a model with these files, published under that hub id, is used in virc, transformers, vLLM and llama.cpp."""
    name, weights = repo.rpartition("/")[2], any(file.endswith(".safetensors") for file in files)
    gguf = [file for file in files if file.endswith(".gguf") and not file.startswith("mmproj")]
    model = name if weights else f"models/{name}/{gguf[0]}"
    solve, ask = f"virc solve --model {model} IMAGE 'QUESTION'", "virc solve --endpoint http://localhost:{}/v1"
    if FILE_NAME in files:  # other servers than virc's do not publish it
        ask = f"virc download {repo} --include {FILE_NAME}\n{ask} --protocol models/{name}/{FILE_NAME}"
    ask += " IMAGE 'QUESTION'"
    blocks = [("virc", "sh", [f"virc download {repo}", solve, f"virc serve {model} --agent"])]
    if weights:
        blocks += [("transformers, one reply without tools", "python", [_TRANSFORMERS.replace("REPO", repo)])]
        vllm = f"vllm serve {repo} --max-model-len 32768 --limit-mm-per-prompt '{{\"image\": 17}}'"
        blocks += [("vLLM", "sh", [vllm, ask.format(8000)])]
    if gguf:
        server = f"llama-server -hf {repo}:{gguf[0][:-5].rpartition('-')[2]} --jinja -c 32768 -np 1 --port 8080"
        blocks += [("llama.cpp", "sh", [server, ask.format(8080)])]
    else:
        blocks += [("llama.cpp", "sh", [f"virc merge models/{name} --gguf"])]
    texts = (f"{what}:\n\n```{language}\n" + "\n".join(lines) + "\n```" for what, language, lines in blocks)
    return "\n\n".join([*texts, *([PROTOCOL] if FILE_NAME in files else [])])


def measured(results: Sequence[Measured]) -> str:
    rows = ["By `virc eval`.", "", "| benchmark | right | 95 % interval | settings |", "|---|---|---|---|"]
    for each in results:
        score, (low, high) = each.score, each.score.interval
        undecided = f"; {score.undecided} undecided by the judge" if score.undecided else ""
        known = ((name, each.settings.get(name)) for name in ("crop_ablation", "temperature", "samples"))
        settings = ", ".join(f"{name} {cell(value)}" for name, value in known if value is not None)
        right = f"{score.right:,} of {score.of:,} ({score.share:.1%}){undecided}"
        rows.append(f"| {cell(each.benchmark)} | {right} | {low:.1%} to {high:.1%} | {settings} |")
    return "\n".join(rows)


def rows_card(repo: str, files: Mapping[str, str]) -> str:
    name = repo.rpartition("/")[2]
    table = (f"| {cell(file)} | {cell(kind)} |" for file, kind in files.items())
    first = next(iter(files), "")
    use = ["```sh", f"virc download datasets/{repo}", f"virc data check data/{name}"]
    use += [f"virc data show data/{name}/{first} --row 1", "```", ""]
    configs = {_SHARD.sub("", Path(file).stem): _SHARD.sub("-*", file) for file in files if _TABLE.search(file)}
    # Without these the hub shows the images alone, and mixes rows with `dataset_info.json`.
    named = [f"- config_name: {one_line(key)}\n  data_files: {one_line(file)}" for key, file in configs.items()]
    head = ["---", "task_categories: [visual-question-answering]", *(["configs:", *named] if named else []), "---"]
    head += ["", f"# {name}", ""]
    return "\n".join([*head, "| file | format |", "|---|---|", *table, "", f"## {USAGE}", "", *use])
