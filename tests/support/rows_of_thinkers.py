"""Published rows of systems that answer in one reply.

Each function writes three rows below a folder and returns the file.
"""

from pathlib import Path

from support.published import writer
from support.row_files import array

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


def temporal_r1(folder: Path) -> Path:
    """Temporal-R1: clips, and when an event is in each, as shares of its length."""
    # verl/utils/dataset_video.py: the columns, and video_length of clips that are not of Charades
    from extras.video.drawn_clips import written

    rows = []
    for at, span in enumerate(([0.0, 0.5], [0.25, 0.75], [0.5, 1.0])):
        name = folder / "videos" / f"{at}.mp4"
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(written("mp4", frames=60).data)
        row = {"video": f"videos/{at}.mp4", "problem": f"When is event {at} in the video?", "solution": span}
        rows.append({**row, "video_length": 2.0, "dataset": "activitynet"})
    return array(folder / "train.json", rows)
