"""Systems against the facts of what their authors published, see `support/facts.py`."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from support import facts, tested, zoo
from support.called import virc

from virc.core.errors import ConfigError
from virc.engines import registry as engines
from virc.stages import resolve as stages
from virc.systems import published, texts
from virc.systems import registry as systems
from virc.systems.catalog import facts as catalog
from virc.systems.catalog import support as state
from virc.systems.registry import Stage, System

NAMES = sorted(facts.FILES)
DESCRIPTIONS = Path(__file__).parents[1] / "facts"
WITHOUT = {
    **dict.fromkeys(("prism", "proreason"), "what its program sends is in pipeline-cases.json"),
    **dict.fromkeys(("hydra", "internvl3.5", "reagent-v", "vts-v"), "in part alone"),
    **dict.fromkeys(("code-as-thought", "visreason"), "its repository could not be read"),
    "honeybee": "its models have a trainer of their own",
    **dict.fromkeys(("rrvf", "star-r1"), "its repository has no code"),
    "qwen3-vl": "what its makers publish is in tests/systems/published",
    "tiny": "it is of this package",
}
"""Systems that have no facts although their authors' repository may be known, and why."""
OURS = "virc"
"""The system whose words are those of this package; its models are asked in those of their rows."""
BOXLESS = {
    **dict.fromkeys(("deepeyes-v2", "thyme", "v-thinker"), "its Python cuts, by no rule"),
    "openthinkimg": "servers cut, by models, and lines take no box",
    OURS: "its tools are called in our own words",
}
"""Systems with facts and tools that have no rule for boxes, and why."""
ELSEWHERE = {"openthinkimg": {"after_text"}, "vrag-rl": {"after_text"}}  # of servers, of a search
"""Texts of systems that no reply alone leads to."""


@pytest.mark.parametrize("name", NAMES)
def test_a_system_is_as_published_or_says_why_not(name: str) -> None:
    assert [*facts.differing(systems.get(name), facts.read(name))] == []


def words(of: System, **changed: Any) -> System:
    return msgspec.structs.replace(of, chat_protocol=msgspec.structs.replace(of.chat_protocol, **changed))


def settings(system: System, of: Callable[[Stage], dict[str, Any]]) -> System:
    changed = {
        name: msgspec.structs.replace(stage, settings={**stage.settings, **of(stage)})
        for name, stage in system.stages.items()
    }
    return msgspec.structs.replace(system, stages=changed)


def another_text(*names: str) -> Callable[[System], System]:
    """Puts words behind each of these."""
    return lambda system: words(system, **{name: f"{getattr(system.chat_protocol, name)} Be brief." for name in names})


def another_stop(system: System) -> System:
    return words(system, grammar=msgspec.structs.replace(system.chat_protocol.grammar, stop=("</end>",)))


def another_part(system: System) -> System:
    return settings(
        system,
        lambda stage: (
            {"frozen_modules": ["projector"], "fidelity": "as_run"}
            if stage.kind == "rl"
            else {"frozen_modules": ["language"]}
        ),
    )


def another_rate(system: System) -> System:
    return settings(system, lambda stage: {"learning_rate": 7e-3})


def another_turn(system: System) -> System:
    return settings(system, lambda stage: {"max_turns": 13} if stage.kind == "rl" else {})


def another_default(system: System) -> System:
    of_kind = {
        "rl": {"clip_high": 0.37, "max_grad_norm": 0.37},
        "sft": {"schedule": "constant"},
        "dpo": {"schedule": "constant"},
    }
    return settings(system, lambda stage: of_kind[stage.kind])


def another_rule(system: System) -> System:
    calls = [
        msgspec.structs.replace(call, given={**call.given, "half": 100}) if "half" in call.given else call
        for call in system.chat_protocol.grammar.calls
    ]
    other = msgspec.structs.replace(system, edges="inclusive" if system.edges != "inclusive" else "floor")
    return words(other, grammar=msgspec.structs.replace(system.chat_protocol.grammar, calls=calls))


def another_unit(system: System) -> System:
    return msgspec.structs.replace(system, coordinates="thousand")


def another_size(system: System) -> System:
    """Boxes in pixels of the picture as shown in place of the file's, or the other way round."""
    return msgspec.structs.replace(system, coordinates="original" if system.coordinates == "pixel" else "pixel")


FAULTS: dict[str, Callable[[System], System]] = {
    "system message": another_text("system"),
    "first message": another_text("first"),
    "result": another_text("after_image", "after_text"),
    "error": another_text("after_error"),
    "stop": another_stop,
    "frozen part": another_part,
    "value of the script": another_rate,
    "value of the trainer": another_default,
    "turns": another_turn,
    "rule for boxes": another_rule,
    "unit of boxes": another_unit,
    "size that boxes are in": another_size,
}


def planted() -> Iterator[tuple[str, str]]:
    """The faults that there are of each system."""
    for name in NAMES:
        told = facts.read(name)
        values = {key for stage in told.stages.values() for key in stage}
        system = systems.get(name)
        asked = name != OURS and not texts.is_own_wording(system.file.parent)
        has = {
            "system message": asked,
            "first message": asked,
            "result": system.tools != "none" and asked,
            "error": system.chat_protocol.errors == "show" and asked,
            "stop": name != OURS,
            "turns": system.tools != "none"
            and name != OURS  # whose rollouts are single replies
            and any(stage.kind == "rl" for stage in system.stages.values()),
            "frozen part": "frozen" in values,
            "value of the trainer": told.stages and name != "critic-v",  # whose trainer is not known
            "rule for boxes": told.boxes and name != "vitar",
            "unit of boxes": told.boxes,
            "size that boxes are in": told.boxes and name != "chain-of-focus",  # whose program sees one size alone
        }
        yield from ((name, fault) for fault in FAULTS if has.get(fault, told.stages))


@pytest.mark.parametrize(("name", "fault"), [*planted()])
def test_a_planted_fault_is_no_fact(name: str, fault: str) -> None:
    assert next(facts.differing(FAULTS[fault](systems.get(name)), facts.read(name)), None)


def test_what_differs_from_its_facts_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / state.TESTED
    monkeypatch.setenv("VIRC_RECORD", "1")
    tested.solved("thyme", 2, 1, file)
    assert file.exists()
    wrong = another_stop(systems.get("thyme"))
    monkeypatch.setattr(systems, "get", lambda name: wrong)
    with pytest.raises(AssertionError, match="stop"):
        tested.solved("thyme", 2, 1, file)


def test_show_says_what_is_learnt_in_another_way() -> None:
    shown = virc("systems", "show", "thyme").out
    assert "values and 5 texts of yfzhang114/Thyme@b9285b7a0c5f" in shown
    assert "differs: repetition_penalty: published 1.05; " in shown
    assert "vllm_enforce_eager" not in shown  # what is learnt is the same


@pytest.mark.parametrize("text", ["{", "[]", '{"source": 1}'])
def test_facts_that_cannot_be_read_are_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / catalog.FACTS).write_text(text)
    elsewhere = msgspec.structs.replace(systems.get("thyme"), file=tmp_path / "system.yaml")
    with pytest.raises(ConfigError, match=r"facts\.json has no facts: ") as refused:
        catalog.of(elsewhere)
    assert "make.py" in str(refused.value.hint)


def test_every_system_whose_repository_is_known_has_facts() -> None:
    rows = published.rows()
    known = {name for name in systems.discover() if name not in rows or rows[name].repo}
    assert known - {*NAMES} == WITHOUT.keys()


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_those_that_their_description_names(name: str) -> None:
    described, told = yaml.safe_load((DESCRIPTIONS / f"{name}.yaml").read_bytes()), facts.read(name)
    assert described.pop("source") == told.source
    for key in ("texts", "rows", "stages"):
        assert sorted(described.pop(key, ())) == sorted(getattr(told, key))
    assert {*described} == {key for key in ("stop", "boxes", "notes") if getattr(told, key)}


@pytest.mark.parametrize("name", [name for name in NAMES if name != OURS])
def test_every_text_that_a_model_is_sent_has_a_fact(name: str) -> None:
    system = systems.get(name)
    sent = {"system", "first"} | ({"result"} if system.tools != "none" else set())
    assert sent | ({"error"} if system.chat_protocol.errors == "show" else set()) <= facts.read(name).texts.keys()


def told(system: System) -> Iterator[tuple[str, str, System]]:
    """Each text that a model may be told: its field, how names of its facts begin, and the system with another one."""
    spoken = system.chat_protocol
    of = {"system": "system", "first": "first", "after_image": "result", "after_text": "result", "after_error": "error"}
    for name, begins in of.items():
        if getattr(spoken, name):
            yield name, begins, another_text(name)(system)
    for kind, text in (spoken.error_texts or {}).items():
        yield kind, "error", words(system, error_texts={**spoken.error_texts, kind: f"{text} Be brief."})
    for name in ("text", "text_with_images"):
        if spoken.code and getattr(spoken.code, name):
            yield name, "result", words(system, code=msgspec.structs.replace(spoken.code, **{name: "Be brief."}))


def untold(name: str) -> set[str]:
    """The texts of a system that no fact is of: they may be others, and nothing differs."""
    published, system = facts.read(name).texts, systems.get(name)
    as_it_is = {each: facts.Spoken(system).text(each, text.replies) for each, text in published.items()}
    return {
        field
        for field, begins, other in told(system)
        if not any(
            facts.Spoken(other).text(each, published[each].replies) != text
            for each, text in as_it_is.items()
            if each.startswith(begins)
        )
    }


@pytest.mark.integration  # takes seconds, and fails where records lack something
@pytest.mark.parametrize("name", [name for name in NAMES if name != OURS])
def test_no_text_is_another_without_a_fact(name: str) -> None:
    system = systems.get(name)
    unused = {"after_image", "after_text"} if system.tools == "none" else ELSEWHERE.get(name, set())
    assert untold(name) <= unused


def test_every_stage_with_a_published_script_has_facts() -> None:
    lacking = {
        f"{name} {stage}"
        for name in NAMES
        for stage, written in systems.get(name).stages.items()
        if written.published and stage not in facts.read(name).stages
    }
    assert not lacking


LEARNT = {
    *(f"actor_rollout_ref.actor.{key}" for key in ("loss_agg_mode", "entropy_coeff", "optim.lr", "optim.clip_grad")),
    *(f"actor_rollout_ref.actor.optim.{key}" for key in ("weight_decay", "lr_scheduler_type")),
    *(f"actor_rollout_ref.rollout.{key}" for key in ("n", "temperature", "top_k", "top_p")),
    "algorithm.norm_adv_by_std_in_grpo",
}
"""Keys of RL whose value a trainer has where no script sets it."""


@pytest.mark.parametrize("name", NAMES)
def test_what_a_trainer_does_by_default_has_facts(name: str) -> None:
    stages_of_rl = {stage for stage, written in systems.get(name).stages.items() if written.kind == "rl"}
    for stage, values in facts.read(name).stages.items():
        assert stage not in stages_of_rl or {each.key for each in values.values()} >= LEARNT, stage


def test_every_system_with_tools_has_cases_of_boxes() -> None:
    cases = {name: facts.read(name).boxes for name in NAMES if systems.get(name).tools != "none"}
    assert {name for name, boxes in cases.items() if not boxes} == BOXLESS.keys()
    assert all(len(boxes.cases) >= 20 for boxes in cases.values() if boxes)


HOW = {
    *("after", "attention", "base", "data", "device", "devices", "filter_overlong", "gradient_checkpointing"),
    *("loaders", "log_every", "max_images", "micro_batch_size_per_device", "nodes", "offload", "order", "precision"),
    *("reward", "rollout", "rollout_engine", "rollouts", "sampler_memory", "save_steps", "save_total_limit", "seed"),
    *("stop_on", "tensor_parallel", "test_freq", "trackers", "use_liger", "validate_first", "validation", "zero"),
}
"""Settings that say on what, where and how a stage runs, not what is learnt."""


WHOLE = {"actial": ["inject"], "code-as-thought": ["rl"], "internvl3.5": ["mpo"], "visreason": ["instruct", "pro"]}
"""Stages whose values are all of one place, which a comment or a note of the stage names."""


def without_source(system: System) -> set[str]:
    """Stage and setting of each value that has no source: neither a published value, nor a comment, a note or an
    assumption.
    """
    text = system.file.read_text(encoding="utf-8")
    said = {*re.findall(r"^ +(\w+):[^#\n]*#", text, re.MULTILINE), *(each.key for each in system.assumed)}
    found, usual = set(), set()
    for name, stage in system.stages.items():
        known = engines.of_kind(stage.kind).keys.entries
        told = facts.read(system.name).stages.get(name, {}) if system.name in facts.FILES else {}
        keys = {*stage.published, *stage.published_defaults, *(each.key or "" for each in told.values())}
        of_keys = {each for key, of in known.items() if key in keys for each in of.settings}
        notes = {word for note in (*system.notes, *stage.notes) for word in re.findall(r"\w+", note.partition(":")[0])}
        sourced = {*said, *of_keys, *notes, *(key.removeprefix("config.") for key in keys)}
        written = {**stages.of_kind(system, name, system.everywhere), **stage.settings}
        written |= {key: value for key, value in written.pop("engine", {}).items() if ".val_" not in key}
        usual |= sourced & {*system.everywhere, *system.everywhere.get("engine", {})}
        for key in {*written} - sourced - HOW if name not in WHOLE.get(system.name, ()) else ():
            on_policy = key == "ppo_mini_batch_size" and written[key] == written.get("train_batch_size")
            frozen = key == "frozen_modules" and "frozen" in keys
            if not (on_policy or frozen or (key == "max_turns" and written[key] == 1)):
                found.add((name, key))
    return {f"{name} {key}" for name, key in found if key not in usual}


@pytest.mark.parametrize("name", [name for name, _ in zoo.files("system.yaml")])
def test_every_value_has_a_source_or_is_assumed(name: str) -> None:
    assert without_source(systems.get(name)) == set()


def test_a_value_without_source_is_found() -> None:
    star = systems.get("star-r1")
    assert without_source(msgspec.structs.replace(star, assumed=())) == {
        "rl n",
        "rl learning_rate",
        "rl response_length",
    }
    invented = {"clip_low": 0.1, "engine": {"actor_rollout_ref.actor.optim.weight_decay": 0.3}}
    stage = msgspec.structs.replace(star.stages["rl"], settings={**star.stages["rl"].settings, **invented})
    assert without_source(msgspec.structs.replace(star, stages={"rl": stage})) == {
        "rl clip_low",
        "rl actor_rollout_ref.actor.optim.weight_decay",
    }
