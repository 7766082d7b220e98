"""What a system's stages need from the hub, under their overlays."""

import json
from pathlib import Path

import pytest

from virc.core.errors import ConfigError, DataError, UsageError
from virc.download import fetch
from virc.download.data_files import Needed, bases, data_files, files_of, info_of
from virc.download.hub.repository import File, Listing, Repo
from virc.download.wanted import DownloadRequest
from virc.systems import registry as systems

SFT = ("ViRC_stage_1_InstrSFT_scale_{}", "ViRC_stage_2_PracSFT_scale_{}")
RL = ("ViRC_stage_3_StratRL_train_scale_{}.parquet", "ViRC_stage_3_StratRL_val_scale_{}.parquet")


@pytest.mark.parametrize(
    ("overlays", "scale", "rows", "base"),
    [
        ((), "dynamic", "50K", "Qwen/Qwen2.5-VL-7B-Instruct"),
        (("100k", "3b"), "dynamic", "100K", "Qwen/Qwen2.5-VL-3B-Instruct"),
        (("fixed",), "fixed", "50K", "Qwen/Qwen2-VL-7B-Instruct"),
        (("100k", "fixed"), "fixed", "100K", "Qwen/Qwen2-VL-7B-Instruct"),
        (("lora", "1x24g"), "dynamic", "50K", "Qwen/Qwen2.5-VL-7B-Instruct"),
    ],
)
def test_overlays_choose_what_the_paper_stages_need(
    overlays: tuple[str, ...], scale: str, rows: str, base: str
) -> None:
    names = (*(f"{name.format(scale)}_{rows}" for name in SFT), *(name.format(scale) for name in RL))
    virc = systems.get("virc")
    assert data_files(virc, iter(overlays)) == (Needed("CRUX", names),)
    assert bases(virc, overlays) == (base,)


def test_the_embedded_model_needs_nothing_from_a_hub() -> None:
    assert data_files(systems.get("tiny")) == ()
    assert bases(systems.get("tiny")) == ("tiny-base",)


def test_a_new_system_names_a_dataset_and_needs_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from support.called import virc

    monkeypatch.chdir(tmp_path)
    assert virc("systems", "new", "fresh").code == 0
    assert data_files(systems.load(tmp_path / "fresh.yaml")) == ()


def test_rows_of_several_datasets_files_and_shared_ones_are_told_apart(tmp_path: Path) -> None:
    stage = "{{kind: {}, settings: {{base: {}, data: {}, learning_rate: 1e-5{}}}}}"
    stages = (
        stage.format("sft", "o/m", "one/a", ""),
        stage.format("sft", "o/m", "two/a", ""),
        stage.format("rl", "./mine", "one/b.parquet", ", validation: one/a"),
        stage.format("sft", "o/n", "./rows.json", ""),
        stage.format("sft", "o/n", "drawn/rows", ""),
    )
    listed = "\n".join(f"  s{number}: {text}" for number, text in enumerate(stages))
    file = tmp_path / "s.yaml"
    file.write_text(f"name: s\ndatasets: {{one: {{hub: x/one}}, two: {{hub: y/two}}}}\nstages:\n{listed}\n")
    system = systems.load(file)
    assert data_files(system) == (Needed("one", ("a", "b.parquet")), Needed("two", ("a",)))
    assert bases(system) == ("o/m", str(tmp_path / "mine"), "o/n")


@pytest.mark.parametrize(("overlays", "kind"), [(("4b",), UsageError), (("3b", "fixed"), ConfigError)])
def test_overlays_that_do_not_fit_are_refused(overlays: tuple[str, ...], kind: type[Exception]) -> None:
    for needs in (data_files, bases):
        with pytest.raises(kind):
            needs(systems.get("virc"), overlays)


def listed(*names: str) -> Listing:
    files = tuple(File(name, 1, git="0" * 40) for name in names)
    return Listing(Repo("x/rows", "dataset"), "c" * 40, files)


def info(**files: object) -> bytes:
    return json.dumps({name: {"file_name": file} for name, file in files.items()}).encode()


def test_names_stand_for_files_by_the_info_or_by_themselves() -> None:
    held = listed("dataset_info.json", "sub/a.json", "b.json", "b.parquet", "c.json")
    found = files_of(["one", "b.parquet", "b", "one"], info(one="sub/a.json", two="c.json"), held)
    assert found == ("sub/a.json", "b.parquet")
    assert files_of(["b", "c"], b"{}", held) == ("b.parquet", "c.json")
    with pytest.raises(DataError, match="x/rows has no rows 'b'") as refused:
        files_of(["b"], b"{}", listed("c.png"))
    assert refused.value.hint is None


@pytest.mark.parametrize(
    ("name", "entries", "message", "hint"),
    [
        ("onee", info(one="a.json"), "x/rows has no rows 'onee'", "did you mean 'one'?"),
        ("b.parket", info(one="a.json"), "x/rows has no rows 'b.parket'", "did you mean 'b.parquet'?"),
        ("one", info(one="../../etc/passwd"), "../../etc/passwd for one, which is not there", None),
        ("one", info(one=["a.json"]), "for one, which is not there", None),
        ("one", info(one=None), "for one, which is not there", None),
        ("one", b"[1]", "dataset_info.json of x/rows is not an object with one object per dataset", None),
        ("one", b"\xff{}", "dataset_info.json of x/rows cannot be read", None),
        ("one", b"[" * 10**6, "dataset_info.json of x/rows cannot be read", None),
        ("\x1b[2J", info(one="a.json"), "x/rows has no rows", None),
    ],
)
def test_what_stands_for_no_file_is_one_sentence(name: str, entries: bytes, message: str, hint: str | None) -> None:
    with pytest.raises(DataError) as caught:
        files_of([name], entries, listed("a.json", "b.parquet"))
    assert message in caught.value.message
    assert caught.value.message.isprintable()
    assert hint is None or caught.value.hint == hint


def test_a_repository_without_an_info_has_an_empty_one() -> None:
    assert info_of(listed("a.parquet")) == b"{}"


def test_the_info_of_a_subfolder_is_not_that_of_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    monkeypatch.setattr(
        "virc.download.data_files.small_file", lambda repo, commit, file: asked.append(file.name) or b"{}"
    )
    info_of(listed("old/dataset_info.json", "dataset_info.json", "older/dataset_info.json"))
    info_of(listed("old/dataset_info.json"))
    assert asked == ["dataset_info.json"]


def test_rows_come_with_the_file_that_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    held = listed("dataset_info.json", "a.json", "b.json", "images.tar")
    monkeypatch.setattr("virc.download.data_files.info_of", lambda _: b"{}")
    want = DownloadRequest("rows", Path("data/rows"), held.repo, rows=("a",))
    names = [each.name for each in fetch._chosen(want, held)]
    assert names == ["dataset_info.json", "a.json", "images.tar"]
