"""What a stage's settings are, and where each comes from: system, overlays, a file, `--set`, options."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.tables import cases_of

from virc.core.errors import ConfigError, UsageError, VircError
from virc.engines import registry as engines
from virc.engines.key_table import Key, KeyTable
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.systems.registry import Assumption, Overlay, Stage, System

CASES = cases_of(__file__)

SYSTEM = System(
    name="s",
    stages={"instruct": Stage("sft", {"base": "b", "data": "d", "learning_rate": 1e-5, "train_batch_size": 3})},
    everywhere={"train_batch_size": 2, "cutoff_len": 100, "variant": {"a": "one", "b": "one"}},
    overlays={"small": Overlay("", {"cutoff_len": 50, "variant": {"b": "two"}})},
)


def value_of(*assignments: str) -> Any:
    return stages.resolve(SYSTEM, "instruct", assignments=assignments).config


def refusal(assignment: str) -> VircError:
    with pytest.raises(VircError) as caught:
        value_of(assignment)
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


@pytest.mark.parametrize(("assignment", "name", "value"), CASES["an_assignment_is_read_as_its_setting_wants"])
def test_an_assignment_is_read_as_its_setting_wants(assignment: str, name: str, value: object) -> None:
    assert getattr(value_of(assignment), name) == value


@pytest.mark.parametrize(
    ("assignment", "message", "hint"),
    CASES["a_wrong_setting_is_named_with_what_is_wanted_what_was_given_and_its_origin"],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_what_is_wanted_what_was_given_and_its_origin(
    assignment: str, message: str, hint: str | None
) -> None:
    error = refusal(assignment)
    assert isinstance(error, ConfigError)
    assert (error.message, error.hint) == (message, hint)


def test_a_setting_without_which_nothing_can_be_trained_is_asked_for() -> None:
    system = System(name="s", stages={"one": Stage("sft", {"learning_rate": 1})})
    with pytest.raises(ConfigError, match="s-one lacks the setting data") as caught:
        stages.resolve(system, "one")
    assert caught.value.hint == "for example --set data=VALUE"


@pytest.mark.parametrize(
    "text", ["learning_rate", "=3", "train_batch_size=" + "[" * 5000, "train_batch_size=!!python/name:os 1"]
)
def test_a_text_that_is_no_assignment_is_wrong_usage(text: str) -> None:
    error = refusal(text)
    assert isinstance(error, UsageError)
    assert "--set" in error.message
    assert len(error.message) < 200


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


@pytest.mark.parametrize(("published", "defaults"), [({}, {}), ({"a": 1}, {})])
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


@pytest.mark.parametrize(("ours", "why"), [(42, "the engine's own default"), (777, "as by default"), (49, "mine.yaml")])
def test_a_value_is_called_the_engines_own_where_it_is(ours: int, why: str) -> None:
    table = KeyTable({"seed": Key(same="seed", default=42)}, {})
    (change,) = table.changes({"seed": ours}, {"seed": 1}, {"seed": "mine.yaml"} if ours == 49 else {})
    assert change.why == why
