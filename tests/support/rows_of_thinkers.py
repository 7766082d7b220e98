"""Published rows of systems that answer in one reply.

Each function writes three rows below a folder and returns the file.
"""

from pathlib import Path

from support.published import writer
from support.row_files import Row, array, lines, parquet, saved

openvlthinker_sft = writer("openvlthinker_sft")
honeybee = writer("honeybee")
visualwebinstruct = writer("visualwebinstruct")
code_as_thought = writer("code_as_thought")
vicrit = writer("vicrit")
grip_sft = writer("grip_sft")
grip = writer("grip")
vla_r1 = writer("vla_r1")
grit = writer("grit")
perception_r1 = writer("perception_r1")
vlaa_thinking = writer("vlaa_thinking")
star_r1 = writer("star_r1")
skywork_r1v3 = writer("skywork_r1v3")
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
    rows: list[Row] = []
    for at, span in enumerate(([0.0, 0.5], [0.25, 0.75], [0.5, 1.0])):
        asked = {"video": clip(folder, f"videos/{at}.mp4"), "problem": f"When is event {at} in the video?"}
        rows.append({**asked, "solution": span, "dataset": "charades_train"})
    rows[0] |= {"dataset": "activitynet", "video_length": 2.0}
    return array(folder / "train.json", rows)


def framethinker(folder: Path) -> Path:
    """FrameThinker: questions on clips, as its inference reads them."""
    # examples/agent/infer.py, process_single_problem: the columns; its videos are named without their ending
    asked = {"question": "What is on the card at 00:01?\nA. a ball\nB. a number", "answer": "B"}
    rows = [{"video": clip(folder, f"videos/{at}.mp4"), **asked} for at in range(3)]
    return array(folder / "train.json", rows)


def revisor(folder: Path, spans: bool) -> Path:
    """REVISOR: questions on clips with the letter of the right choice, or the span that is asked for."""
    # scripts/datasets/construct_{video_r1,rextime}.py: the columns, and how a question ends
    form = "<think>Your reasoning steps</think><time_interval>[start_time, end_time]</time_interval>"
    asked = f"<video>\nWhat is on the card?\nA. a ball\nB. 7\n The video durations is 2.0 seconds.{form}"
    source, answer = ("temporal_grounding", "[0.5, 1.5]") if spans else ("example", "B")
    rows: list[Row] = []
    for at in range(3):
        prompt = [{"role": "system", "content": "Look again."}, {"role": "user", "content": asked}]
        videos = [{"fps": 1, "type": "video", "video": clip(folder, f"videos/{at}.mp4")}]
        info = {"duration": "2.0", "fps": "30", "id": str(at), "query": "What is on the card?"}
        rows.append({"prompt": prompt, "videos": videos, "data_source": source, "extra_info": info})
        rows[-1]["reward_model"] = {"ground_truth": answer, "style": "math"}
    return parquet(folder / "train.parquet", rows)


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


def video_com_sft(folder: Path) -> Path:
    """Video-CoM, SFT: a segment, a frame and a region of a clip, each behind a step."""
    # train/src/dataset/sft_dataset.py: the columns and media of turns
    rows = []
    for at in range(3):
        seen: list[Row] = [
            {"type": "video", "time_ranges": [{"start": 0.0, "end": 0.5}, {"start": 1.0, "end": 2.0}]},
            {"type": "image", "image": saved(folder, f"frames/{at}.png", at), "bbox": [[14, 14, 98, 98]]},
            {"type": "image", "image": saved(folder, f"crops/{at}.png", at), "bbox": None},
        ]
        said = ["FIND_SEGMENT(a card) = [1, 3]", "FIND_FRAME(the card) = 7", "SPATIAL_ZOOM(it) = [14, 14, 98, 98]",
                f"FINAL_ANSWER: {'ABC'[at]}. {at}"]  # fmt: skip
        asked = ["<video>\nWhat is on the card?", "<video>\nGo on.", "<image>\nGo on.", "<image>\nGo on."]
        turns: list[Row] = [{"from": "human", "value": asked[0], "media": {"type": "video", "frame_list": [7]}}]
        for number, reply in enumerate(said):
            turns.append({"from": "assistant", "value": reply})
            if number < len(seen):
                turns.append({"from": "human", "value": asked[number + 1], "media": seen[number]})
        rows.append({"id": at, "video": clip(folder, f"overlayed_videos/{at}.mp4"), "conversations": turns})
    return array(folder / "train_v4_sft.json", rows)


def video_com_rl(folder: Path) -> Path:
    """Video-CoM, RL: a question on a clip, and right segments, frames and boxes."""
    # train/src/dataset/grpo_dataset.py: the columns
    rows = []
    for at in range(3):
        asked = {"from": "human", "value": "<video>\nWhat is on the card? Options: A. 0 B. 1 C. 2"}
        turns = [asked, {"from": "assistant", "value": f"{'ABC'[at]}. {at}"}]
        steps = {"valid_segments": [1], "valid_frames": [[5, 9]], "valid_bounding_box": [[7, [0, 0, 80, 40]]]}
        rows.append({"id": at, "video": clip(folder, f"overlayed_videos/{at}.mp4"), "conversations": turns, **steps})
    return array(folder / "train_grpo_data.json", rows)
