"""Models that are written as GGUF: against llama.cpp's own converter, transformers and the checkpoint."""

import json
import shutil
from math import log
from pathlib import Path
from typing import Any

import pytest
from backends import tiny_factory
from backends.test_kv_cache import picture
from support.called import virc

from virc.backends import llamacpp, local
from virc.backends.gguf import model
from virc.backends.interface import Sampling
from virc.core.errors import ConfigError
from virc.families import registry as families
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.images import show
from virc.reasoning.session import Ask, Message
from virc_extras.gguf_writer import convert

PUBLISHED = json.loads((Path(__file__).parent / "published.json").read_text())
"""Keys and tensors that llama.cpp's convert_hf_to_gguf.py wrote of the same random models, with towers of four blocks
in place of two (the version in llama-cpp-python 0.3.36). It takes InternVL in its makers' form alone, and leaves out
rows of Gemma's embeddings without a token.
"""


def fitting(family: str, tmp_path: Path) -> Path:
    """A random model of the sizes that llama.cpp has alone: of windows, of sections of rotary positions that leave no
    frequency out where they are interleaved, and of Gemma 4 a window over a picture's tokens, and pads of number 0. Its
    weights suit any. Of Gemma, the tokenizer is of the real one's kind.
    """
    to = tiny_factory.build(tmp_path / "model", family)
    config = json.loads((to / "config.json").read_text())
    config["vision_config"]["window_size"] = 112
    if family == "qwen3_vl":
        config["text_config"]["rope_parameters"]["mrope_section"] = [3, 3, 2]
    if family == "glm4v":
        calmer(to / "model.safetensors")
    if family == "gemma4":
        config["text_config"] |= {"sliding_window": 80, "pad_token_id": 0}
    if family.startswith("gemma"):
        of_letters(to / "tokenizer.json")
    (to / "config.json").write_text(json.dumps(config))
    return to


def calmer(file: Path) -> None:
    """Halve the logits twice: those of the random GLM answer noise of 1e-4 in the pixels with 0.1 nats."""
    from safetensors.torch import load_file, save_file

    weights = load_file(file)
    weights["model.language_model.norm.weight"] /= 4
    save_file(weights, file, metadata={"format": "pt"})


def of_letters(file: Path) -> None:
    """Rewrite a tokenizer of merged bytes: it merges letters, has U+2581 for a space, and falls back to bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [each for each in range(256) if each not in kept]
    codes = {chr(each): each for each in kept} | {chr(256 + at): each for at, each in enumerate(others)}

    def written(token: str) -> str:
        said = bytes(map(codes.__getitem__, token))
        is_letter = said[0] < 128 and said.decode() not in lines
        return said.decode().replace(" ", "\u2581") if is_letter else f"<0x{said[0]:02X}>" * len(said)

    read = json.loads(file.read_text())
    lines = [each["content"] for each in read["added_tokens"]]
    vocabulary = {written(token): id for token, id in read["model"]["vocab"].items()}
    merges = [list(map(written, pair)) for pair in read["model"]["merges"] if "\u010a" not in "".join(pair)]
    space = [{"type": "Replace", "pattern": {"String": a}, "content": b} for a, b in ((" ", "\u2581"), ("\u2581", " "))]
    read["model"] |= {"vocab": vocabulary, "merges": merges, "byte_fallback": True, "fuse_unk": True}
    steps = [space[1], {"type": "ByteFallback"}, {"type": "Fuse"}]
    read |= {"normalizer": space[0], "pre_tokenizer": None, "decoder": {"type": "Sequence", "decoders": steps}}
    file.write_text(json.dumps(read))


def content(file: Path) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Keys and the shapes of tensors, read by the package of llama.cpp's authors."""
    from gguf import GGUFReader

    reader = GGUFReader(file)
    fields = {key: field.contents() for key, field in reader.fields.items()}
    return fields, {each.name: [int(side) for side in each.shape] for each in reader.tensors}


@pytest.mark.parametrize("family", sorted({name.split()[0] for name in PUBLISHED}))
def test_keys_and_tensors_are_those_of_llama_cpps_own_converter(family: str, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    file = convert.convert(fitting(family, tmp_path), tmp_path / "to", "random")
    for part, written in (("text", file), ("vision", model.read_gguf(file).vision)):
        keys, tensors = content(written)
        published = PUBLISHED[f"{family} {part}"]
        differ = {key for key, value in published["keys"].items() if keys.get(key) != pytest.approx(value)}
        # they were written of four blocks and other sections; and of an id that the vocabulary does not have
        assert differ <= {
            "clip.vision.block_count", "clip.vision.is_deepstack_layers", "clip.vision.n_wa_pattern",
            "tokenizer.ggml.bos_token_id", "qwen3vl.rope.dimension_sections",
        }  # fmt: skip
        blocks = {name.partition("blk.")[2][:2] for name in published["tensors"]}
        first = {name: shape for name, shape in tensors.items() if name.partition("blk.")[2][:2] in blocks}
        assert first | published["tensors"] == first
        assert not {*first} - {*published["tensors"], "token_embd.weight"}


@pytest.mark.integration
@pytest.mark.parametrize("family", [kind for each in families.discover().values() for kind in each.towers])
def test_first_tokens_are_as_likely_as_by_transformers(family: str, tmp_path: Path) -> None:
    import torch

    folder = fitting(family, tmp_path)
    (tmp_path / "to").mkdir()
    written = model.read_gguf(convert.convert(folder, tmp_path / "to", "random"))
    assert written.grid
    here, there = local.load(folder, device="cpu", stock=True), llamacpp.load(written, "cpu", written.grid)
    differences = []
    for number, question in enumerate(
        ("What is it?", "Why?", "Who?", "Tell me.", "Look.", "Go on.", "And now?", "Yes.")
    ):
        large = picture((230, 170), number)
        crop = show(large.crop((20, 30, 132, 86)), here.grid)
        images = [show(large, here.grid), show(picture((112, 112), number + 1), here.grid), crop]
        first = [Message("system", "You look closer."), Message("user", question, (0, 1))]
        ask = Ask([*first, Message("assistant", "This part."), Message("user", "Here.", (2,))], images)
        rendered = here._render(ask.messages, ask.images)
        here.cached.clear()
        ours = torch.log_softmax(here._read(rendered, ask.images).double(), -1)
        request = {**there._request(ask, Sampling(max_tokens=40)), "stream": False, "logprobs": True, "top_logprobs": 4}
        request.pop("stream_options")
        said = there._server.handle_chat_completions(request)
        assert said["usage"]["prompt_tokens"] == len(rendered.ids) + len(here._opening)
        listed = said["choices"][0].get("logprobs", {"content": ({"top_logprobs": ({"id": None},)},)})["content"]
        top = listed[0]["top_logprobs"]
        if top[0]["id"] == int(ours.argmax()):  # else the first token was half a character or the end: it is not listed
            apart = [abs(each["logprob"] - float(ours[each["id"]])) for each in top if each["logprob"] > log(0.01)]
            differences.append(max(apart))
    assert len(differences) >= 3
    assert max(differences) < 0.25, differences


def test_the_files_in_the_package_are_made_of_its_weights(tmp_path: Path) -> None:
    made = model.read_gguf(convert.convert(EMBEDDED_FOLDER, tmp_path, "tiny"))
    kept = model.in_folder(EMBEDDED_FOLDER)
    assert kept
    for ours, written in ((kept, made.file), (model.read_gguf(kept).vision, made.vision)):
        assert ours.read_bytes() == written.read_bytes(), "python tests/regenerate.py"


def test_weights_of_8_bits_are_those_of_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    monkeypatch.setattr(convert, "_SMALL", 0)
    written = GGUFReader(convert.convert(EMBEDDED_FOLDER, tmp_path, "m")).tensors
    exact = {each.name: each.data for each in GGUFReader(EMBEDDED_FOLDER / "tiny-F16.gguf").tensors}
    assert {each.tensor_type.name for each in written} == {"Q8_0", "F32"}
    for each in written:
        assert abs(dequantize(each.data, each.tensor_type) - exact.pop(each.name)).max() < 0.02, each.name
    assert not exact
    vision = {each.name: each.tensor_type.name for each in GGUFReader(tmp_path / "mmproj-m-F16.gguf").tensors}
    assert {name for name, kind in vision.items() if kind == "F16"} >= {"v.blk.0.attn_q.weight", "mm.0.weight"}
    assert (vision["v.patch_embd.weight"], vision["v.blk.0.attn_q.bias"]) == ("F32", "F32")


def test_what_llama_cpp_would_read_wrong_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model", ignore=shutil.ignore_patterns("*.gguf"))
    found = convert.checkpoint.tensors(folder / "model.safetensors")
    odd = {"model.layers.0.gate.odd": found["model.norm.weight"]}
    with monkeypatch.context() as patched:
        patched.setattr(convert.checkpoint, "tensors", lambda _: found | odd)
        with pytest.raises(ConfigError, match=r"llama\.cpp has no name for the weights model\.layers"):
            convert.convert(folder, tmp_path, "m")
    tokenizer = json.loads((folder / "tokenizer.json").read_bytes())
    tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "[a-z]+"
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ConfigError, match=r"has no name for the pre-tokenizer of .*model: \[a-z\]\+"):
        convert.convert(folder, tmp_path, "m")


@pytest.mark.integration
def test_a_merged_model_is_written_for_llama_cpp_too(tmp_path: Path) -> None:
    done = virc("merge", EMBEDDED_FOLDER, "--to", tmp_path / "made", "--gguf", "--json")
    assert done.code == 0, done.err
    written = Path(done.json["gguf"])
    assert written == tmp_path / "made" / "made-F16.gguf"
    triangle = Path(__file__).parents[2] / "pictures/triangle.png"
    solved = virc("solve", triangle, "What is m∠B in triangle MBH?", "--model", written, "--json")
    assert (solved.json["answer"], solved.json["protocol"]) == ("73", "trained"), solved.err
