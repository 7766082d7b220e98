import json
import pickle
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from test_kv_cache import picture

from virc.backends import checkpoint, devices
from virc.backends.interface import Sampling
from virc.backends.local import load
from virc.core.errors import ConfigError, SetupError
from virc.core.extras import install
from virc.reasoning.images import show
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask, Message

GIVEN = {"qwen2": Grid(28, 3136, 4096 * 784), "qwen3": Grid(32, 4096, 4096 * 1024)}


@pytest.fixture
def folder(tiny: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of a model that a test may spoil."""
    return Path(shutil.copytree(tiny(), tmp_path / "my model"))


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl_moe"])
def test_the_grid_is_that_of_the_image_settings(tiny: Callable[..., Path], family: str) -> None:
    assert load(tiny(family), device="cpu").grid == GIVEN[family.partition("_")[0]]


def test_max_pixels_lowers_the_limit_and_never_raises_it(folder: Path) -> None:
    assert load(folder, device="cpu", max_pixels=50_000).grid.max_pixels == 50_000
    assert load(folder, device="cpu", max_pixels=10**9).grid.max_pixels == 4096 * 784
    assert checkpoint.image_grid({"patch_size": 16, "merge_size": 3}).factor == 48
    assert [load(folder, device="cpu", context=most).context for most in (100, 10**6)] == [100, 4096]
    with pytest.raises(ConfigError, match="under the model's smallest image, 3136"):
        load(folder, device="cpu", max_pixels=3000)


def test_a_model_larger_than_free_memory_is_refused_with_both_figures(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "parameters", lambda _: 7 * 2**30)
    monkeypatch.setattr(devices, "free_memory", lambda _: 12 * 2**30)
    with pytest.raises(SetupError, match=r"model needs 14\.0 GiB, and 12\.0 GiB are free on cpu"):
        load(folder, device="cpu")
    with pytest.raises(SetupError, match=r"model needs 28\.0 GiB"):
        load(folder, device="cpu", dtype="float32")
    monkeypatch.setattr(devices, "free_memory", lambda _: 14 * 2**30)
    load(folder, device="cpu")


def test_the_size_is_counted_from_the_headers_of_every_shard(folder: Path) -> None:
    network = load(folder, device="cpu").cached.network
    count = sum(weight.numel() for weight in network.parameters())
    assert checkpoint.parameters(folder) == count
    (folder / "model.safetensors").unlink()
    network.save_pretrained(folder, max_shard_size="50KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    assert checkpoint.parameters(folder) == count
    assert checkpoint.file_bytes(folder) == sum(each.stat().st_size for each in folder.glob("*.safetensors"))
    assert load(folder, device="cpu").cached.network.num_parameters() == count


@pytest.mark.parametrize("missing", ["torch"])
def test_a_missing_extra_names_both_ways_out(
    tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    path = tiny()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SetupError, match="needs torch and transformers") as caught:
        load(path)
    assert caught.value.hint == f"{install('local')}, or --endpoint URL of a server"


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def other_family(folder: Path) -> None:
    edit(folder / "config.json", model_type="llama")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def cut_short(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def missing_shard(folder: Path) -> None:
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def missing_weight(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("model.language_model.norm.weight", None) or weights.pop("model.norm.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def wrong_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 96
    (folder / "config.json").write_text(json.dumps(config))


def unprotected(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    for added in tokenizer["added_tokens"]:
        added["special"] = added["special"] and added["content"] != "<|image_pad|>"
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


FAULTS: dict[Callable[[Path], None], str] = {
    broken_config: "is no JSON",
    other_family: "model of type 'llama', which does not run in this process: gemma3, ",
    no_tokenizer: "tokenizer.json is missing",
    cut_short: "damaged",
    missing_shard: "model-00001-of-00002.safetensors is missing",
    missing_weight: "1 weights are missing",
    wrong_shape: "cannot be loaded",
    unprotected: "no special token <|image_pad|>",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_a_folder_that_is_no_whole_model_is_refused_in_one_line(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    with pytest.raises(ConfigError) as caught:
        load(folder, device="cpu")
    assert FAULTS[spoil] in caught.value.message
    assert "\n" not in caught.value.message
    if spoil is other_family:
        assert f"(virc serve '{folder}')" in str(caught.value.hint)


class _Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return (eval, (f"__import__('pathlib').Path({str(self.mark)!r}).touch()",))


def test_pickled_weights_are_refused_unread(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (folder / "model.safetensors").rename(tmp_path / "kept")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Trap(mark)))
    with pytest.raises(ConfigError, match="pickled weights only"):
        load(folder, device="cpu")
    (tmp_path / "kept").rename(folder / "model.safetensors")
    load(folder, device="cpu")
    assert not mark.exists()


def test_code_beside_the_weights_is_not_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (folder / "modeling.py").write_text(f"open({str(mark)!r}, 'w')\nclass Net: pass\n")
    edit(folder / "config.json", auto_map={"AutoModelForImageTextToText": "modeling.Net"})
    load(folder, device="cpu")
    assert not mark.exists()


def test_loading_and_answering_are_silent_and_stay_off_the_network(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[object] = []

    def refuse(*address: object, **_: object) -> NoReturn:
        reached.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    backend = load(folder, device="cpu")
    ask = Ask([Message("user", "What?", (0,))], [show(picture((84, 84)), backend.grid)])
    backend.reply(ask, Sampling(max_tokens=5))
    assert reached == []
    assert capfd.readouterr() == ("", "")


def test_the_tokenizer_is_used_as_its_file_stands(folder: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    letters = {"type": "Split", "pattern": {"Regex": r"\p{L}"}, "behavior": "Isolated", "invert": False}
    tokenizer["pre_tokenizer"]["pretokenizers"][0] = letters
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    edit(folder / "tokenizer_config.json", tokenizer_class="Qwen2Tokenizer")
    text = "Question: In triangle BLA, find 224."
    ids = load(folder, device="cpu")._tokenizer.encode(text, add_special_tokens=False)
    assert ids == Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
