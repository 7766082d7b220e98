"""Odd clips in the engines: SFT and RL are given the ids and sizes of solving, and take a step each."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from backends import tiny_factory
from engines.verl.rl_engine import TINY, child
from engines.verl.scripted_backend import scripted, spelt
from extras.video.drawn_clips import KINDS, written
from extras.video.drawn_documents import scanned
from PIL import Image
from support import workspaces
from support.called import virc
from training.sft_engine import case, lengths_of
from training.stage_rows import request

from virc.families import registry as families
from virc.models.chat_protocol import read_protocol
from virc.models.chat_protocol import written as written_as
from virc.reasoning.media import USUAL_MEDIA, MediaChoice
from virc.reasoning.opening.pictures import shown
from virc.reasoning.protocol import FILE_NAME, Protocol, with_tools
from virc.solving.image_source import unfolded
from virc.solving.one import SolveConfig, solve
from virc.tools import registry
from virc.training.preflight.sft import check

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

ASKED, REPLY = "Which number is drawn?", "<think></think>\n<answer>{}</answer>"
WATCH = (
    '<think></think>\n<tool_call>{"name": "watch", "arguments": {"start": 0.5, "end": "0:01", "count": 2}}</tool_call>'
)
ODD = ("turned", "two rates", "WebM", "late TS", "edit list")
CLIPS = [[f"{number}.clip"] for number in range(len(ODD) + 1)]
BESIDE = [["0.clip", "3.clip"], ["turned.mp4", "red.png"]]  # two clips, and a clip and a picture
STEP = {"steps": 1, "save_steps": 1, "train_batch_size": 2, "micro_batch_size_per_device": 1, "log_every": 1}
RL = {"steps": 1, "save_steps": 1, "train_batch_size": 1, "ppo_mini_batch_size": 1, "micro_batch_size_per_device": 1,
      "n": 2, "rollouts": 1, "prompt_length": 2048, "response_length": 256, "max_turns": 1}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of five odd clips, one larger than `tiny` is shown, and of two files each, as SFT and RL take them."""
    folder = tmp_path_factory.mktemp("workspace")
    drawn = [KINDS[kind]().data for kind in ODD] + [written("mp4", size=(640, 360), frames=30).data]
    for number, data in enumerate(drawn):
        (folder / f"{number}.clip").write_bytes(data)
    (folder / BESIDE[1][0]).write_bytes(drawn[0])
    Image.effect_noise((90, 60), 90).convert("RGB").save(folder / "red.png")
    rows: list[dict[str, Any]] = [{"video": clip} for (clip,) in CLIPS]
    rows += [{"videos": BESIDE[0]}, {"video": BESIDE[1][0], "image": BESIDE[1][1]}]
    rows = [row | {"id": at, "question": ASKED, "answer": str(at)} for at, row in enumerate(rows)]
    (folder / "clips.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    convert(folder, folder / "data", TINY / FILE_NAME, TINY)
    return folder


def convert(workspace: Path, to: Path, protocol: Path, base: Path) -> None:
    for form, words in (("sft", ["--answers", "--model", base]), ("prompts", [])):
        line = ("--to", to / form, "--format", form, "--protocol", protocol, "--workers", 1)
        assert virc("data", "convert", workspace / "clips.jsonl", *line, *words).code == 0


def solved(
    workspace: Path, protocol: Protocol, *first: str, base: Path = TINY, questions: Sequence[Sequence[str]] = CLIPS
) -> tuple[list[list[int]], list[list[tuple[int, int]]], list[list[int]]]:
    """Of each question what `virc solve` feeds, the sizes of its frames, and the ids of the last reply with its end.

    Args:
        first: replies before the last.
        questions: their files.
    """
    backend = scripted(base)
    (end,) = backend._tokenizer.convert_tokens_to_ids(["<|im_end|>"])
    fed, sizes, replies = list[list[int]](), list[list[tuple[int, int]]](), list[list[int]]()
    for number, names in enumerate(questions):
        images, files = [], [workspace / name for name in names]
        sources = [(file.read_bytes() if file.suffix == ".png" else file, file.name) for file in files]
        for part in unfolded(sources, names, USUAL_MEDIA):
            images.append(shown(*part.file, protocol, backend.grid))
            images[-1].place, images[-1].medium = part.place, part.medium
        backend.script([spelt(backend, each) for each in (*first, REPLY.format(number))])
        solve(SolveConfig(tries=1), backend, protocol, images, ASKED)
        fed += backend.fed
        sizes += backend.sizes
        replies.append([*backend._tokenizer.encode(REPLY.format(number), add_special_tokens=False), end])
    return fed, sizes, replies


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_sft_and_rl_are_given_the_ids_of_solving(kind: str, workspace: Path, tmp_path: Path) -> None:
    base, data, file = TINY, workspace / "data", TINY / FILE_NAME
    if kind != "qwen2_5_vl":
        base, data, file = tiny_factory.build(tmp_path / "base", kind), tmp_path / "data", tmp_path / FILE_NAME
        file.write_bytes(written_as(msgspec.structs.replace(read_protocol(TINY / FILE_NAME), coordinates="permille")))
        convert(workspace, data, file, base)
    fed, sizes, replies = solved(workspace, read_protocol(file), base=base, questions=[*CLIPS, *BESIDE])
    found = check(request(data / "sft" / "clips.json", folder=tmp_path / "run", base=base))
    keys = {"template": families.template(kind), "keys": dict(families.sft_keys(kind))}
    (learnt,) = lengths_of([case(found.file.parent, found.dataset, base, **keys)], tmp_path)
    assert [ids[: len(prompt)] for ids, prompt in zip(learnt["ids"], fed, strict=True)] == fed
    ends = [ids[len(prompt) :] for ids, prompt in zip(learnt["ids"], fed, strict=True)]
    assert [each[: len(reply)] for each, reply in zip(ends, replies, strict=True)] == replies

    folder = data / "prompts"
    loop = {"protocol": str(file), "folder": str(folder)}
    cases: dict[str, Any] = {
        str(at): {"file": str(folder / "clips.parquet"), "at": at, "room": 512, "replies": [reply], "loop": loop}
        for at, reply in enumerate(replies)
    }
    (tmp_path / "rollouts.json").write_text(json.dumps(cases))
    done = child("loop_child.py", tmp_path / "rollouts.json", base)
    rolled = [done[str(at)] for at in range(len(fed))]
    assert [each["prompt"] for each in rolled] == fed
    assert [[[*size] for size in each] for each in sizes] == [each["sizes"] for each in rolled]
    places = [json.loads(each["extra"]["rollout"])["images"] for each in rolled]
    lines = [(image.get("place") or {}).get("line") for images in places[len(CLIPS) :] for image in images]
    assert [each and each.split()[0] for each in lines].count("Clip") == len(lines) - 1  # but the picture


def test_rollouts_look_again_as_solving_does(workspace: Path, tmp_path: Path) -> None:
    protocol = with_tools(read_protocol(TINY / FILE_NAME), registry.schemas(["watch"]))
    (tmp_path / FILE_NAME).write_bytes(msgspec.json.encode(protocol))
    fed, sizes, replies = solved(workspace, protocol, WATCH)
    tokens = scripted(TINY)._tokenizer
    ids = tokens.encode(f"{WATCH}<|im_end|>", add_special_tokens=False)
    folder = workspace / "data" / "prompts"
    loop = {"protocol": str(tmp_path / FILE_NAME), "folder": str(folder)}
    cases: dict[str, Any] = {
        str(at): {"file": str(folder / "clips.parquet"), "at": at, "room": 2048, "replies": [ids, reply], "loop": loop}
        for at, reply in enumerate(replies)
    }
    (tmp_path / "rollouts.json").write_text(json.dumps(cases))
    done = child("loop_child.py", tmp_path / "rollouts.json", TINY)
    asked = [each for at in range(len(replies)) for each in done[str(at)]["asked"]]
    assert [tokens.decode(each["ids"]) for each in asked] == [tokens.decode(each) for each in fed]
    assert [each["images"] for each in asked] == [[[*size] for size in each] for each in sizes]
    assert all(
        len(after["images"]) == len(before["images"]) + 2 for before, after in zip(asked[::2], asked[1::2], strict=True)
    )


def test_rollouts_turn_to_pages_of_a_document(workspace: Path, tmp_path: Path) -> None:
    protocol = with_tools(read_protocol(TINY / FILE_NAME), registry.schemas(["turn_to"]))
    (tmp_path / FILE_NAME).write_bytes(msgspec.json.encode(protocol))
    (tmp_path / "scan.pdf").write_bytes(scanned(40))
    (tmp_path / "scan.jsonl").write_text('{"id": 1, "document": "scan.pdf", "question": "q", "answer": "37"}\n')
    line = ("--to", tmp_path / "rl", "--format", "prompts", "--page", 1, "--protocol", tmp_path / FILE_NAME)
    assert virc("data", "convert", tmp_path / "scan.jsonl", *line, "--workers", 1).code == 0
    tokens, call = scripted(TINY)._tokenizer, '{"name": "turn_to", "arguments": {"pages": [37, 2]}}'
    said = (f"<think></think>\n<tool_call>{call}</tool_call>", REPLY.format("37"))
    replies = [tokens.encode(f"{each}<|im_end|>", add_special_tokens=False) for each in said]
    loop = {"protocol": str(tmp_path / FILE_NAME), "folder": str(tmp_path / "rl")}
    case = {"file": str(tmp_path / "rl" / "scan.parquet"), "at": 0, "room": 4096, "replies": replies, "loop": loop}
    (tmp_path / "rollouts.json").write_text(json.dumps({"0": case}))
    done = child("loop_child.py", tmp_path / "rollouts.json", TINY)["0"]
    pages = unfolded([(tmp_path / "scan.pdf", "scan.pdf")], ["scan.pdf"], MediaChoice(pages=(1, 37, 2)))
    drawn = [shown(*part.file, protocol, scripted(TINY).grid).pixels.tobytes() for part in pages]
    assert done["pixels"] == [hashlib.sha256(each).hexdigest() for each in drawn]


def test_a_second_question_has_what_was_seen_first_alone(workspace: Path, tmp_path: Path) -> None:
    protocol = with_tools(read_protocol(TINY / FILE_NAME), registry.schemas(["watch"]))
    (tmp_path / FILE_NAME).write_bytes(msgspec.json.encode(protocol))
    row = {"id": 1, "video": "0.clip", "question": ASKED, "answer": "1", "second_question": "Which then?"}
    (workspace / "second.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps({**row, 'id': 2})}\n")
    folder = workspace / "data" / "second"
    line = ("--to", folder, "--format", "prompts", "--protocol", TINY / FILE_NAME, "--workers", 1)
    assert virc("data", "convert", workspace / "second.jsonl", *line).code == 0
    tokens = scripted(TINY)._tokenizer
    looked, answered, second = (
        tokens.encode(f"{each}<|im_end|>", add_special_tokens=False) for each in (WATCH, REPLY.format("1"), "So 3.")
    )
    loop = {"protocol": str(tmp_path / FILE_NAME), "folder": str(folder)}
    case: dict[str, Any] = {"file": str(folder / "second.parquet"), "room": 2048, "loop": loop}
    case |= {"class": "virc_extras.token_weights.second_loop:SecondLoop"}
    cases = {
        "looks": {**case, "at": 0, "replies": [looked, answered, second]},
        "answers": {**case, "at": 1, "replies": [answered]},
    }
    (tmp_path / "rollouts.json").write_text(json.dumps(cases))
    done = child("loop_child.py", tmp_path / "rollouts.json", TINY)
    assert [done[name]["extra"]["second_reply"] for name in cases] == ["So 3.", ""]
    assert [len(done[name]["asked"]) for name in cases] == [3, 1]
    *_, again = done["looks"]["asked"]
    text = tokens.decode(again["ids"])
    assert (len(again["images"]), text.count("Frame "), "Frame 5 at 0:00.5:" in text) == (2, 2, True)
    assert text.endswith("Which then?<|im_end|>\n<|im_start|>assistant\n")
    assert done["looks"]["response"][-len(answered) :] == answered  # the second reply is not learnt


def test_a_step_learns_from_a_rollout_that_looks_again(workspace: Path) -> None:
    row = {"id": 1, "video": "0.clip", "question": ASKED, "answer": "1", "stored_reply": WATCH}
    (workspace / "looks.jsonl").write_text(f"{json.dumps(row)}\n")
    line = ("--to", workspace / "data" / "looks", "--format", "prompts", "--frames", 2, "--protocol", TINY / FILE_NAME)
    assert virc("data", "convert", workspace / "looks.jsonl", *line).code == 0
    words = ("--data", "data/looks", "--with", "multi-turn", "--from", "tiny", "--tools", "+watch")
    words = (*words, "--set", "trackers=[]", "--set", "token_weights={stored: {}}")
    run = workspaces.trained(workspace, "tiny", "rl", *words, **RL | {"max_turns": 2})
    traces = [json.loads(file.read_bytes()) for file in (run / "rollouts").glob("step_*/*/trace.json")]
    (looked,) = (trace for trace in traces if any(each["text"] == WATCH for each in trace["messages"]))
    assert [image["place"]["seconds"] for image in looked["images"]][2:] == [0.5, 1.0]
    assert len(traces) == 2


def test_each_stage_takes_a_step_of_clips(workspace: Path) -> None:
    sft = workspaces.trained(workspace, "tiny", "instruct", "--data", "data/sft", **STEP)
    assert 0 < workspaces.losses(sft)[1] < 20
    words = ("--data", "data/prompts", "--with", "multi-turn", "--from", "tiny", "--set", "trackers=[]")
    rl = workspaces.trained(workspace, "tiny", "rl", *words, **RL)
    traces = [json.loads(file.read_bytes()) for file in (rl / "rollouts").glob("step_*/*/trace.json")]
    assert len(traces) == 2
    assert all("frame 1 at 0:00:" in str(trace["messages"]).lower() for trace in traces)  # of one clip or two
