"""What a stage's settings are, and where each comes from: system, overlays, a file, `--set`, options."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from virc.core.errors import ConfigError, UsageError, VircError
from virc.engines import registry as engines
from virc.stages import resolve as stages
from virc.stages import rl
from virc.stages.resolve import config_type
from virc.systems import registry as systems
from virc.systems.kinds import runs_in
from virc.systems.registry import Assumption, Overlay, Reward, Stage, System

SYSTEM = System(
    name="s",
    stages={
        "instruct": Stage("sft", {"base": "b", "data": "d", "learning_rate": 1e-5, "train_batch_size": 3}),
        "practice": Stage("sft", {"after": "instruct", "data": "d", "learning_rate": 1e-6}),
    },
    everywhere={"train_batch_size": 2, "cutoff_len": 100, "variant": {"a": "one", "b": "one"}},
    overlays={
        "small": Overlay("", {"cutoff_len": 50, "variant": {"b": "two"}}, {"practice": {"cutoff_len": 25}}),
        "smaller": Overlay("", {"cutoff_len": 25}),
        "lora": Overlay("", {"lora": {"rank": 8, "alpha": 16}}),
        "whole": Overlay("", {"lora": None}),
    },
)


def value_of(*assignments: str, overlays: tuple[str, ...] = (), stage: str = "instruct") -> Any:
    return stages.resolve(SYSTEM, stage, overlays, assignments=assignments).config


def refusal(*assignments: str, overlays: tuple[str, ...] = (), stage: str = "instruct") -> VircError:
    with pytest.raises(VircError) as caught:
        value_of(*assignments, overlays=overlays, stage=stage)
    return caught.value


def test_each_layer_wins_over_those_before_it(tmp_path: Path) -> None:
    file = tmp_path / "more.yaml"
    file.write_text("max_grad_norm: 3\nepochs: 3\nwarmup_ratio: 0.3\n")
    found = stages.resolve(
        SYSTEM, "instruct", ["small"], file, ["epochs=4", "warmup_ratio=0.4", "seed=9"],
        {"warmup_ratio": 0.5, "data": "mine"},
    )  # fmt: skip
    rows = {name: (value, origin) for name, value, origin in stages.rows(found)}
    assert rows["nodes"] == (1, "default")
    assert rows["train_batch_size"] == (3, "s")
    assert rows["cutoff_len"] == (50, "overlay small")
    assert rows["max_grad_norm"] == (3.0, str(file))
    assert (rows["epochs"], rows["seed"]) == ((4.0, "--set"), (9, "--set"))
    assert (rows["warmup_ratio"], rows["data"]) == ((0.5, "option"), ("mine", "option"))


def test_mappings_are_merged_key_by_key() -> None:
    found = stages.resolve(SYSTEM, "instruct", ["small"], assignments=["variant.c=three"])
    assert found.config.variant == {"a": "one", "b": "two", "c": "three"}
    assert {name: origin for name, _, origin in stages.rows(found) if name.startswith("variant")} == {
        "variant.a": "s", "variant.b": "overlay small", "variant.c": "--set",
    }  # fmt: skip


def test_an_overlay_may_say_more_of_one_stage() -> None:
    assert value_of(overlays=("small",), stage="practice").cutoff_len == 25


def test_a_mapping_that_is_taken_away_leaves_no_origins_behind() -> None:
    found = stages.resolve(SYSTEM, "instruct", ["lora"], assignments=["lora=null"])
    assert found.config.lora is None
    assert {name: origin for name, origin in found.origins.items() if name.startswith("lora")} == {"lora": "--set"}


def test_what_becomes_a_mapping_again_has_the_origins_of_its_parts() -> None:
    found = stages.resolve(SYSTEM, "instruct", ["whole"], assignments=["lora.rank=4"])
    assert {name: origin for name, origin in found.origins.items() if name.startswith("lora")} == {"lora.rank": "--set"}
    assert [origin for name, _, origin in stages.rows(found) if name == "lora.alpha"] == ["default"]


def test_an_empty_mapping_is_one_of_defaults() -> None:
    assert value_of("lora={}", overlays=("lora",)).lora.rank == 16
    assert [
        row[2]
        for row in stages.rows(stages.resolve(SYSTEM, "instruct", assignments=["lora={}"]))
        if row[0] == "lora.rank"
    ] == ["--set"]


def rl_stage(settings: dict[str, Any], **fields: Any) -> Any:
    """The settings of a stage of RL, with what the system and its published script say."""
    published = fields.pop("published", {})
    system = System(
        name="s", stages={"rl": Stage("rl", {"base": "b", "data": "d", **settings}, (), published)}, **fields
    )
    return stages.resolve(system, "rl").config


@pytest.mark.parametrize(
    ("everywhere", "own", "wanted"),
    [
        ({}, {}, ("outcome", "published")),
        ({"reward": {"total": "rules"}}, {}, ("rules", "published")),
        ({}, {"reward": {"strict": "own"}}, ("outcome", "own")),
        ({"reward": {"total": "rules"}}, {"reward": {"total": "virc"}}, ("virc", "published")),
    ],
)
def test_a_stage_has_the_last_word_on_its_reward(
    everywhere: dict[str, Any], own: dict[str, Any], wanted: tuple[str, str]
) -> None:
    reward = rl_stage(own, everywhere=everywhere, reward=Reward("outcome", "published")).reward
    assert (reward.total, reward.strict) == wanted


def test_the_kernels_of_liger_are_as_asked_for_or_as_written() -> None:
    asked = [{"use_liger": use} | {"fidelity": how} for use in (True, False, None) for how in ("as_written", "as_run")]
    assert [rl_stage(each).liger for each in asked] == [True, True, False, False, True, False]


def test_words_that_are_missing_in_names_of_rows_are_faults_of_that_setting() -> None:
    found = rl.contradictions(rl_stage({"data": "{size}/a", "validation": "{part}/b", "test_freq": 1}))
    said = [(each.path, each.message.partition(",")[0]) for each in found]
    assert (("data",), "data is '{size}/a'") in said
    assert (("validation",), "validation is '{part}/b'") in said


@pytest.mark.parametrize(
    ("published", "settings", "left_out"),
    [
        ({}, {}, False),
        ({"data.filter_overlong_prompts": True}, {}, True),
        ({"data.filter_overlong_prompts": False}, {}, False),
        ({"data.filter_overlong_prompts": True}, {"filter_overlong": False}, False),
    ],
)
def test_long_rows_are_left_out_where_the_published_script_does_so(
    published: dict[str, Any], settings: dict[str, Any], left_out: bool
) -> None:
    assert rl_stage(settings, published=published).filter_overlong is left_out


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (System(name="s", stages=SYSTEM.stages, everywhere={"cutof_len": 5}), "unknown setting 'cutof_len' (s)"),
        (
            System(name="s", stages=SYSTEM.stages, overlays={"small": Overlay("", {"cutof_len": 5})}),
            "unknown setting 'cutof_len' (overlay small)",
        ),
    ],
    ids=["everywhere", "overlay"],
)
def test_a_misspelt_setting_for_every_stage_is_refused(system: System, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        stages.resolve(system, "instruct", list(system.overlays))
    assert (caught.value.message, caught.value.hint) == (message, "did you mean 'cutoff_len'?")


def test_settings_of_another_kind_are_passed_over() -> None:
    both = {**SYSTEM.stages, "rl": Stage("rl", {"base": "b", "data": "d"})}
    system = System(name="s", stages=both, everywhere={"cutoff_len": 7, "n": 4})
    assert stages.resolve(system, "instruct").config.cutoff_len == 7
    assert stages.resolve(system, "rl").config.n == 4


@pytest.mark.parametrize(
    ("fields", "overlays", "root"),
    [
        ({}, (), "b"),
        ({"overlays": {"small": Overlay("", {}, {"instruct": {"base": "b-small"}})}}, ("small",), "b-small"),
    ],
)
def test_a_chain_of_stages_begins_with_the_base_of_its_first_under_the_same_overlays(
    fields: dict[str, Any], overlays: tuple[str, ...], root: str
) -> None:
    system = System(name="s", stages=SYSTEM.stages, **fields)
    assert stages.root_of(stages.resolve(system, "practice", overlays)) == root


def test_a_chain_of_stages_without_a_beginning_is_refused() -> None:
    settings = {"data": "d", "learning_rate": 1e-5}
    circle = {name: Stage("sft", {**settings, "after": before}) for name, before in ("12", "21", "31")}
    for name in ("1", "3"):  # which is in the circle, and which leads into it
        with pytest.raises(ConfigError, match=f"the stages before s-{name} begin with no model"):
            stages.root_of(stages.resolve(System(name="s", stages=circle), name))


def test_a_resolved_stage_has_the_notes_and_the_published_values_of_both() -> None:
    stage = Stage("sft", SYSTEM.stages["instruct"].settings, ("of the stage",), {"a": 1, "b": 2}, {"b": 3, "c": 4})
    found = stages.resolve(System(name="s", stages={"one": stage}, notes=("of the system",)), "one")
    assert found.notes[:2] == ("of the system", "of the stage")
    assert not [note for note in found.notes if "assumed" in note]
    assert found.published == {"a": 1, "b": 2, "c": 4}  # what the script says wins over the program's defaults


@pytest.mark.parametrize(
    ("kind", "batch", "micro", "means"),
    [
        ("sft", 16, 4, 4),
        ("sft", 16, 8, 2),
        ("sft", 16, 1, 16),
        ("sft", 16, 16, None),
        ("dpo", 16, 4, None),
        ("rl", 16, 4, None),
    ],
)
def test_the_loss_is_said_to_be_a_mean_of_means_where_it_is_one(
    kind: str, batch: int, micro: int, means: int | None
) -> None:
    settings = {"data": "d", "learning_rate": 1e-5, "train_batch_size": batch, "micro_batch_size_per_device": micro}
    if kind == "rl":
        settings |= {"ppo_mini_batch_size": batch, "reward": {"total": "outcome"}}
    found = stages.resolve(System(name="s", stages={"one": Stage(kind, {**settings, "devices": 1})}), "one")
    said = [note for note in found.notes if "short rows" in note]
    assert not [note for note in found.notes if "assumed" in note]
    assert [f"the mean of {means} micro-batches" in note for note in said] == [True] * (means is not None)


@pytest.mark.parametrize(("published", "defaults"), [({}, {}), ({"a": 1}, {}), ({}, {"a": 1})])
def test_assumptions_are_those_of_the_stage_and_counted(published: dict[str, Any], defaults: dict[str, Any]) -> None:
    assumed = tuple(
        Assumption(key, "why", "others", value, stage)
        for key, value, stage in (("seed", 42, None), ("n", 8, "other"), ("nodes", 1, "one"))
    )
    one = Stage("sft", {"data": "d", "learning_rate": 1e-5}, (), published, defaults)
    system = System(name="s", stages={"one": one, "other": Stage("rl", {"data": "d"})}, assumed=assumed)
    said = [note for note in stages.resolve(system, "one").notes if "assum" in note]
    assert said[:3] == ["2 assumptions, where nothing was published", *map(str, (assumed[0], assumed[2]))]
    usual = "assumed too, as this package's defaults: train_batch_size 64, epochs 1.0, warmup_ratio 0.0"
    assert said[3:] == ([] if published or defaults else [usual])


def test_nothing_is_assumed_where_a_system_sets_all_that_it_learns_by() -> None:
    settings = {"train_batch_size": 8, "epochs": 2, "learning_rate": 1e-5, "warmup_ratio": 0.1}
    system = System(name="s", stages=SYSTEM.stages, assumed=(Assumption("seed", "why", "others", 42, None),))
    found = stages.assumed_defaults(system, "instruct", settings, dict.fromkeys(settings, "s"))
    assert list(found) == []


@pytest.mark.parametrize(
    ("loss", "referred", "sides"), [("sigmoid", True, 2), ("kto", True, 1), ("orpo", False, 2), ("simpo", False, 2)]
)
def test_a_loss_of_pairs_says_what_it_compares(loss: str, referred: bool, sides: int) -> None:
    stage = Stage("dpo", {"base": "b", "data": "d", "learning_rate": 1e-6, "loss": loss})
    config: Any = stages.resolve(System(name="s", stages={"one": stage}), "one").config
    assert (config.referred, config.sides) == (referred, sides)


def test_only_what_a_system_says_of_its_reward_is_its_own() -> None:
    system = System(name="s", stages={"rl": Stage("rl", {"base": "b", "data": "d"})}, reward=Reward("outcome"))
    origins = {name: origin for name, _, origin in stages.rows(stages.resolve(system, "rl")) if "reward" in name}
    assert {name for name, origin in origins.items() if origin == "s"} == {"reward.total"}
    assert origins["reward.strict"] == "default"


def test_resolving_leaves_the_system_as_it_was() -> None:
    system = System(name="s", stages=SYSTEM.stages, everywhere={"variant": {}})
    stages.resolve(system, "instruct", assignments=["variant.a=x"])
    assert system.everywhere == {"variant": {}}


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("learning_rate=1e-6", "learning_rate", 1e-6),
        ("learning_rate=1E-6", "learning_rate", 1e-6),
        ("cutoff_len=1_000", "cutoff_len", 1000),
        ("offload=off", "offload", False),
        ("use_liger=no", "use_liger", False),
        ("gradient_checkpointing=On", "gradient_checkpointing", True),
        ("steps=null", "steps", None),
        ("base=", "base", None),
        ("base=123", "base", "123"),
        ("base=1e5", "base", "1e5"),
        ("base=2024-01-01", "base", "2024-01-01"),
        ("base='null'", "base", "null"),
        ("data={a}/x", "data", "{a}/x"),
        ("data= rows: [ ", "data", "rows: ["),
        ("precision=bfloat16", "precision", "bf16"),
        ("data=a=b", "data", "a=b"),
        ("save_steps=epoch", "save_steps", "epoch"),
        ("save_steps=7", "save_steps", 7),
        ("frozen_modules=[vision]", "frozen_modules", ("vision",)),
        ("variant.a=50", "variant", {"a": "50", "b": "one"}),
        (" train_batch_size = 8 ", "train_batch_size", 8),
        ("engine.optim=adamw_torch", "engine", {"optim": "adamw_torch"}),
        ("engine.weight_decay=1e-2", "engine", {"weight_decay": 0.01}),
        ("engine.x=2024-01-01", "engine", {"x": "2024-01-01"}),
        ("engine.a.b=[1, x]", "engine", {"a": {"b": [1, "x"]}}),
    ],
)
def test_an_assignment_is_read_as_its_setting_wants(assignment: str, name: str, value: object) -> None:
    assert getattr(value_of(assignment), name) == value


@pytest.mark.parametrize(
    ("assignment", "message", "hint"),
    [
        ("learning_rate=fast", "learning_rate must be a number above 0, not 'fast' (--set)", None),
        ("learning_rate=0", "learning_rate must be a number above 0, not 0 (--set)", None),
        ("learning_rate=.nan", "learning_rate must be a number above 0, not nan (--set)", None),
        ("epochs=.inf", "epochs must be a number with an end, not inf (--set)", None),
        ("warmup_ratio=2", "warmup_ratio must be a number of at least 0 and below 1, not 2 (--set)", None),
        ("lora.dropout=2", "lora.dropout must be a number from 0 to 1, not 2 (--set)", None),
        ("train_batch_size=0", "train_batch_size must be a whole number of at least 1, not 0 (--set)", None),
        ("train_batch_size=2.5", "train_batch_size must be a whole number of at least 1, not 2.5 (--set)", None),
        ("train_batch_size=", "train_batch_size must be a whole number of at least 1, not nothing (--set)", None),
        ("use_liger=maybe", "use_liger must be true or false, not 'maybe' (--set)", None),
        ("zero=off", "zero must be `0`, `2` or `3`, not false (--set)", None),
        (
            "schedule=cosin",
            "schedule must be `constant`, `cosine` or `linear`, not 'cosin' (--set)",
            "did you mean 'cosine'?",
        ),
        ("trackers=[wandbb]", "each of trackers must be `swanlab`, `tensorboard` or `wandb`, not 'wandbb' (--set)",
         "did you mean 'wandb'?"),
        ("frozen_modules=vision",
         "frozen_modules must be a list, such as [`language`, `projector`, `vision`], not 'vision' (--set)", None),
        ("lora.rank=x", "lora.rank must be a whole number of at least 1, not 'x' (--set)", None),
        ("lora=yes", "lora must be lines of the form `key: value` (rank, alpha, dropout, targets) or null, not true "
         "(--set)", None),
        ("variant=x", "variant must be lines of the form `key: value`, not 'x' (--set)", None),
        ("epoch=3", "unknown setting 'epoch' (--set)", "did you mean 'epochs'?"),
        ("weight_decay=3", "unknown setting 'weight_decay' (--set)",
         "an engine's own key is set as engine.weight_decay"),
        ("lora.rnk=3", "unknown setting 'lora.rnk' (--set)", "did you mean 'rank'?"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_what_is_wanted_what_was_given_and_its_origin(
    assignment: str, message: str, hint: str | None
) -> None:
    error = refusal(assignment)
    assert isinstance(error, ConfigError)
    assert (error.message, error.hint) == (message, hint)


def test_a_wrong_setting_of_the_system_or_of_an_overlay_is_said_to_be_theirs() -> None:
    system = System(
        name="s",
        stages={"one": Stage("sft", {"data": "d", "learning_rate": "x"})},
        overlays={"o": Overlay("", {"lora": {"rnk": 3}})},
    )
    with pytest.raises(ConfigError, match=r"not 'x' \(s\)$"):
        stages.resolve(system, "one")
    with pytest.raises(ConfigError, match=r"unknown setting 'lora\.rnk' \(overlay o\)$"):
        stages.resolve(system, "one", ["o"], assignments=["learning_rate=1"])


def test_a_setting_without_which_nothing_can_be_trained_is_asked_for() -> None:
    system = System(name="s", stages={"one": Stage("sft", {"learning_rate": 1})})
    with pytest.raises(ConfigError, match="s-one lacks the setting data") as caught:
        stages.resolve(system, "one")
    assert caught.value.hint == "for example --set data=VALUE"
    error = refusal("curriculum.parts=[[1]]")
    lacks = "s-instruct lacks the setting curriculum.column"
    assert (error.message, error.hint) == (lacks, "for example --set curriculum.column=VALUE")


@pytest.mark.parametrize(
    "text",
    [
        "learning_rate",
        "=3",
        "a..b=1",
        ".a=1",
        "train_batch_size=[1",
        "train_batch_size=" + "[" * 5000,
        "train_batch_size=!!python/name:os 1",
        "train_batch_size=9" + "9" * 5000,
    ],
)
def test_a_text_that_is_no_assignment_is_wrong_usage(text: str) -> None:
    error = refusal(text)
    assert isinstance(error, UsageError)
    assert "--set" in error.message
    assert len(error.message) < 200


def test_two_overlays_may_say_the_same() -> None:
    assert value_of(overlays=("smaller", "small"), stage="practice").cutoff_len == 25


@pytest.mark.parametrize(
    ("overlays", "message"),
    [
        (("small", "smaller"), "overlay small sets cutoff_len to 50, and overlay smaller to 25"),
        (("small", "lora", "smaller"), "overlay small sets cutoff_len to 50, and overlay smaller to 25"),
        (("lora", "whole"), "overlay lora sets lora to lines of the form `key: value`, and overlay whole to nothing"),
        (("whole", "lora"), "overlay whole sets lora to nothing, and overlay lora to lines of the form `key: value`"),
    ],
)
def test_overlays_that_exclude_one_another_are_refused(overlays: tuple[str, ...], message: str) -> None:
    error = refusal(overlays=overlays)
    assert isinstance(error, ConfigError)
    assert (error.message, "--set" in str(error.hint)) == (message, True)


def test_a_misspelt_overlay_gets_the_right_name() -> None:
    assert refusal(overlays=("smal",)).hint == "did you mean 'small'?"
    assert refusal(overlays=("x",)).hint == "there are lora, small, smaller, whole"
    with pytest.raises(UsageError, match="s has no overlay 'x'") as caught:
        stages.resolve(System(name="s", stages=SYSTEM.stages), "instruct", ["x"])
    assert caught.value.hint is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("1", "did you mean 'instruct'?"),
        ("2", "did you mean 'practice'?"),
        ("stage_2", "did you mean 'practice'?"),
        ("Stage-1", "did you mean 'instruct'?"),
        ("sft", "did you mean 'instruct' or 'practice'?"),
        ("instuct", "did you mean 'instruct'?"),
        ("Practice", "did you mean 'practice'?"),
        ("3", "stages are instruct, practice"),
        ("0", "stages are instruct, practice"),
        ("²", "stages are instruct, practice"),
        ("9" * 10_000, "stages are instruct, practice"),
    ],
)
def test_what_people_call_a_stage_is_understood(name: str, hint: str) -> None:
    error = refusal(stage=name)
    assert (type(error), error.hint) == (UsageError, hint)


def test_a_system_without_stages_says_so() -> None:
    with pytest.raises(UsageError, match="s has no stages to train"):
        stages.resolve(System(name="s"), "instruct")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: x\n", "learning_rate must be a number above 0, not 'x' ({file})"),
        ("lerning_rate: 1\n", "unknown setting 'lerning_rate' ({file})"),
        ("variant: {1: a}\n", "{file} has the key 1, which is not text"),
        ("variant: {on: a}\n", "{file} has the key True, which is not text"),
        ("variant: {a: 50}\n", "variant.a must be text, not 50 ({file})"),
        ("a: &a [1]\nb: *a\n", "{file} is using anchors, which are not read here at line 2"),
        ("a: " + "[" * 50 + "\n", "{file} is nested too deeply at line 1"),
        ("a: " + "x" * 70_000, "cannot read {file}: it is over 64 KiB"),
        ("lora: {<<: {rank: 3}}\n", "unknown setting 'lora.<<' ({file})"),
        ("train_batch_size: 1\ntrain_batch_size: 2\n", "{file} says 'train_batch_size' twice, again at line 2"),
    ],
)
def test_a_wrong_file_of_settings_is_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        stages.resolve(SYSTEM, "instruct", file=file)
    assert caught.value.message == message.format(file=file)


def test_a_file_of_settings_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    for file in (tmp_path / "gone.yaml", tmp_path):
        with pytest.raises(ConfigError, match="there is no file"):
            stages.resolve(SYSTEM, "instruct", file=file)


@pytest.mark.parametrize("system", ["virc", "tiny"])
def test_every_stage_of_this_package_resolves_alone_and_with_each_overlay(system: str) -> None:
    found = systems.get(system)
    for name in found.stages:
        for overlay in ((), *((each,) for each in found.overlays)):
            resolved = stages.resolve(found, name, overlay)
            assert resolved.name == f"{system}-{name}"
            assert set(resolved.origins.values()) <= {system, *(f"overlay {each}" for each in overlay)}


def test_the_published_script_of_stage_3_is_recorded_whole() -> None:
    published = json.loads((Path(__file__).parent / "published" / "stage_3.json").read_bytes())["keys"]
    values = {key: yaml.safe_load(text) for key, text in published.items()}
    values["actor_rollout_ref.actor.optim.lr"] = float(published["actor_rollout_ref.actor.optim.lr"])  # YAML: a text
    assert len(values) == 54
    assert systems.get("virc").stages["rl"].published == values


def test_what_differs_by_default_is_shown_beside_what_was_published() -> None:
    resolved = stages.resolve(systems.get("virc"), "rl")
    found = {
        each.key.split(".", 1)[-1]: (each.published, each.ours)
        for each in engines.changes("rl", resolved.config, resolved.published, resolved.origins, "run")
    }
    assert found["rollout.free_cache_engine"] == (False, True)
    assert found["rollout.max_num_seqs"] == (1024, 256)
    assert found["actor.checkpoint.save_contents"] == (["model"], ["model", "optimizer", "extra"])
    same = {"val_before_train", "rollout.log_prob_micro_batch_size_per_gpu", "rollout.enforce_eager", "kl_ctrl.kl_coef"}
    assert not same & set(found)
    first = stages.resolve(systems.get("virc"), "rl", assignments=["validate_first=true"])
    assert any(
        each.key == "trainer.val_before_train" and each.ours is True
        for each in engines.changes("rl", first.config, first.published, first.origins, "run")
    )


def test_a_stage_of_a_newer_version_is_named() -> None:
    with pytest.raises(ConfigError, match="stages of kind 'newer' are not of this version"):
        config_type("newer")
    assert config_type("rl").__module__.endswith("stages.rl")
    with pytest.raises(ConfigError, match="stages of kind 'rlvr' are not of this version"):
        runs_in("rlvr")
    assert [runs_in(kind).engine for kind in ("sft", "dpo", "rl")] == ["llamafactory", "llamafactory", "verl"]
