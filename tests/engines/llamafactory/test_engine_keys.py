"""A user's keys for LLaMA-Factory: what is refused, with which sentence, and what is taken."""

import json
import re
from pathlib import Path
from typing import Any

import engine_keys
import pytest
import yaml

import virc
from virc.core.errors import ConfigError
from virc.engines import registry as engines
from virc.engines.keys import OF_ENGINE, _with_nearest_ending
from virc.engines.llamafactory.plan import KEYS as ENGINE
from virc.engines.llamafactory.plan import OTHER_ROWS
from virc.envs.pins import FOLDER as PINS
from virc.stages import sft

KEYS, OWN = ENGINE.accepted, ENGINE.ours
SWITCHES = {each for key in ENGINE.entries.values() if key.needs for each in key.needs.split(" or ")}
RECIPES = Path(virc.__file__).parents[1]


def refusal(given: dict[str, Any]) -> tuple[str, str | None]:
    """Message and hint of the error that keys from `--set` end in."""
    with pytest.raises(ConfigError) as caught:
        ENGINE.check(given, {f"engine.{name}": "--set" for name in given})
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ("weight_deca", "has no key 'weight_deca' (--set)", "did you mean 'weight_decay'?"),
        ("lerning_rate", "has no key 'lerning_rate'", "it is a setting of its own: --set learning_rate=VALUE"),
        ("lora_rnk", "has no key 'lora_rnk'", "it is a setting of its own: --set lora.rank=VALUE"),
        (
            "train_batch_size",
            "has no key 'train_batch_size'",
            "it is a setting of its own: --set train_batch_size=VALUE",
        ),
        ("outputdir", "has no key 'outputdir'", "output_dir is not to be set: it is the run's folder"),
        ("qqqq", "has no key 'qqqq'", f"{RECIPES}/virc/engines/llamafactory/keys.json lists them"),
    ],
)
def test_an_unknown_key_names_the_one_that_was_meant(given: str, message: str, hint: str) -> None:
    said, hinted = refusal({given: 1})
    assert message in said
    assert "LLaMA-Factory 0.9.5" in said
    assert hinted == hint


def test_no_key_that_a_setting_of_ours_stands_for_can_be_set() -> None:
    for name in OWN:
        message, hint = refusal({name: KEYS[name].default})
        assert message.startswith(f"engine.{name} ")
        assert OWN[name] in message
        assert hint is None or hint == f"--set {OWN[name]}=VALUE"


def test_a_key_of_ours_is_named_with_its_setting_or_why_it_has_none() -> None:
    assert refusal({"output_dir": "x"}) == ("engine.output_dir is not to be set: it is the run's folder (--set)", None)
    assert refusal({"max_steps": 4}) == (
        "engine.max_steps follows from the setting steps (--set)", "--set steps=VALUE",
    )  # fmt: skip


def test_the_page_about_preferences_is_named_for_their_keys_alone() -> None:
    hints = []
    for given in ({"pref_ftx": 1.0}, {"nonsense": 1, "pref_ftx": 1.0}):
        with pytest.raises(ConfigError) as caught:
            engines.check("sft", given, {})
        hints.append(str(caught.value.hint))
    assert ["*Train on preferences*" in hint for hint in hints] == [True, False]


def test_no_key_of_the_tables_can_be_set() -> None:
    verdict = r"(does nothing in a stage: |is not taken: |follows from the setting )\w+"
    for name in KEYS:
        if ENGINE.verdict(name) and name not in OWN:
            assert re.match(rf"engine\.{name} {verdict}", refusal({name: KEYS[name].default})[0])


@pytest.mark.parametrize(
    "name", [name for name in KEYS if name.endswith(("_token", "_key", "_secret", "_webhook_url"))]
)
def test_a_secret_is_refused_and_not_repeated(name: str) -> None:
    said = " ".join(map(str, refusal({name: "sk-4711"})))
    assert "no place for a secret" in said or "SWANLAB_API_KEY" in said
    assert "4711" not in said


@pytest.mark.parametrize("name", ["trust_remote_code", "push_to_hub", "use_swanlab"])
def test_nothing_that_runs_code_of_strangers_or_uploads_can_be_turned_on(name: str) -> None:
    assert refusal({name: True})[0].startswith(f"engine.{name} ")


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        ("weight_decay", "much", "must be a number, not 'much'", None),
        ("weight_decay", [1], "must be a number, not a list of 1", None),
        ("weight_decay", float("inf"), "must be a number with an end, not inf", None),
        ("max_samples", 2.5, "must be a whole number or null, not 2.5", None),
        ("packing", "perhaps", "must be true or false or null, not 'perhaps'", None),
        ("run_name", 5, "must be text or null, not 5", "put it in quotes"),
        ("label_names", "labels", "must be a list, such as [text] or null, not 'labels'", None),
        ("optim", None, "must be text, not nothing", None),
        ("optim", "sdg", "cannot be 'sdg'", "did you mean 'sgd'?"),
        ("optim", "paged_adamw", "cannot be 'paged_adamw'", "there are paged_adamw_32bit, paged_adamw_8bit"),
        ("log_level", "loud", "cannot be 'loud'", "there are critical, debug, detail, error, info, passive, warning"),
    ],
)
def test_a_value_that_the_key_does_not_take_is_refused(name: str, value: Any, message: str, hint: str | None) -> None:
    assert refusal({name: value}) == (f"engine.{name} {message} (--set)", hint)


def test_values_come_back_as_the_engine_takes_them() -> None:
    given = {
        "weight_decay": "1e-2", "max_samples": "10", "tf32": "true", "optim": "sgd", "disable_tqdm": True,
        "lr_scheduler_kwargs": {"num_cycles": 2}, "label_names": ["labels"], "data_seed": None,
        "val_size": 0.1, "eval_strategy": "steps", "use_galore": True, "galore_rank": 4,
    }  # fmt: skip
    as_numbers = {"weight_decay": 0.01, "max_samples": 10, "tf32": True}
    found = ENGINE.check(given, {})
    assert found == {**given, **as_numbers}
    assert yaml.safe_load(yaml.safe_dump(found)) == found


def test_no_without_quotes_is_the_word() -> None:
    assert ENGINE.check(yaml.safe_load("eval_strategy: no"), {}) == {"eval_strategy": "no"}


@pytest.mark.parametrize(
    ("given", "without", "hint"),
    [
        ({"galore_rank": 4}, "use_galore", "--set engine.use_galore=true"),
        ({"galore_rank": 4, "use_galore": False}, "use_galore", "--set engine.use_galore=true"),
        ({"val_size": 0.1}, "eval_strategy or do_eval", "--set engine.eval_strategy=VALUE"),
        ({"val_size": 0.1, "eval_strategy": False}, "eval_strategy or do_eval", "--set engine.eval_strategy=VALUE"),
        ({"eval_strategy": "steps"}, "val_size", "--set engine.val_size=VALUE"),
        ({"ref_model": "x"}, "use_asft_loss", "--set engine.use_asft_loss=true"),
        ({"quantization_type": "nf4"}, "quantization_bit", "--set engine.quantization_bit=VALUE"),
    ],
)
def test_a_key_that_does_nothing_alone_names_the_other(given: dict[str, Any], without: str, hint: str) -> None:
    message, hinted = refusal(given)
    assert message.endswith(f"does nothing without {without} (--set)")
    assert hinted == hint


def test_the_origin_of_a_key_of_several_parts_is_named() -> None:
    with pytest.raises(ConfigError, match=r"\(overlay odd\)"):
        ENGINE.check({"deepspeed": {"a": {"b": 1}}}, {"engine.deepspeed.a.b": "overlay odd"})


def test_every_fault_is_found_at_once() -> None:
    found = list(ENGINE.faults({"nonsense": 1, "seed": 1, "optim": "sdg", "weight_decay": 0.1}))
    assert [fault.path for fault in found] == [("engine", "nonsense"), ("engine", "seed"), ("engine", "optim")]


def test_the_tables_name_only_what_there_is() -> None:
    known = {*KEYS, *(key.group for key in KEYS.values())}
    refused = {name: key for name, key in ENGINE.entries.items() if key.dead or key.refused or key.instead or key.needs}
    assert {*refused, *SWITCHES} <= known
    settings = set(sft.Config.__struct_fields__)
    assert {key.instead.split(".")[0] for key in refused.values() if key.instead} <= settings


def test_what_changes_how_many_rows_there_are_can_be_set() -> None:
    assert set(KEYS) >= OTHER_ROWS
    assert not [each for each in OTHER_ROWS if ENGINE.verdict(each) or each in OWN]


def test_what_turns_something_on_can_be_set() -> None:
    assert not [each for each in SWITCHES if ENGINE.verdict(each) or each in OWN]


def test_what_our_settings_stand_for_is_known_on_both_sides() -> None:
    assert set(OWN) <= set(KEYS)
    named = {setting.split(".")[0] for setting in OWN.values() if " " not in setting}
    assert named <= set(sft.Config.__struct_fields__)


@pytest.mark.parametrize("engine", ["llamafactory", "verl"])
def test_what_is_ours_stays_where_the_engine_says_its_keys_anew(engine: str) -> None:
    file = engine_keys.FOLDER / engine / "keys.json"
    known = json.loads(file.read_text())
    said = {
        name: {part: key[part] for part in OF_ENGINE if part in key}
        for name, key in known["keys"].items() if "type" in key
    }  # fmt: skip
    assert engine_keys.text(file, said, known["versions"]) == file.read_text()
    gone = engine_keys.text(file, {name: said[name] for name in list(said)[1:]} | {"new": {"type": "int"}}, {})
    assert json.loads(gone)["keys"]["new"] == {"type": "int"}
    assert json.loads(gone)["keys"].keys() - {"new"} <= known["keys"].keys()


def test_the_list_is_of_the_pinned_versions() -> None:
    for device in ("cpu", "cuda"):
        pins = (PINS / f"sft-{device}.txt").read_text()
        for package, version in ENGINE.versions.items():
            assert f"\n{package}=={version} \\\n" in pins, f"after new pins: {engine_keys.__doc__}"


def test_a_key_with_another_beginning_is_named_where_it_can_be_one_alone() -> None:
    known = ["actor.optim.lr", "critic.optim.lr", "trainer.total_epochs"]
    found = [_with_nearest_ending(name, known) for name in ("optim.lr", "total_epochs", "data.total_epoch", "zzz")]
    assert found == [None, "trainer.total_epochs", "trainer.total_epochs", None]
