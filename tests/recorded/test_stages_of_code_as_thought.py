"""RL of Code-as-Thought in verl, on `tiny` and charts with their tables. What ran is recorded.

Its prompt is 2,500 tokens of `tiny` long, too long to teach replies behind it: rewards are counted by hand.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from recorded import recording
from support import rows_of_thinkers, tested, workspaces

from virc.data.formats import registry as formats
from virc.data.formats.registry import only_source
from virc.rewards import registry as rewards

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

RL = recording.rl(n=2, prompt_length=3072, response_length=128)
DRAWN = "<CODE>\n```python\nchart_data = pd.DataFrame({'a': [4, 7]})\n```\n\\boxed{7}"
READ = "<DIRECT> \\boxed{4}"
WORTH: tuple[Mapping[str, float], ...] = (
    {DRAWN: 1.3, READ: 0.05, "<CODE> 4": 0.15},
    {DRAWN: 0.05, READ: 1.15, "<CODE> 4": 0},
    {DRAWN: 1.3 - 0.15 * 0.7 / 2, READ: 0.05, "<CODE> 4": 0.15},
)
"""Replies to each chart, and what they are worth."""


def test_rl_rewards_strategies_and_tables(tmp_path: Path) -> None:
    file = rows_of_thinkers.code_as_thought(tmp_path / "published")
    rows = recording.converted(tmp_path, "code-as-thought", file, "data/charts", "prompts")
    words = ("--with", "cpu", "--from", "tiny", "--data", rows)
    run = workspaces.trained(tmp_path, "code-as-thought", "rl", *words, **RL)
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1]
    assert len(tested.traces(run)) == RL["n"]
    source = only_source(tmp_path / "data" / "charts")
    records = [row.record for row in formats.get(source.format).read(source) if row.record]
    replayed = recording.assert_counted(rewards.find("code_as_thought"), records, WORTH)
    tested.ran(run, "charts", replayed)
