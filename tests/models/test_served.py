"""Which model a served name means, and which chat protocol of this machine it is spoken to in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from support import small_lora
from support.made import make, save

from virc.core.errors import ConfigError, UsageError
from virc.core.files import HIDDEN, RECORD
from virc.models import chat_protocol, provenance
from virc.models import registry as models
from virc.models.chat_protocol import ServedModel
from virc.models.load import choice_of
from virc.models.provenance import Origin
from virc.reasoning.protocol import FILE_NAME, Protocol, own_protocol
from virc.systems import registry as systems
from virc.systems.registry import System
from virc.systems.speech import OWN_WORDS
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
    return spoken.protocol.first.partition(":")[0], place.removeprefix(f"{workspace}/models/")


@pytest.mark.parametrize(
    ("spoken", "short", "found"),
    [
        ({"a": "one"}, "a", "one"),
        ({"b": "one"}, "a", "one"),  # of the same unit, and the only one here
        ({"a": "one", "b": "one"}, None, "one"),
        ({"a": "one", "c": "two"}, "a", "one"),  # one of another unit says nothing
        ({"a": "one", "c": "two"}, "c", "two"),
        ({"d": "one", "c": "two"}, "d", "one"),  # of the system's own unit
    ],
)
def test_a_served_model_is_spoken_to_as_those_alike_here(
    spoken: Mapping[str, str], short: str | None, found: str, tmp_path: Path
) -> None:
    left(tmp_path, spoken)
    assert asked(tmp_path, with_models(a="pixel", b="pixel", c="permille", d=None), short)[0] == found


def test_of_equal_protocols_that_of_the_model_itself_is_named(tmp_path: Path) -> None:
    left(tmp_path, {"a": "one", "b": "one"})
    system = with_models(a="pixel", b="pixel")
    own = msgspec.structs.replace(system.models["b"], hub="someone/b")
    system = msgspec.structs.replace(system, models={**system.models, "b": own})
    assert asked(tmp_path, system, "b")[1] == f"b/{FILE_NAME}"


@pytest.mark.parametrize("short", ["a", None])
def test_protocols_that_differ_leave_open_which_is_meant(short: str | None, tmp_path: Path) -> None:
    left(tmp_path, {"a": "one", "b": "two"})
    system = with_models(a="pixel", b="pixel")
    with pytest.raises(ConfigError, match="their chat protocols differ") as caught:
        asked(tmp_path, system, short)
    assert all(f"models/{name}/{FILE_NAME}" in (caught.value.hint or "") for name in "ab")
    assert asked(tmp_path, system, short, published=saying("three")) == ("three", "the endpoint publishes it")


@pytest.mark.parametrize(
    ("option", "published", "place"),
    [
        ("default", False, "--protocol"),
        ("default", True, "--protocol"),
        (None, True, "the endpoint publishes it"),
        (None, False, "the system virc"),
    ],
)
def test_where_a_chat_protocol_is_from_is_said(option: str | None, published: bool, place: str, tmp_path: Path) -> None:
    system = msgspec.structs.replace(with_models(a="pixel"), protocol_source=None)
    served = ServedModel("served", published=saying("x") if published else None, system=system)
    assert chat_protocol.of_endpoint(served, tmp_path, option)[1] == place
    assert chat_protocol.of_endpoint(ServedModel("served"), tmp_path) == (None, "")


def test_what_the_weights_are_called_counts_more_than_the_name_they_are_served_by() -> None:
    system = with_models(**{"X": "pixel", "X-large": "permille"})
    assert models.served("X", "org/X-large", system)[1] == system.models["X-large"]
    assert models.served("VIRC", None, system) == models.served("other", None, system) == (system, None)
    assert models.served("Virc")[0] == systems.get("virc")


def test_a_hub_id_means_its_model_whatever_its_short_name() -> None:
    system = with_models(short="pixel")
    model = msgspec.structs.replace(system.models["short"], hub="org/long")
    system = msgspec.structs.replace(system, models={"other": system.models["short"], "short": model})
    assert models.known("org/long", system) == models.known("a/short", system) == (system, model)
    assert models.known("long", system) == (system, None)


@pytest.mark.parametrize(("kind", "found"), [("model", "org/m"), ("dataset", None)])
def test_only_a_model_that_was_downloaded_is_one(kind: str, found: str | None, tmp_path: Path) -> None:
    (record := tmp_path / HIDDEN / RECORD).parent.mkdir(parents=True)
    record.write_text(f'{{"repo": "org/m", "kind": "{kind}"}}')
    assert models.downloaded_from(tmp_path) == found


def test_a_gguf_file_is_known_by_its_ending_in_any_letters(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"M\.GGUF is a GGUF file, which llama\.cpp alone reads"):
        models.find(str(tmp_path / "M.GGUF"), tmp_path)


@pytest.mark.parametrize(
    ("given", "hint"),
    [("crop_image", "--tools +crop_image adds"), ("crop_imag", "--tools +crop_image adds"), ("zzz", "--tools +NAME")],
)
def test_tools_are_added_by_their_names(given: str, hint: str) -> None:
    assert chat_protocol.added(["+one", "+two"]) == ("one", "two")
    with pytest.raises(UsageError, match=r"is not \+NAME") as refused:
        chat_protocol.added(["+one", given])
    assert (refused.value.hint or "").startswith(hint)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("X", "X"), ("org/X-AWQ", "X"), ("x@100", "X"), ("X-large", "X-large"), ("/models/x-large.gguf", "X-large"),
        ("Xlarge", None), ("my-X", None),
    ],
)  # fmt: skip
def test_a_served_name_means_the_model_with_the_longest_name_in_it(name: str, short: str | None) -> None:
    system = with_models(**{"X": "pixel", "X-large": "permille"})
    assert models.served(name, None, system)[1] == (system.models[short] if short else None)


def test_models_of_a_run_are_those_of_its_very_name(tmp_path: Path) -> None:
    for name, source in {"of-a": "a@10", "of-ab": "ab@10", "of-a-b": "a-b@9", "alone": "a", ".new": "a@10"}.items():
        (tmp_path / "models" / name).mkdir(parents=True)
        provenance.write(tmp_path / "models" / name, Origin(kind="adapter", source=source))
    found = {run: [folder.name for folder in provenance.merged_from(run, tmp_path)] for run in ("a", "ab", "b")}
    assert found == {"a": ["of-a"], "ab": ["of-ab"], "b": []}


@pytest.mark.parametrize("text", ["", "no JSON", "{}", '{"schema": "virc.origin/2", "kind": "adapter", "source": "a"}'])
def test_a_file_of_others_tells_of_no_run(text: str, tmp_path: Path) -> None:
    (tmp_path / provenance.FILE_NAME).write_text(text)
    assert provenance.read(tmp_path) is None


@pytest.mark.parametrize(("given", "kept"), [("./mine.py", ("./mine.py",)), (["a", "b"], ("a", "b")), ((), ())])
def test_one_tool_is_a_tool_and_no_list_of_letters(given: list[str] | str, kept: tuple[str, ...]) -> None:
    chosen = choice_of(None, None, None, None, None, None, given, None, None, timeout=7.0)
    assert (chosen.tools, chosen.timeout) == (kept, 7.0)


@pytest.mark.parametrize("order", [("adapter", "base"), ("base", "adapter"), ("adapter",), ("base",)])
def test_the_protocol_of_an_adapter_goes_before_that_of_its_base(order: tuple[str, ...], tmp_path: Path) -> None:
    for name in order:
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE_NAME).write_bytes(chat_protocol.written(saying(name)))
    weights = models.Weights("w", tmp_path / "base", adapter=tmp_path / "adapter")
    nearest = "adapter" if "adapter" in order else "base"
    assert chat_protocol.trained_with(weights) == tmp_path / nearest / FILE_NAME
    assert chat_protocol.of_weights(weights).protocol.first == saying(nearest).first


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


@pytest.mark.parametrize("adapter", [False, True])
def test_a_model_of_a_system_without_its_protocol_is_refused_with_what_brings_it(adapter: bool, tmp_path: Path) -> None:
    short, model = next(iter(VIRC.models.items()))
    weights = models.Weights(short, tmp_path / "base", VIRC, model, tmp_path / "lora" if adapter else None)
    with pytest.raises(
        ConfigError, match=f"no chat protocol for {short}: there is none next to its weights"
    ) as refused:
        chat_protocol.of_weights(weights)
    hint = f"`virc download {short}` brings it, put {FILE_NAME} into {tmp_path / ('lora' if adapter else 'base')}, or"
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


def test_a_protocol_is_written_whole_and_offers_each_tool_once() -> None:
    assert b'"first": "\\ud800: {question}"' in chat_protocol.written(saying("\ud800"))
    assert chat_protocol.offering(OWN, OWN.tools) == OWN


def test_the_only_model_of_a_system_is_meant_where_none_is_named() -> None:
    assert models.default(with_models(a="pixel")) == "a"
    assert models.default(with_models(a="pixel", b="pixel")) == models.default() == "tiny"


def test_a_folder_of_another_model_of_that_name_is_not_that_of_a_hub_id(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "m"
    assert models.folder_of("org/m", tmp_path, by_hand=True) == folder
    assert models.folder_of("org/m", tmp_path, by_hand=False) is None
    (record := folder / HIDDEN / RECORD).parent.mkdir(parents=True)
    record.write_text('{"repo": "org/m", "kind": "model"}')
    assert [models.folder_of("org/m", tmp_path, by_hand=each) for each in (True, False)] == [folder, folder]
    assert [models.folder_of("other/m", tmp_path, by_hand=each) for each in (True, False)] == [None, None]


@pytest.mark.parametrize(("root", "name"), [("org/base", "org/base"), (None, "mine")])
def test_a_merged_model_goes_back_to_where_its_chain_began(root: str | None, name: str, tmp_path: Path) -> None:
    assert models.root_of(tmp_path, "mine") == "mine"
    provenance.write(tmp_path, Origin(kind="adapter", source="a@10", root=root))
    assert models.root_of(tmp_path, "mine") == name
    assert provenance.called("models/a/mine/") == "mine"
    assert provenance.called("org/mine") == "org/mine"


@pytest.mark.parametrize(
    ("base", "hint"),
    [("org/base", "virc download org/base"), ("gone", "write its folder as base_model_name_or_path into ")],
)
def test_an_adapter_whose_base_is_not_here_says_what_to_do(base: str, hint: str, tmp_path: Path) -> None:
    small_lora.describe(tmp_path / "models" / "lora", base_model_name_or_path=base)
    with pytest.raises(
        ConfigError, match=f"the base of the LoRA adapter lora is not on this machine: {base}"
    ) as refused:
        models.find("lora", tmp_path)
    assert (refused.value.hint or "").startswith(hint)


def test_a_judge_that_is_not_here_is_named_with_its_size(tmp_path: Path) -> None:
    name, judge = next((name, each) for name, each in VIRC.judges.items() if each.gib)
    with pytest.raises(ConfigError, match=f"{name}, which is {judge.hub}, {judge.gib:.0f} GiB, is not on") as refused:
        models.find(name, tmp_path, VIRC)
    assert refused.value.hint == f"`virc download {name}`, then virc serve {name}"


@pytest.mark.parametrize(("name", "called"), [("stock", "stock"), (OWN_WORDS, OWN_WORDS), ("mine", "trained")])
def test_the_protocol_of_a_stock_model_is_not_called_trained(name: str, called: str) -> None:
    published = msgspec.structs.replace(OWN, name=name)
    found, _ = chat_protocol.of_endpoint(ServedModel("served", published=published), Path())
    assert found
    assert found.protocol.name == called


def test_the_words_of_a_system_are_those_of_the_units_of_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worded = lambda _, unit: msgspec.structs.replace(OWN, coordinates=unit)  # noqa: E731
    monkeypatch.setattr(chat_protocol.speech, "worded_by", worded)
    system = with_models(a="pixel", b="permille")
    for model in system.models.values():
        spoken, _ = chat_protocol.of_endpoint(ServedModel("served", system=system, model=model), tmp_path)
        assert spoken
        assert spoken.protocol.coordinates == model.coordinates
        own, _ = chat_protocol.of_endpoint(ServedModel("served", system=system, model=model), tmp_path, "default")
        assert own
        assert own.protocol.coordinates == model.coordinates


def test_the_cache_of_the_hub_is_looked_into_without_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[Any]()

    def snapshot(*given: object, **named: object) -> str:
        asked.append((given, named))
        if len(asked) > 1:
            raise LocalEntryNotFoundError("it is not there")
        return "/cached"

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert [[*models._cached("org/m")] for _ in range(2)] == [[Path("/cached")], []]
    assert asked == [(("org/m",), {"local_files_only": True})] * 2


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
    with pytest.raises(ConfigError, match=f"there is no file {tmp_path}/m.gguf"):
        models.find("~/m.gguf", tmp_path, with_gguf=True)
