"""A page to look through the problems of an evaluation: pictures with the crops drawn on them, replies and verdicts.

    problems.html   all problems as data, and the script that shows one, and lists those that filters leave
    pictures/       the pictures of the problems, small

Crops are shown from the files of the traces, as the model saw them. The script sets text of others as text alone, which
the page's policy enforces; nothing but these pictures is loaded.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from virc.core.errors import DataError, NetworkError
from virc.core.files import write_whole
from virc.core.web import html
from virc.evaluation.answered import Answered, Result
from virc.evaluation.answers import AnswerLine, Answers, EvalFolder, hashed
from virc.evaluation.columns import Column
from virc.evaluation.pages import figures
from virc.evaluation.pages.traces import read_trace, trace_of
from virc.evaluation.summary import Summary
from virc.reasoning.calls import Size
from virc.reasoning.images import image_size, open_image
from virc.solving import evidence
from virc.solving.image_source import Picture, files_of
from virc.solving.outcome import Fields
from virc.solving.rows import ProblemRow

_SIDE = 1280  # px of the longer side of a picture


def write(
    folder: EvalFolder,
    rows: Iterable[ProblemRow],
    base: Path,
    summary: Summary,
    answers: Answers,
    results: Sequence[Result],
    arms: Mapping[str, Sequence[Result]],
    columns: Sequence[Column],
) -> None:
    """Write the page, and the pictures that are not there yet. Raises an OSError if the disk refuses.

    Args:
        rows: the problems, in the order of the results.
        base: folder that image paths of the rows start from.
        answers: the lines by model and id.
        arms: the results of further arms, by name.
        columns: which may have a verdict on each model.
    """
    verdicts = {model: sentence for column in columns for model, sentence in column.verdicts(summary).items()}
    names = [model.name for model in summary.models]
    problems = []
    for row, result, *others in zip(rows, results, *arms.values(), strict=True):
        pictures = [_picture(folder, picture, base, row.trusted) for picture in row.pictures]
        sizes = [each["size"] for each in pictures]
        boxes = sizes and sizes[0] and evidence.of_fields(row.passed)
        shown = {name: _answer(folder, answers[name][str(row.id)], result.answers[name], sizes)
                 for name in names if name in result.answers}  # fmt: skip
        for arm, other in zip(arms, others, strict=True):
            for name in shown.keys() & other.answers.keys():
                shown[name]["arms"][arm] = [other.answers[name].answer, other.answers[name].right]
        problems.append({
            "id": str(result.id), "question": result.question, "reference": result.reference,
            "categories": [part for parts in result.categories.values() for part in parts],
            "pictures": pictures, "evidence": boxes or [],
            "answers": [shown.get(name) for name in names],
        })  # fmt: skip
    data = {
        "models": [{"name": figures.short(name), "verdict": verdicts.get(name)} for name in names],
        "problems": problems,
    }
    style = html.asset("serving/agent/frames.css") + html.asset("evaluation/pages/report.css")
    scripts = ("serving/agent/elements.js", "serving/agent/frames.js", "evaluation/pages/problem_page.js")
    page = html.render("evaluation/pages/problem_page", style, scripts=scripts, title=summary.benchmark, data=data)
    write_whole(folder.problems, page.encode("utf-8", "backslashreplace"))


def _picture(folder: EvalFolder, picture: Picture, base: Path, trusted: bool) -> Fields:
    """A picture of a problem, whose small copy is made once; without a file if it is on the network, or damaged."""
    try:
        ((content, name),) = files_of([picture], offline=True, base=base, trusted=trusted)
        path = f"pictures/{hashed(content)}.jpg"
        if not (folder.folder / path).exists():
            image, small = open_image(content, name), io.BytesIO()
            image.thumbnail((_SIDE, _SIDE))
            image.save(small, "JPEG", quality=88)
            (folder.folder / "pictures").mkdir(exist_ok=True)
            write_whole(folder.folder / path, small.getvalue())
        return {"file": path, "size": image_size(content, name)}
    except (DataError, NetworkError) as error:
        return {"file": None, "size": None, "reason": error.message}


def _answer(folder: EvalFolder, line: AnswerLine, answered: Answered, sizes: Sequence[Size | None]) -> Fields:
    place = trace_of(folder, line, "trace.json")
    trace = read_trace(folder.folder / place) if place else None
    crops: dict[int, Fields] = {}
    turns: list[Fields] = [
        {"role": "assistant", "text": text, "crops": []} for text in (line.rollout.texts if line.rollout else ())
    ]
    if trace and trace.messages:
        begun = next((at for at, each in enumerate(trace.messages) if each.role == "user"), 0) + 1
        inputs = len(trace.messages[begun - 1].images)
        known = [size or (image.width, image.height) for size, image in zip(sizes, trace.images[:inputs], strict=False)]
        regions = evidence.regions(trace.images, known)
        for image in trace.images[inputs:]:
            root, region = regions.get(image.index, (0, evidence.WHOLE))
            box = [round(at * side) for at, side in zip(region, known[root] * 2, strict=True)]
            crops[image.index] = {
                "file": f"./{quote(str(place))}/{image.file}", "size": (image.width, image.height), "picture": root,
                "box": None if region == evidence.WHOLE else box, "of": known[root],
            }  # fmt: skip
        numbers = {index: number for number, index in enumerate(crops)}
        turns = [
            {"role": "tool" if each.inserted else each.role, "text": each.text,
             "crops": [numbers[index] for index in each.images if index in numbers]}
            for each in trace.messages[begun:]
        ]  # fmt: skip
        turns += [{"role": "rejected", "text": each.text, "crops": []} for each in trace.pending]
    return {
        "answer": answered.answer, "right": answered.right, "by": answered.matcher or answered.by,
        "reason": answered.reason, "looked": answered.looked if line.rollout else None, "evidence": answered.evidence,
        "made": len(answered.regions), "trace": f"./{quote(answered.trace)}/index.html" if answered.trace else None,
        "crops": [*crops.values()], "turns": turns, "arms": {},
    }  # fmt: skip
