"""Where the installed LLaMA-Factory and transformers read a key in a stage of supervised fine-tuning."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from support.engine_python import interpreter

# What a stage never runs: other entry points, other trainers, the code of models, and trackers we do not offer.
_OTHER_FILES = (
    *(f"llamafactory/{part}/" for part in ("api", "chat", "eval", "v1", "webui")),
    *(f"llamafactory/train/{part}/" for part in ("dpo", "hyper_parallel", "kto", "mca", "ppo", "pt", "rm")),
    "llamafactory/train/test_utils.py", "transformers/cli/", "transformers/models/", "transformers/pipelines/",
    "transformers/generation/", "accelerate/commands/", "accelerate/test_utils/",
)  # fmt: skip
_OTHER_CODE = (
    "llamafactory/train/tuner.py:export_model",
    "llamafactory/train/tuner.py:_ray_training_function",
    "llamafactory/train/trainer_utils.py:create_reward_model",
    "llamafactory/hparams/parser.py:get_infer_args",
    "llamafactory/hparams/parser.py:get_eval_args",
    "llamafactory/hparams/parser.py:_verify_trackio_args",
    "transformers/integrations/integration_utils.py:TrackioCallback.",
)
_HOLDERS = {"args", "processor", "pa"} | {f"{part}_args" for part in ("model", "data", "training", "finetuning")}
_HOLDERS |= {"generating_args", "ray_args", "profiler_args"}
_DECLARING = ("llamafactory/hparams/", "transformers/training_args")


def packages() -> Path:
    """Its site-packages."""
    return next((interpreter("sft").parent.parent / "lib").glob("python3*/site-packages"))


def readers(names: frozenset[str]) -> dict[str, set[str]]:
    """Key -> the functions, as `FILE:FUNCTION`, that read it in a stage."""
    found: dict[str, set[str]] = defaultdict(set)
    for package in ("llamafactory", "transformers", "accelerate"):
        for file in sorted((packages() / package).rglob("*.py")):
            relative = file.relative_to(packages()).as_posix()
            if not relative.startswith(_OTHER_FILES):
                for name, function in _reads(ast.parse(file.read_bytes()), relative, names):
                    place = f"{relative}:{function}"
                    if not place.startswith(_OTHER_CODE):
                        found[name].add(place)
    return found


def _reads(tree: ast.AST, file: str, names: frozenset[str], inside: str = "") -> Iterator[tuple[str, str]]:
    for node in ast.iter_child_nodes(tree):
        name = _read(node, file.startswith(_DECLARING))
        if name in names:
            yield name, inside
        scope = f"{inside}.{node.name}" if isinstance(node, ast.FunctionDef | ast.ClassDef) else inside
        yield from _reads(node, file, names, scope.lstrip("."))


def _read(node: ast.AST, declaring: bool) -> str:
    """The key that an expression reads: `training_args.seed`, `getattr(processor, "seed")`; empty for none."""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        holder, name = node.value, node.attr
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
        holder, name = node.args[0], ast.unparse(node.args[1]).strip("'")
    else:
        return ""
    last = ast.unparse(holder).rsplit(".", 1)[-1]
    return name if last in _HOLDERS or (declaring and last == "self") else ""


def stored(file: str, function: str) -> dict[str, object]:
    """What a function sets attributes to, where that is a constant: attribute -> value."""
    tree = ast.parse((packages() / file).read_bytes())
    body = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function)
    found = [node for node in ast.walk(body) if isinstance(node, ast.Assign)]
    return {
        target.attr: node.value.value
        for node in found
        for target in node.targets
        if isinstance(target, ast.Attribute) and isinstance(node.value, ast.Constant)
    }
