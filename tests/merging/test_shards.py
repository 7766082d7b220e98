"""Which folders are whole checkpoints in shards, told without reading a tensor."""

from pathlib import Path

import pytest
from sharded import lay_out

from virc.core.errors import ConfigError
from virc.runs.checkpoint_formats import shards

RANKS, SETTINGS = "model_world_size_2_rank_{}.pt", "fsdp_config.json"
SPOILT: list[tuple[str, bytes | None, str]] = [
    (SETTINGS, None, "is incomplete: fsdp_config.json is missing"),
    (SETTINGS, b"{", "fsdp_config.json cannot be read"),
    (SETTINGS, b'{"world_size": 0}', "fsdp_config.json cannot be read"),
    (SETTINGS, b'{"world_size": 1000000000000}', "fsdp_config.json cannot be read"),
    (RANKS.format(1), None, "the shards of 1 of 2 processes are missing, model_world_size_2_rank_1.pt first"),
    (SETTINGS, b'{"world_size": 4}', "the shards of 4 of 4 processes are missing, model_world_size_4_rank_0.pt first"),
    (RANKS.format(1), b"cut", "model_world_size_2_rank_1.pt is cut or damaged"),
    (RANKS.format(0), b"\x80\x04.", "model_world_size_2_rank_0.pt is cut or damaged"),
    ("huggingface/config.json", None, "is incomplete: huggingface/config.json is missing"),
    ("huggingface/tokenizer.json", None, "is incomplete: huggingface/tokenizer.json is missing"),
    ("lora_train_meta.json", b'{"r": 0, "lora_alpha": 16}', "lora_train_meta.json cannot be read"),
]


@pytest.mark.parametrize(("name", "content", "said"), SPOILT)
def test_an_incomplete_checkpoint_is_refused_by_what_it_lacks(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    file = (actor := lay_out(tmp_path / "global_step_5")) / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-10] if content == b"cut" else content)
    assert not shards.whole(actor)
    with pytest.raises(ConfigError) as caught:
        shards.read_shards(actor)
    assert said in caught.value.message


@pytest.mark.parametrize(("text", "step"), [("20", 20), ("20\n", 20), ("", None), ("-1", None), ("x" * 99, None)])
def test_the_step_that_was_noted_last(tmp_path: Path, text: str, step: int | None) -> None:
    assert shards.newest(tmp_path) is None
    (tmp_path / "latest_checkpointed_iteration.txt").write_text(text)
    assert shards.newest(tmp_path) == step
