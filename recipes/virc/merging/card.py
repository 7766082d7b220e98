"""The card of a merged model: its README.md, with the head that the hub reads."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.core.json_stream import one_line
from virc.core.plugins import SEARCH_PATH
from virc.core.text import plain
from virc.evaluation.summary import Score
from virc.models.provenance import Origin, called
from virc.reasoning.protocol import FILE_NAME
from virc.runs.run import Info
from virc.systems.names import HUB_ID

_KINDS = {
    "shards": "the shards of its training were put together and rounded to bfloat16",
    "adapter": "the adapter was added to the weights of its base",
    "model": "the weights are as training saved them",
}
USAGE, MEASURED = "How to use it", "Measured"
"""Headings of the sections that `virc push` writes for the place on the hub."""
_TABLE = re.compile(r"\.(csv|json|jsonl|parquet)$")
_SHARD = re.compile(r"-\d{5}-of-\d{5}")
_PROTOCOL = "The chat protocol it was trained with is in `virc_protocol.json`; with another one it answers worse."

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


def text(
    name: str,
    origin: Origin,
    info: Info | None,
    parameters: int,
    licences: Sequence[str],
    code: Mapping[str, str] | None = None,
    assumed: Sequence[str] = (),
) -> str:
    """The card of the model `name` as Markdown; it names no path of this machine.

    Args:
        assumed: what its system has in the place of what was not published, a sentence each.
    """
    base = [f"base_model: {origin.root}"] if origin.root and re.fullmatch(HUB_ID, origin.root) else []
    # What the hub reads; a licence is named by whoever publishes it.
    head = ["---", "library_name: transformers", "pipeline_tag: image-text-to-text", *base, "---", ""]
    body = [*_body(name, origin, info, parameters, licences, code or {})]
    said = ["", f"## Assumed where nothing was published: {len(assumed)}", "", *(f"- {each}" for each in assumed), ""]
    return "\n".join([*head, f"# {plain(name)}", "", *body, *(said if assumed else ())])


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
    return "\n\n".join([*texts, *([_PROTOCOL] if FILE_NAME in files else [])])


def measured(results: Sequence[Measured]) -> str:
    rows = ["By `virc eval`.", "", "| benchmark | right | 95 % interval | settings |", "|---|---|---|---|"]
    for each in results:
        score, (low, high) = each.score, each.score.interval
        undecided = f"; {score.undecided} undecided by the judge" if score.undecided else ""
        known = ((name, each.settings.get(name)) for name in ("crop_ablation", "temperature", "samples"))
        settings = ", ".join(f"{name} {_cell(value)}" for name, value in known if value is not None)
        right = f"{score.right:,} of {score.of:,} ({score.share:.1%}){undecided}"
        rows.append(f"| {_cell(each.benchmark)} | {right} | {low:.1%} to {high:.1%} | {settings} |")
    return "\n".join(rows)


def with_section(card: str, heading: str, body: str) -> str:
    """A card with that text under a heading, in place of the section of that name; a new one is before usage."""
    section = f"## {heading}\n\n{body}\n\n"
    for place in (rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", rf"^(?=## (?:{USAGE}|Licence)$)"):
        changed, count = re.subn(place, lambda _: section, card, count=1, flags=re.MULTILINE | re.DOTALL)
        if count:
            return changed.rstrip("\n") + "\n"
    return f"{card.rstrip()}\n\n{section}".rstrip("\n") + "\n"


def rows_card(repo: str, files: Mapping[str, str]) -> str:
    name = repo.rpartition("/")[2]
    table = (f"| {_cell(file)} | {_cell(kind)} |" for file, kind in files.items())
    first = next(iter(files), "")
    use = ["```sh", f"virc download datasets/{repo}", f"virc data check data/{name}"]
    use += [f"virc data show data/{name}/{first} --row 1", "```", ""]
    configs = {_SHARD.sub("", Path(file).stem): _SHARD.sub("-*", file) for file in files if _TABLE.search(file)}
    # Without these the hub shows the images alone, and mixes rows with `dataset_info.json`.
    named = [f"- config_name: {one_line(key)}\n  data_files: {one_line(file)}" for key, file in configs.items()]
    head = ["---", "task_categories: [visual-question-answering]", *(["configs:", *named] if named else []), "---"]
    head += ["", f"# {name}", ""]
    return "\n".join([*head, "| file | format |", "|---|---|", *table, "", f"## {USAGE}", "", *use])


def _body(
    name: str, origin: Origin, info: Info | None, parameters: int, licences: Sequence[str], code: Mapping[str, str]
) -> Iterator[str]:
    yield from ("Merged by `virc merge`.", "", "| what | |", "|---|---|")
    yield from (f"| {what} | {_cell(fact)} |" for what, fact in _facts(origin, info, parameters))
    if info:
        yield from ("", "## Settings of its last stage", "", "| key | value |", "|---|---|")
        settings = {key: value for key, value in info.settings.items() if _tells(value)}
        yield from (f"| {_cell(key)} | {_cell(value)} |" for key, value in settings.items())
    if code:
        yield from ("", "## Its own tools", "", "| file | SHA-256 |", "|---|---|")
        yield from (f"| code/{_cell(file)} | {digest} |" for file, digest in code.items())
        yield from ("", "They are Python, which runs with your rights: read them first. virc loads them where")
        yield f"`{SEARCH_PATH}` names this model's folder `code`."
    yield from ("", f"## {USAGE}", "", "```", f"virc solve --model {plain(name)} IMAGE 'QUESTION'")
    yield from (f"virc serve {plain(name)} --agent", "```", "", _PROTOCOL)
    yield from ("", "## Licence", "")
    beside = f" ({', '.join(map(plain, licences))} next to this file)" if licences else ""
    base = called(origin.root) if origin.root else "its base"
    yield f"The weights derive from {base} and are under its licence{beside}. The rows may add terms of their own."
    yield ""


def _facts(origin: Origin, info: Info | None, parameters: int) -> Iterator[tuple[str, object]]:
    yield "made from", f"{origin.source}: {_KINDS[origin.kind]}"
    yield "parameters", f"{parameters:,}"
    if origin.root:
        yield "began as", called(origin.root)
    if info:
        yield "system, stage", f"{info.system}, {info.stage}"
        yield "overlays", ", ".join(info.overlays) or "none"
        yield "rows", f"{info.rows:,} of {info.dataset}"
    if origin.step is not None:
        yield "step", f"{origin.step:,}" + (f" of {origin.steps:,}" if origin.steps else "")


def _tells(value: object) -> bool:
    """Whether a setting says something elsewhere too: numbers and names do, paths and addresses do not."""
    named = isinstance(value, str) and re.fullmatch(r"[\w.+ -]+", value)
    return isinstance(value, bool | int | float) or bool(named)


def _cell(value: object) -> str:
    return plain(value).replace("|", "/")
