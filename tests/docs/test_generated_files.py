"""What generated files say, read another way than the code that writes them: each is counted or computed again here.

`tests/cli/test_completions.py` types into real shells, `tests/cluster` runs the scripts of Slurm, and
`tests/backends/test_llamacpp.py` reads the GGUF files as their published counterparts; the other files are read below.
"""

import ast
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import regenerate
import yaml
from support.entry import ROOT

from virc.systems import published
from virc.systems import registry as systems

GOLDEN = ROOT / "tests" / "training" / "golden"
PACKAGE = ROOT / "recipes" / "virc"
Row = list[str]


def rows(page: str, mark: str = "") -> Iterator[Row]:
    """The rows of the tables of a page, behind a mark where one is given, without heads."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(mark)[2] if mark else None
    lines = (text or (ROOT / "docs" / page).read_text(encoding="utf-8")).partition("<!-- end -->")[0].splitlines()
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


def test_rounds_read_what_was_written_before_them() -> None:
    lines = (GOLDEN / "rounds.txt").read_text(encoding="utf-8").splitlines()
    commands = [shlex.split(line) for line in lines if not line.startswith("#")]
    assert [words[1] for words in commands] == 2 * ["data", "train", "data", "train", "train", "merge"]
    given = {"tiny", *(f"prompts-{number}.parquet" for number in (1, 2))}
    made = set[str]()
    for words in commands:
        options = dict(pairwise(words))
        for read in (options.get("--model"), options.get("--from"), options.get("--data")):
            folder = read.rpartition("/")[0] if read and read.startswith("data/") else read
            assert folder is None or folder in made | given, " ".join(words)
        made |= {options[word] for word in ("--name", "--to") if word in options}


def test_the_table_of_scale_adds_up() -> None:
    found = list(rows("scale.md", "<!-- table -->"))
    assert len(found) == 5
    weights = 8_292_166_656  # of Qwen2.5-VL-7B
    for gpus, nodes, settings, judge, _, _, checkpoint, _ in found:
        assert int(gpus) == 8 * int(nodes)
        policy = int(nodes) - (judge == "a node of its own")
        assert policy == int((re.search(r"nodes=(\d)", settings) or ["", "1"])[1])
        # weights and two moments, each of 4 bytes
        assert float(checkpoint.removesuffix(" GiB")) == pytest.approx(weights * 12 / 2**30, rel=0.005)
    shares = [float(row[4].removesuffix(" GiB")) for row in found]
    assert shares == sorted(shares, reverse=True)  # the more GPUs, the less is on each


def test_the_tables_of_systems_have_every_system_once_and_every_need() -> None:
    field, others, needs = (list(rows("systems.md", f"<!-- {mark} -->")) for mark in ("systems", "others", "needs"))
    named = [re.sub(r"\[(.*)\]\(.*\)", r"\1", system) for _, system, *_ in field]
    assert sorted(int(number) for number, *_ in field) == list(range(1, 72))
    assert sorted([*named, *(name for name, *_ in others)]) == sorted({*published.rows(), *systems.discover()})
    lacking = {name: what for name, (_, _, state, what) in zip(named, field, strict=True) if state != "unsupported"}
    for need, _, of in needs:
        assert {*of.split(", ")} <= {*named}
        assert any(need in lacking.get(name, need) for name in of.split(", ")), need
    assert sum(state == "works" for _, _, state, _ in field) == 21


def test_the_table_of_the_zoo_has_every_source() -> None:
    page, notice = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/zoo.md", "NOTICE"))
    lines = {cells[0].strip(): line for line in page.splitlines() if (cells := line.split("|")[1:]) and cells[1:]}
    for file in (ROOT / "recipes" / "virc_zoo").glob("*/texts.yaml"):
        name = yaml.safe_load(file.with_name("system.yaml").read_text())["name"]
        for source, said in yaml.safe_load(file.read_text())["sources"].items():
            assert source in page, name
            assert (
                f"{source.removeprefix('hf:')} at {said['commit'][:12]} ({said.get('license') or 'none stated'})"
                in notice
            )
        assert name in lines


def test_the_table_of_answers_is_counted_from_the_pairs() -> None:
    folder = ROOT / "tests" / "scoring"
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    right = {tuple(each.split("\t")) for each in json.loads((folder / "kits.json").read_text())["virc"]["same"]}
    same, other = (Counter(pair["category"] for pair in pairs if pair["same"] is wanted) for wanted in (True, False))
    missed = Counter[str]()
    for pair in pairs:
        missed[pair["category"]] += (
            pair["same"] and (pair["answer"], pair["reference"], *pair.get("choices", ())) not in right
        )
    found = {category: (counts, virc) for category, counts, virc, *_ in rows("evaluation.md", "<!-- answers -->")}
    assert found.keys() == same.keys() | other.keys() | {"all"}
    for category in same:
        counts, virc = found[category]
        assert counts == f"{other[category]} + {same[category]}"
        assert float(virc.split(" / ")[1]) == pytest.approx(100 * missed[category] / same[category], abs=0.051)
    assert found["all"][0] == f"{other.total()} + {same.total()}"


def test_the_table_of_clients_has_each_that_was_run() -> None:
    run = json.loads((ROOT / "tests" / "serving" / "clients" / "recorded.json").read_text())
    found = [row for row in rows("clients.md") if len(row) == 9]
    assert len(found) == sum(len(each["ways"]) for each in run.values())
    dates = Counter(each["date"] for each in run.values() for _ in each["ways"])
    assert Counter(row[-1] for row in found) == dates
    whole = sum("answer" in way["whole"] for each in run.values() for way in each["ways"].values())
    assert sum(row[3] == "yes" for row in found) == whole


def fields(page: str) -> set[str]:
    """What stands in the first column of the tables of a page."""
    return {*re.findall(r"^\| `([\w.]+)` \|", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)}


def test_the_tables_of_the_chat_protocol_have_what_its_files_have() -> None:
    file = json.loads((PACKAGE / "models" / "tiny" / "virc_protocol.json").read_text())
    files = (system.file for system in systems.discover().values())
    contents = [yaml.load(each.read_bytes(), yaml.CSafeLoader) for each in files]
    used = {*file, *(key for system in contents for key in system.get("chat_protocol") or ())} - {"tools", "like"}
    assert {"system", "grammar", "code"} <= used
    assert used <= fields("chat-protocol.md")


def test_the_tables_of_remote_tools_have_what_the_examples_use() -> None:
    text = (ROOT / "docs" / "remote-tools.md").read_text(encoding="utf-8")
    files = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    used = {key for content in files for part in (content, content.get("http") or {}) for key in part}
    assert {"description", "parameters", "mcp"} <= used
    assert used <= fields("remote-tools.md")


def option(annotation: ast.expr, parameter: str) -> str | None:
    """The option that a parameter of a command is, by the text of its annotation; None: it is an argument."""
    makers = {"Option", "option", "choice", "flag"}
    calls = [each for each in ast.walk(annotation) if isinstance(each, ast.Call)]
    made = [each for each in calls if ast.unparse(each.func).rpartition(".")[2] in makers]
    if not made:
        return None
    texts = [each.value for each in made[0].args if isinstance(each, ast.Constant)]
    names = [each for each in texts if isinstance(each, str) and re.fullmatch(r"--[a-z][a-z-]*", each)]
    return names[0] if names else f"--{parameter.replace('_', '-')}"


def test_the_reference_has_every_option_of_every_command() -> None:
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "virc_cli").rglob("*.py")}
    given = [each for tree in trees.values() for each in tree.body if isinstance(each, ast.Assign)]
    shared = {ast.unparse(each.targets[0]): each.value for each in given}
    of_commands = [each for file, tree in trees.items() if "commands" in file.parts for each in ast.walk(tree)]
    functions = [each for each in of_commands if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")]
    arguments = [each for function in functions for each in (*function.args.args, *function.args.kwonlyargs)]
    typed = [(each.arg, each.annotation) for each in arguments if each.annotation is not None]
    wanted = Counter(filter(None, (option(shared.get(ast.unparse(kind), kind), name) for name, kind in typed)))
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    listed = Counter(re.findall(r"^\| `(?:-\w, )?(--[a-z][a-z-]*)", page, re.MULTILINE))
    assert wanted.total() >= 200
    assert wanted <= listed  # those of several commands that are made from a class are in the second alone


def test_the_table_of_operators_has_every_file_of_one() -> None:
    text = (ROOT / "docs" / "making-rows.md").read_text(encoding="utf-8")
    files = ROOT.glob("recipes/**/operators/[!_]*.py")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == sorted(file.stem for file in files)


READ: dict[str, Callable[..., None]] = {
    "golden/*.yaml": test_engines_get_the_batches_and_rates_of_the_scripts,
    "golden/rounds.txt": test_rounds_read_what_was_written_before_them,
    "docs/scale.md": test_the_table_of_scale_adds_up,
    "docs/systems.md": test_the_tables_of_systems_have_every_system_once_and_every_need,
    "docs/zoo.md": test_the_table_of_the_zoo_has_every_source,
    "docs/evaluation.md": test_the_table_of_answers_is_counted_from_the_pairs,
    "docs/clients.md": test_the_table_of_clients_has_each_that_was_run,
    "docs/chat-protocol.md": test_the_tables_of_the_chat_protocol_have_what_its_files_have,
    "docs/remote-tools.md": test_the_tables_of_remote_tools_have_what_the_examples_use,
    "docs/making-rows.md": test_the_table_of_operators_has_every_file_of_one,
    "docs/reference.md": test_the_reference_has_every_option_of_every_command,
}
RUN = ("completions/*", "golden/slurm-*")
"""Files that other tests run."""


def test_every_generated_file_is_read_from_outside() -> None:
    pages = [module.PAGE for module in regenerate.PAGES]
    for file in (*pages, *GOLDEN.iterdir(), *(ROOT / "completions").iterdir()):
        assert [pattern for pattern in (*READ, *RUN) if file.match(pattern)], file
