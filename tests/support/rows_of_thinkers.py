"""Published rows of systems that answer in one reply.

Each function writes three rows below a folder and returns the file.
"""

from pathlib import Path

from support.published import writer
from support.row_files import array, lines

openvlthinker_sft = writer("openvlthinker_sft")
honeybee = writer("honeybee")
code_as_thought = writer("code_as_thought")
vicrit = writer("vicrit")
grip_sft = writer("grip_sft")
grip = writer("grip")
vla_r1 = writer("vla_r1")
grit = writer("grit")
perception_r1 = writer("perception_r1")
vlaa_thinking = writer("vlaa_thinking")
star_r1 = writer("star_r1")
reason_rft_sft = writer("reason_rft_sft")
reason_rft_count = writer("reason_rft_count")
reason_rft_structure = writer("reason_rft_structure")
reason_rft_transform = writer("reason_rft_transform")
curr_reft_reject = writer("curr_reft_reject")
rewardmap = writer("rewardmap")
reasonmap = writer("reasonmap")


def curr_reft(folder: Path, stage: str) -> Path:
    """Curr-ReFT, RL."""
    return writer(f"curr_reft_{stage}")(folder)


def clip(folder: Path, name: str, frames: int = 60) -> str:
    """Draw a clip below a folder, and return its name."""
    from extras.video.drawn_clips import written

    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(written("mp4", frames=frames).data)
    return name


def temporal_r1(folder: Path) -> Path:
    """Temporal-R1: clips, and when an event is in each, as shares of its length."""
    # verl/utils/dataset_video.py: the columns, and video_length of clips that are not of Charades
    rows = []
    for at, span in enumerate(([0.0, 0.5], [0.25, 0.75], [0.5, 1.0])):
        asked = {"video": clip(folder, f"videos/{at}.mp4"), "problem": f"When is event {at} in the video?"}
        rows.append({**asked, "solution": span, "video_length": 2.0, "dataset": "activitynet"})
    return array(folder / "train.json", rows)


def framethinker(folder: Path) -> Path:
    """FrameThinker: questions on clips, as its inference reads them."""
    # examples/agent/infer.py, process_single_problem: the columns; its videos are named without their ending
    asked = {"question": "What is on the card at 00:01?\nA. a ball\nB. a number", "answer": "B"}
    rows = [{"video": clip(folder, f"videos/{at}.mp4"), **asked} for at in range(3)]
    return array(folder / "train.json", rows)


def videorft(folder: Path, name: str) -> Path:
    """VideoRFT: clips with a problem of some kind; those of `CoT` with a thought."""
    # src/r1-v/src/open_r1/sft_video.py and grpo.py: the columns; src/eval_bench.py: `options`
    rows = []
    for at, (kind, answer) in enumerate([("multiple choice", "A"), ("numerical", "7"), ("free-form", "a red ball")]):
        asked = {"problem_id": at, "problem": f"What is on card {at}?", "problem_type": kind, "options": []}
        told = {"process": "<think>It is shown. I see it.</think>"} if name == "CoT" else {}
        place = {"data_type": "video", "path": f"./{clip(folder, f'clips/{at}.mp4')}"}
        rows.append({**asked, **told, "solution": f"<answer>{answer}</answer>", **place})
    return lines(folder / f"VideoRFT-{name}-Data.jsonl", rows)
