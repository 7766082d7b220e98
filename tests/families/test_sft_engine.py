"""Each family that is trained by LLaMA-Factory: a random model of its architecture, its rows and one step.

No published weights, tokenizers or image settings are here.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from backends import tiny_factory
from PIL import Image
from support import workspaces
from training import sft_engine

from virc.engines.llamafactory.resume import in_memory
from virc.families import registry as families
from virc.families.parts import PARTS, part_of
from virc.models import sizes
from virc.stages.sft import Lora

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

KINDS = [kind for family in families.discover().values() for kind in family.sft]
REPLIES = ("I look at the corner.", "It is 51.")
SIZES = ((230, 170), (60, 300), (150, 31))  # in px, the last of a crop


def written_rows(folder: Path) -> Path:
    """Rows of two replies, the first about two pictures, the second about a crop."""
    folder.mkdir()
    for at, size in enumerate(SIZES):
        Image.effect_noise(size, 90).convert("RGB").save(folder / f"{at}.png")
    messages = [
        {"role": "system", "content": "You look closer."},
        {"role": "user", "content": "<image><image>\nWhat is it?"},
        {"role": "assistant", "content": REPLIES[0]},
        {"role": "user", "content": "<image>Go on."},
        {"role": "assistant", "content": REPLIES[1]},
    ]
    row = {"messages": messages, "images": [f"{at}.png" for at in range(len(SIZES))]}
    (folder / "rows.json").write_text(json.dumps([row] * 4))
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    columns = {"messages": "messages", "images": "images"}
    entry = {
        "file_name": "rows.json",
        "formatting": "sharegpt",
        "columns": columns,
        "tags": tags | {"system_tag": "system"},
    }
    (folder / "dataset_info.json").write_text(json.dumps({"rows": entry}))
    return folder / "rows.json"


def written_pairs(folder: Path) -> Path:
    """The same conversations with a worse last reply, as rows of preferences."""
    row = json.loads(written_rows(folder).read_bytes())[0]
    *shared, right = row["messages"]
    pair = {"messages": shared, "chosen": right, "rejected": right | {"content": "It is 15."}, "images": row["images"]}
    file = folder / "pairs.jsonl"
    file.write_text(f"{json.dumps(pair)}\n" * 4)
    return file


def network(folder: Path) -> dict[str, Any]:
    """The weights of a model by the names that transformers gives them here."""
    import torch
    import transformers

    automatic: Any = transformers.AutoModelForImageTextToText
    return dict(automatic.from_pretrained(folder, dtype=torch.float32).named_parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_changes_the_parts_that_are_not_frozen(kind: str, tmp_path: Path) -> None:
    base, rows = tiny_factory.build(tmp_path / "base", kind), written_rows(tmp_path / "data")
    given = {"steps": 1, "save_steps": 1, "train_batch_size": 4, "learning_rate": 1e-2, "warmup_ratio": 0}
    words = ("--from", str(base), "--data", str(rows))
    run = workspaces.trained(tmp_path, "tiny", "instruct", *words, **given, frozen_modules="[vision]")
    assert workspaces.losses(run)[1] > 0
    made = run / "checkpoints" / "checkpoint-1"
    assert not kind.endswith("moe") or workspaces.shapes(made) == workspaces.shapes(base)
    before, after = network(base), network(made)
    assert before.keys() == after.keys()
    saved = {in_memory(name) for name in workspaces.weights(run, 1)}
    # what resuming loads by these names; experts are joined where they are read
    assert saved >= {name for name in before if ".experts." not in name}
    changed = {name for name in before if not before[name].equal(after[name])}
    parts = {part: [name for name in before if part_of(name, kind) == part] for part in PARTS}
    in_tower = [name for name in before if re.search(r"vision_tower|visual(?!\.merger)", name)]
    assert sorted(parts["vision"]) == sorted(in_tower)
    assert not changed.intersection(parts["vision"])
    assert len(changed.intersection(parts["projector"])) == len(parts["projector"]) > 0
    assert len(changed.intersection(parts["language"])) > 0.8 * len(parts["language"])


@pytest.mark.parametrize("bits", ["as_they_are", "4_bits"])
@pytest.mark.parametrize("stage", ["instruct", "dpo"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_step_of_an_adapter_changes_all_layers_of_the_language_model(
    kind: str, stage: str, bits: str, tmp_path: Path
) -> None:
    import torch
    import transformers
    from safetensors.torch import load_file

    base = tiny_factory.build(tmp_path / "base", kind)
    rows = (written_rows if stage == "instruct" else written_pairs)(tmp_path / "data")
    given = {"steps": 1, "save_steps": 1, "train_batch_size": 4, "learning_rate": 1e-2, "warmup_ratio": 0}
    given |= {"engine.quantization_bit": 4} if bits == "4_bits" else {}
    words = ("--from", str(base), "--data", str(rows), "--with", "lora")
    run = workspaces.trained(tmp_path, "tiny", stage, *words, **given, frozen_modules="[vision,projector]")
    assert workspaces.losses(run)[1] > 0
    saved = load_file(run / "checkpoints" / "checkpoint-1" / "adapter_model.safetensors")
    assert all(weight.abs().max() > 0 for weight in saved.values())  # a second factor begins as zeros
    found = {name.removeprefix("base_model.model.").rpartition(".lora_")[0] for name in saved}
    automatic: Any = transformers.AutoModelForImageTextToText
    modules = automatic.from_pretrained(base).named_modules()
    linear = {name for name, module in modules if isinstance(module, torch.nn.Linear)}
    assert found == {name for name in linear if part_of(name, kind) == "language"} - {"lm_head"}
    expected = sizes.of_folder(base).trained(Lora(rank=8, alpha=16), ("vision", "projector"))
    assert sum(weight.numel() for weight in saved.values()) == expected["language"]


def test_rows_are_as_long_as_counted_and_replies_alone_are_learnt(tmp_path: Path) -> None:
    folder, cases, bases = written_rows(tmp_path / "data").parent, [], {}
    for kind in KINDS:
        bases[kind] = tiny_factory.build(tmp_path / kind, kind)
        keys = {"template": families.template(kind), "keys": dict(families.sft_keys(kind))}
        cases.append(sft_engine.case(folder, "rows", bases[kind], max_pixels=40_000, **keys))
    for kind, found in zip(KINDS, sft_engine.lengths_of(cases, tmp_path), strict=True):
        assert found["theirs"] == found["ours"], kind
        words = tiny_factory.tokenizer(kind)
        learnt = words.decode([label for label in found["labels"][0] if label != -100])
        marks = families.of(kind).marks
        end, line = (f"{marks.end}\n", "") if marks.end else (words.eos_token, "\n")
        assert learnt == "".join(f"{line}{reply}{end}" for reply in REPLIES), kind
        assert marks.image[1] in words.decode(found["ids"][0])
