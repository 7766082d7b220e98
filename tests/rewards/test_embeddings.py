"""The likeness of texts by a server of embeddings: what it is asked, what is kept, and how it fails."""

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rewards.prompts import answer, prompt
from support.called import virc
from support.faults import body, status
from support.servers import EMBEDDINGS, Body, Fault, Server, dead_url, serve

from virc.core import plugins
from virc.core.errors import ConfigError, NetworkError
from virc.rewards import registry as rewards
from virc.rewards.judging import MAX_TEXT, Judge, Verdict
from virc.rewards.means import Means
from virc.rewards.sample import sample
from virc.rewards.scripted import judged
from virc.scoring.likeness import cosine

ANGLES = {"cat": 0, "kitten": 10, "dog": 90, "void": 180}


def embed(text: str) -> Sequence[float]:
    """A direction in the plane."""
    angle = math.radians(ANGLES[text])
    return (2 * math.cos(angle), 2 * math.sin(angle))


def alike(url: str, *pairs: tuple[str, str], **options: Any) -> list[Verdict]:
    async def all_of_them() -> list[Verdict]:
        judge = Judge(url, **options)
        try:
            return await asyncio.gather(*(judge.similarity("near", one, other) for one, other in pairs))
        finally:
            judge.close()

    return asyncio.run(all_of_them())


def asked(server: Server) -> list[Body]:
    return [request.body for request in server.requests if request.path == EMBEDDINGS and request.body]


@pytest.mark.parametrize(
    ("one", "other", "value"),
    [([1, 0], [3, 0], 1), ([1, 0], [0, 2], 0), ([1, 1], [1, 0], 0.5**0.5), ([1, 2], [-1, -2], -1), ([0, 0], [1, 0], 0)],
)
def test_cosine(one: list[float], other: list[float], value: float) -> None:
    assert cosine(one, other) == pytest.approx(value)
    with pytest.raises(ValueError, match="shorter"):
        cosine(one, [1.0])


@pytest.mark.integration
def test_a_server_is_asked_for_each_text_in_floats() -> None:
    with serve(embed=embed, models=["text-embedding-small"]) as server:
        (near,) = alike(server.url, (" kitten\n", "cat"), api_key="secret")
        assert near.value == pytest.approx(math.cos(math.radians(10)))
        assert near.why == "a cosine of 0.985"
        texts = [{"model": "text-embedding-small", "input": text, "encoding_format": "float"} for text in ANGLES]
        assert asked(server) == [{**texts[at], "truncate_prompt_tokens": -1} for at in (1, 0)]  # of vLLM
        keys = [request.headers["authorization"] for request in server.requests if request.path == EMBEDDINGS]
        assert keys == ["Bearer secret"] * 2


@pytest.mark.integration
def test_another_server_than_vllm_gets_what_openai_documents() -> None:
    with serve(embed=embed, owned_by="openai") as server:
        alike(server.url, ("cat", "cat"))
        assert asked(server) == [{"model": server.script.models[0], "input": "cat", "encoding_format": "float"}] * 2


@pytest.mark.integration
def test_the_server_of_these_tests_answers_as_the_official_client_reads() -> None:
    from openai import OpenAI

    with serve(embed=embed) as server, OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        for form in ({}, {"encoding_format": "float"}):  # without it, the client asks for base64
            read = client.embeddings.create(model="m", input=["cat", "dog"], **form)  # type: ignore[arg-type]
            assert [each.embedding for each in read.data] == [pytest.approx([2, 0]), pytest.approx([0, 2], abs=1e-6)]


@pytest.mark.integration
def test_an_embedding_is_kept_by_its_model_and_text(tmp_path: Path) -> None:
    with serve(embed=embed) as server:
        first = alike(server.url, ("cat", "dog"), kept=tmp_path)
        assert alike(server.url, ("dog", "cat"), kept=tmp_path) == first
        assert [each["input"] for each in asked(server)] == ["cat", "dog"]
        for file in tmp_path.rglob("*.json"):  # damaged ones are asked for again
            file.write_text('{"reply": "1"}')
        assert alike(server.url, ("cat", "dog"), kept=tmp_path) == first
        alike(server.url, ("cat", "dog"), kept=tmp_path, model="another")
        assert len(asked(server)) == 6


@pytest.mark.integration
def test_an_empty_text_is_like_none_and_a_long_one_is_cut() -> None:
    with serve(embed=lambda text: (1, len(text))) as server:
        empty, blank, long = alike(server.url, ("", "cat"), ("cat", " \n"), ("a" * 2 * MAX_TEXT, "b" * MAX_TEXT))
        assert (empty.value, blank.value, long.value) == (0, 0, pytest.approx(1))
        assert max(len(each["input"]) for each in asked(server)) == MAX_TEXT


@pytest.mark.integration
@pytest.mark.parametrize(
    "fault",
    [
        status(503), body(b"{}"), body(b'{"data": []}'), body(b'{"data": [{"embedding": []}]}'),
        body(b'{"data": [{"embedding": "AACAPw=="}]}'),
    ],
)  # fmt: skip
def test_a_failure_is_no_likeness_and_is_tried_again(fault: Fault) -> None:
    with serve(embed=embed, fault=fault, fault_on=EMBEDDINGS, times=2) as server:
        assert alike(server.url, ("cat", "cat"))[0].value == pytest.approx(1)
        assert len(asked(server)) == 4
    with serve(embed=embed, fault=fault, fault_on=EMBEDDINGS) as server, pytest.raises(NetworkError, match="no answer"):
        alike(server.url, ("cat", "cat"), patience=1.0)


@pytest.mark.integration
def test_a_refusal_and_a_server_that_is_away_end_the_run() -> None:
    with serve(fault_on=EMBEDDINGS) as server, pytest.raises(ConfigError, match="does not know what was requested"):
        alike(server.url, ("cat", "dog"))
    with pytest.raises(NetworkError, match=r"the judge gave no answer for 0\.5 s"):
        alike(dead_url(), ("cat", "dog"), patience=0.5)


FILE = """
from virc.rewards.question import asks

TERMS = ("near",)


@asks("embedder")
async def near(sample, means):
    found = await means.asked("embedder").similarity("near", sample.answer or "", sample.prompt.key.answer)
    sample.why["near"] = found.why
    return found.value


def total(t):
    return 1.0 if t.near > 0.95 else 0.2 if t.near > 0.9 else 0.0
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    (tmp_path / "near.py").write_text(FILE)
    (tmp_path / "near.yaml").write_text("name: near\nreward: {total: ./near.py, judges: {embedder: {}}}\n")
    return tmp_path / "near.yaml"


@pytest.mark.parametrize(("says", "reward"), [("0.97", 1), ("0.93", 0.2), ("0.9", 0), ("-1", 0)])
def test_a_reward_file_reads_what_a_script_says(says: str, reward: float, system: Path) -> None:
    total = rewards.find(str(system.with_name("near.py")))
    scored = asyncio.run(
        rewards.score(sample(answer("kitten"), prompt(right="cat", strict="own")), total, judged(embedder=says))
    )
    assert scored.total == reward
    without = asyncio.run(rewards.score(sample(answer("kitten"), prompt(strict="own")), total, Means()))
    assert (without.total, without.unscored) == (None, {"near": "needs a judge, embedder"})


@pytest.mark.integration
def test_rewards_try_shows_texts_and_likeness(system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VIRC_JUDGE_KEY_EMBEDDER", "secret")
    assert virc("data", "synth", "--to", tmp_path / "rows", "--count", 1, "--formats", "rl", "--workers", 1).code == 0
    data = tmp_path / "rows" / "rl.parquet"
    (tmp_path / "reply.txt").write_text(answer("kitten"))
    words = ("--rows", 1, "--reply", tmp_path / "reply.txt")
    bare = virc("rewards", "try", system, "--data", data, *words)
    assert "needs a judge, embedder" in bare.out + bare.err
    with serve(embed=lambda text: (1, 0)) as server:
        words += ("--judge-endpoint", f"embedder={server.url}")
        told = virc("rewards", "try", system, "--data", data, *words, "--json")
        assert told.code == 0, told.err
        (row,) = json.loads(told.out)["rows"]
        assert row["total"] == 1
        (exchange,) = row["asked"]
        assert exchange["question"].startswith("kitten\n")
        assert (exchange["name"], exchange["replies"]) == ("near", ["1.0"])
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer secret"}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("judges", "sentence"),
    [
        ("{embedder: {}}", "asks the judge embedder, which has no endpoint"),
        ("{}", "asks 'embedder', and reward.judges has none"),
    ],
)
def test_training_says_that_no_server_is_named(judges: str, sentence: str, system: Path, tmp_path: Path) -> None:
    settings = "base: tiny, data: d, device: cpu, offload: false, tensor_parallel: 1, train_batch_size: 8"
    of_tiny = f"stages: {{rl: {{kind: rl, settings: {{{settings}, ppo_mini_batch_size: 8}}}}}}"
    system.write_text(f"name: near\nreward: {{total: ./near.py, judges: {judges}}}\n{of_tiny}\n")
    virc("data", "synth", "--to", tmp_path / "d", "--count", 4, "--formats", "rl", "--workers", 1)
    words = ("train", system, "--stage", "rl", "--data", tmp_path / "d" / "rl.parquet", "--dry-run")
    unnamed = sentence if judges == "{}" else "near needs a judge, embedder"  # so that no row can be rewarded
    with serve(lambda body: "yes") as judge:
        assert sentence in virc(*words, "--judge-endpoint", judge.url).err
        assert unnamed in virc(*words).err
        system.with_name("near.py").write_text(FILE.replace('@asks("embedder")', ""))
        plugins.loaded.cache_clear()
        assert "near needs a judge, embedder" in virc(*words, "--judge-endpoint", judge.url).err
