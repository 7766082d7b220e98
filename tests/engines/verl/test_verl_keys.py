"""A user's keys for verl: what is refused, with which sentence, and what is taken."""

import re
from typing import Any

import pytest

from virc.core.errors import ConfigError
from virc.engines.verl.plan import KEYS
from virc.envs.pins import FOLDER as PINS
from virc.stages import rl

KNOWN, OWN = KEYS.accepted, KEYS.ours
ACTOR, ROLLOUT, MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))
VLLM = f"{ROLLOUT}.engine_kwargs.vllm"
BEGINNINGS = {name.rsplit(".", length)[0] for name in KNOWN for length in range(name.count(".") + 1)}

YOURS = {name: key.preset for name, key in KEYS.entries.items() if key.preset}


def refusal(given: dict[str, Any]) -> tuple[str, str | None]:
    """Message and hint of the error that keys from `--set` end in."""
    with pytest.raises(ConfigError) as caught:
        KEYS.check(given, {f"engine.{name}": "--set" for name in given})
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (f"{ACTOR}.ppo_epoch", f"did you mean '{ACTOR}.ppo_epochs'?"),
        ("ppo_max_token_len", f"did you mean '{ACTOR}.ppo_max_token_len_per_gpu'?"),
        (f"{ROLLOUT}.temperatur", "it is a setting of its own: --set temperature=VALUE"),
        ("learning_rate", "it is a setting of its own: --set learning_rate=VALUE"),
        ("algorithm.adv_estimate", "algorithm.adv_estimator is not to be set: a stage is GRPO"),
        ("actor_rollout_ref", "there are keys that begin with actor_rollout_ref."),
        ("model.use_liger", "it is a setting of its own: --set use_liger=true"),
        ("reward_model.launch_reward_fn_async", "rewards are always computed next to the rollouts, leave it out"),
        (f"{VLLM}.disable_mm_preprocessor_cache", "vLLM calls it mm_processor_cache_gb, and virc sets it to 0"),
        ("qqqq", "verl/keys.json lists them"),
    ],
)
def test_an_unknown_key_names_the_one_that_was_meant(given: str, hint: str) -> None:
    said, hinted = refusal({given: 1})
    assert said == f"verl 0.9.1 has no key {given!r} (--set)"
    assert hint in str(hinted)


def test_no_key_that_a_setting_of_ours_stands_for_can_be_set() -> None:
    for name in OWN.keys() & KNOWN.keys():
        message, hint = refusal({name: KNOWN[name].default})
        assert message.startswith(f"engine.{name} ")
        assert OWN[name] in message
        assert hint is None or hint == f"--set {OWN[name]}=VALUE"


@pytest.mark.parametrize("name", [name for name in OWN if name not in KNOWN])
def test_what_is_ours_in_a_free_mapping_cannot_be_set_either(name: str) -> None:
    assert refusal({name: 1})[0].startswith(f"engine.{name} ")


@pytest.mark.parametrize(
    "given",
    [
        {ACTOR: {"optim": {"lr": 1}}},
        {"actor_rollout_ref": {"actor": {"optim": {"lr": 1}}}},
        {f"{ACTOR}.optim": {"lr": 1}},
        {f"{ACTOR}.optim.lr": 1},
    ],
)
def test_a_key_of_ours_cannot_be_set_however_it_is_nested(given: dict[str, Any]) -> None:
    message, hint = refusal(given)
    assert message.startswith(f"engine.{ACTOR}.optim.lr follows from the setting learning_rate")
    assert hint == "--set learning_rate=VALUE"


def test_no_key_of_the_tables_can_be_set() -> None:
    verdict = r"(does nothing in a stage: |is not taken: |follows from the setting )\w+"
    for name in KNOWN:
        if KEYS.verdict(name) and name not in OWN:
            assert re.match(rf"engine\.{re.escape(name)} {verdict}", refusal({name: KNOWN[name].default})[0])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"{ACTOR}.freeze_vision_tower", "follows from the setting frozen"),
        (f"{ACTOR}.grad_clip", "follows from the setting max_grad_norm"),
        ("reward_model.reward_manager", "`prime` is gone"),
        ("reward.reward_manager.name", "`prime` is gone"),
        ("critic.optim.lr", "GRPO has no critic"),
        ("trainer.use_v1", "verl takes its older trainer away"),
        (f"{MODEL}.trust_remote_code", "code that comes with weights is not run"),
        ("data.trust_remote_code", "code that comes with weights is not run"),
        ("data.custom_cls.path", "rows are read by verl's own class"),
        ("trainer.default_hdfs_dir", "a run uploads nothing"),
        ("trainer.balance_batch", "does nothing in a stage: this version always balances"),
        (f"{ACTOR}.use_torch_compile", f"it is {ACTOR}.fsdp_config.use_torch_compile"),
    ],
)
def test_a_refusal_says_what_helps(name: str, said: str) -> None:
    assert said in refusal({name: True})[0]


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        (f"{ACTOR}.optim.weight_decay", "much", "must be a number, not 'much'", None),
        (f"{ACTOR}.ppo_epochs", 1.5, "must be a whole number, not 1.5", None),
        (f"{ACTOR}.optim.lr_scheduler_type", "cosine_", "cannot be 'cosine_'", "did you mean 'cosine'?"),
        (f"{ROLLOUT}.enforce_eager", "perhaps", "must be true or false, not 'perhaps'", None),
        (VLLM, 5, "must be lines of the form `key: value`, not 5", None),
    ],
)
def test_a_value_that_the_key_does_not_take_is_refused(name: str, value: Any, message: str, hint: str | None) -> None:
    assert refusal({name: value}) == (f"engine.{name} {message} (--set)", hint)


def test_nested_and_dotted_keys_are_the_same() -> None:
    dotted = {f"{ACTOR}.ppo_epochs": "2", f"{VLLM}.max_logprobs": 5, f"{ACTOR}.optim.betas": [0.9, 0.95]}
    nested = {
        "actor_rollout_ref": {
            "actor": {"ppo_epochs": "2", "optim": {"betas": [0.9, 0.95]}},
            "rollout": {"engine_kwargs": {"vllm": {"max_logprobs": 5}}},
        }
    }
    taken = {f"{ACTOR}.ppo_epochs": 2, VLLM: {"max_logprobs": 5}, f"{ACTOR}.optim.betas": [0.9, 0.95]}
    assert KEYS.check(dotted, {}) == KEYS.check(nested, {}) == taken
    assert KEYS.check(taken, {}) == taken


@pytest.mark.parametrize(
    ("name", "switch"),
    [
        ("global_profiler.steps", "global_profiler.tool"),
        (f"{ACTOR}.ppo_max_token_len_per_gpu", f"{ACTOR}.use_dynamic_bsz"),
        ("algorithm.rollout_correction.rollout_is_threshold", "algorithm.rollout_correction.rollout_is"),
    ],
)
def test_a_key_that_does_nothing_alone_names_the_other(name: str, switch: str) -> None:
    value = [1] if name.endswith("steps") else 2
    message, hint = refusal({name: value})
    assert message == f"engine.{name} does nothing without {switch} (--set)"
    assert str(hint).startswith(f"--set engine.{switch}=")
    on = {"global_profiler.tool": "torch", "algorithm.rollout_correction.rollout_is": "token"}.get(switch, True)
    assert KEYS.check({name: value, switch: on}, {}) == {name: value, switch: on}


def test_what_follows_from_the_device_can_still_be_set() -> None:
    given = {name: KNOWN[name].default for name in YOURS}
    assert KEYS.check(given, {}) == given


def test_the_tables_name_only_what_there_is() -> None:
    refused = {name: key for name, key in KEYS.entries.items() if key.dead or key.refused or key.instead or key.needs}
    assert {*refused, *(key.needs for key in refused.values() if key.needs)} <= KNOWN.keys() | BEGINNINGS
    assert not [name for name, key in KNOWN.items() if key.gone]
    settings = set(rl.Config.__struct_fields__)
    assert {key.instead.split(".")[0] for key in refused.values() if key.instead} <= settings


def test_what_our_settings_stand_for_is_known_on_both_sides() -> None:
    free = tuple(f"{name}." for name, key in KNOWN.items() if "dict" in key.type)
    assert all(name in KNOWN or name.startswith(free) for name in (*OWN, *YOURS))
    named = {setting.split(".")[0] for setting in (*OWN.values(), *YOURS.values()) if " " not in setting}
    assert named <= set(rl.Config.__struct_fields__)


def test_the_list_is_of_the_pinned_version() -> None:
    for device in ("cpu", "cuda"):
        pins = (PINS / f"rl-{device}.txt").read_text()
        assert f"\nverl=={KEYS.versions['verl']} \\\n" in pins, "after new pins: tests/engine_keys.py"
