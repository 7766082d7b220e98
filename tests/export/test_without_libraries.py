"""What an exported system hands to TRL, inspect_ai, verifiers and OpenEnv, and takes from them, on stand-ins for these.

tests/export/test_packages_in_libraries.py runs the libraries themselves.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from export.test_environment import LOOK, RIGHT, WRONG, tiny
from PIL import Image
from pydantic import BaseModel
from rewards.prompts import answer
from support.servers import serve
from support.stand_ins import Bare, bare, decorator, imported

from virc.backends.interface import Sampling
from virc.core.errors import ConfigError
from virc.export.environment import Environment, terms_of

SEVEN = answer("7")
SIZES = ((280, 196), (224, 252))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Two problems with pictures of their own, which are answered with 5 and with 7."""
    lines = []
    for number, (size, right) in enumerate(zip(SIZES, "57", strict=True)):
        Image.effect_noise(size, 60).convert("RGB").save(tmp_path / f"{number}.png")
        row = {"images": [f"{number}.png"], "question": f"How long is {number}?", "answer": right, "id": f"p{number}"}
        lines.append(json.dumps(row) + "\n")
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    return tmp_path / "rows.jsonl"


# TRL


class GRPOTrainer(Bare):
    """TRL's, which keeps what it is given."""

    def __init__(self, model: Any, **given: Any) -> None:
        self.model, self.given, self.processing_class = model, given, given["processing_class"]

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        return inputs


@pytest.fixture
def trl(monkeypatch: pytest.MonkeyPatch) -> Any:
    libraries = {"datasets": {"Dataset": SimpleNamespace(from_list=list)}, "trl": {"GRPOTrainer": GRPOTrainer}}
    module = imported(monkeypatch, "virc.export.trl", libraries)
    monkeypatch.setattr(module, "version", lambda _: "1.16.2")
    return module


class Processor:
    """A processor whose ids are the characters, and whose patches say how light a picture is."""

    def __init__(self, environment: Environment) -> None:
        grid = environment.settings.grid
        self.size = {"shortest_edge": grid.min_pixels, "longest_edge": grid.max_pixels}
        self.image_processor = self
        self.tokenizer = SimpleNamespace(decode=lambda ids, skip_special_tokens: "".join(map(chr, ids)))

    def to_dict(self) -> Mapping[str, Any]:
        return {"image_processor_type": "Qwen2VLImageProcessor", "size": self.size}

    def __call__(self, images: Sequence[Image.Image], return_tensors: str) -> Mapping[str, Any]:
        import torch

        means = [torch.tensor(list(image.convert("L").tobytes())).float().mean() for image in images]
        return {"pixel_values": torch.stack(means).reshape(-1, 1).repeat_interleave(4, 0)}


def trainer(trl: Any, rows: Path, *assignments: str, **settings: Any) -> Any:
    environment = tiny(*assignments)
    args = SimpleNamespace(**{"use_transformers_continuous_batching": False, **settings})
    return trl.trainer_of(environment, str(rows))("model", args, Processor(environment))


def test_trl_is_given_the_problems_and_turns_of_the_system(trl: Any, rows: Path) -> None:
    given = trainer(trl, rows).given
    assert [each["row"] for each in given["train_dataset"]] == [0, 1]
    assert [[each["role"] for each in row["prompt"]] for row in given["train_dataset"]] == [["system", "user"]] * 2
    assert "crop_image" in given["train_dataset"][0]["prompt"][0]["content"]
    assert given["train_dataset"][1]["prompt"][1]["content"] == ""
    assert given["args"].max_tool_calling_iterations == tiny().max_turns - 1
    processor = given["processing_class"]
    assert processor.chat_template == processor.tokenizer.chat_template == trl.TEMPLATE


def test_a_rollout_whose_turns_are_used_up_was_taken_and_not_answered(rows: Path) -> None:
    environment = tiny()
    problem = environment.problems(rows)[0]
    found = [terms_of(environment.score_now(problem, replies)) for replies in ([LOOK] * 8, ["no tags"])]
    assert [(each["answered"], each["taken"]) for each in found] == [(0.0, 1.0), (0.0, 0.0)]


def test_problems_are_those_of_the_file_that_is_named(rows: Path) -> None:
    environment, other = tiny(), rows.with_name("other.jsonl")
    other.write_text(rows.read_text().splitlines()[1] + "\n")
    assert [[each.id for each in environment.problems(file)] for file in (rows, other, rows)] == [
        ["p0", "p1"], ["p1"], ["p0", "p1"],
    ]  # fmt: skip


@pytest.mark.parametrize(("reply", "calls"), [(LOOK, True), (RIGHT, False), ("no tags", False)])
def test_a_reply_that_goes_on_is_a_call_with_all_of_its_text(trl: Any, rows: Path, reply: str, calls: bool) -> None:
    said = trainer(trl, rows).processing_class.tokenizer.parse_response([ord(each) for each in reply])
    assert said["role"] == "assistant"
    if calls:
        (call,) = said["tool_calls"]
        assert call["function"] == {"name": "reply", "arguments": {"text": reply}}
    assert said["content"] == ("" if calls else reply)
    assert bool(said.get("tool_calls")) == calls
    environment = tiny()  # which shows the model its errors, so that it goes on
    environment.protocol = msgspec.structs.replace(environment.protocol, errors="show")
    tokenizer = SimpleNamespace(decode=lambda ids, skip_special_tokens: reply)
    assert bool(trl._parsed(environment, tokenizer, []).get("tool_calls")) == (calls or reply == "no tags")


def test_a_rollout_of_trl_shows_its_own_pictures_and_is_made_anew(trl: Any, rows: Path) -> None:
    rollout = trainer(trl, rows).given["environment_factory"]()
    for row in (1, 0):
        first = rollout.reset(row=row, prompt="ignored")
        assert [part["image"].size for part in first if part["type"] == "image"] == [SIZES[row]]
        assert f"How long is {row}?" in "".join(part["text"] for part in first if part["type"] == "text")
        solved = tiny()
        asked = solved.begin(solved.problems(rows)[row]).messages[-1]["content"]
        assert [part["type"] for part in first] == [part["type"].removesuffix("_url") for part in asked]
        shown = rollout.reply(LOOK)
        assert [part["image"].size for part in shown if part["type"] == "image"] == [(56, 56)]
        assert [image.size for image in rollout._shown()] == [SIZES[row]]  # the crop is behind the last reply
        for reply in (SEVEN, "one more"):
            assert rollout.reply(reply) == [{"type": "text", "text": "The problem is over."}]
        assert rollout._end("one more") == (row, [LOOK, SEVEN])


def test_the_template_of_trl_writes_results_as_turns_of_the_user(trl: Any) -> None:
    from jinja2 import Template

    call = {"role": "assistant", "content": "", "tool_calls": ["<say>"]}
    parts = [{"type": "text", "text": "Go on."}, {"type": "image"}]
    asked = [{"role": "system", "content": "s"}, call, {"role": "tool", "content": parts}]
    text = Template(trl.TEMPLATE).render(messages=asked, add_generation_prompt=True)
    assert text == (
        '<|im_start|>system\ns<|im_end|>\n<|im_start|>assistant\n"\\u003csay\\u003e"<|im_end|>\n'
        "<|im_start|>user\nGo on.<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n<|im_start|>assistant\n"
    )


SAID = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "{}"}]


def completions(*texts: str) -> list[Any]:
    return [[SAID[0], {"role": "assistant", "content": text}] for text in texts]


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [((), [1.0, 0.0, 0.0, 1.0, 1.0]), (("reward.group={distinct: 1}",), [0.5, 1.0, 1.0, 0.5, 1.0])],
)
def test_each_rollout_of_trl_gets_its_own_reward(
    trl: Any, rows: Path, assignments: tuple[str, ...], expected: list[float]
) -> None:
    """Compared with the others of its row alone: the rows 0 and 1 are mixed."""
    given = trainer(trl, rows, *assignments).given
    made = [given["environment_factory"]() for _ in range(5)]
    for rollout, row in zip(made, (0, 1, 0, 0, 1), strict=True):
        rollout.reset(row=row)
    made[3].reply(LOOK)
    logged: list[tuple[str, float]] = []
    (reward,) = given["reward_funcs"]
    found = reward(made, completions(RIGHT, RIGHT, WRONG, RIGHT, SEVEN), lambda *each: logged.append(each), prompts=1)
    assert found == expected
    assert [value for name, value in logged if name == "tool_calls"] == [0, 0, 0, 1, 0]
    assert reward.__name__ == "tiny"


def test_a_call_at_the_end_is_no_reply(trl: Any, rows: Path) -> None:
    given = trainer(trl, rows).given
    rollout = given["environment_factory"]()
    rollout.reset(row=0)
    rollout.reply(RIGHT)
    last = {"role": "assistant", "content": "{}", "tool_calls": [{}]}
    for completion in ([SAID[0], last], [last, {"role": "tool", "content": "over"}]):
        assert given["reward_funcs"][0]([rollout], [completion], lambda *_: None) == [1.0]
        assert rollout._talk.replies == [RIGHT]
        rollout.reset(row=0)
        assert rollout._end(trl._said(completion)) == (0, [""])
        rollout.reset(row=0)
        rollout.reply(RIGHT)


def checked(trl: Any, rows: Path, logps: Any, changes: Mapping[str, Any] = {}) -> Any:
    """A trainer after a step of two rollouts: of one picture, and of two before the last reply."""
    import torch

    made = trainer(trl, rows)
    made.environments = [made.given["environment_factory"]() for _ in range(2)]
    for rollout, row, replies in zip(made.environments, (0, 1), ([RIGHT], [LOOK, SEVEN]), strict=True):
        rollout.reset(row=row)
        for reply in replies:
            rollout.reply(reply)
    pictures = [shown.pixels for rollout in made.environments for shown in rollout._talk.images]
    made._get_per_token_logps_and_entropies = logps
    batch = {
        "pixel_values": made.processing_class(pictures, "pt")["pixel_values"],
        "image_grid_thw": torch.tensor([[1, 2, 2]] * 3), "num_images": [1, 2],
        "prompt_ids": torch.tensor([[1, 2], [3, 4]]), "prompt_mask": torch.ones(2, 2),
        "completion_ids": torch.tensor([[5, 6, 7], [8, 9, 10]]),
        "completion_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]),
        "tool_mask": torch.tensor([[1, 1, 1], [1, 0, 1]]), "mm_token_type_ids": torch.zeros(2, 5), **changes,
    }  # fmt: skip
    made._generate_and_score_completions(batch)
    return made


def looks(*places: int) -> Any:
    """Log-probabilities by the patches at these places of a rollout with 8."""

    def logps(model: Any, ids: Any, mask: Any, keep: int, pixel_values: Any, **given: Any) -> Any:
        assert ids.tolist() == [[3, 4, 8, 9, 10]]  # the rollout with the most pictures
        assert (keep, given["num_images"], given["image_grid_thw"].tolist()) == (3, [2], [[1, 2, 2]] * 2)
        assert pixel_values.shape == (8, 1)
        seen = pixel_values[list(places), 0]
        return (-(seen * seen.new_tensor([1.0, 3.0])[: len(places)]).sum() / 100).repeat(1, 3), None

    return logps


def test_a_trainer_of_trl_that_sees_its_pictures_is_checked_once(trl: Any, rows: Path) -> None:
    made = checked(trl, rows, looks(0, 7))
    assert made._seen
    made._get_per_token_logps_and_entropies = None
    made._generate_and_score_completions({"num_images": [1, 2]})


@pytest.mark.parametrize(
    ("places", "changes", "said"),
    [
        ((0,), {}, "does not see picture 2 of 2"),
        ((7,), {}, "does not see picture 1 of 2"),
        ((0, 7), {"num_images": [1, 1]}, "have 3 images, and TRL trains on them without"),
        ((0, 7), {"num_images": None}, "have 3 images, and TRL trains on them without"),
        ((0, 7), {"num_images": [1, 3]}, "have 3 images, and TRL trains on them without"),
        ((0, 7), {"pixel_values": "turned"}, "does not see what the rollout saw"),
    ],
)
def test_a_trainer_of_trl_that_does_not_see_its_pictures_is_stopped(
    trl: Any, rows: Path, places: tuple[int, ...], changes: Mapping[str, Any], said: str
) -> None:
    import torch

    if "pixel_values" in changes:
        changes = {"pixel_values": torch.arange(12.0).reshape(12, 1)}
    with pytest.raises(ConfigError, match=said):
        checked(trl, rows, looks(*places), changes)


def test_what_trl_cannot_do_is_refused(trl: Any, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="continuous batching shows the sampler no image"):
        trainer(trl, rows, use_transformers_continuous_batching=True)
    made = trainer(trl, rows).processing_class
    made.size = {"shortest_edge": 3136, "longest_edge": 28 * 28 * 99}
    with pytest.raises(ConfigError, match=r"on another grid \(.*=77616.*\) than the package \(.*=12845056"):
        trl._prepare(tiny(), made)
    monkeypatch.setattr(trl, "version", lambda _: "1.1.16")
    with pytest.raises(ConfigError, match=r"TRL 1\.1\.16 was not seen"):
        trl.trainer_of(tiny(), str(rows))


# inspect_ai


@pytest.fixture
def inspect(monkeypatch: pytest.MonkeyPatch) -> Any:
    said = bare("ChatMessageAssistant", "ChatMessageSystem", "ChatMessageUser", "ContentImage", "ContentReasoning",
                "ContentText", "GenerateConfig")  # fmt: skip
    model = {"get_model": None, "ModelName": lambda model: model, **said}
    libraries = {
        "inspect_ai": bare("Task"),
        "inspect_ai.dataset": {"MemoryDataset": lambda samples, name: samples, **bare("Sample")},
        "inspect_ai.event": bare("ModelEvent"),
        "inspect_ai.log": {"transcript": lambda: SimpleNamespace(events=[], attachments={})},
        "inspect_ai.model": model,
        "inspect_ai.scorer": {"mean": int, "stderr": int, "scorer": decorator, **bare("Score")},
        "inspect_ai.solver": {"solver": decorator, **bare("TaskState")},
    }  # fmt: skip
    return imported(monkeypatch, "virc.export.inspect", libraries)


def output(text: str, stop: str = "stop") -> Any:
    return SimpleNamespace(message=SimpleNamespace(text=text, content=text), stop_reason=stop)


class Model:
    """A model of inspect_ai that replies as a script says."""

    def __init__(self, *texts: str) -> None:
        self.api, self.texts = "vllm", list(texts)
        self.asked: list[tuple[Sequence[Any], Any]] = []

    async def generate(self, messages: Sequence[Any], config: Any) -> Any:
        self.asked.append((messages, config))
        return output(self.texts.pop(0))


@pytest.mark.parametrize(
    ("row", "replies", "tries", "kept", "values"),
    [
        (1, [LOOK, RIGHT], 1, [LOOK, RIGHT], {"right": 1.0, "reward": 1.0, "tool_calls": 1.0}),
        (2, [RIGHT], 1, [RIGHT], {"right": 0.0, "reward": 0.0, "answered": 1.0}),
        (2, ["no tags", SEVEN], 2, [SEVEN], {"right": 1.0, "reward": 1.0, "taken": 1.0}),  # drawn again, warmer
        (2, ["no tags"], 1, ["no tags"], {"right": 0.0, "reward": 0.0, "answered": 0.0, "taken": 0.0}),
    ],
)
def test_a_task_of_inspect_ai_solves_and_scores_its_own_row(
    inspect: Any, rows: Path, row: int, replies: list[str], tries: int, kept: list[str], values: Mapping[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    task = inspect.task_of(tiny(), str(rows), tries)
    sample = task.dataset[row - 1]
    assert (sample.input, sample.target, sample.id) == (f"How long is {row - 1}?", "57"[row - 1], row)
    assert sample.metadata == {"row": row, "id": f"p{row - 1}"}
    model = Model(*replies)
    monkeypatch.setattr(inspect, "get_model", lambda: model)
    store: dict[str, Any] = {}
    state = SimpleNamespace(
        metadata=sample.metadata, sample_id=row, epoch=1, store=SimpleNamespace(get=store.get, set=store.__setitem__)
    )
    state = asyncio.run(task.solver(state, None))
    assert state.completed
    assert store[inspect.REPLIES] == kept
    assert len({config.seed for _, config in model.asked}) == len(model.asked)
    temperatures = [config.temperature for _, config in model.asked]
    assert (temperatures == sorted(set(temperatures))) == (tries > 1 or len(replies) == 1)
    first = model.asked[0][0][-1].content
    assert sum(type(part).__name__ == "ContentImage" and part.image.startswith("data:image/") for part in first) == 1
    assert [type(each).__name__.removeprefix("ChatMessage") for each in state.messages][:2] == ["System", "User"]
    assert (state.messages[-1].content == kept[-1]) == bool(values.get("taken", 1.0))  # the log ends with the answer
    score = asyncio.run(task.scorer(state, None))
    assert values.items() <= score.value.items()
    assert {"right", "format", "answer"} <= score.value.keys()  # inspect_ai ends where a sample lacks one of another
    assert score.answer == {SEVEN: "7", RIGHT: "5"}.get(kept[-1])


def test_an_answer_of_inspect_ai_may_be_the_letter_or_the_content_of_a_choice(inspect: Any, rows: Path) -> None:
    row = {"id": "c", "image": "0.png", "question": "Which?", "choices": ["7", "8"], "answer": "B"}
    rows.write_text(json.dumps(row) + "\n")
    task = inspect.task_of(tiny(), str(rows), 1)
    right = []
    for said in ("8", "B", "7"):
        store = SimpleNamespace(get={inspect.REPLIES: [answer(said)]}.get)
        state = SimpleNamespace(metadata=task.dataset[0].metadata, store=store)
        right.append(asyncio.run(task.scorer(state, None)).value["right"])
    assert right == [1.0, 1.0, 0.0]


def test_no_two_samples_or_epochs_of_inspect_ai_draw_alike(
    inspect: Any, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, seeds = inspect.task_of(tiny(), str(rows), 1), []
    for row, epoch in ((1, 1), (1, 2), (2, 1)):
        model = Model(WRONG)
        monkeypatch.setattr(inspect, "get_model", lambda model=model: model)
        store = SimpleNamespace(set=lambda *_: None)
        state = SimpleNamespace(metadata=task.dataset[row - 1].metadata, sample_id=row, epoch=epoch, store=store)
        asyncio.run(task.solver(state, None))
        seeds += [config.seed for _, config in model.asked]
    assert len(seeds) == len({*seeds}) == 3


OF_VLLM = {"repetition_penalty": 1.1, "top_k": 20}


@pytest.mark.parametrize(
    ("provider", "temperature", "stop", "expected"),
    [
        ("vllm", 0.7, ("</a>",), (0.9, ["</a>"], OF_VLLM | {"include_stop_str_in_output": True})),
        ("sglang", 0.7, ("</a>",), (0.9, ["</a>"], OF_VLLM | {"no_stop_trim": True})),
        ("vllm", 0.0, (), (None, None, OF_VLLM)),
        ("openai", 0.7, ("</a>",), (0.9, None, None)),  # which would cut off what ended the reply
    ],
)  # fmt: skip
def test_inspect_ai_draws_as_solve_asks_a_server(
    inspect: Any, provider: str, temperature: float, stop: tuple[str, ...], expected: Any
) -> None:
    sampling = Sampling(temperature=temperature, top_p=0.9, top_k=20, max_tokens=77, repetition_penalty=1.1)
    found = inspect.config_of(sampling, 5, stop, provider)
    assert (found.temperature, found.max_tokens, found.seed) == (temperature, 77, 5)
    assert (found.top_p, found.stop_seqs, found.extra_body) == expected
    whole = inspect.config_of(msgspec.structs.replace(sampling, top_k=None), 5, stop, "vllm")
    assert whole.extra_body["top_k"] == -1  # none


def test_a_reply_of_inspect_ai_is_the_text_of_its_server(inspect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def event(message: Mapping[str, Any], finish: str = "stop") -> Any:
        response = {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
        return inspect.ModelEvent(call=SimpleNamespace(response=response))

    log = SimpleNamespace(attachments={"ab12": " a long text "}, events=[])
    monkeypatch.setattr(inspect, "transcript", lambda: log)
    cut = inspect._reply(output("seen", "max_tokens"))
    assert (cut.text, cut.finish, cut.thought) == ("seen", "length", None)
    thought = [
        inspect.ContentReasoning(reasoning="hm "),
        inspect.ContentReasoning(reasoning="so"),
        inspect.ContentText(),
    ]
    message = SimpleNamespace(text="seen", content=thought)
    assert inspect._reply(SimpleNamespace(message=message, stop_reason="stop")).thought == "hm so"
    log.events = [event({"content": "an earlier one"}), event({"content": " <think>hm</think> 5 "}), Bare()]
    assert inspect._reply(output("5")).text == " <think>hm</think> 5 "
    log.events.append(event({"content": "attachment://ab12"}, "length"))
    found = inspect._reply(output("x"))
    assert (found.text, found.finish) == (" a long text ", "length")


# verifiers


@pytest.fixture
def verifiers(monkeypatch: pytest.MonkeyPatch) -> Any:
    known = bare("TaskData", "TasksetConfig", "EnvConfig", "AgentConfig", "SubprocessConfig", "HarnessConfig",
                 "ProgramResult", "Harness", "Env")  # fmt: skip
    held = {name: type(name, (Bare,), {"__init__": kept}) for name, kept in (("Task", _data), ("Taskset", _config))}
    libraries = {"verifiers.v1": {"reward": lambda function: function, **known, **held}}
    return imported(monkeypatch, "virc.export.verifiers", libraries)


def _data(self: Any, data: Any) -> None:
    self.data = data


def _config(self: Any, config: Any) -> None:
    self.config = config


class Trace:
    """A trace of verifiers."""

    def __init__(self, *replies: str) -> None:
        self.info: dict[str, Any] = {"virc_replies": list(replies)} if replies else {}
        self.metrics: dict[str, float] = {}
        self.rewards: dict[str, float] = {}
        self.record_metrics, self.record_reward = self.metrics.update, self.rewards.__setitem__


def tasks(verifiers: Any, environment: Environment, rows: Path) -> Sequence[Any]:
    taskset, _, _ = verifiers.classes(environment)
    found: Sequence[Any] = taskset(SimpleNamespace(rows=rows)).load()
    return found


def test_tasks_of_verifiers_are_the_rows_and_reward_theirs(verifiers: Any, rows: Path) -> None:
    environment = tiny()
    found = tasks(verifiers, environment, rows)
    assert [(each.data.row, each.data.id, each.data.prompt) for each in found] == [
        (0, "p0", "How long is 0?"), (1, "p1", "How long is 1?")
    ]  # fmt: skip
    traces = [Trace(LOOK, SEVEN), Trace(SEVEN)]
    assert [asyncio.run(task.reward(trace)) for task, trace in zip(found, traces, strict=True)] == [0.0, 1.0]
    assert [trace.metrics["tool_calls"] for trace in traces] == [1.0, 0.0]
    environment.rows = rows  # a package's own
    own = verifiers.classes(environment)[0](SimpleNamespace(rows=None)).load()
    assert [asyncio.run(own[row].reward(Trace(SEVEN))) for row in (0, 1)] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("row", "replies", "kept"), [(0, [LOOK, RIGHT], [LOOK, RIGHT]), (1, ["no tags", RIGHT], ["no tags"])]
)
def test_a_harness_of_verifiers_asks_until_the_problem_is_over(
    verifiers: Any, rows: Path, row: int, replies: list[str], kept: list[str]
) -> None:
    task = tasks(verifiers, environment := tiny(), rows)[row]
    harness, trace = verifiers.classes(environment)[1](), Trace()
    with serve(replies) as server:
        model = SimpleNamespace(model="virc-scripted")
        done = asyncio.run(harness.launch(model, trace, None, server.url, "a-secret", {}, task.data))
    assert (done.exit_code, trace.info) == (0, {"virc_replies": kept})
    assert {each.headers["authorization"] for each in server.requests} == {"Bearer a-secret"}
    chats = server.chats()
    assert [len(chat["messages"]) for chat in chats] == [2 + 2 * at for at in range(len(kept))]
    assert f"How long is {row}?" in json.dumps(chats[0]["messages"])
    assert not {"temperature", "max_tokens", "stream"} & chats[0].keys()  # verifiers draws as it is told


def test_a_server_that_refuses_ends_a_rollout_of_verifiers(verifiers: Any, rows: Path) -> None:
    task = tasks(verifiers, environment := tiny(), rows)[0]
    harness, trace = verifiers.classes(environment)[1](), Trace()
    with serve([RIGHT]) as server:
        model = SimpleNamespace(model="another")
        done = asyncio.run(harness.launch(model, trace, None, server.url, "x", {}, task.data))
    assert (done.exit_code, trace.info) == (1, {})
    assert "`another` does not exist" in done.stderr


def test_rollouts_of_verifiers_are_compared_where_the_total_compares(verifiers: Any, rows: Path) -> None:
    def finalized(environment: Environment, *traces: Trace) -> list[tuple[dict[str, float], dict[str, float]]]:
        group = verifiers.classes(environment)[2]()
        asyncio.run(group.finalize(tasks(verifiers, environment, rows)[0], SimpleNamespace(traces=traces)))
        return [(trace.rewards, trace.metrics) for trace in traces]

    compares = tiny("reward.group={distinct: 1}")
    alone = [{"reward_alone": value} for value in (1.0, 0.0, 1.0)]
    shared = [{"reward": value} for value in (0.5, 1.0, 0.5)]
    found = finalized(compares, Trace(RIGHT), Trace(WRONG), Trace(RIGHT))
    assert found == list(zip(shared, alone, strict=True))
    assert finalized(compares, Trace(RIGHT), Trace()) == [({}, {})] * 2  # one has failed
    assert finalized(tiny(), Trace(RIGHT)) == [({}, {})]


def test_as_many_rollouts_of_verifiers_are_drawn_as_are_asked_for(verifiers: Any) -> None:
    run: list[Any] = []

    async def draw(task: Any) -> None:
        run.append(task)

    group = verifiers.classes(tiny())[2](config=verifiers.GroupConfig(n=3))
    asyncio.run(group.run("task", SimpleNamespace(agent=SimpleNamespace(run=draw))))
    assert run == ["task"] * 3


# OpenEnv


class Observation(BaseModel):
    """OpenEnv's."""

    done: bool = False
    reward: float | None = None


class State(BaseModel):
    """OpenEnv's."""

    episode_id: str | None = None
    step_count: int = 0


@pytest.fixture(scope="module")
def openenv() -> Any:
    types = {"Action": BaseModel, "Observation": Observation, "State": State, **bare("ConcurrencyConfig")}
    libraries = {
        "openenv.core.env_server": {"create_fastapi_app": lambda *given, **more: (*given, more["concurrency_config"])},
        "openenv.core.env_server.interfaces": bare("Environment"), "openenv.core.env_server.types": types,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        return imported(patch, "virc.export.openenv", libraries)


@pytest.mark.parametrize(
    ("asked", "replies", "reward"),
    [
        ({"row": 1}, [LOOK, SEVEN], 1.0), ({"row": 0}, [LOOK, SEVEN], 0.0), ({"seed": 3}, [SEVEN], 1.0),
        ({}, [RIGHT], 1.0), ({"row": 0, "seed": 1}, [RIGHT], 1.0), ({"row": 1}, ["no tags"], 0.0),
    ],
)  # fmt: skip
def test_an_episode_of_openenv_is_of_the_row_that_is_asked_for(
    openenv: Any, rows: Path, asked: Mapping[str, int], replies: list[str], reward: float
) -> None:
    session, said, *_ = openenv.app_of(tiny(), str(rows))
    episode = session()
    seen = episode.reset(episode_id="e", **asked)
    row = asked.get("row", asked.get("seed", 0) % 2)
    assert f"How long is {row}?" in json.dumps(seen.messages)
    assert (episode.state.row, episode.state.images, episode.state.episode_id) == (row, 1, "e")
    for number, reply in enumerate(replies, 1):
        assert (seen.done, seen.reward, episode.state.over) == (False, None, False)
        seen = episode.step(said(text=reply))
        assert episode.state.step_count == number
        assert seen.done or seen.messages[-1]["content"] != reply  # but what the crop shows
    assert (seen.done, seen.reward, episode.state.over) == (True, reward, True)
    assert seen.terms["tool_calls"] == len(replies) - 1 == episode.state.images - 1
    with pytest.raises(ValueError, match="no reply is asked for"):
        episode.step(said(text=RIGHT))


def test_sessions_of_openenv_take_the_problems_in_turn(openenv: Any, rows: Path) -> None:
    session, said, _, limits = openenv.app_of(tiny(), str(rows))
    assert (limits.max_concurrent_envs, session.SUPPORTS_CONCURRENT_SESSIONS) == (64, True)
    episodes = [session(), session()]
    with pytest.raises(ValueError, match="no reply is asked for"):
        episodes[0].step(said(text=RIGHT))
    assert [[each.reset() and each.state.row for each in episodes] for _ in range(2)] == [[0, 1], [0, 1]]
    assert [each.step(said(text=SEVEN)).reward for each in episodes] == [0.0, 1.0]
    for row in (-1, 2, "x"):
        with pytest.raises(ValueError, match=f"there is no row {row}: they go from 0 to 1"):
            episodes[0].reset(row=row)
    assert episodes[0].reset(row=1).done is False


@pytest.mark.parametrize(
    ("continues", "over", "seen"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_client_of_openenv_is_told_which_turn_goes_on(openenv: Any, continues: bool, over: bool, seen: bool) -> None:
    talk = SimpleNamespace(messages=[], ask=SimpleNamespace(continues=continues), over=over)
    assert openenv._seen(talk).continues is seen


@pytest.mark.parametrize(("finish", "reward"), [("stop", 1.0), ("length", 0.0)])
def test_a_bare_answer_is_read_leniently_unless_it_was_cut(
    openenv: Any, rows: Path, finish: str, reward: float
) -> None:
    environment = tiny()
    environment.protocol = msgspec.structs.replace(environment.protocol, reading="lenient")
    session, said, *_ = openenv.app_of(environment, str(rows))
    episode = session()
    episode.reset(row=0)
    seen = episode.step(said(text="5", finish=finish))
    assert (seen.done, seen.reward) == (True, reward)


def test_a_reply_that_was_cut_is_no_answer(openenv: Any, rows: Path) -> None:
    session, said, *_ = openenv.app_of(tiny(), str(rows))
    episode = session()
    episode.reset(row=0)
    seen = episode.step(said(text=RIGHT[:-9], finish="length"))
    assert (seen.done, seen.reward, seen.terms["answered"]) == (True, 0.0, 0.0)
