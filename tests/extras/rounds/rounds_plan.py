"""A system with rounds of every kind of step, and the commands of two of them, as a golden file."""

import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

from support.called import virc

GOLDEN = Path(__file__).parent / "golden" / "rounds.txt"
YAML = """name: mine
models: {tiny: {}}
reward: {total: rules}
stages:
  first: {kind: sft, settings: {base: tiny, data: a/b}}
  better: {kind: dpo, settings: {after: first, data: a/c}}
  rl: {kind: rl, settings: {after: better, data: a/d, reward: {total: rules}}}
everywhere: {
  offload: false, learning_rate: 1e-4, device: cpu, devices: 1, zero: 0, precision: float32, tensor_parallel: 1,
  rollout_engine: transformers,
  gradient_checkpointing: false, use_liger: false, train_batch_size: 8, micro_batch_size_per_device: 4, loaders: 0}
overlays: {small: {about: less, settings: {train_batch_size: 4}, stages: {rl: {ppo_mini_batch_size: 4}}}}
rounds:
  - sample: {data: "rows-{round}.jsonl", samples: 4, keep: 1, temperature: 0.6}
  - {train: first, from: base, data: sample}
  - sample: {name: pairs, data: rows.jsonl, from: first, pairs: grade, margin: 0.6, max_turns: 4}
  - {train: better, from: first, data: pairs}
  - {train: rl, from: last, data: "prompts-{round}.parquet"}
"""
WORDS = ("--with", "small", "--set", "learning_rate=1e-5", "--set", "n=4", "--judge-endpoint", "http://here:1/v1")


def golden() -> Mapping[Path, str]:
    """The file and its content."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            Path("mine.yaml").write_text(YAML)
            done = virc("train", "./mine.yaml", "--rounds", 2, *WORDS, "--dry-run")
        finally:
            os.chdir(before)
    assert done.code == 0, done.err
    return {GOLDEN: anywhere(done.out, Path(os.path.realpath(folder)))}


def anywhere(commands: str, folder: Path) -> str:
    """Commands without the place of the YAML in them."""
    return commands.replace(shlex.quote(str(folder / "mine.yaml")), "WORK/mine.yaml")
