"""Rewards of one's own: found beside the YAML and in VIRC_PATH, loaded only where a system names them."""

import asyncio
from pathlib import Path

import pytest
from rewards.prompts import answer, prompt

from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext
from virc.rewards.sample import sample
from virc.systems import registry as systems

SHORT = '''"""The shorter the thought, the better."""

TERMS = ("format", "short")


def short(sample, means):
    """One over the characters of the thought."""
    return 1 / (1 + len(sample.turn.think)) if sample.turn else None


def total(t):
    return t.short if t.format else -1.0
'''


def of_file(folder: Path, text: str, name: str = "mine") -> rewards.Total:
    (folder / f"{name}.py").write_text(text)
    return rewards.find(str(folder / f"{name}.py"))


def value(total: rewards.Total, reply: str) -> float | None:
    return asyncio.run(rewards.score(sample(reply, prompt(strict="own")), total, RewardContext())).total


def test_terms_are_found_beside_the_yaml_and_in_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside, path = tmp_path / "beside", tmp_path / "path"
    for folder in (beside, path):
        folder.mkdir()
        text = f'NAME = "{folder.name}"\n\nasync def score(sample, means):\n    return {len(folder.name)}\n'
        (folder / f"{folder.name}.py").write_text(text)
    monkeypatch.setenv("VIRC_PATH", str(path))
    (beside / "both.py").write_text('TERMS = ("beside", "path")\n\ndef total(t):\n    return t.beside + t.path\n')
    assert value(rewards.find("both", beside), answer("5")) == 10.0


def test_a_system_names_its_reward(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SHORT)
    file = tmp_path / "s.yaml"
    file.write_text("name: s\nreward: {total: ./mine.py}\n")
    system = systems.load(file)
    assert system.reward
    assert system.reward.total == str(tmp_path / "mine.py")


def test_nothing_is_loaded_by_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + SHORT)
    (tmp_path / "s.yaml").write_text("name: s\nreward: {total: ./mine.py}\n")
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    assert systems.get("s").reward
    rewards.discover()
    assert not (tmp_path / "ran").exists()
