"""Which model a served name means, and which chat protocol of this machine it is spoken to in."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from support.called import virc
from support.made import make, save
from support.servers import serve

from virc.core.errors import ConfigError
from virc.models import chat_protocol, provenance
from virc.models import registry as models
from virc.models.chat_protocol import ServedModel
from virc.models.load import Choice, prompt_setup_here
from virc.models.provenance import Origin
from virc.reasoning.protocol import FILE_NAME, Protocol, own_protocol
from virc.systems import registry as systems
from virc.systems.registry import System
from virc.systems.texts import AbsentTextError
from virc.tools import registry as tools

VIRC = systems.get("virc")
OWN = own_protocol(tools.schemas(tools.DEFAULT))


def saying(first: str) -> Protocol:
    return msgspec.structs.replace(OWN, first=f"{first}: {{question}}")


def with_models(**units: str | None) -> System:
    """A system whose models count boxes in these units."""
    known = systems.get("virc")
    some = next(iter(known.models.values()))
    named = {short: msgspec.structs.replace(some, coordinates=unit) for short, unit in units.items()}
    return msgspec.structs.replace(known, models=named, protocol_source="hub")


def left(workspace: Path, spoken: Mapping[str, str]) -> None:
    """Put chat protocols beside models of a workspace."""
    for short, first in spoken.items():
        (workspace / "models" / short).mkdir(parents=True)
        (workspace / "models" / short / FILE_NAME).write_bytes(chat_protocol.written(saying(first)))


def asked(workspace: Path, system: System, short: str | None, **more: Protocol) -> tuple[str, str]:
    """The first text of the chat protocol that a served model is spoken to in, and where it is from."""
    served = ServedModel("served", system=system, model=system.models[short] if short else None, **more)
    spoken, place = chat_protocol.of_endpoint(served, workspace)
    assert spoken
    return spoken.first.partition(":")[0], place.removeprefix(f"{workspace}/models/")


def test_protocols_that_differ_leave_open_which_is_meant(tmp_path: Path) -> None:
    left(tmp_path, {"a": "one", "b": "two"})
    system = with_models(a="pixel", b="pixel")
    with pytest.raises(ConfigError, match="their chat protocols differ") as caught:
        asked(tmp_path, system, None)
    assert all(f"models/{name}/{FILE_NAME}" in (caught.value.hint or "") for name in "ab")
    assert asked(tmp_path, system, None, published=saying("three")) == ("three", "the endpoint publishes it")


@pytest.mark.parametrize(
    ("name", "short"),
    [
("org/X-AWQ", "X"),
("X-large", "X-large"),
("/models/x-large.gguf", "X-large"),
("Xlarge", None),
],
)  # fmt: skip
def test_a_served_name_means_the_model_with_the_longest_name_in_it(name: str, short: str | None) -> None:
    system = with_models(**{"X": "pixel", "X-large": "permille"})
    assert models.served(name, None, system)[1] == (system.models[short] if short else None)


@pytest.mark.parametrize(
    ("short", "kind", "system", "asked"),
    [
("GLM-4.1V-9B-Thinking", "glm4v", None, "glm-4v"),
("InternVL3_5-8B", "internvl", None, "internvl3"),
("Skywork-R1V3-38B", "internvl", None, "internvl3"),
("Skywork-R1V3-38B", "internvl", "skywork-r1v3", "system"),
("OpenVLThinker-7B", "qwen2_5_vl", None, "qwen2.5-vl"),
("DeepEyes-7B", "qwen2_5_vl", None, "own words"),
("VisReason-7B", "qwen2_5_vl", None, "system"),
],
)  # fmt: skip
def test_a_folder_is_asked_with_tools_unless_a_system_is_chosen(
    short: str, kind: str, system: str | None, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRC_OWN_WORDS")
    (tmp_path / "models" / short).mkdir(parents=True)
    (tmp_path / "models" / short / "config.json").write_text(json.dumps({"model_type": kind}))
    choice = Choice(short, system=system)
    found = prompt_setup_here(models.find(short, tmp_path, system), choice)
    assert (found.family or found.chat_protocol.name) == asked
    assert bool(found.chat_protocol.tools) == (system is None)
    if found.family:
        assert " asks it as its authors do" in found.why
    if asked == "own words":
        (warning,) = found.warnings
        assert "`virc download texts --system deepeyes` brings those" in warning
        for exact in (Choice(short, exact_words=True), Choice(short, system="deepeyes")):
            with pytest.raises(AbsentTextError, match="is not on this machine"):
                prompt_setup_here(models.find(short, tmp_path, exact.system), exact)


def test_an_evaluation_asks_in_the_words_of_the_authors_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRC_OWN_WORDS")
    Image.new("RGB", (56, 56)).save(tmp_path / "a.png")
    (tmp_path / "rows.jsonl").write_text('{"image": "a.png", "question": "?", "answer": "1"}\n')
    monkeypatch.chdir(tmp_path)
    with serve(["<answer>1</answer>"], models=["ChenShawn/DeepEyes-7B"]) as server:
        asked = virc("solve", "a.png", "?", "--endpoint", server.url)
        assert (asked.code, asked.out) == (0, "1\n")
        assert asked.err.count("in our own words") == 1
        refused = virc("eval", "rows.jsonl", "--endpoint", server.url, "--model", "ChenShawn/DeepEyes-7B")
    assert refused.code == 3
    assert "of deepeyes's authors is not on this machine" in refused.err


def test_the_protocol_of_a_checkpoint_goes_before_that_of_its_run(tmp_path: Path) -> None:
    run = make(tmp_path, "mine")
    weights = models.Weights("mine@10", save(run, 10))
    assert chat_protocol.trained_with(weights) is None
    for place in (run.folder, weights.folder):
        (place / FILE_NAME).write_bytes(chat_protocol.written(OWN))
        assert chat_protocol.trained_with(weights) == place / FILE_NAME
    (actor := weights.folder / "actor").mkdir()
    assert {found.name for found in map(models.run_of, (run.folder, weights.folder, actor)) if found} == {"mine"}
    assert models.run_of(tmp_path) is None


def test_a_model_of_a_system_without_its_protocol_is_refused_with_what_brings_it(tmp_path: Path) -> None:
    short, model = next(iter(VIRC.models.items()))
    weights = models.Weights(short, tmp_path / "base", VIRC, model, tmp_path / "lora")
    with pytest.raises(
        ConfigError, match=f"no chat protocol for {short}: there is none next to its weights"
    ) as refused:
        chat_protocol.of_weights(weights)
    hint = f"`virc download {short}` brings it, put {FILE_NAME} into {tmp_path / 'lora'}, or"
    assert (refused.value.hint or "").startswith(hint)


@pytest.mark.parametrize("own", [False, True])
def test_a_served_model_whose_protocol_is_nowhere_is_refused_with_what_brings_it(own: bool, tmp_path: Path) -> None:
    system = with_models(a="pixel", b="permille")
    system = msgspec.structs.replace(system, file=tmp_path / "my.yaml") if own else system
    for model, short in ((None, "a"), (system.models["b"], "b")):
        with pytest.raises(ConfigError, match="the endpoint publishes none") as refused:
            chat_protocol.of_endpoint(ServedModel("served", system=system, model=model), tmp_path)
        option = f" --system {tmp_path}/my.yaml" if own else ""
        assert refused.value.hint == f"virc download {short} --include {FILE_NAME}{option}"


def test_a_system_with_a_source_of_protocols_and_no_model_is_told_what_to_change(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("name: my\nprotocol_source: {pixel: A/B}\ntools: [crop_image]\n")
    served = ServedModel("served", system=systems.get(str(tmp_path / "my.yaml")))
    with pytest.raises(ConfigError, match="names `protocol_source`, and no model") as refused:
        chat_protocol.of_endpoint(served, tmp_path)
    hint = "remove `protocol_source`, or --protocol default: ours, with the system's tools"
    assert refused.value.hint == hint
    spoken, _ = chat_protocol.of_endpoint(served, tmp_path, option=chat_protocol.DEFAULT)
    assert spoken
    assert spoken.tools == ("crop_image",)


def test_a_model_is_found_in_each_of_its_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("own", "cached", "models/merged"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    some = next(iter(VIRC.models.values()))
    listed = {"a": msgspec.structs.replace(some, hub=None, folder=str(tmp_path / "own"))}
    system = msgspec.structs.replace(VIRC, models={**VIRC.models, **listed})
    assert models.find("a", tmp_path, system).folder == tmp_path / "own"
    monkeypatch.setattr(models, "_cached", lambda hub: iter([tmp_path / "cached"] if hub == some.hub else []))
    short = next(iter(VIRC.models))
    assert models.find(short, tmp_path).folder == tmp_path / "cached"
    provenance.write(
        tmp_path / "models/merged", Origin(kind="adapter", source="a@10", system="virc", root=some.hub)
    )  # fmt: skip
    merged = models.find("merged", tmp_path)
    assert (merged.folder, merged.system, merged.model) == (tmp_path / "models/merged", VIRC, some)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=f"there is no file {re.escape(str(tmp_path))}/m.gguf"):
        models.find("~/m.gguf", tmp_path, with_gguf=True)
