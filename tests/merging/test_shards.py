"""Which folders are whole checkpoints in shards, told without reading a tensor."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sharded import lay_out

from virc.core.errors import ConfigError
from virc.runs.checkpoint_formats import shards


def test_shards_without_their_settings_are_a_checkpoint_that_is_not_whole(tmp_path: Path) -> None:
    actor = lay_out(tmp_path / "global_step_5")
    (actor / shards.SETTINGS).unlink()
    assert shards.actor_of(tmp_path / "global_step_5") == actor
    assert not shards.whole(actor)


def no_settings(actor: Path) -> None:
    (actor / "fsdp_config.json").unlink()


def settings_that_are_none(actor: Path) -> None:
    (actor / "fsdp_config.json").write_text("{")


def settings_of_no_process(actor: Path) -> None:
    (actor / "fsdp_config.json").write_text('{"world_size": 0}')


def settings_of_endless_processes(actor: Path) -> None:
    (actor / "fsdp_config.json").write_text(json.dumps({"world_size": 10**12}))


def one_rank_less(actor: Path) -> None:
    (actor / "model_world_size_2_rank_1.pt").unlink()


def ranks_of_another_world(actor: Path) -> None:
    (actor / "fsdp_config.json").write_text('{"world_size": 4}')


def a_file_that_is_cut(actor: Path) -> None:
    file = actor / "model_world_size_2_rank_1.pt"
    file.write_bytes(file.read_bytes()[:-10])


def a_bare_pickle(actor: Path) -> None:
    (actor / "model_world_size_2_rank_0.pt").write_bytes(b"\x80\x04.")


def no_config(actor: Path) -> None:
    (actor / "huggingface" / "config.json").unlink()


def no_tokenizer(actor: Path) -> None:
    (actor / "huggingface" / "tokenizer.json").unlink()


def an_adapter_of_no_rank(actor: Path) -> None:
    (actor / "lora_train_meta.json").write_text('{"r": 0, "lora_alpha": 16}')


SPOILT: dict[Callable[[Path], None], str] = {
    no_settings: "is incomplete: fsdp_config.json is missing",
    settings_that_are_none: "fsdp_config.json cannot be read",
    settings_of_no_process: "fsdp_config.json cannot be read",
    settings_of_endless_processes: "fsdp_config.json cannot be read",
    one_rank_less: "the shards of 1 of 2 processes are missing, model_world_size_2_rank_1.pt first",
    ranks_of_another_world: "the shards of 4 of 4 processes are missing, model_world_size_4_rank_0.pt first",
    a_file_that_is_cut: "model_world_size_2_rank_1.pt is cut or damaged",
    a_bare_pickle: "model_world_size_2_rank_0.pt is cut or damaged",
    no_config: "is incomplete: huggingface/config.json is missing",
    no_tokenizer: "is incomplete: huggingface/tokenizer.json is missing",
    an_adapter_of_no_rank: "lora_train_meta.json cannot be read",
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_an_incomplete_checkpoint_is_coordinates_from_what_it_lacks(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    actor = lay_out(tmp_path / "global_step_5")
    spoil(actor)
    assert not shards.whole(actor)
    with pytest.raises(ConfigError) as caught:
        shards.read(actor)
    assert SPOILT[spoil] in caught.value.message


@pytest.mark.parametrize(("text", "step"), [("20", 20), ("20\n", 20), ("", None), ("-1", None), ("x" * 99, None)])
def test_the_step_that_was_noted_last(tmp_path: Path, text: str, step: int | None) -> None:
    assert shards.newest(tmp_path) is None
    (tmp_path / "latest_checkpointed_iteration.txt").write_text(text)
    assert shards.newest(tmp_path) == step
