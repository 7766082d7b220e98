"""The reproduction in small: `tiny` through every stage, by command lines that anyone can type in one folder.

course/, models/base    of `--full`: the base from nothing, phase by phase
data/                   rows of each stage, problems held out, and strange pictures
runs/, models/rl        the stages, and the last of them merged
evals/                  every stage on the same problems
demo.json               what was begun (`Demo`)
steps.jsonl             how long each step took (`Took`)
curve.json, curve.png   its result (`demo.curve`)
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from virc.core.errors import ConfigError, SetupError, VircError, errors_as
from virc.core.files import contents, is_file, is_folder, read_json, write_json
from virc.evaluation.summary import Summary
from virc.runs import run as runs
from virc.runs.run import Run
from virc_extras.rounds.steps import SOURCES, TypedStep

STAGES = ("base", "instruct", "practice", "rl")
"""What the curve shows, in order: the base, and after each stage."""
CONTROL = "direct"
"""The model that learns the same problems without tools."""
ENVIRONMENTS = ("sft", "rl")
"""The engines' environments that a demo runs in; both for the device `cpu`."""
EXTRAS = ("local", "data", "plot")
"""What of this package it needs in addition to the base."""

_RECORD, _STEPS = "demo.json", "steps.jsonl"
_MAX_BYTES = 64 * 2**20
_PAGES = 10  # problems held out that become pages, one of which is shown
# Options and words that several commands have.
_PROBLEMS = ("--family", "polygons", "--difficulty", "mixed")
_CONCURRENT = ("--concurrency", "16")
_TWO_PROCESSES = ("--with", "2x", "--set", "loaders=1")
_LOOP = ("torchrun", "--standalone", "--nproc-per-node", "2", "-m", "tiny.loop")
_PHASES = {
    "sight": "the vision tower learns what stands where",
    "read": "the model learns to read",
    "place": "the model learns where things are",
    "skills": "the model learns to do both, and sums",
}


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything.

    Args:
        instruct, practice: problems that those models learn from.
        control: whether a model learns as many problems without tools, for comparison.
        tower: whether `instruct` trains the vision tower too: slower, and worth it over many rows.
        steps, prompts: of rl, and problems a step, each of which is solved eight times.
        problems: held out, a stage.
        minutes: of each phase of the course, where the base is made too.
        start: the model that the stages begin with, where it is not made.
    """

    instruct: int
    practice: int
    control: bool = True
    tower: bool = False
    steps: int
    prompts: int
    problems: int
    minutes: Mapping[str, float]
    start: str

    @property
    def direct(self) -> int:
        return self.instruct + self.practice


_MINUTES = {"sight": 12, "read": 10, "place": 10, "skills": 120}
USUAL = Size(
    instruct=8000, practice=1500, control=False, steps=12, prompts=8, problems=100, minutes=_MINUTES, start="tiny-base"
)
LARGE = Size(
    instruct=48_000, practice=2000, tower=True, steps=30, prompts=8, problems=1000, minutes=_MINUTES, start="tiny-base"
)
# `tiny` can do some of it already: of replies that are all malformed, two steps of rl learn nothing
QUICK = Size(
    instruct=32, practice=32, steps=2, prompts=4, problems=20, minutes=dict.fromkeys(_PHASES, 0.1), start="tiny"
)


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """What a demo is; a folder holds one.

    Args:
        schema: `virc.demo.settings/3`; the number changes whenever the steps do.
        full: the base is made from nothing, too.
        seed: of everything drawn and trained.
    """

    schema: str = "virc.demo.settings/3"
    full: bool
    seed: int
    size: Size

    @property
    def base(self) -> str:
        return "base" if self.full else self.size.start

    @property
    def compared(self) -> tuple[str, ...]:
        return (*STAGES, CONTROL) if self.size.control else STAGES


class Took(msgspec.Struct, frozen=True):
    """One try of a step, by the step's name: its seconds from start to end, and its exit code."""

    name: str
    seconds: float
    code: int


def plan(demo: Demo) -> list[TypedStep]:
    """Every command of a demo, in order. Raises SetupError: a full demo, and this is no source checkout."""
    return [*(_course(demo) if demo.full else ()), *_stages(demo), *_control(demo), *_evaluations(demo)]


_PER_ROW = {"instruct": 11 / 8000, "practice": 3 / 1500, "rl": 9 / 96, "heldout": 4 / 100}
"""Minutes on two cores for a problem that is drawn and learnt, and for one held out; measured (docs/extras/demo.md)."""

_STARTS = 2.0
"""Minutes on two cores that the processes of a part take at least, however few problems it has."""


def parts(demo: Demo) -> list[tuple[float, str]]:
    """About how many minutes each part of a demo takes on two cores, and what it does, in order."""
    size = demo.size
    rows = {"instruct": size.instruct, "practice": size.practice, "rl": size.steps * size.prompts}
    found = [(sum(size.minutes.values()), "base: made from nothing")] if demo.full else []
    for name, count in rows.items():
        reward = "solved eight times each, for rewards" if name == "rl" else "learnt with their solutions"
        found.append((count * _PER_ROW[name], f"{name}: {count:,} problems are drawn and {reward}"))
    if size.control:
        found.append((size.direct * _PER_ROW["instruct"], f"{CONTROL}: {size.direct:,} problems, without tools"))
    found.append((size.problems * _PER_ROW["heldout"], f"evaluation: every stage on {size.problems:,} others"))
    return [(max(_STARTS, minutes), says) for minutes, says in found]


def _course(demo: Demo) -> list[TypedStep]:
    if not is_file(SOURCES / "tiny" / "loop.py"):
        raise SetupError(
            "virc demo --full needs a source checkout: it trains the base with recipes/tiny, which is not installed",
            "virc demo, or clone the repository and pip install -e '.[all]' there",
        )
    steps: list[TypedStep] = []
    for phase, says in _PHASES.items():
        start = ("--from", steps[-1].makes) if steps else ()
        to = "models/base" if len(steps) == len(_PHASES) - 1 else f"course/{phase}"
        minutes = ("--minutes", f"{demo.size.minutes[phase]:g}")
        words = (*_LOOP, to, "--phase", phase, *start, *minutes, "--seed", str(demo.seed))
        steps.append(TypedStep(phase, says, words, to))
    return steps


def _stages(demo: Demo) -> list[TypedStep]:
    size, shown = demo.size, (*_PROBLEMS, "--refusals", "0.15", "--pattern", "look", "--formats", "sft")
    return [
        _drawn(demo, "instruct", 1, size.instruct, *shown),
        _trained(demo, "instruct", demo.base, "how a solution goes"),
        _drawn(demo, "practice", 2, size.practice, *shown),
        _trained(demo, "practice", "instruct", "from other problems, the vision tower too"),
        _drawn(demo, "rl", 3, size.steps * size.prompts, "--sides", "3,4", "--formats", "prompts"),
        _reinforced(demo),
        TypedStep("merge", "its shards become a model", ("virc", "merge", "rl"), "models/rl"),
    ]


def _control(demo: Demo) -> list[TypedStep]:
    """The problems of instruct, and more of them, answered from the overview alone."""
    if not demo.size.control:
        return []
    words = (*_PROBLEMS, "--refusals", "0.15", "--pattern", CONTROL, "--formats", "sft")
    return [
        _drawn(demo, CONTROL, 1, demo.size.direct, *words),
        _trained(demo, CONTROL, demo.base, "the same problems without tools, for comparison", "instruct"),
    ]


def _drawn(demo: Demo, name: str, offset: int, count: int, *words: str) -> TypedStep:
    seed, to = str(10 * demo.seed + offset), f"data/{name}"
    line = ("virc", "data", "synth", "--to", to, *words, "--drawing", "1", "--count", str(count), "--seed", seed)
    return TypedStep(f"{name} data", f"draw {count} problems", line, to)


def _trained(demo: Demo, name: str, start: str, says: str, stage: str | None = None) -> TypedStep:
    stage = stage or name
    tower = ("--set", "frozen_modules=[]") if demo.size.tower and stage == "instruct" else ()
    line = (
        *("virc", "train", "tiny", "--stage", stage, "--from", start),
        *("--data", f"data/{name}/trajectories.json", *tower, *_TWO_PROCESSES),
        *("--set", f"seed={demo.seed}", "--name", name),
    )
    return TypedStep(name, f"learn {says}", line, f"runs/{name}")


def _reinforced(demo: Demo) -> TypedStep:
    sizes = {"steps": demo.size.steps, "train_batch_size": demo.size.prompts, "ppo_mini_batch_size": demo.size.prompts}
    settings = [word for name, value in sizes.items() for word in ("--set", f"{name}={value}")]
    line = (
        *("virc", "train", "tiny", "--stage", "rl", "--with", "multi-turn", "--from", "practice"),
        *("--data", "data/rl/prompts.parquet", *settings, "--set", f"seed={demo.seed}", "--name", "rl"),
    )
    return TypedStep("rl", "learn from rewards: whole solutions, right or wrong", line, "runs/rl")


def _evaluations(demo: Demo) -> list[TypedStep]:
    count, strange = demo.size.problems, max(1, demo.size.problems // 5)
    heldout = ("--split", "heldout")
    models = (demo.base, *demo.compared[1:])
    trained = STAGES[1:]  # the base looks at no crops yet
    pages, crops = ("--limit", str(_PAGES)), ("--crop-ablation", "counterfactual")
    unknown = ("--family", "polygons", "--refusals", "1", "--formats", "batch")
    return [
        _drawn(demo, "heldout", 4, count, *heldout, *_PROBLEMS, "--counterfactuals", "--formats", "batch"),
        _drawn(demo, "strange", 5, strange, *heldout, *unknown),
        _evaluated(demo, "greedy", "heldout", models, "every stage solves problems held out"),
        _evaluated(demo, "sampled", "heldout", models, "the same, at temperature 1", "--temperature", "1"),
        _evaluated(demo, "counterfactual", "heldout", trained, "greedy, crops of their counterfactuals", *crops),
        _evaluated(demo, "blank", "heldout", trained, "the same, with blank crops", crops[0], "blank"),
        _evaluated(demo, "strange", "strange", models, "every stage gets problems that it is to refuse"),
        _evaluated(demo, "pages", "heldout", ("rl",), "answers of rl as pages", *pages, traces="all"),
    ]


def _evaluated(
    demo: Demo, name: str, data: str, models: Sequence[str], says: str, *words: str, traces: str = "none"
) -> TypedStep:
    chosen = tuple(word for model in models for word in ("--model", model))
    how = (*words, *_CONCURRENT, "--seed", str(demo.seed), "--traces", traces)
    line = ("virc", "eval", f"data/{data}/problems.jsonl", *chosen, *how, "--to", f"evals/{name}")
    return TypedStep(f"eval {name}", says, line, f"evals/{name}")


def rest(step: TypedStep, folder: Path, ended: Sequence[Took]) -> tuple[str, ...] | None:
    """The command that does or continues a step; None: it is done. Raises ConfigError: what it made cannot be read."""
    kind = step.makes.partition("/")[0]
    made = folder / step.makes
    if step.words[0] == "torchrun":  # it saves on the way, so weights alone do not show that it has ended
        codes = [each.code for each in ended if each.name == step.name]
        return None if codes[-1:] == [0] and is_folder(made) else step.words
    if kind == runs.FOLDER and is_file(made / "run.json"):
        finished = runs.state(Run(made)).progress == "finished"
        return None if finished else ("virc", "train", "--resume", "--name", made.name)
    if kind == runs.FOLDER:
        return step.words
    if kind == "evals":
        return None if _is_evaluated(step, made) else step.words
    return None if is_folder(made) else step.words


def _is_evaluated(step: TypedStep, folder: Path) -> bool:
    if not is_file(folder / "summary.json"):
        return False
    chosen = {word for before, word in zip(step.words, step.words[1:], strict=False) if before == "--model"}
    whole = {called(each.name) for each in summary(folder).models if not each.missing}
    return chosen <= whole


def called(model: str) -> str:
    return model.partition("@")[0]


def summary(folder: Path) -> Summary:
    """Raises ConfigError: the figures of the evaluation cannot be read."""
    return read_json(folder / "summary.json", Summary, _MAX_BYTES, f"remove {folder}")


def begin(folder: Path, demo: Demo) -> None:
    """Make a folder for a demo and record its settings there; nothing changes if the folder has this demo already.

    Raises:
        ConfigError: the folder holds something else, or a demo of other settings.
        VircError: the disk refuses.
    """
    another = "another folder: «--to DIR»"
    record = folder / _RECORD
    if is_file(record):
        _check_same(record, demo, another)
        return
    with errors_as(VircError, f"cannot make the folder {folder}"):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} is not empty and holds no demo", another)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(record, demo)


def _check_same(record: Path, demo: Demo, another: str) -> None:
    before = msgspec.to_builtins(read_json(record, Demo, _MAX_BYTES, another))
    now = msgspec.to_builtins(demo)
    if before["schema"] != now["schema"]:
        raise ConfigError(f"{record.parent} holds a demo of another version of virc", another)
    old, new = {**before.pop("size"), **before}, {**now.pop("size"), **now}
    differ = [f"{name} {old[name]}, not {new[name]}" for name in new if old[name] != new[name] and name != "full"]
    if old["full"] != new["full"]:
        differ.append("with --full, not without it" if old["full"] else "without --full, not with it")
    if differ:
        sentence = f"{record.parent} holds a demo of other settings: {'; '.join(differ)}"
        raise ConfigError(sentence, f"type what it was begun with, or choose {another}")


def took(folder: Path) -> list[Took]:
    """Every try of every step, in order; a line that a kill cut short is left out."""
    tries: list[Took] = []
    if is_file(folder / _STEPS):
        for line in contents(folder / _STEPS, _MAX_BYTES).splitlines():
            with suppress(msgspec.MsgspecError):
                tries.append(msgspec.json.decode(line, type=Took))
    return tries


def note(folder: Path, tried: Took) -> None:
    file = folder / _STEPS
    is_torn = is_file(file) and not contents(file, _MAX_BYTES).endswith(b"\n")  # by a kill
    with file.open("ab") as record:
        record.write((b"\n" if is_torn else b"") + msgspec.json.encode(tried) + b"\n")
