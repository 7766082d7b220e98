"""Files of results: verified elsewhere without the model, edits that are named, cards, and signatures."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from extras.benchmarks.test_published_benchmarks import CASES, write
from PIL import Image
from support.called import Done, virc
from support.programs import needs
from support.servers import serve
from support.solving import CROP, answer, picture

from virc.evaluation import results, scored, verdicts, writing
from virc.scoring.score import Key, Verdict
from virc_extras.studies import signing
from virc_extras.studies.checking import result_file, verifying

SAID = {"good": "2468", "fair": "2460", "poor": "1468"}
"""Model -> what it answers to problems 1 to 4, whose answers are 2, 4, 6 and 8."""
Line = dict[str, Any]


def say(body: dict[str, Any]) -> str:
    """Look once, then answer."""
    found = re.search(r"problem (\d)", json.dumps(body["messages"]))
    assert found
    return CROP if len(body["messages"]) == 2 else answer(SAID[body["model"]][int(found[1]) - 1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the rows and the results of three models, of which one has two seeds."""
    folder = tmp_path_factory.mktemp("made")
    picture(folder / "a.png")
    rows = [{"id": str(at), "image": "a.png", "question": f"problem {at}", "answer": str(2 * at)} for at in range(1, 5)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    models = [word for name in SAID for word in ("--model", name)]
    with pytest.MonkeyPatch.context() as patch, serve(say, models=tuple(SAID)) as server:
        patch.chdir(folder)
        patch.setenv("VIRC_CONFIG", str(folder / "config.yaml"))
        done = virc("eval", "sums.jsonl", "--endpoint", server.url, *models, "--seeds", 2, "-q")
        assert done.code == 0, done.err
        (folder / "printed").write_text(done.out)
    return folder


@pytest.fixture
def file(made: Path, here: Path) -> Iterator[Path]:
    """A copy of the result of `poor`, alone in another folder."""
    return Path(shutil.copy(made / "evals" / "sums" / "results" / "poor.jsonl", here / "mailed.jsonl"))


def verified(file: Path, *words: object) -> Done:
    return virc("eval", "verify", file, "--json", *words)


def test_a_result_verifies_where_there_is_nothing_else(file: Path) -> None:
    done = verified(file)
    assert done.code == 0, done.err
    assert (done.json["score"]["right"], done.json["score"]["of"]) == (3, 4)
    assert (done.json["differences"], done.json["signed"]) == ([], None)
    assert "not signed" in done.err
    assert "rows are not compared" in done.err
    assert len(file.read_bytes()) < 20_000
    signed = verified(file, "--signer", "RWQ")
    assert (signed.code, [each["kind"] for each in signed.json["differences"]]) == (6, ["signature"])


def test_rows_are_compared_with_those_that_are_here(file: Path, made: Path) -> None:
    done = verified(file, "--benchmark", made / "sums.jsonl")
    assert done.code == 0, done.err
    assert "rows are not compared" not in done.err
    assert "problems, the file" not in done.err  # as many
    *_, last = (rows := (made / "sums.jsonl").read_text()).splitlines(keepends=True)
    file.with_name("sums.jsonl").write_text(rows + last.replace('"4"', '"5"'))
    done = verified(file, "--benchmark", file.with_name("sums.jsonl"))
    assert (done.code, "sums here has 5 problems, the file 4" in done.err) == (0, True), done.err


def resealed(file: Path, change: Callable[[Line, list[Line]], None]) -> None:
    """Change a file, and write all its digests anew, as a careful cheat would."""
    head, *lines = map(json.loads, file.read_text().splitlines())
    change(head, lines)
    lines = [{key: value for key, value in line.items() if key not in ("digest", "replied")} for line in lines]
    results.write(file, results.Head(**head), lines)


def edited(file: Path, change: Callable[[Line, list[Line]], None]) -> None:
    """Change a file, and no digest."""
    head, *lines = map(json.loads, file.read_text().splitlines())
    change(head, lines)
    file.write_text("".join(json.dumps(line) + "\n" for line in (head, *lines)))


DROPPED = object()
RIGHT_REPLY = {"lines.0.rollout.texts.-1": answer("2")}
UNANSWERED = {"lines.0.answer": None, "lines.0.verdict": None, "head.figures": {}}
"""It takes the wrong answer out of the score: three of three are right."""


def error_of(kind: str) -> Line:
    return {"code": 1, "kind": kind, "message": "", "hint": None}


def changed(places: Mapping[str, object]) -> Callable[[Line, list[Line]], None]:
    """Put values into places of a file, such as `lines.0.answer`; DROPPED takes one away."""

    def change(head: Line, lines: list[Line]) -> None:
        for place, value in places.items():
            found: Any = {"head": head, "lines": lines}
            *way, last = [int(part) if part.lstrip("-").isdigit() else part for part in place.split(".")]
            for part in way:
                found = found[part]
            if value is DROPPED:
                del found[last]
            else:
                found[last] = value

    return change


@pytest.mark.parametrize(
    ("write", "places", "kind", "says"),
    [
        (edited, {**RIGHT_REPLY, "lines.0.answer": "2"}, "reply", "problem 1: its reply or its settings were edited"),
        (resealed, RIGHT_REPLY, "reply", "problem 1: its reply says 2, its line 1"),
        (resealed, {"lines.0.answer": "2"}, "reply", "problem 1: its reply says 1, its line 2"),
        (edited, {"lines.0.digests.-1": "0" * 64}, "lines", "problem 1: its line was edited"),
        (resealed, {"lines.0.verdict.right": True}, "verdict", "problem 1: it is wrong here, right in the file"),
        (resealed, {**RIGHT_REPLY, "lines.0.answer": "2"}, "verdict", "problem 1: it is right here, wrong in the file"),
        (edited, {"head.figures.score.right": 4}, "figure", "the first line, with the figures, was edited"),
        (resealed, {"head.figures.score.right": 4}, "figure", "the figure score.right is 3 by the lines, not 4"),
        (
            resealed,
            {**UNANSWERED, "lines.0.error": error_of("missing"), "lines.0.failure": None},
            "reply",
            "problem 1: its reply says 1, its line no answer (None)",
        ),
        (
            resealed,
            {**UNANSWERED, "lines.0.error": error_of("no_answer"), "lines.0.failure": "no_answer"},
            "reply",
            "problem 1: its reply says 1, its line no answer (no_answer)",
        ),
        (resealed, {"head.figures.score": DROPPED}, "figure", "the figure score.right is 3 by the lines, not missing"),
        (
            resealed,
            {"head.model": "famous", "head.figures.name": "famous"},
            "lines",
            "problem 1: its line is of the model poor",
        ),
        (
            resealed,
            {"head.judge": "judge", "lines.1.verdict": {"right": False, "by": "judge"}},  # on what the rule finds right
            "verdict",
            "problem 2: it is right here, wrong in the file",
        ),
        (edited, {"head.title": "the best"}, "lines", "it has bytes that no digest covers"),
        (edited, {"lines.0": DROPPED}, "lines", "of 4 lines there are 3"),
        (resealed, {"lines.0": DROPPED}, "lines", "of 4 lines there are 3"),
    ],
)
def test_an_edit_is_named_and_refused(
    write: Callable[..., None], places: Mapping[str, object], kind: str, says: str, file: Path
) -> None:
    write(file, changed(places))
    done = verified(file)
    assert done.code == 6
    assert kind in {each["kind"] for each in done.json["differences"]}
    assert any(says in str(verifying.Difference(**each)) for each in done.json["differences"])
    assert virc("eval", "card", file).code == 6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"schema":"virc.result/1",', b'{"schema":"virc.result/1","model":"famous",'),
        (b'{"schema":"virc.solve/1",', b'{"schema":"virc.solve/1","answer":"2",'),
        (b"\n", b"\r\n"),
        (b":", b": "),
        (b'"}\n', b'"}'),
    ],
)
def test_bytes_that_no_digest_covers_are_refused(old: bytes, new: bytes, file: Path) -> None:
    head, text, tail = file.read_bytes().partition(old) if new.startswith(b"{") else file.read_bytes().rpartition(old)
    assert text
    file.write_bytes(head + new + tail)
    done = verified(file)
    assert (done.code, "it has bytes that no digest covers" in done.err) == (6, True)


def test_ends_of_lines_that_transport_changed_are_read(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    done = verified(file)
    assert (done.code, done.json["differences"]) == (0, []), done.err


def test_two_lines_of_one_problem_are_refused(file: Path) -> None:
    resealed(file, lambda head, lines: lines.append(lines[0]))
    done = verified(file)
    assert (done.code, "no problems, or two of one id" in done.err) == (5, True)


@pytest.mark.parametrize("named", ["benchmark", "published"])
def test_a_file_of_a_stranger_names_no_path_that_is_read(named: str, file: Path, made: Path) -> None:
    def change(head: Line, lines: list[Line]) -> None:
        head[named] = str(made / "sums.jsonl")
        for line in lines:
            line["input"]["question"] += "?"

    resealed(file, change)
    done = verified(file)
    assert (done.code, done.json["differences"]) == (0, [])
    assert "is no benchmark by name; --benchmark FILE.jsonl" in done.err


def test_another_scorer_is_named_where_its_verdicts_differ(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "rules_digest", lambda: "other")
    done = verified(file)
    assert done.code == 0
    assert "the code that scores is not that" in done.err

    def lenient(answer: str, key: Key, symbolic: object = None) -> Verdict:
        return Verdict(True, "rule")

    monkeypatch.setattr("virc.evaluation.verdicts.score", lenient)
    done = verified(file)
    assert done.code == 5
    assert [each["kind"] for each in done.json["differences"]] == ["scorer"]
    sentence = "problem 1: the scorer changed: it is right here, wrong in the file"
    assert f"error: {file} has 1 difference: {sentence}\n" in done.err


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("markdown", "| good | 100.0 | 51.0 to 100.0 | 4 |  |"),
        ("latex", r"good & 100.0 & 51.0 to 100.0 & 4 &  \\"),
        ("html", "<td>good</td><td>100.0</td><td>51.0 to 100.0</td><td>4</td>"),
    ],
)
def test_a_card_has_models_and_what_they_differ_by(form: str, says: str, made: Path) -> None:
    files = [made / "evals" / "sums" / "results" / f"{name}.jsonl" for name in (*SAID, "good (seed 1)")]
    done = virc("eval", "card", *files, "--format", form)
    assert done.code == 0, done.err
    assert says in done.out
    assert form != "latex" or re.findall(r"begin\{tabular\}\{(l+r+)\}", done.out) == ["lrrrr", "lrrrrrr"]
    assert "good, mean of 2 seeds" in done.out
    assert done.out.count("good − fair".replace("−", "$-$" if form == "latex" else "−")) == 1
    assert result_file.read_results(files[0]).head.digest in done.out
    tables = virc("eval", "card", *files, "--json").json["tables"]
    assert [each["title"] for each in tables] == ["sums", "sums: differences"]
    assert ["good", "100.0", "51.0 to 100.0", "4", ""] in tables[0]["rows"]


def test_files_on_other_rows_or_of_one_model_twice_are_not_compared(file: Path, made: Path) -> None:
    done = virc("eval", "card", file, file)
    assert (done.code, "of one model and seed" in done.err) == (5, True)

    def change(head: Line, lines: list[Line]) -> None:
        head["model"] = "another"
        head["figures"]["name"] = "another"
        for line in lines:
            line["model"] = "another"
            line["input"]["question"] += "?"

    resealed(file, change)
    done = virc("eval", "card", made / "evals" / "sums" / "results" / "good.jsonl", file)
    assert (done.code, "another problem 1" in done.err) == (5, True)


def test_pictures_that_were_trained_on_are_counted(made: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Image.open(made / "a.png") as small:
        small.resize((448, 336)).save(here / "copy.jpg", quality=80)
    Image.linear_gradient("L").convert("RGB").save(here / "other.png")
    copy, other = "../copy.jpg", "../other.png"
    rows = [([other], "problem 1"), ([other, copy], "problem 12"), ([copy], "This is problem_3."), (["no"], "")]
    train = here / "rows" / "train.jsonl"
    train.parent.mkdir()
    train.write_text(
        "".join(
            json.dumps({"id": at, "images": images, "question": question, "answer": "1"}) + "\n"
            for at, (images, question) in enumerate(rows)
        )
    )
    shutil.copytree(made, here / "made")
    monkeypatch.chdir(here / "made")
    with serve(say, models=tuple(SAID)) as server:
        words = ("--endpoint", server.url, "--model", "good", "--seeds", 2, "--against-run", train)
        done = virc("eval", "sums.jsonl", *words, "--json")
    assert done.code == 0, done.err
    found = done.json["contamination"]
    assert (found["rows"], found["unread"]) == (4, 1)
    assert [(each["id"], each["row"], each["same_question"]) for each in found["shared"]] == [
        ("1", 2, False), ("2", 2, False), ("3", 3, True), ("4", 2, False),
    ]  # fmt: skip
    assert found["without"]["good"]["of"] == 0


def odd(body: dict[str, Any]) -> str:
    """Of the problems below: boxes, a refusal, an answer for a judge; the judge finds all the same."""
    said = json.dumps(body["messages"])
    told = {"where": "[8, 8, 60, 60]", "blurred": "unreadable", "colour": "scarlet", "sum": "2x"}
    judged = "verdict: same" if "verdict" in said else None
    return judged or next(answer(text) for word, text in told.items() if f"a {word}" in said)


@pytest.mark.parametrize("algebra", [False, pytest.param(True, marks=pytest.mark.integration)])
def test_boxes_refusals_judged_answers_and_failed_rows_verify(
    algebra: bool, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in () if algebra else (verdicts, verifying, scored, writing):
        monkeypatch.setattr(module, "can_do_algebra", lambda: False)
    picture(here / "a.png")
    rows: list[Line] = [
        {"id": 1, "image": "a.png", "question": "a where", "boxes": [[8, 8, 60, 60]]},
        {"id": 2, "image": "a.png", "question": "a blurred", "answer": "unreadable"},
        {"id": 3, "image": "a.png", "question": "a colour", "answer": "red", "category": {"of": ["one", "all"]}},
        {"id": 5, "image": "a.png", "question": "a sum", "answer": "x + x"},
        {"id": 4, "image": str(here / "none.png"), "question": "a colour", "answer": "red", "looks": [[0, 0, 9, 9]]},
    ]
    (here / "odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serve(odd) as server:
        words = ("--endpoint", server.url, "--judge-endpoint", server.url)
        assert virc("eval", "odd.jsonl", *words).code == 1  # of the picture that is not there
    (file,) = (here / "evals" / "odd" / "results").iterdir()
    done = verified(file, "--benchmark", "odd.jsonl")
    assert done.code == 0, done.err
    assert (done.json["score"]["right"], done.json["score"]["of"]) == (4, 4)
    assert f"decided about, whose verdicts are taken as written: {1 if algebra else 2}" in done.err
    assert str(here) not in file.read_text()
    errors = {each["id"]: each["error"]["message"] for each in map(json.loads, file.open()) if each.get("error")}
    assert errors == {2: "the model answered 'unreadable'", 4: "DataError"}
    for module in (verdicts, verifying):
        monkeypatch.setattr(module, "can_do_algebra", lambda: False)
    done = verified(file)
    assert (done.code, done.json["score"]["right"]) == (0, 4)
    assert not algebra or "whose verdicts are taken as written: 1" in done.err.split("pip install")[1]
    resealed(file, lambda head, lines: head.update(judge=None))
    assert "problem 3: it is wrong here, right in the file" in verified(file).err


def fail(body: dict[str, Any]) -> str:
    """Of the problems below: no answer in the tries, in the turns, a refusal, and an answer that is rejected."""
    told = {"tags": "<tool_call>{", "turns": CROP, "refused": answer("unreadable"), "repeated": "so " * 300}
    return next(text for word, text in told.items() if f"is {word}" in json.dumps(body["messages"]))


@pytest.mark.integration
def test_answers_that_a_model_did_not_give_verify(here: Path) -> None:
    picture(here / "a.png")
    kinds = {"tags": "tries", "turns": "turns", "refused": "no_answer", "repeated": "tries"}
    rows = [{"id": kind, "image": "a.png", "question": f"is {kind}", "answer": "4"} for kind in kinds]
    (here / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serve(fail) as server:
        assert virc("eval", "sums.jsonl", "--endpoint", server.url, "--max-turns", 2).code == 0
    (file,) = (here / "evals" / "sums" / "results").iterdir()
    assert {id: line.answer.failure for id, line in result_file.read_results(file).lines.items()} == kinds
    done = verified(file)
    assert (done.code, done.json["differences"]) == (0, [])
    assert (done.json["score"]["of"], done.json["missing"], done.json["unanswered"]) == (4, 0, 4)


@pytest.mark.integration
@needs("ssh-keygen", package="openssh-client")
def test_a_signature_is_checked_and_an_edit_breaks_it(file: Path, made: Path, here: Path) -> None:
    import subprocess

    for name in ("mine", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", here / name], check=True)
    prints = [
        subprocess.run(
            ["ssh-keygen", "-l", "-f", here / name], check=True, capture_output=True, text=True
        ).stdout.split()[1]
        for name in ("mine", "other")
    ]
    signing.sign(file, here / "mine")
    signing.sign(file, here / "mine")  # again: the signature is replaced
    assert "Good" in verified(file).json["signed"]
    assert verified(file, "--signer", prints[0]).code == 0
    assert "signed by another" in verified(file, "--signer", prints[1]).err
    resealed(file, lambda head, lines: head["versions"].update(virc="9"))
    done = verified(file)
    assert (done.code, [each["kind"] for each in done.json["differences"]]) == (6, ["signature"])


def test_a_result_is_verified_by_the_published_rule(here: Path) -> None:
    write(here, next(case for case in CASES if case.name == "chartqa"))
    with serve([answer("1.45")]) as server:  # within 5 % of the first answer
        assert virc("eval", "chartqa", "--endpoint", server.url, "-q").code == 0
    (file,) = (here / "evals" / "chartqa" / "results").iterdir()
    done = virc("eval", "verify", file, "--json")
    assert (done.code, done.json["score"]["right"]) == (0, 1), done.err
    assert "rows are not compared" not in done.err
    text = file.read_text()
    head, *lines = map(json.loads, text.splitlines())
    lines = [{key: value for key, value in line.items() if key not in ("digest", "replied")} for line in lines]
    results.write(file, results.Head(**{**head, "published": None}), lines)
    done = virc("eval", "verify", file, "--json")
    assert (done.code, {each["kind"] for each in done.json["differences"]}) == (6, {"row", "verdict"})


def test_answers_over_the_crops_of_counterfactuals_verify(here: Path) -> None:
    for name in ("a", "counterfactual"):
        picture(here / f"{name}.png")
    other = {"image": "counterfactual.png", "answer": "3"}
    row = {"id": 1, "image": "a.png", "question": "problem 1", "answer": "2", "answers": ["2", "5"]}
    (here / "sums.jsonl").write_text(json.dumps({**row, "counterfactual": other}) + "\n")
    with serve(lambda body: CROP if len(body["messages"]) == 2 else answer("3")) as server:
        words = ("--endpoint", server.url, "--crop-ablation", "counterfactual", "-q")
        assert virc("eval", "sums.jsonl", *words).code == 0
    (file,) = (here / "evals/sums-counterfactual/results").iterdir()
    done = verified(file)
    assert (done.code, done.json["score"]["right"], done.json["differences"]) == (0, 1, []), done.err
