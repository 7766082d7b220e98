"""Numbers in generated files, read another way than the code that writes them: each is counted or computed again."""

import re
from collections.abc import Iterator

import yaml
from support.entry import ROOT

from virc.systems import published
from virc.systems import registry as systems

GOLDEN = ROOT / "tests" / "training" / "golden"
Row = list[str]


def rows(page: str) -> Iterator[Row]:
    """The rows of the generated table of a page, without its head."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").partition("<!-- end -->")[0]
    lines = text.rpartition("\n\n")[2].splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("| ") and not set(line) <= set("|- :") and before.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


# Of the published scripts: rows of an optimizer step, learning rate, epochs. With `lora` and `3b` they are ours.
SFT = {
    "virc-instruct": (64, 5e-6, 3), "virc-instruct-cpu": (64, 5e-6, 3), "virc-instruct-fixed-100k": (64, 5e-6, 3),
    "virc-instruct-3b-lora-1x24g": (64, 1e-4, 3), "virc-practice": (64, 1e-6, 6), "virc-practice-cpu": (64, 1e-6, 6),
    "virc-practice-fixed-100k": (64, 1e-6, 6), "virc-practice-3b-lora-1x24g": (64, 1e-4, 6),
    "virgo-text": (64, 7e-6, 10), "virgo-text-72b": (128, 7e-6, 10), "vlm-r3-instruct": (192, 2e-7, 4),
    "tiny-dpo": (16, 5e-5, 1), "tiny-dpo-lora": (16, 2e-3, 1),
}  # fmt: skip
RL = {
    "virc-rl": (64, 8, 1e-6), "virc-rl-3b-lora-1x80g": (64, 8, 1e-5), "virc-rl-as-written": (64, 8, 1e-6),
    "virc-rl-cpu": (8, 8, 1e-6), "virc-rl-judge-split": (64, 8, 1e-6), "virc-rl-multi-turn-fixed": (64, 8, 1e-6),
    "vlm-r3-rl": (8, 5, 1e-6), "visual-rft-detect": (16, 8, None), "visual-rft-ground": (16, 8, None),
    "tiny-rl": (8, 8, 2e-4), "tiny-rl-lora": (8, 8, 1e-4), "tiny-rl-multi-turn-vllm": (8, 8, 1e-4),
}  # fmt: skip
"""Prompts of a step, replies to each, learning rate."""


def test_engines_get_the_batches_and_rates_of_the_scripts() -> None:
    plans = {file.stem: yaml.load(file.read_bytes(), yaml.CSafeLoader) for file in GOLDEN.glob("*.yaml")}
    assert plans.keys() == SFT.keys() | RL.keys()
    for name, (batch, rate, epochs) in SFT.items():
        argv, engine = plans[name]["argv"], plans[name]["engine.yaml"]
        processes = [int(argv[argv.index(word) + 1]) for word in ("--nnodes", "--nproc-per-node") if word in argv]
        held = engine["per_device_train_batch_size"] * engine["gradient_accumulation_steps"]
        for count in processes:
            held *= count
        assert (held, engine["learning_rate"], engine["num_train_epochs"]) == (batch, rate, epochs), name
    for name, (prompts, replies, of_step) in RL.items():
        engine = plans[name]["engine.yaml"]
        actor = engine["actor_rollout_ref"]
        assert (engine["data"]["train_batch_size"], actor["rollout"]["n"]) == (prompts, replies), name
        assert actor["actor"].get("optim", {}).get("lr") == of_step, name


def test_the_table_of_systems_has_every_system_once() -> None:
    table = {state: re.sub(r"\[(.*?)\]\(.*?\)", r"\1", names).split(", ") for state, names in rows("systems.md")}
    named = [name for names in table.values() for name in names]
    assert sorted(named) == sorted({*published.rows(), *systems.discover()})
    assert len(set(table["works"]) & published.rows().keys()) == 29
    assert sorted(each.row for each in published.rows().values()) == list(range(1, 72))


def test_the_table_of_the_zoo_has_every_source() -> None:
    page, notice = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/zoo.md", "NOTICE"))
    table = page.partition("<!-- sources -->")[2]
    for file in (ROOT / "recipes" / "virc_zoo").glob("*/texts.yaml"):
        name = yaml.safe_load(file.with_name("system.yaml").read_text())["name"]
        for source, said in yaml.safe_load(file.read_text())["sources"].items():
            assert source in page, name
            assert (
                f"{source.removeprefix('hf:')} at {said['commit'][:12]} ({said.get('license') or 'none stated'})"
                in notice
            )
        assert re.search(rf"^\| \[?{re.escape(name)}\b", table, re.MULTILINE)
