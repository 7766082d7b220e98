"""Three rows of public datasets in the layout in which each is published; their content is our own.

Each function writes them below a folder and returns the path that a user names.
"""

import base64
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from support.published_rows import embedded, parquet
from support.row_files import Row, array, asked, lines, png, saved

Writer = Callable[[Path], Path]
LETTERS = ("A", "B", "C", "D")
COLOURS = ("red", "green", "blue", "grey")
AT = range(3)


class Case(NamedTuple):
    """A layout: who publishes it, and what virc makes of it.

    Args:
        source: where its columns are published.
        write: writes three rows.
        outcome: `read`: without a layout; `proposed`: by the one that `virc data layout` writes; `yaml`: by that in
            `yaml`; `refused`: with a message that holds `yaml`.
        answers: of the three rows, as they are read.
        pictures: of each row.
        fields: names of further fields that rows have.
    """

    name: str
    source: str
    write: Callable[[Path], Path]
    outcome: str = "read"
    yaml: str = ""
    answers: Sequence[str | None] = COLOURS[:3]
    pictures: int = 1
    fields: tuple[str, ...] = ()


def text64(at: int) -> str:
    return base64.b64encode(png(at)).decode()


def table(file: Path, rows: Sequence[Row], mark: str = "\t") -> Path:
    cells = [rows[0].keys(), *(row.values() for row in rows)]
    file.write_text("\n".join(mark.join(map(str, row)) for row in cells) + "\n")
    return file


def talk(at: int, mark: str = "<image>\n", reply: str = "It is {}.") -> list[Row]:
    return [{"from": "human", "value": mark + asked(at)}, {"from": "gpt", "value": reply.format(COLOURS[at])}]


def form(write: Callable[[Path, Sequence[Row]], Path], name: str, row: Callable[[Path, int], Row]) -> Writer:
    """What writes three rows of a form into a file of that name."""
    return lambda folder: write(folder / name, [row(folder, at) for at in AT])


def keyed(file: Path, rows: Sequence[Row]) -> Path:
    return array(file, {str(at): row for at, row in enumerate(rows)})


def comma(file: Path, rows: Sequence[Row]) -> Path:
    return table(file, rows, ",")


def under(name: str, **more: Any) -> Callable[[Path, Sequence[Row]], Path]:
    """What writes rows as the list of that name in an object with further values."""
    return lambda file, rows: array(file, {**more, name: rows})


llava = form(array, "llava_instruct_150k.json", lambda folder, at: {
    "id": f"00{at}", "image": saved(folder, f"{at:012}.jpg", at), "conversations": talk(at)})  # fmt: skip
llava_cot = form(lines, "train.jsonl", lambda folder, at: {
    "id": f"sqa/{at}", "image": saved(folder, f"sqa/train/{at}/image.png", at),
    "conversations": talk(at, "", "<SUMMARY> a </SUMMARY>\n\n<CONCLUSION> {} </CONCLUSION>")})  # fmt: skip
sharegpt4v = form(array, "sharegpt4v.json", lambda folder, at: {
    "id": at, "image": saved(folder, f"coco/{at}.jpg", at), "conversations": talk(at)})  # fmt: skip
llava_next_several = form(array, "m4_instruct.json", lambda folder, at: {
    "id": at, "image": [saved(folder, f"a/{at}.jpg", at), saved(folder, f"b/{at}.jpg", at)],
    "conversations": talk(at, "<image><image>\n")})  # fmt: skip
mathv360k = form(array, "train_samples_all_tuning.json", lambda folder, at: {
    "id": f"identity_{at}", "image": saved(folder, f"images/{at}.jpg", at), "conversations": [
        {"from": "human", "value": "<image>Hint: Provide the final answer at the end.\nQuestion: how many?\nChoices:\n"
                                   "(A) 1\n(B) 2"},
        {"from": "gpt", "value": "The answer is B"}]})  # fmt: skip
mathvision_hub = form(parquet, "test-00000-of-00001.parquet", lambda folder, at: {
    "id": str(at), "question": f"{asked(at)}\n<image1>", "options": list(COLOURS), "image": f"images/{at}.jpg",
    "decoded_image": embedded(at), "answer": LETTERS[at], "solution": None, "level": 2,
    "subject": "counting"})  # fmt: skip


def mathvision(folder: Path) -> Path:
    for at in AT:
        saved(folder, f"images/{at}.jpg", at)
    return mathvision_hub(folder)


mathvista = form(parquet, "testmini.parquet", lambda folder, at: {
    "pid": str(at), "question": asked(at), "image": f"images/{at}.jpg", "decoded_image": embedded(at),
    "choices": list(COLOURS), "unit": None, "precision": None, "answer": COLOURS[at], "question_type": "multi_choice",
    "answer_type": "text", "metadata": {"category": "math", "context": "synthetic", "img_width": 252},
    "query": f"Hint: pick.\n{asked(at)}"})  # fmt: skip
mmmu = form(parquet, "validation-00000-of-00001.parquet", lambda folder, at: {
    "id": f"validation_Art_{at}", "question": f"<image 1> and <image 2>: {asked(at)}", "options": str([*COLOURS]),
    "explanation": "", "image_1": embedded(at), "image_2": embedded(at), "image_3": None, "img_type": "['x']",
    "answer": LETTERS[at], "topic_difficulty": "Easy", "question_type": "multiple-choice",
    "subfield": "Art"})  # fmt: skip
hr_bench = form(table, "hr_bench_4k.tsv", lambda folder, at: {
    "index": at, "image": text64(at), "question": asked(at), "answer": LETTERS[at],
    **dict(zip(LETTERS, COLOURS, strict=True)), "category": "single", "cycle_category": 0})  # fmt: skip
hr_bench_hub = form(parquet, "hr_bench_4k.parquet", lambda folder, at: {
    "index": at, "image": text64(at), "question": asked(at), "answer": LETTERS[at], "category": "single",
    **dict(zip(LETTERS, COLOURS, strict=True)), "cycle_category": "0"})  # fmt: skip
mmbench = form(table, "mmbench_dev_en.tsv", lambda folder, at: {
    "index": at, "question": asked(at), "hint": "Look well." if at else "",
    **dict(zip(LETTERS, (*COLOURS[:3], ""), strict=True)), "answer": LETTERS[at], "category": "colour",
    "image": text64(at), "source": "x", "l2-category": "y", "comment": "", "split": "dev"})  # fmt: skip
mmbench_turned = form(table, "MMBench_DEV_EN.tsv", lambda folder, at: {
    "index": at + 1_000_000 * (at == 2), "question": asked(at), "hint": "",
    **dict(zip(LETTERS, (*COLOURS[:3], ""), strict=True)), "answer": LETTERS[at], "category": "colour",
    "image": "1" if at == 2 else text64(at), "source": "x", "l2-category": "y", "split": "dev"})  # fmt: skip
mmmu_tsv = form(table, "MMMU_DEV_VAL.tsv", lambda folder, at: {
    "index": at, "question": f"{asked(at)} <image 1> <image 2>", **dict(zip(LETTERS, COLOURS, strict=True)),
    "answer": LETTERS[at], "image": str([text64(at), text64((at + 1) % 3)]),
    "image_path": str([f"{at}_1.jpg", f"{at}_2.jpg"]), "split": "validation", "l2-category": "x"})  # fmt: skip
scienceqa = form(parquet, "train-00000-of-00001.parquet", lambda folder, at: {
    "image": embedded(at), "question": asked(at), "choices": list(COLOURS[:3]), "answer": at, "hint": "",
    "task": "closed", "grade": "grade2", "subject": "nature", "topic": "x", "category": "x", "skill": "x",
    "lecture": "", "solution": "So."})  # fmt: skip
scienceqa_json = form(keyed, "problems.json", lambda folder, at: {
    "question": asked(at), "choices": list(COLOURS[:3]), "answer": at, "hint": "",
    "image": Path(saved(folder, f"train/{at}/image.png", at)).name, "task": "closed choice",
    "split": "train"})  # fmt: skip
docvqa = form(under("data", dataset_name="SP-DocVQA", dataset_version="1.0"), "val_v1.0.json", lambda folder, at: {
    "questionId": at, "question": asked(at), "question_types": ["form"], "docId": at, "ucsf_document_id": "x",
    "image": saved(folder, f"documents/{at}.png", at), "answers": [COLOURS[at], COLOURS[at].upper()],
    "data_split": "val"})  # fmt: skip
docvqa_hub = form(parquet, "validation-00000-of-00001.parquet", lambda folder, at: {
    "questionId": str(at), "question": asked(at), "question_types": ["form"], "image": embedded(at), "docId": at,
    "ucsf_document_id": "x", "answers": [COLOURS[at], COLOURS[at].upper()], "data_split": "val"})  # fmt: skip
infographic = form(under("data", dataset_name="infographicVQA"), "infographicsVQA_val.json", lambda folder, at: {
    "questionId": at, "question": asked(at), "image_local_name": saved(folder, f"images/{at}.jpeg", at)[7:],
    "image_url": "http://x/y.jpeg", "ocr_output_file": "x.json", "answers": [COLOURS[at]],
    "data_split": "val"})  # fmt: skip
chartqa = form(array, "test_human.json", lambda folder, at: {
    "imgname": saved(folder, f"png/{at}.png", at)[4:], "query": asked(at), "label": COLOURS[at]})  # fmt: skip
chartqa_hub = form(parquet, "train-00000-of-00003.parquet", lambda folder, at: {
    "image": embedded(at), "query": asked(at), "label": [COLOURS[at]], "human_or_machine": 0})  # fmt: skip
geometry3k = form(parquet, "train-00000-of-00001.parquet", lambda folder, at: {
    "images": [embedded(at)], "problem": f"<image>{asked(at)}", "answer": COLOURS[at]})  # fmt: skip
geoqa = form(parquet, "train-00000-of-00001.parquet", lambda folder, at: {
    "image": embedded(at), "problem": asked(at), "solution": f"<answer> {COLOURS[at]} </answer>"})  # fmt: skip
ai2d = form(parquet, "test-00000-of-00001.parquet", lambda folder, at: {
    "image": embedded(at), "question": asked(at), "options": list(COLOURS), "answer": str(at)})  # fmt: skip
textvqa = form(under("data", dataset_type="val"), "TextVQA_0.5.1_val.json", lambda folder, at: {
    "question": asked(at), "image_id": saved(folder, f"train_images/abc{at}.jpg", at)[13:-4], "image_classes": ["x"],
    "flickr_original_url": "http://x", "image_width": 252, "image_height": 196,
    "answers": [COLOURS[at]] * 7 + ["gray"] * 3, "question_id": at, "set_name": "val"})  # fmt: skip
vqav2_hub = form(parquet, "validation-00000-of-00068.parquet", lambda folder, at: {
    "question_type": "which", "multiple_choice_answer": COLOURS[at], "image_id": at, "answer_type": "other",
    "answers": [*({"answer": COLOURS[at], "answer_confidence": "yes", "answer_id": each} for each in range(1, 10)),
                {"answer": "gray", "answer_confidence": "no", "answer_id": 10}],
    "question_id": at, "question": asked(at), "image": embedded(at)})  # fmt: skip
vqav2_questions = form(
    under("questions", info={"year": 2017}, task_type="Open-Ended"), "v2_OpenEnded_mscoco_val2014_questions.json",
    lambda folder, at: {"image_id": int(saved(folder, f"val2014/COCO_val2014_{at + 7:012}.jpg", at)[21:-4]),
                        "question": asked(at), "question_id": (at + 7) * 1000})  # fmt: skip
gqa = form(keyed, "val_balanced_questions.json", lambda folder, at: {
    "semantic": [{"operation": "select", "dependencies": [], "argument": "square"}], "entailed": [], "equivalent": [],
    "question": asked(at), "imageId": saved(folder, f"images/238{at}.jpg", at)[7:-4], "isBalanced": True,
    "answer": COLOURS[at], "fullAnswer": f"It is {COLOURS[at]}.",
    "annotations": {"answer": {}, "question": {}}})  # fmt: skip
refcoco = form(parquet, "val-00000-of-00001.parquet", lambda folder, at: {
    "question_id": str(at), "image": embedded(at), "question": "Provide the region.", "answer": ["the square", "it"],
    "segmentation": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "bbox": [14.0, 14.0, 84.0, 84.0], "iscrowd": 0,
    "file_name": f"COCO_train2014_{at}.jpg"})  # fmt: skip


def coco(folder: Path) -> Path:
    content = {
        "info": {"year": 2017},
        "licenses": [{"id": 1}],
        "images": [
            {"id": at, "file_name": saved(folder, f"val2017/{at:012}.jpg", at)[8:], "width": 252, "height": 196}
            for at in AT
        ],
        "annotations": [
            {
                "id": at,
                "image_id": at,
                "category_id": 3,
                "bbox": [14.0, 14.0, 84.0, 80.0],
                "area": 1.0,
                "iscrowd": 0,
                "segmentation": [[1.0, 2.0]],
            }
            for at in AT
        ],
        "categories": [{"id": 3, "name": "square", "supercategory": "shape"}],
    }
    return array(folder / "instances_val2017.json", content)


def coco_captions(folder: Path) -> Path:
    content = {
        "images": [{"id": at, "file_name": saved(folder, f"val2017/{at:012}.jpg", at)[8:]} for at in AT],
        "annotations": [{"id": at, "image_id": at, "caption": f"A {COLOURS[at]} square."} for at in AT],
    }
    return array(folder / "captions_val2017.json", content)


visual7w = form(under("images", dataset="v7w"), "dataset_v7w_telling.json", lambda folder, at: {
    "filename": saved(folder, f"images/v7w_{at}.jpg", at)[7:], "image_id": at, "split": "train",
    "qa_pairs": [{"qa_id": at, "question": asked(at), "answer": COLOURS[at], "multiple_choices": ["x", "y", "z"],
                  "type": "which"}]})  # fmt: skip
ocrbench = form(parquet, "test-00000-of-00001.parquet", lambda folder, at: {
    "dataset": "x", "question": asked(at), "question_type": "Regular", "answer": [COLOURS[at], "x"],
    "image": embedded(at)})  # fmt: skip
mmstar = form(parquet, "mmstar.parquet", lambda folder, at: {
    "index": at, "question": f"{asked(at)}\nOptions: A: red, B: green, C: blue, D: grey",
    "image": {"bytes": png(at), "path": None}, "answer": LETTERS[at], "category": "x", "l2_category": "y",
    "meta_info": {"source": "z", "split": "v", "image_path": "x.jpg"}})  # fmt: skip
vstar = form(lines, "test_questions.jsonl", lambda folder, at: {
    "image": saved(folder, f"direct_attributes/{at}.jpg", at), "text": f"{asked(at)}\n(A) red\n(B) green\n(C) blue",
    "category": "direct_attributes", "question_id": at, "label": LETTERS[at]})  # fmt: skip
blink = form(parquet, "val-00000-of-00001.parquet", lambda folder, at: {
    "idx": f"val_{at}", "question": asked(at), "sub_task": "Counting", "image_1": embedded(at), "image_2": embedded(at),
    "image_3": None, "image_4": None, "choices": list(COLOURS), "answer": f"({LETTERS[at]})",
    "prompt": f"{asked(at)} Select from the following choices.\n(A) red", "explanation": ""})  # fmt: skip
charxiv = form(parquet, "val.parquet", lambda folder, at: {
    "category": "cs", "year": "20", "original_figure_path": "x.jpg", "original_id": "1", "figure_path": "y.jpg",
    "num_subplots": 1, "subplot_row": 0, "subplot_col": 0, "subplot_loc": None, "reasoning_q_source": 1,
    "reasoning_q": asked(at), "reasoning_a": COLOURS[at], "reasoning_a_type": 1, "descriptive_q1": 3,
    "descriptive_q2": 4, "descriptive_q3": 5, "descriptive_q4": 6, "descriptive_a1": "x", "descriptive_a2": "y",
    "descriptive_a3": "z", "descriptive_a4": "w", "image": embedded(at)})  # fmt: skip
mathverse = form(parquet, "testmini.parquet", lambda folder, at: {
    "sample_index": str(at), "problem_index": "1", "problem_version": "Text Dominant", "question": asked(at),
    "image": embedded(at), "answer": LETTERS[at], "question_type": "multi-choice",
    "metadata": {"split": "testmini", "source": "x", "subject": "y", "subfield": "z"},
    "query_wo": f"Please answer.\n{asked(at)}", "query_cot": f"Please reason.\n{asked(at)}",
    "question_for_eval": asked(at)})  # fmt: skip
we_math = form(parquet, "testmini-00000-of-00001.parquet", lambda folder, at: {
    "ID": f"W{at}", "split": "testmini", "knowledge concept": "area", "question": asked(at),
    "option": "A. red; B. green; C. blue; D. grey", "answer": LETTERS[at], "image_path": embedded(at),
    "key": "one_step", "question number": at, "knowledge concept description": "x"})  # fmt: skip
m3cot = form(parquet, "train-00000-of-00005.parquet", lambda folder, at: {
    "id": f"physical-{at}", "category": "x", "image_id": f"physical-{at}", "question": asked(at),
    "choices": list(COLOURS), "context": "", "answer": LETTERS[at], "rationale": "So.", "split": "train",
    "image": embedded(at), "domain": "x", "topic": "y"})  # fmt: skip
visual_cot = form(lines, "flickr30k_cot_train.jsonl", lambda folder, at: {
    "question": asked(at), "answer": COLOURS[at],
    "image": [saved(folder, f"cot/flickr30k/{at}.jpg", at), f"cot/flickr30k/{at}.jpg###[14, 14, 98, 98]"],
    "dataset": "flickr30k", "split": "train"})  # fmt: skip
visual_cot_talk = form(array, "viscot_363k.json", lambda folder, at: {
    "id": at, "image": [saved(folder, f"cot/{at}.jpg", at), f"cot/{at}.jpg###[14, 14, 98, 98]"],
    "conversations": [
        {"from": "human", "value": f"<image>\n{asked(at)} Please provide the bounding box."},
        {"from": "gpt", "value": "[0.056, 0.122, 0.389, 0.5]"}, {"from": "human", "value": "<image>"},
        {"from": "gpt", "value": COLOURS[at]}]})  # fmt: skip
clevr = form(under("questions", info={"split": "val"}), "CLEVR_val_questions.json", lambda folder, at: {
    "question_index": at, "image_filename": saved(folder, f"images/val/CLEVR_val_{at:06}.png", at)[11:],
    "question": asked(at), "answer": COLOURS[at], "split": "val", "image_index": at, "question_family_index": 1,
    "program": [{"inputs": [], "function": "scene", "value_inputs": []}]})  # fmt: skip
tallyqa = form(array, "test.json", lambda folder, at: {
    "answer": at + 1, "data_source": "imported_genome", "image": saved(folder, f"VG_100K/{at}.jpg", at), "image_id": at,
    "question": "How many squares?", "question_id": at, "issimple": True})  # fmt: skip
tallyqa_cauldron = form(parquet, "train-00000-of-00027.parquet", lambda folder, at: {
    "images": [embedded(at)],
    "texts": [{"user": asked(at), "assistant": COLOURS[at], "source": "TallyQA"}]})  # fmt: skip
okvqa = form(parquet, "val2014-00000-of-00002.parquet", lambda folder, at: {
    "image": embedded(at), "question_id": str(at), "question": asked(at), "answers": [COLOURS[at]] * 9 + ["gray"],
    "question_type": "x", "answer_type": "other"})  # fmt: skip
aokvqa = form(parquet, "validation-00000-of-00001.parquet", lambda folder, at: {
    "image": embedded(at), "question_id": f"q{at}", "question": asked(at), "choices": list(COLOURS),
    "correct_choice_idx": at, "direct_answers": str([COLOURS[at]] * 10), "difficult_direct_answer": False,
    "rationales": ["So.", "So it is.", "Yes."]})  # fmt: skip
vizwiz = form(array, "val.json", lambda folder, at: {
    "image": saved(folder, f"val/VizWiz_val_{at}.jpg", at)[4:], "question": asked(at),
    "answers": [{"answer_confidence": "yes", "answer": COLOURS[at]}] * 10, "answer_type": "other",
    "answerable": 1})  # fmt: skip


def webdataset(folder: Path) -> Path:
    path = folder / "shard-000000.tar"
    with tarfile.open(path, "w") as shard:
        for at in AT:
            answer = json.dumps({"question": asked(at), "answer": COLOURS[at]}).encode()
            for name, data in ((f"{at:06}.png", png(at)), (f"{at:06}.json", answer)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))
    return path


def save_to_disk(folder: Path) -> Path:
    import pyarrow as pa

    rows = [
        {"image": embedded(at), "question": asked(at), "choices": list(COLOURS), "answer": LETTERS[at]} for at in AT
    ]
    table = pa.Table.from_pylist(rows)
    place = folder / "saved"
    place.mkdir()
    with (
        pa.OSFile(str(place / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as out,
    ):
        out.write_table(table)
    array(place / "state.json", {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"})
    array(place / "dataset_info.json", {"features": {}})
    return place


imagefolder = form(comma, "metadata.csv", lambda folder, at: {
    "file_name": saved(folder, f"{at}.png", at), "question": asked(at), "answer": COLOURS[at]})  # fmt: skip
openai = form(lines, "openai.jsonl", lambda folder, at: {"messages": [
    {"role": "system", "content": "You look at pictures."},
    {"role": "user", "content": [
        {"type": "text", "text": asked(at)},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text64(at)}"}}]},
    {"role": "assistant", "content": COLOURS[at]}]})  # fmt: skip


def ms_swift(folder: Path) -> Path:
    turns = [{"role": "user", "content": "<image>Find <ref-object>."}, {"role": "assistant", "content": "<bbox>"}]
    objects = {"ref": ["it"], "bbox": [[14, 14, 84, 84]]}
    rows = [{"messages": turns, "images": [saved(folder, f"{at}.jpg", at)], "objects": objects} for at in AT]
    return lines(folder / "grounding.jsonl", rows)


alpaca = form(array, "alpaca.json", lambda folder, at: {
    "instruction": f"<image>{asked(at)}", "input": "", "output": COLOURS[at],
    "images": [saved(folder, f"{at}.jpg", at)]})  # fmt: skip


def seed_bench(folder: Path) -> Path:
    questions = [
        {
            "answer": LETTERS[at],
            **{f"choice_{each.lower()}": colour for each, colour in zip(LETTERS, COLOURS, strict=True)},
            "data_id": saved(folder, f"SEED-Bench-image/10{at}.jpg", at)[17:-4],
            "data_type": "image",
            "question": asked(at),
            "question_id": at,
            "question_type_id": 1,
        }
        for at in AT
    ]
    return array(folder / "SEED-Bench.json", {"question_type": {"Scene": 1}, "questions": questions})


realworldqa = form(parquet, "test-00000-of-00002.parquet", lambda folder, at: {
    "image": embedded(at), "question": f"{asked(at)}\nA. red\nB. green\nC. blue\nPlease answer directly with a letter.",
    "answer": LETTERS[at]})  # fmt: skip
pope = form(lines, "coco_pope_random.json", lambda folder, at: {
    "question_id": at, "image": saved(folder, f"val2014/{at}.jpg", at)[8:], "text": f"Is square {at} red?",
    "label": "yes"})  # fmt: skip
segmented = form(lines, "masks.jsonl", lambda folder, at: {
    "image": saved(folder, f"{at}.png", at), "mask": saved(folder, f"m/{at}.png", at), "question": asked(at),
    "answer": COLOURS[at]})  # fmt: skip
video = form(lines, "videos.jsonl", lambda folder, at: {
    "image": saved(folder, f"{at}.png", at), "video": f"{at}.mp4", "question": asked(at),
    "answer": COLOURS[at]})  # fmt: skip
image_pairs = form(parquet, "nlvr2.parquet", lambda folder, at: {
    "left_image": embedded(at), "right_image": embedded(at), "sentence": f"Square {at} is red.", "label": "True",
    "identifier": f"t-{at}"})  # fmt: skip
plain_vqa_csv = form(comma, "mine.csv", lambda folder, at: {
    "id": at, "image": saved(folder, f"{at}.png", at), "question": asked(at), "answer": COLOURS[at]})  # fmt: skip


TALKS = (None, None, None)


MORE: Sequence[tuple[str, str, Writer, str, str, dict[str, Any]]] = (
    ("EMMA", "luckychao/EMMA", form(parquet, "test-00000-of-00001.parquet", lambda folder, at: {
        "pid": f"math_{at}", "question": f"<image_1> and <image_2>: {asked(at)}", "options": list(COLOURS),
        "answer": LETTERS[at], "image_1": embedded(at), "image_2": embedded(at), "image_3": None, "solution": None}),
     "read", "", {"answers": LETTERS[:3], "pictures": 2, "fields": ("choices",)}),
    ("MuirBench", "MUIRBENCH/MUIRBENCH", form(parquet, "test-00000-of-00003.parquet", lambda folder, at: {
        "idx": str(at), "question": f"<image>\nIs it in <image>? {asked(at)}", "options": list(COLOURS),
        "answer": LETTERS[at], "image_list": [embedded(at), embedded(at)], "counterpart_idx": "1"}),
     "read", "", {"answers": LETTERS[:3], "pictures": 2, "fields": ("choices",)}),
    ("MP-DocVQA", "lmms-lab/MP-DocVQA", form(parquet, "val-00000-of-00010.parquet", lambda folder, at: {
        "questionId": str(at), "question": asked(at), "page_ids": "['p0', 'p1']", "answer_page_idx": "1",
        "answers": f"['{COLOURS[at]}', '{COLOURS[at].upper()}']", "image_1": embedded(at), "image_2": embedded(at)}),
     "read", "", {"pictures": 2, "fields": ("answers",)}),
    ("SlideVQA", "NTT-hil-insight/SlideVQA", form(parquet, "test-00000-of-00005.parquet", lambda folder, at: {
        "qa_id": at, "question": asked(at), "answer": COLOURS[at], "page_1": embedded(at), "page_2": embedded(at)}),
     "read", "", {"pictures": 2}),
    ("ST-VQA", "rrc.cvc.uab.es, ch=11", form(array, "train_task_3.json", lambda folder, at: {
        "file_path": saved(folder, f"coco-text/COCO_{at}.jpg", at), "question": asked(at), "question_id": at,
        "answers": [COLOURS[at], "other"], "file_name": f"COCO_{at}.jpg", "dataset": "coco-text"}),
     "read", "", {"fields": ("answers",)}),
    ("VQD", "manoja328/VQD_dataset", form(array, "val.json", lambda folder, at: {
        "question": f"Where is square {at}?", "gtbox": [[37, 45, 134, 15]], "question_id": at, "image_id": at,
        "file_name": saved(folder, f"val2014/COCO_val2014_{at:012}.jpg", at)[8:], "split": "val"}),
     "read", "", {"answers": TALKS, "fields": ("boxes",)}),
    ("PMC-VQA", "RadGenome/PMC-VQA", form(comma, "test_2.csv", lambda folder, at: {
        "index": at, "Figure_path": saved(folder, f"figures/PMC{at}.jpg", at)[8:], "Question": asked(at),
        **{f"Choice {each}": colour for each, colour in zip(LETTERS, COLOURS, strict=True)}, "Answer": COLOURS[at]}),
     "read", "", {"fields": ("choices",)}),
    ("Video-R1, its pictures", "Video-R1/Video-R1-data", form(array, "Video-R1-260k.json", lambda folder, at: {
        "problem": asked(at), "data_type": "image", "options": ["A. red", "B. green", "C. blue", "D. grey"],
        "solution": f"<answer>{LETTERS[at]}</answer>", "path": f"./{saved(folder, f'Math/{at}.png', at)}"}),
     "read", "", {"answers": LETTERS[:3]}),
    ("MM-MATH", "THU-KEG/MM_Math", form(lines, "MM_Math.jsonl", lambda folder, at: {
        "question": asked(at), "solution": f"So it is \\boxed{{{COLOURS[at]}}}.", "year": "seven",
        "image_file_name": saved(folder, f"MM_Math/{at}.png", at)[8:]}),
     "read", "", {}),
    ("ms-swift, query and response", "modelscope/ms-swift", form(lines, "train.jsonl", lambda folder, at: {
        "query": f"<image>{asked(at)}", "response": COLOURS[at], "images": [saved(folder, f"{at}.jpg", at)]}),
     "proposed", "", {}),
    ("CountBenchQA", "vikhyatk/CountBenchQA", form(parquet, "test-00000-of-00001.parquet", lambda folder, at: {
        "image": embedded(at), "text": "Three squares.", "question": "How many?", "number": at + 1}),
     "proposed", "", {"answers": ("1", "2", "3")}),
    ("ScreenSpot", "rootsautomation/ScreenSpot", form(parquet, "test-00000-of-00001.parquet", lambda folder, at: {
        "file_name": f"pc_{at}.png", "bbox": [0.05, 0.1, 0.4, 0.5], "instruction": "close", "image": embedded(at)}),
     "proposed", "", {"answers": TALKS, "fields": ("boxes",)}),
    ("captions in `metadata.jsonl`", "huggingface/datasets, imagefolder", form(lines, "metadata.jsonl",
        lambda folder, at: {"file_name": saved(folder, f"{at}.png", at), "text": "A red square."}),
     "refused", "text may be a text about the picture", {}),
    ("ms-swift, objects that no text names", "modelscope/ms-swift", form(lines, "train.jsonl", lambda folder, at: {
        "messages": [{"role": "user", "content": "<image>Find it."}, {"role": "assistant", "content": "<bbox>"}],
        "images": [saved(folder, f"{at}.jpg", at)], "objects": {"ref": ["it"], "bbox": [[14, 14, 84, 84]]}}),
     "refused", "and its column objects 1", {}),
    ("Zebra-CoT", "multimodal-reasoning-lab/Zebra-CoT", form(parquet, "train-00000-of-00001.parquet",
        lambda folder, at: {"Question": asked(at), "Final Answer": COLOURS[at], "problem_image_1": embedded(at),
                            "reasoning_image_1": embedded(at)}),
     "refused", "reasoning_image_1 (pictures)", {}),
    ("TabMWP", "lupantech/PromptPG", form(keyed, "problems_train.json", lambda folder, at: {
        "question": asked(at), "choices": list(COLOURS) if at else None, "answer": COLOURS[at], "unit": None,
        "table": f"a | {saved(folder, f'tables/{at}.png', at)}", "solution": "So.", "ques_type": "multi_choice"}),
     "read", "", {}),
    ("CV-Bench, depth", "nyu-visionx/CV-Bench", form(parquet, "test_3d.parquet", lambda folder, at: {
        "idx": at, "task": "Depth", "image": embedded(at), "question": asked(at), "choices": list(COLOURS),
        "answer": "(A)", "prompt": f"{asked(at)} (A) red (B) green", "bbox": [[10.0, 10.0, 50.0, 50.0]]}),
     "refused", "bbox may be left, top, right, bottom", {}),
    ("MMBench, parquet", "lmms-lab/MMBench", form(parquet, "dev-00000-of-00001.parquet", lambda folder, at: {
        "index": at, "question": asked(at), "hint": "nan", "answer": "B", "A": "a red", "B": "a green", "C": "nan",
        "D": "nan", "category": "x", "image": embedded(at), "comment": "nan", "L2-category": "y"}),
     "read", "", {"answers": ("B",) * 3, "fields": ("choices",)}),
    ("SEED-Bench, parquet", "lmms-lab/SEED-Bench", form(parquet, "test-00000-of-00076.parquet", lambda folder, at: {
        "answer": LETTERS[at], "choice_a": "red", "choice_b": "green", "choice_c": "blue", "choice_d": "grey",
        "data_id": str(at), "question": asked(at), "question_id": str(at), "image": [embedded(at)], "segment": [1]}),
     "read", "", {"answers": LETTERS[:3], "fields": ("choices",)}),
    ("MMMU-Pro", "MMMU/MMMU_Pro", form(parquet, "test-00000-of-00001.parquet", lambda folder, at: {
        "id": f"t_{at}", "question": f"<image 1> {asked(at)}", "options": str([*COLOURS, *"efghij"]),
        "explanation": "?", "image_1": embedded(at), "image_2": None, "answer": "J", "subject": "Art"}),
     "read", "", {"answers": ("J",) * 3}),
    ("OCR-VQA", "howard-hou/OCR-VQA", form(parquet, "train-00000-of-00001.parquet", lambda folder, at: {
        "image": embedded(at), "image_id": str(at), "questions": [asked(at), "Who?"], "answers": ["red", "I"],
        "ocr_tokens": ["a"], "title": "t", "set_name": "train"}),
     "read", "", {"answers": ("red", "I") * 3}),
    ("DVQA", "kushalkafle/DVQA_dataset", form(array, "train_qa.json", lambda folder, at: {
        "question": asked(at), "question_id": at, "template_id": "data", "answer": COLOURS[at],
        "image": saved(folder, f"images/bar_{at}.png", at)[7:], "answer_bbox": [10, 10, 30, 40] if at else []}),
     "refused", "answer_bbox may be left, top, right, bottom", {}),
    ("HallusionBench", "tianyi-lab/HallusionBench", form(array, "HallusionBench.json", lambda folder, at: {
        "category": "VD", "visual_input": "1", "question": f"Is square {at} red?", "gt_answer_details": "It is.",
        "gt_answer": str(at % 2), "filename": f"./{saved(folder, f'hallusion_bench/VD/0_{at}.png', at)}"}),
     "refused", "gt_answer is 0 or 1, which may stand for no and yes", {}),
    ("SLAKE", "BoKelvin/SLAKE", form(array, "train.json", lambda folder, at: {
        "img_id": at, "img_name": saved(folder, f"imgs/xmlab{at}/source.jpg", at)[5:], "question": asked(at),
        "answer": COLOURS[at], "q_lang": "en", "modality": "MRI", "triple": ["vhead", "_", "_"], "qid": at}),
     "read", "", {}),
    ("ViRL39K", "TIGER-Lab/ViRL39K", form(parquet, "39Krelease.parquet", lambda folder, at: {
        "question": f"<image>{asked(at)}", "answer": f"\\boxed{{{COLOURS[at]}}}", "PassRate_7BBase": 0.2,
        "qid": f"q{at}", "image": [saved(folder, f"images/{at}.jpg", at)]}),
     "read", "", {}),
    ("MM-Vet", "yuweihao/MM-Vet", form(keyed, "mm-vet.json", lambda folder, at: {
        "imagename": saved(folder, f"images/v1_{at}.png", at)[7:], "imagesource": "x", "question": asked(at),
        "answer": COLOURS[at], "capability": ["ocr"]}),
     "read", "", {}),
    ("LLaVA-Bench", "lmms-lab/llava-bench-in-the-wild", form(parquet, "train.parquet", lambda folder, at: {
        "question_id": at, "question": asked(at), "gpt_answer": COLOURS[at], "image": embedded(at), "caption": "x"}),
     "read", "", {}),
    ("RefCOCO, phrases", "jxu124/refcoco", form(parquet, "train.parquet", lambda folder, at: {
        "ref_id": at, "sentences": [{"raw": "the square", "sent": "the square", "sent_id": at}], "bbox": [1.0, 2, 3, 4],
        "image_path": saved(folder, f"coco/train2014/{at}.jpg", at), "captions": ["the square"]}),
     "refused", "no column is known as the question", {}),
    ("VSR", "cambridgeltl/vsr_random", form(lines, "train.jsonl", lambda folder, at: {
        "image": saved(folder, f"{at}.jpg", at), "caption": "It is at the left.", "label": at % 2, "relation": "x"}),
     "refused", "no column is known as the question", {}),
    ("MM-Eureka", "FanqingM/MM-Eureka-Dataset", form(lines, "train.jsonl", lambda folder, at: {
        "id": str(at), "conversations": [{"role": "user", "content": f"<image>{asked(at)}"}], "answer": COLOURS[at],
        "image_urls": [saved(folder, f"images/{at}.png", at)]}),
     "read", "", {}),
    ("OlympiadBench", "lmms-lab/OlympiadBench", form(parquet, "test_en-00000-of-00001.parquet", lambda folder, at: {
        "question": f"As <image_1> shows: {asked(at)}", "images": [embedded(at)], "final_answer": [COLOURS[at]],
        "context": "Squares have colours." if at else None, "solution": ["So."], "is_multiple_answer": False}),
     "read", "", {}),
    ("LRV-Instruction", "FuxiaoLiu/LRV-Instruction", form(array, "filter_cap1.json", lambda folder, at: {
        "image_id": saved(folder, f"image/23{at}.jpg", at)[6:9], "question": asked(at), "answer": COLOURS[at]}),
     "read", "", {}),
    ("Flickr30k", "lmms-lab/flickr30k", form(parquet, "test-00000-of-00009.parquet", lambda folder, at: {
        "image": embedded(at), "caption": [COLOURS[at], "It is."], "sentids": ["0"], "filename": f"{at}.jpg"}),
     "proposed", "", {"fields": ("answers",)}),
    ("ChartQAPro", "ahmed-masry/ChartQAPro", form(parquet, "test-00000-of-00001.parquet", lambda folder, at: {
        "Question": [asked(at)], "Answer": [COLOURS[at]], "Year": ["NO"], "image": png(at), "Paragraph": ""}),
     "read", "", {}),
    ("MVBench", "OpenGVLab/MVBench", form(array, "action_sequence.json", lambda folder, at: {
        "video": f"Z{at}.mp4", "question": asked(at), "candidates": list(COLOURS), "answer": COLOURS[at]}),
     "refused", "Z0.mp4 cannot be read", {}),
    ("choices with their letters", "made up, as of allenai/ai2_arc", form(parquet, "a.parquet", lambda folder, at: {
        "image": embedded(at), "question": asked(at), "choices": {"text": list(COLOURS), "label": list(LETTERS)},
        "answerKey": LETTERS[at]}),
     "read", "", {"answers": LETTERS[:3], "fields": ("choices",)}),
    ("Qwen-VL, paths in texts", "QwenLM/Qwen-VL", form(array, "train.json", lambda folder, at: {
        "id": str(at), "conversations": [
            {"from": "user", "value": f"Picture 1: <img>{saved(folder, f'{at}.jpg', at)}</img>\n{asked(at)}"},
            {"from": "assistant", "value": COLOURS[at]}]}),
     "refused", "message 1 has the from 'user'", {}),
    ("ms-swift, a second reply", "modelscope/ms-swift", form(lines, "dpo.jsonl", lambda folder, at: {
        "messages": [{"role": "user", "content": f"<image>{asked(at)}"}, {"role": "assistant", "content": "It is."}],
        "images": [saved(folder, f"{at}.jpg", at)], "rejected_response": "It is not."}),
     "refused", "rejected_response (replies)", {}),
    ("ms-swift, good and bad replies", "modelscope/ms-swift", form(lines, "kto.jsonl", lambda folder, at: {
        "messages": [{"role": "user", "content": f"<image>{asked(at)}"}, {"role": "assistant", "content": "It is."}],
        "images": [saved(folder, f"{at}.jpg", at)], "label": bool(at % 2)}),
     "refused", "label (answers)", {}),
    ("TRL, good and bad replies", "huggingface/trl", form(parquet, "kto.parquet", lambda folder, at: {
        "prompt": [{"role": "user", "content": f"<image>{asked(at)}"}], "label": bool(at % 2),
        "completion": [{"role": "assistant", "content": "It is."}], "images": [embedded(at)]}),
     "refused", "completion (replies)", {}),
    ("TRL, messages with places for images", "huggingface/trl", form(parquet, "sft.parquet", lambda folder, at: {
        "images": [embedded(at)], "messages": [
            {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": asked(at)}]},
            {"role": "assistant", "content": [{"type": "text", "text": COLOURS[at]}]}]}),
     "read", "", {}),
)  # fmt: skip
"""Further layouts: name, source, writer, outcome, YAML or message, and what else `Case` has."""
REFCOCO = """\
about: phrases of RefCOCO for a box
question: question
answers: answer
images: image
boxes: bbox
box: size
ignore: [segmentation]
"""
CHARXIV = """\
about: questions of CharXiv that need reasoning
question: reasoning_q
answer: reasoning_a
images: image
ignore: [descriptive_q1, descriptive_q2, descriptive_q3, descriptive_q4]
"""
SEED = """\
about: SEED-Bench
question: question
answer: answer
images: {text: "SEED-Bench-image/{data_id}.jpg"}
choices: {columns: [choice_a, choice_b, choice_c, choice_d]}
"""
V7W = """\
about: Visual7W, whose choices are without the right one
explode: qa_pairs
question: question
answer: answer
images: {text: "images/{filename}"}
ignore: [multiple_choices]
"""
CASES = (
    Case("LLaVA-Instruct", "liuhaotian/LLaVA-Instruct-150K", llava, answers=TALKS),
    Case("LLaVA-CoT", "Xkev/LLaVA-CoT-100k", llava_cot, answers=TALKS),
    Case("ShareGPT4V", "Lin-Chen/ShareGPT4V", sharegpt4v, answers=TALKS),
    Case("M4-Instruct, several images", "lmms-lab/M4-Instruct-Data", llava_next_several, answers=TALKS, pictures=2),
    Case("MathV360K", "Zhiqiang007/MathV360K", mathv360k, answers=TALKS),
    Case("messages of OpenAI with parts", "platform.openai.com, vision fine-tuning", openai, answers=TALKS),
    Case("ms-swift, objects", "modelscope/ms-swift", ms_swift, answers=(None,) * 3),
    Case("rows of alpaca with images", "hiyouga/LLaMA-Factory", alpaca, answers=(None,) * 3),
    Case("Visual-CoT, conversations", "deepcs233/Visual-CoT", visual_cot_talk, "refused", "cannot be read"),
    Case("Visual-CoT", "deepcs233/Visual-CoT", visual_cot, "proposed", fields=("boxes",)),
    Case("MathVision", "MathLLMs/MathVision", mathvision_hub, answers=LETTERS[:3], fields=("choices",)),
    Case("MathVision next to its images", "MathLLMs/MathVision", mathvision, "refused", "decoded_image (pictures)"),
    Case("MathVista", "AI4Math/MathVista", mathvista, fields=("choices",)),
    Case("MMMU", "MMMU/MMMU", mmmu, answers=LETTERS[:3], pictures=2, fields=("choices",)),
    Case("HR-Bench, TSV", "DreamMr/HR-Bench", hr_bench, answers=LETTERS[:3], fields=("choices",)),
    Case("HR-Bench, parquet", "DreamMr/HR-Bench", hr_bench_hub, answers=LETTERS[:3], fields=("choices",)),
    Case("MMBench, TSV", "open-compass/VLMEvalKit", mmbench, answers=LETTERS[:3], fields=("choices",)),
    Case("MMBench, TSV with images by index", "open-compass/VLMEvalKit", mmbench_turned, answers=LETTERS[:3]),
    Case("MMMU, TSV", "open-compass/VLMEvalKit", mmmu_tsv, answers=LETTERS[:3], pictures=2, fields=("choices",)),
    Case("ScienceQA", "derek-thomas/ScienceQA", scienceqa, fields=("choices",)),
    Case("ScienceQA, problems.json", "lupantech/ScienceQA", scienceqa_json, fields=("choices",)),
    Case("DocVQA", "rrc.cvc.uab.es, ch=17", docvqa, fields=("answers",)),
    Case("DocVQA, parquet", "lmms-lab/DocVQA", docvqa_hub, fields=("answers",)),
    Case("InfographicVQA", "rrc.cvc.uab.es, ch=17", infographic),
    Case("ChartQA", "vis-nlp/ChartQA", chartqa),
    Case("ChartQA, parquet", "HuggingFaceM4/ChartQA", chartqa_hub),
    Case("Geometry3K", "hiyouga/geometry3k", geometry3k),
    Case("GeoQA", "leonardPKU/GEOQA_R1V_Train_8K", geoqa),
    Case("AI2D", "lmms-lab/ai2d", ai2d, fields=("choices",)),
    Case("TextVQA", "textvqa.org/dataset", textvqa, fields=("answers", "metric")),
    Case("VQAv2, parquet", "lmms-lab/VQAv2", vqav2_hub, fields=("answers", "metric")),
    Case("VQAv2, questions", "visualqa.org/vqa_v2_challenge.html", vqav2_questions, answers=TALKS),
    Case("OK-VQA", "lmms-lab/OK-VQA", okvqa, fields=("answers", "metric")),
    Case("A-OKVQA", "HuggingFaceM4/A-OKVQA", aokvqa, fields=("choices",)),
    Case("VizWiz", "vizwiz.org/tasks-and-datasets/vqa", vizwiz, fields=("metric",)),
    Case("GQA", "cs.stanford.edu/people/dorarad/gqa", gqa),
    Case("Clevr", "cs.stanford.edu/people/jcjohns/clevr", clevr),
    Case("TallyQA", "manoja328/TallyQA_dataset", tallyqa, answers=("1", "2", "3")),
    Case("The Cauldron", "HuggingFaceM4/the_cauldron", tallyqa_cauldron, "proposed"),
    Case("RefCOCO", "lmms-lab/RefCOCO", refcoco, "yaml", REFCOCO, ("the square",) * 3, fields=("answers", "boxes")),
    Case("COCO, boxes", "cocodataset.org/#format-data", coco, answers=TALKS, fields=("boxes",)),
    Case(
        "COCO, captions",
        "cocodataset.org/#format-data",
        coco_captions,
        answers=[f"A {each} square." for each in COLOURS[:3]],
    ),
    Case("Visual7W", "yukezhu/visual7w-toolkit", visual7w, "yaml", V7W),
    Case("OCRBench", "echo840/OCRBench", ocrbench, "proposed", fields=("answers",)),
    Case("MMStar", "Lin-Chen/MMStar", mmstar, answers=LETTERS[:3]),
    Case("V* Bench", "craigwu/vstar_bench", vstar, answers=LETTERS[:3]),
    Case("BLINK", "BLINK-Benchmark/BLINK", blink, answers=("(A)", "(B)", "(C)"), pictures=2, fields=("choices",)),
    Case("CharXiv", "princeton-nlp/CharXiv", charxiv, "yaml", CHARXIV),
    Case("MathVerse", "AI4Math/MathVerse", mathverse, answers=LETTERS[:3]),
    Case("We-Math", "We-Math/We-Math", we_math, answers=LETTERS[:3], fields=("choices",)),
    Case("M3CoT", "LightChen2333/M3CoT", m3cot, answers=LETTERS[:3], fields=("choices",)),
    Case("SEED-Bench", "AILab-CVC/SEED-Bench", seed_bench, "yaml", SEED, LETTERS[:3], fields=("choices",)),
    Case("RealWorldQA", "xai-org/RealworldQA", realworldqa, answers=LETTERS[:3]),
    Case("POPE", "AoiDragon/POPE", pope, answers=("yes",) * 3),
    Case("NLVR2", "lil-lab/nlvr", image_pairs, "refused", "right_image (pictures)"),
    Case("rows with masks", "made up", segmented, "refused", "mask (masks)"),
    Case("rows with videos", "made up", video, "refused", "0.mp4 cannot be read"),
    Case("shards of WebDataset", "webdataset/webdataset", webdataset),
    Case("`datasets.save_to_disk`", "huggingface/datasets", save_to_disk, answers=LETTERS[:3], fields=("choices",)),
    Case("a folder of images with `metadata.csv`", "huggingface/datasets, imagefolder", imagefolder),
    Case("CSV with `id`, `image`, `question`, `answer`", "made up", plain_vqa_csv),
    *(Case(*first, **more) for *first, more in MORE),
)
_OUTCOMES = {
    "read": "as they are",
    "proposed": "by what `virc data layout` writes, once a doubt is decided",
    "yaml": "by a YAML that you write",
    "refused": "not: the error says why",
}


def page() -> str:
    """The table of the docs: what becomes of each layout."""
    rows = []
    for outcome, read in _OUTCOMES.items():
        names = "; ".join(case.name for case in CASES if case.outcome == outcome)
        rows.append(f"| {read} | {names} |\n")
    return "| are read | rows of |\n|---|---|\n" + "".join(rows)
