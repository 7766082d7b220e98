"""RL of Code-as-Thought in verl, on `tiny` and charts with their tables. What ran is recorded.

Its prompt is 2,500 tokens of `tiny` long, too long to teach replies behind it: rewards are counted by hand.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import rows_of_thinkers, tested, workspaces
from support.called import virc

from virc.data.formats import registry as formats
from virc.data.formats.registry import only_source
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.means import Means
from virc.rewards.sample import Prompt, sample

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

RL = {"steps": 1, "save_steps": 1, "train_batch_size": 1, "ppo_mini_batch_size": 1, "micro_batch_size_per_device": 1,
      "n": 2, "rollouts": 1, "prompt_length": 3072, "response_length": 128, "trackers": "[]"}  # fmt: skip
DRAWN = "<CODE>\n```python\nchart_data = pd.DataFrame({'a': [4, 7]})\n```\n\\boxed{7}"
READ = "<DIRECT> \\boxed{4}"
WORTH: tuple[Mapping[str, float], ...] = (
    {DRAWN: 1.3, READ: 0.05, "<CODE> 4": 0.15},
    {DRAWN: 0.05, READ: 1.15, "<CODE> 4": 0},
    {DRAWN: 1.3 - 0.15 * 0.7 / 2, READ: 0.05, "<CODE> 4": 0.15},
)
"""Replies to each chart, and what they are worth."""


def test_rl_rewards_strategies_and_tables(tmp_path: Path) -> None:
    to = tmp_path / "data" / "charts"
    words = ("--system", "code-as-thought", "--to", to, "--name", "rows", "--format", "prompts")
    done = virc("data", "convert", rows_of_thinkers.code_as_thought(tmp_path / "published"), *words)
    assert done.code == 0, done.err
    words = ("--with", "cpu", "--from", "tiny", "--data", "data/charts/rows.parquet")
    run = workspaces.trained(tmp_path, "code-as-thought", "rl", *map(str, words), **RL)
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1]
    assert len(tested.traces(run)) == RL["n"]
    source, replayed = only_source(to), []
    records = [row.record for row in formats.get(source.format).read(source) if row.record]
    total = rewards.find("code_as_thought")
    for record, worth in zip(records, WORTH, strict=True):
        for reply, by_hand in worth.items():
            read = sample(reply, Prompt(record))
            found = asyncio.run(rollouts.score([read], rollouts.ends(read), total, Means()))
            assert found.total == pytest.approx(by_hand)
            replayed.append(found.terms)
    tested.ran(run, "charts", replayed)
