"""Published rows of systems that answer in one reply, drawn as `published_rows` does, and replies to teach `tiny`.

Each function writes three rows below a folder and returns the file; where its columns were read, a comment says.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from support.published_rows import NUMBERS, PLACES, SIDE, embedded, parquet, picture, saved
from support.row_files import array, lines

from virc.models.chat_protocol import of_system
from virc.reasoning.protocol import FILE_NAME
from virc.systems import registry as systems

Row = dict[str, Any]
SIZE = (252, 196)  # px, which `tiny` sees as it is
LINES = {"L1": ["A (Transfer Station)", "B", "C"], "L2": ["A", "D（换乘站）"]}
CITY = {"country": "china", "city": "wuhan", "figure": "./maps/0.png", "json": "./stations/china/wuhan.json",
        "city_line_count": 2, "city_transfer_count": 1}  # fmt: skip
QUESTIONS: Sequence[Mapping[str, Any]] = (
    {"type": "TorF1", "question": "Is B on L1? Answer yes or no.", "answer": 1, "difficulty_city": "easy"},
    {"type": "Counting2", "question": "How many stops has L2?", "answer": 2, "difficulty_city": "hard"},
    {"type": "planning", "question": "Plan the way from B to D.", "answer": -1, "difficulty_city": "hard"},
)

REASONMAP: Sequence[Mapping[str, Any]] = (
    {"country": "china", "city": "wuhan", "station_1": "甲站", "station_2": "丁站",
     "question_long": "甲站 to 丁站, with Via Stops?",
     "routes": {"1": [{"route_name": "地铁1号线(甲--丁)", "departure_stop": "甲", "arrival_stop": "丁",
                       "via_stops": ["乙", "丙"], "num_via_stops": 2}]},
     "json": {"Line 1": ["甲站", "乙站（换乘站）", "丙站", "丁站"]}},
    {"country": "china", "city": "wuhan", "station_1": "甲站", "station_2": "丙站",
     "question_long": "甲站 to 丙站, with Number of Via Stops:?",
     "routes": {"1": [{"route_name": "地铁1号线", "departure_stop": "甲", "arrival_stop": "丙", "num_via_stops": 1}]},
     "json": {"Line 1": ["甲站", "乙站（换乘站）", "丙站", "丁站"]}},
    {"country": "italy", "city": "rome", "station_1": "Alba Station", "station_2": "Duomo Station",
     "question_long": "Alba Station to Duomo Station, with Number of Via Stops:?",
     "routes": {"1": [{"route_name": "Metro B1", "departure_stop": "Alba", "arrival_stop": "Duomo",
                       "num_via_stops": 4}]},
     "json": {"Line B": ["Alba Station", "Duomo Station (Transfer Station)"]}},
)  # fmt: skip
"""Rows of ReasonMap without what all of them have; each has two questions."""
HELD = {
    "Where to hold it? In <output>.": '{"x": 0.5, "y": 0.5, "width": 0.2, "height": 0.4}',
    "Which way up? In <output>.": "[[0.5, 0.9], [0.5, 0.1]]",
    "Which way right? In <output>.": "[[0.1, 0.5], [0.5, 0.5], [0.9, 0.5]]",
}
"""Questions of VLA-R1, and their answers."""


GRIT = {
    "How many squares are there?": ("tallyqa", 1),
    "How many numbers are there?": ("tallyqa", 2),
    "Is the square left of the number?": ("vsr", "yes"),
}
"""Questions of GRIT, the set that each is of, and the right answer."""

PERCEIVED = tuple(f"Which number is in square {at}?" for at in range(len(NUMBERS)))
"""Questions of Perception-R1."""

CURR_REFT: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "judge": {
        "detection": ("Is the square at [14, 14, 98, 98]?", "yes"),
        "classify": ("Is there a dog?", "no"),
        "math": ("Is 47 the number?", "yes"),
    },
    "choice": {
        "detection": ("Where is the square? A: [14, 14, 98, 98] B: [1, 1, 9, 9]", "A"),
        "classify": ("What is there? A: a square B: a dog C: a number", "A, C"),
        "math": ("Which number is it? A: 12 B: 85", "B"),
    },
    "open": {
        "detection": ("Where is the square?", "{'Position': [14, 14, 98, 98]}"),
        "classify": ("What is there?", "square, number"),
        "math": ("Which option has the number?", "B"),
    },
}
"""Problems of Curr-ReFT by stage and task, with the right answer."""

VICRIT = {"a red square": "a green square", "one square": "two squares", "the upper half": "the lower half"}
"""Phrases of captions of ViCrit, and what they were made."""

GRIP = {f"What is in the square {at}?": number for at, number in enumerate(NUMBERS)}
"""Questions of GRiP, and their answers."""

CHARTS = (("7", "high", "a\n4\n7"), ("4", "low", ""), ("7", "high", "a\n4\n9"))
"""Of each chart of Code-as-Thought the answer, whether code suits it, and its table."""


def openvlthinker_sft(folder: Path) -> Path:
    """OpenVLThinker, supervised: a JSON array of conversations."""
    # yihedeng9/OpenVLThinker, train/llama-factory/README.md, Custom Data Preparation, and data/dataset_info.json
    rows = []
    for at, number in enumerate(NUMBERS):
        told = f"<think>\nIt is {number}.\n</think>\n\nIt says {number}.\n\n<answer>{number}</answer>"
        messages = _talk(f"<image>Which number is in square {at}?", told, ("content", "role"))
        rows.append({"messages": messages, "images": [drawn(folder, f"images/{at}.png", at)]})
    return array(folder / "sft.json", rows)


def _talk(asked: str, told: str, keys: Sequence[str] = ("role", "content")) -> list[Row]:
    """A question and its reply, whose keys come in the published order."""
    turns: tuple[Row, ...] = ({"role": "user", "content": asked}, {"role": "assistant", "content": told})
    return [{key: turn[key] for key in keys} for turn in turns]


def rewardmap(folder: Path) -> Path:
    """RewardMap: a set as `datasets` saves it, with a question of each kind on one map, and the file with its lines."""
    # fscdc/RewardMap, utils/download_dataset.py and verl/utils/rl_dataset.py, RLHFDataset: the set; the same and
    # verl/workers/reward/custom.py: the columns; `_figure_to_pil` and README.md: what figures are called
    drawn(folder / "train", "maps/0.png", 0)
    array(folder / "train" / "stations" / "china" / "wuhan.json", LINES)
    ways = {"station_1": "B", "station_2": "D", "question_transfer_count": 1}
    return saved(folder, [{**CITY, **ways, **each} for each in QUESTIONS])


def reasonmap(folder: Path) -> Path:
    """ReasonMap: parquet whose rows have two questions, a picture in base64, and null for lines of other maps."""
    # fscdc/ReasonMap, main.py, the loop over `dataset`: the columns; tools.py, base64_to_image: the picture
    rows = []
    for at, row in enumerate(REASONMAP):
        figure = base64.b64encode((folder / drawn(folder, f"{at}.png", at)).read_bytes()).decode()
        (folder / f"{at}.png").unlink()
        hard = {"difficulty_city": "easy", "difficulty_question": "hard", "question_transfer_count": 0}
        rows.append({**row, "figure": figure, **hard, "question_short": f"{row['station_1']} to {row['station_2']}?"})
    return parquet(folder / "reasonmap-validation.parquet", rows)


def vlaa_thinking(folder: Path) -> Path:
    """VLAA-Thinking, RL: a number, a box and a letter, each with a solution that is not learnt here."""
    # UCSC-VLAA/VLAA-Thinking, README.md, Examples: the columns, ids and answers; the box: assets/mixed_reward.png
    asked = {
        "clevr_math-CLEVR_train_0.png": ("How many squares are there?", 1),
        "vg-0.png": ("Where is the square?", "[0.1, 0.2, 0.5, 0.6]"),
        "geoqa170k-geoqa_plus-0-1": ("Which is it?\nChoices:\nA: a square\nB: a circle", "A"),
    }
    rows = []
    for name, (question, right) in asked.items():
        source, _, rest = name.partition("-")
        row = {"id": name, "image": drawn(folder, f"{source}/{rest.removesuffix('.png')}.png", 0), "question": question}
        rows.append(row | {"gt": right, "ds_answer": "<think>Look.</think>", "caption": "", "meta": {"rationale": ""}})
    return array(folder / "VLAA-Thinking-GRPO-25K.json", rows)


def star_r1(folder: Path) -> Path:
    """STAR-R1: two pictures, and which objects changed; of no publication but the form of a change."""
    rows = []
    for at, right in enumerate(("2.color.red", "0.color.blue, 1.color.red", "1.color.blue")):
        images = [drawn(folder, f"images/{at}-{when}.png", at) for when in (0, 1)]
        rows.append({"id": str(at), "images": images, "question": f"What changed in scene {at}?", "answer": right})
    return array(folder / "changes.json", rows)


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


def honeybee(folder: Path) -> Path:
    """HoneyBee: parquet of questions with the path of a picture, and a caption, a thought and a box."""
    # facebook/HoneyBee, README.md, Data Explanation: the columns, and what `cot` is made of
    rows = []
    for at, number in enumerate(NUMBERS):
        told = f"<caption> The number {number}. </caption><think> It is {number}. </think>\\boxed{{{number}}}"
        row = {"q_source": "ViRL", "q_id": f"v{at}", "image_path": drawn(folder, f"images/{at}.png", at)}
        rows.append({**row, "question": f"Which number is in square {at}?", "cot": told})
    return parquet(folder / "train-00000-of-00001.parquet", rows)


def code_as_thought(folder: Path) -> Path:
    """Code-as-Thought: charts with their tables, and whether code suits the question; of no publication."""
    rows = [
        {"image": drawn(folder, f"images/{at}.png", at), "question": f"Which value is at {at}?", "answer": right,
         "programmability": suits, "csv": table}
        for at, (right, suits, table) in enumerate(CHARTS)
    ]  # fmt: skip
    return array(folder / "charts.json", rows)


def vicrit(folder: Path) -> Path:
    """ViCrit: a shard of parquet; of each row the picture's name, both captions, and where they differ."""
    # zyang39/ViCrit-Train, README.md: the columns; problem, which is not shown there, is the caption in a prompt here
    rows = []
    for at, (true, wrong) in enumerate(VICRIT.items()):
        told, changed = (f"Picture {at} has a number in {each}." for each in (true, wrong))
        row = {"image_path": drawn(folder, f"{at}.png", at), "problem": f"<image>Description: {changed}"}
        row |= {"original_caption": told, "changed_caption": changed}
        rows.append({**row, "solution_original": true, "solution_target": wrong})
    return parquet(folder / "train-00000-of-00005.parquet", rows)


def grip_sft(folder: Path) -> Path:
    """GRiP, supervised: a JSON array of conversations whose thoughts have boxes; of no publication."""
    rows = []
    for at, (question, number) in enumerate(GRIP.items()):
        told = f"<think>The square <box>{square(at)}</box> says it.</think><answer>{number}</answer>"
        images = [drawn(folder, f"images/{at}.png", at)]
        rows.append({"messages": _talk(f"<image>{question}", told), "images": images})
    return array(folder / "traces.json", rows)


def grip(folder: Path) -> Path:
    """GRiP, RL: the boxes of what matters, and the salience of each in one row; of no publication."""
    rows = []
    for at, (question, number) in enumerate(GRIP.items()):
        row = {"id": str(at), "image": drawn(folder, f"images/{at}.png", at), "question": question, "answer": number}
        rows.append(row | {"boxes": [square(at)]})
    rows[2] |= {"boxes": [square(2), square(0)], "salience": [3, 1]}
    return array(folder / "boxes.json", rows)


def square(at: int) -> list[int]:
    """The box of the square in a picture."""
    left, top = PLACES[at]
    return [left, top, left + SIDE, top + SIDE]


def vla_r1(folder: Path) -> Path:
    """VLA-R1: a JSON array of conversations: a box to hold, and two paths, each in shares of the sides."""
    # GigaAI-research/VLA-R1, RFT_training/train_utils/sharegpt_to_parquet.py: the columns; scripts/inference.py: how a
    # box and a path are asked for; robot_bbox_traj_norm.py: a reply
    rows = []
    for at, (asked, right) in enumerate(HELD.items()):
        told = f"<think>Look.</think>\n<output>{right}</output>"
        turns = [("human", f"{asked}\n<image>"), ("gpt", told)]
        conversations = [{"from": role, "value": value} for role, value in turns]
        rows.append({"image": drawn(folder, f"images/{at}.png", at), "conversations": conversations})
    return array(folder / "train.json", rows)


def grit(folder: Path) -> Path:
    """GRIT: JSON lines of numbers to count and of a sentence about places."""
    # eric-ai-lab/GRIT, grpo-gr/relationReasoningDataset.py: the columns, a row, and that answers may be numbers
    rows = []
    for at, (question, (name, right)) in enumerate(GRIT.items()):
        row = {"question": question, "answer": right, "image": drawn(folder, f"{at}.png", at), "width": SIZE[0]}
        rows.append(row | {"height": SIZE[1], "bboxs": [], "dataset": name, "split": "train"})
    return lines(folder / "train_3.jsonl", rows)


def perception_r1(folder: Path) -> Path:
    """Perception-R1: parquet of EasyR1 with the facts of the picture, of which the last row has none."""
    # tongxiao2002/Perception-R1, verl/utils/dataset.py, __getitem__, and examples/default_config.yaml: the columns;
    # verl/utils/reward_score/math_with_visual.py, system_prompt: the facts
    facts = [*(f"<info1>{number}</info1>\n<info2>square</info2>" for number in NUMBERS[:-1]), None]
    rows = [
        {"images": [embedded(at)], "problem": f"<image>{question}", "answer": number, "visual_key_info": facts[at]}
        for at, (question, number) in enumerate(zip(PERCEIVED, NUMBERS, strict=True))
    ]
    return parquet(folder / "geo3k_with_visual_key_info.parquet", rows)


def reason_rft_sft(folder: Path) -> Path:
    """Reason-RFT, supervised: a JSON array of conversations, each with its prompt around the problem."""
    # tanhuajie/Reason-RFT, README.md, Dataset Preparation, 2, and train/stage_sft/data/dataset_info.json
    rows = []
    for at, number in enumerate(NUMBERS):
        asked = (
            f"<image>Which number is in square {at}? Output the thinking process in <think> </think> and final answer"
        )
        told = f"<think>\nIt is {number}.\n</think>\n<answer>\n{number}\n</answer>"
        messages = _talk(f"{asked} (number) in <answer> </answer> tags.", told, ("content", "role"))
        rows.append({"id": f"clevr-{at}", "image": drawn(folder, f"images/{at}.png", at), "messages": messages})
    return array(folder / "clevr-math-cot-sft.json", rows)


def reason_rft_count(folder: Path) -> Path:
    """Reason-RFT, RL on counting: one picture."""
    # tanhuajie/Reason-RFT, README.md, Dataset Preparation, 3; train/stage_rl/grpo.py, make_conversation
    return _reason_rft(folder / "clevr-math-train.json", {"How many squares are there?": "1", "How many are red?": "0"})


def reason_rft_structure(folder: Path) -> Path:
    """Reason-RFT, RL on structure: choices and numbers; `answer` is there too, by which the program takes a prompt."""
    asked = {"Which is it? A. a square B. a circle": "A", "How long is AB?": "2.5"}
    return _reason_rft(folder / "geomath-train.json", asked, twice=True)


def reason_rft_transform(folder: Path) -> Path:
    """Reason-RFT, RL on changes of objects: two pictures, and the objects in the problem."""
    objects = "The attributes are [('0', 'cube', 'small', 'red', 'glass')]. What changed"
    asked = {f"{objects}?": "change_color(0, 'blue')",
             f"{objects} first?": "change_size(0, 'large'), change_color(0, 'blue')"}  # fmt: skip
    return _reason_rft(folder / "trance-train.json", asked, pictures=2)


def _reason_rft(file: Path, asked: Mapping[str, str], pictures: int = 1, twice: bool = False) -> Path:
    """Rows of RL as Reason-RFT has them; the last of three is the first problem once more, with another `id`."""
    rows = []
    for at, (problem, solution) in enumerate([*asked.items(), *[*asked.items()][:1]]):
        images = [drawn(file.parent, f"images/{at}-{number}.png", number) for number in range(pictures)]
        row = {"id": f"{file.stem}-{at}", "image": images if pictures > 1 else images[0]}
        again = {"answer": solution} if twice else {}
        rows.append(row | {"problem": problem if at < 2 else f"{problem} Look again.", "solution": solution} | again)
    return array(file, rows)


def curr_reft(folder: Path, stage: str) -> Path:
    """Curr-ReFT, RL: JSON lines of a box, names and mathematics, to be judged, chosen or answered."""
    # ding523/Curr_REFT, Evaluation&Data_Usage.md, Data Format: the columns, and the marks of solutions
    rows = []
    for at, (task, (question, right)) in enumerate(CURR_REFT[stage].items()):
        solution = f"{'<thinking>Look.</thinking>' * (stage == 'open')}<answer>{right}</answer>"
        image = drawn(folder, f"images/{at}.png", at)
        rows.append({"image": image, "problem": question, "solution": solution, "task": task})
    return lines(folder / f"{stage}_train.jsonl", rows)


def curr_reft_reject(folder: Path) -> Path:
    """Curr-ReFT, its own best replies: JSON lines of conversations."""
    # ding523/Curr_REFT, Evaluation&Data_Usage.md, Rejected Sample based Self-improvement Data, Data Format; `images` as
    # ms-swift 3.2 has them beside `messages`
    rows = []
    for at, number in enumerate(NUMBERS):
        told = f"<think>It is {number}.</think><answer>{number}</answer>"
        messages = _talk(f"<image>Which number is in square {at}?", told)
        rows.append({"messages": messages, "images": [drawn(folder, f"images/{at}.png", at)]})
    return lines(folder / "cat_all_formatted.jsonl", rows)


def taught(folder: Path, system: str, replies: Mapping[str, Sequence[str]], pictures: Sequence[int] = ()) -> Path:
    """Every question with each of its replies, in the words of a system: they teach how answers are written there.

    Args:
        pictures: how many each question has; empty: one.
    """
    spoken = of_system(systems.get(system))
    image = drawn(folder, "images/0.png", 0)
    (folder / FILE_NAME).write_bytes(msgspec.json.encode(spoken))

    def rows() -> Iterator[Row]:
        for (question, said), count in zip(replies.items(), pictures or [1] * len(replies), strict=True):
            around = spoken.first_around(question)
            shown = "\n".join(["<image>"] * count)
            around = around if "{images}" in around else f"{{images}}{around}"
            first = around.replace("{images}", shown).replace("{question}", question)
            for number, reply in enumerate(said):
                told = {"system": spoken.system, "user": first, "assistant": reply}
                messages = [{"role": role, "content": content} for role, content in told.items()]
                yield {"id": f"{question}-{number}", "messages": messages, "images": [image] * count}

    return array(folder / "taught.json", [*rows()])


def drawn(folder: Path, name: str, at: int) -> str:
    """The name of a picture that is drawn in a folder."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    picture(at).resize(SIZE).save(file)
    return name
