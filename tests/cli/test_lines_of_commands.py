"""Lines of commands for what a test machine does not have: GPUs, servers, limits of an endpoint; and options."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from support.called import virc

from virc.core.errors import SetupError, UsageError, VircError
from virc.core.plan import Plan, Step
from virc.envs.hardware import Gpu, Machine
from virc.models.memory import Memory, Part
from virc.probing.result import Probed
from virc.reasoning.calls import Call
from virc.reasoning.trace import CallResult, Unit
from virc.stages.sft import Lora
from virc.systems import registry as systems
from virc.training.estimate.fits import Verdict
from virc.training.rounds.run import StepState
from virc_cli.commands import doctor
from virc_cli.commands.data import check
from virc_cli.commands.data import show as show_row
from virc_cli.commands.systems import ls, show
from virc_cli.commands.train import print_plan, rounds
from virc_cli.console import options

GPUS = (Gpu("A10", 24.0, 20.5, "550"), Gpu("H100", 80.0, 3.25, "550"))


def fields(**changes: Any) -> dict[str, Any]:
    """What `virc doctor` found on a machine with nothing."""
    machine = {"cores": 4, "memory_gib": 31.26, "free_gib": 7.5, "disk_gib": 99.6, "gpus": [], "trouble": None}
    return {
        "versions": {"virc": "0.2.0", "python": "3.11.4"}, "extras": [], "cache": "/c", "machine": machine,
        "environments": [], "servers": [], "sandbox": "no bwrap", "limits": [], "telemetry": {"variables": {"A": "1"}},
        **changes,
    }  # fmt: skip


def test_a_machine_with_nothing_says_so() -> None:
    assert list(doctor._lines(fields())) == [
        "virc          0.2.0, Python 3.11.4",
        "extras        none",
        "cache         /c",
        "machine       4 cores, 31.3 GiB of memory (7.5 free), 100 GiB of disk free here",
        "GPUs          none",
        "servers       none answers on the usual ports of this machine",
        "sandbox       none for the tool python: no bwrap",
        "telemetry     off in every engine: A",
    ]


def test_each_part_of_a_machine_is_a_line_and_only_the_first_of_a_kind_is_named() -> None:
    gpus = [{"name": each.name, "gib": each.gib, "free_gib": each.free_gib, "driver": "550"} for each in GPUS]
    made = {"engine": "rl", "device": "cuda", "state": "ready", "gib": 20}
    found = fields(
        extras=[
            {"name": "local", "missing": [], "install": "-"}, {"name": "data", "missing": [], "install": "-"},
            {"name": "plot", "missing": ["matplotlib"], "install": "pip install plot"},
        ],
        machine={**fields()["machine"], "gpus": gpus},
        environments=[{**made, "engine": "sft", "device": "cpu", "state": "not made"}, made],
        servers=[
            {"endpoint": "http://a/v1", "server": "vllm", "models": ["x", "y"]},
            {"endpoint": "http://b/v1", "server": "ollama", "models": []},
        ],
        sandbox=None,
        limits=[{"name": "memory", "holds": True, "how": "cgroup"}, {"name": "network", "holds": False, "how": "-"}],
        telemetry={"variables": {"A": "1", "B": "0"}},
    )  # fmt: skip
    lines = list(doctor._lines(found))
    assert lines[1:3] == ["extras        local, data", "              plot: pip install plot"]
    assert lines[5:7] == [
        "GPUs          A10, 24.0 GiB (20.5 free), driver 550", "              H100, 80.0 GiB (3.2 free), driver 550",
    ]  # fmt: skip
    assert lines[7:] == [
        "environments  sft-cpu     not made, about 20 GiB",
        "              rl-cuda     ready",
        "servers       http://a/v1  vllm: x, y",
        "              http://b/v1  ollama",
        "sandbox       for the tool python: bubblewrap, libseccomp",
        "              memory                holds: cgroup",
        "              network               DOES NOT HOLD: -",
        "telemetry     off in every engine: A, B",
    ]
    broken = {**fields()["machine"], "trouble": "the driver does not answer"}
    assert "GPUs          the driver does not answer" in list(doctor._lines(fields(machine=broken)))


def test_what_fits_stands_before_what_does_not() -> None:
    judged = {
        "rl": [
            Verdict(("3b", "lora"), False, "-", "needs 1 GPU", "add 1x24g"),
            Verdict((), None, "-", "its base is unknown"), Verdict(("7b",), True, "20 GiB of 24"),
        ],
        "sft": [],
    }  # fmt: skip
    assert list(doctor._stage_lines("virc", judged)) == [
        "", "virc rl", "  fits 7b          20 GiB of 24", "  no   3b,lora     needs 1 GPU; add 1x24g",
        "  ?    no overlay  its base is unknown", "", "virc sft",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gpus", "width", "said"), [((), 4, "7.5 GiB are free (main memory)"), (GPUS, 2, "20.5 GiB are free (A10)")]
)
def test_a_model_is_held_against_the_memory_that_is_freest(gpus: tuple[Gpu, ...], width: int, said: str) -> None:
    parts = (Part("weights", 3 * 2**30, "3 x 1"), Part("cache", 2**29, "1 / 2"))
    found = Memory("ViRC-3B", width, 16_384, 1280, parts, 3.52)
    lines = list(doctor._memory_lines(found, Machine(4, 32.0, 7.5, 100.0, gpus)))
    assert lines == [
        f"model         ViRC-3B, {'float32' if width == 4 else 'bfloat16'}",
        "conversation  one of 16,384 tokens, of which an image takes 1,280",
        f"memory        about 3.5 GiB, and {said}",
        "                 3.00 GiB  weights: 3 x 1",
        "                 0.50 GiB  cache: 1 / 2",
    ]


def probed(**found: Any) -> dict[str, str]:
    lines = doctor._probe_lines(Probed(endpoint="http://a/v1", model="m", **found))
    return {line[:13].strip(): line[14:] for line in lines}


def test_what_a_probe_did_not_find_is_said() -> None:
    said = probed(requests=3)
    assert (said["model"], said["boxes"], said["images"]) == ("m", "none in the reply", "unknown how many fit")
    assert (said["tool calls"], said["second turn"]) == ("none in the reply", "no call in the reply")
    assert (said["thoughts"], said["order"], said["refused"]) == ("unknown", "unknown", "no parameter")
    assert (said["context"], said["pictures"]) == (
        "the server does not say", "unknown whether they are scaled down",
    )  # fmt: skip


def test_what_a_probe_found_is_said_in_words() -> None:
    said = probed(
        server="vllm", coordinates="thousand", box="corners_yx", scaling="fixed", min_pixels=250_000, ordered=True,
        calls="structured", images=6, asked_images=6, context=32_768, thoughts="apart", left_out=("seed", "top_p"),
        zoomed=False,
    )  # fmt: skip
    assert said["model"] == "m on vLLM"
    assert said["boxes"] == "thousandths of the picture's sides, 0 to 1000, top before left"
    assert said["pictures"] == "all shown at one size; small ones are enlarged to 0.25 million px"
    assert (said["order"], said["images"]) == ("as sent", "6 in a conversation were taken, more were not tried")
    assert said["tool calls"] == "structured by the server, without the tools in the request"
    assert (said["second turn"], said["context"]) == ("refused, or the crop not seen", "32,768 tokens")
    assert (said["thoughts"], said["refused"]) == ("apart from the content", "seed, top_p")
    assert probed(images=5, asked_images=6)["images"] == "5 in a conversation were taken"
    said = probed(images=0, asked_images=6, scaling="down", longest=1568)
    assert (said["images"], said["pictures"]) == ("0 in a conversation were taken", "scaled down to 1568 px a side")


@pytest.mark.parametrize(
    ("words", "function", "is_there"),
    [
        ("env path sft --device cuda", "virc.envs.making.ready", lambda found: found.name == "sft-cuda"),
        ("serve tiny --agent --api-key env:A --api-key env:B", "virc.serving.start.start",
         lambda request, _: (request.settings["api_key"], request.agent.max_tokens) == (("1", "2"), 7)),
        ("serve --agent --pipeline prism", "virc.serving.start.start",  # roles have limits of their own
         lambda request, _: request.agent.max_tokens is None),
        ("data sample rows.jsonl --to out --seed 5 --samples 3 --endpoint http://127.0.0.1:9/v1",
         "virc.data.sample.run.sample_file", lambda setup, *_: (setup.config.seed, setup.config.samples) == (5, 3)),
        ("data convert rows.jsonl --to out --format sft --answers --system virc", "virc.data.convert.convert.convert",
         lambda config, _: config.target.model is None),
        ("systems check tiny --data rows.jsonl", "virc.training.system_check.run_code",
         lambda file, _, data: data.name == "rows.jsonl"),
        ("eval rows.jsonl --endpoint http://127.0.0.1:9/v1 --model b --model a --seeds 2", "virc.evaluation.api.run",
         lambda request, *_: [(each.choice.model, each.config.seed) for each in request.setups]
         == [("b", 0), ("b", 1), ("a", 0), ("a", 1)]),
        ("solve a.png What? --timeout 7", "virc.solving.setup.set_up", lambda flags, *_: flags["timeout"] == 7),
        ("solve a.png What? --page 2", "virc_cli.commands.solve.run.solve_images",
         lambda *_, page, **__: page == 2),
        ("data convert rows.jsonl --to out --format sft --answers", "virc.data.convert.convert.convert",
         lambda config, _: config.target.model == "tiny"),
    ],
)  # fmt: skip
def test_options_reach_what_they_are_for(
    words: str, function: str, is_there: Callable[..., bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def called(*given: Any, **named: Any) -> None:
        raise VircError(f"{is_there(*given, **named)}")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("max_tokens: 7\n")
    (tmp_path / "rows.jsonl").write_text('{"id": 1, "image": "a.png", "question": "?", "answer": "1"}\n')
    for name, value in (("A", "1"), ("B", "2"), ("VIRC_MODEL", "tiny"), ("VIRC_CONFIG", "mine.yaml")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(function, called)
    assert virc(*words.split()).err == "error: True\n"


def test_the_file_of_settings_and_the_model_without_any_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "mine.yaml"))
    assert virc("config", "path").out == f"{tmp_path / 'mine.yaml'}\n"
    assert virc("config", "show", "--json").json["settings"]["model"] == {"value": "tiny", "source": "default"}
    monkeypatch.setenv("VIRC_ENDPOINT", "http://h/v1")
    assert virc("config", "show", "--json").json["settings"]["model"] == {"value": None, "source": "default"}


def test_of_many_chat_protocols_the_first_are_listed_and_the_rest_counted() -> None:
    found = [SimpleNamespace(sha256=f"{at}" * 3 if at else "", rows=at + 1, first=2 * at + 1) for at in range(7)]
    listed = "none in 1 row from row 1; 111 in 2 rows from row 3; 222 in 3 rows from row 5; 333 in 4 rows from row 7; "
    for more, rest in ((4, "2+ others"), (0, "2 others")):
        dataset: Any = SimpleNamespace(chat_protocols=found, more_chat_protocols=more)
        assert check._system_messages(dataset) == f"{listed}444 in 5 rows from row 9; {rest}"


def test_a_turn_says_which_images_it_was_shown() -> None:
    call = Call("crop_image", 0, box=(1, 2, 3, 4))
    results = tuple(CallResult(call, images=images) for images in ((1,), (2, 3)))
    assert show_row._outcome(Unit("", "", results)).endswith(", shown as image 1 and 2 and 3")
    assert show_row._line("answer", " two\nlines\n") == "answer     two\n           lines"


def preview(kind: str, device: str, lora: Lora | None) -> Any:
    """What `virc train --dry-run` found, as far as it is printed as an estimate."""
    term = SimpleNamespace(gib=1.5, name="weights", formula="3 x 1")
    needed = SimpleNamespace(
        device_gib=20.25, terms=[term], host_gib=6, host=[term], disk=[term], judge_calls=(1000, 2000)
    )
    config = SimpleNamespace(lora=lora, device=device, devices=2, longest=512)
    return SimpleNamespace(
        shape=SimpleNamespace(parameters=lambda: {"vision": 1000, "language": 2000}), here=None, needed=needed,
        trained={"vision": 0, "language": 2000}, resolved=SimpleNamespace(config=config, kind=kind, notes=[]),
        plan=Plan(Step(("engine",), ""), {}), missing=[], result=None,
    )  # fmt: skip


def test_an_estimate_says_what_is_trained_and_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    adapter = "language    adapter of rank 8, alpha 16, on all linear layers: 2,000 parameters"
    for lora, line in ((Lora(8, 16), adapter), (None, "language    trained, 2,000 parameters")):
        found = [*print_plan._trained(preview("sft", "cpu", lora))]
        assert found == ["vision      frozen, 1,000 parameters", line]
    for kind, device in (("sft", "cpu"), ("rl", "cuda")):
        found = preview(kind, device, None)
        print_plan._print_needs(found)
        term = "     1.5 GiB    weights: 3 x 1"
        assert capsys.readouterr().out.splitlines()[2:] == [
            *(["2 GPUs"] if device == "cuda" else []), "    20.2 GiB  a device", term,
            "       6 GiB  main memory of a machine", *([term] if kind == "rl" else []),
            "     1.5 GiB  disk, weights: 3 x 1", "1,000 to 2,000 questions to the judge a step",
        ]  # fmt: skip
        found.needed = None
        gpus = {"policy": 2 if device == "cuda" else 0, "judge": 0, "here": None}
        assert print_plan._fields(found)["gpus"] == gpus


@pytest.mark.parametrize(("device", "where"), [("cpu", "4 cores"), ("cuda", "A10")])
def test_a_probe_names_what_it_ran_on(
    device: str, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = preview("sft", device, None)
    found.rows_a_step, found.seconds_a_step, found.gib, found.estimated_gib, found.longest = 3, 2.5, 1.25, 2, 400
    found.here, found.resolved.stage = Machine(4, 32.0, 7.5, 100.0, GPUS), "instruct"
    monkeypatch.setattr(print_plan, "probe", lambda *_: found)
    print_plan.run_probe(SimpleNamespace(), quiet=True, as_json=False)  # type: ignore[arg-type]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["a step          2.5 s, of 3 rows at a time", "memory          1.25 GiB, estimated 2"]
    assert lines[3].startswith(f"verified        instruct: {where}, 2")
    assert lines[3].endswith(": 1.25 GiB, 2.5 s/step")


def test_rounds_are_a_script_a_table_and_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [StepState("done", {"kept": 5}), StepState("to do"), StepState("to do")]
    steps = [
        SimpleNamespace(round=1, name=name, says=f"say {name}", typed=f"virc {name}", kind="", start="b", makes=name)
        for name in ("draw", "sft", "rl")
    ]
    found: Any = SimpleNamespace(steps=steps, count=2, system=SimpleNamespace(name="mine"))
    asked: Any = None
    given: dict[str, Any] = {}
    monkeypatch.setattr(rounds, "states", lambda _: now)
    monkeypatch.setattr(rounds, "left", lambda *_: ())
    monkeypatch.setattr(rounds.planning, "plan", lambda _: found)
    monkeypatch.setattr(rounds.planning, "missing", lambda *_: [UsageError("no rows", "draw some")])
    rounds.run(asked, dry_run=True, quiet=False, verbose=False, as_json=False)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:3] == ["# round 1 of 2: say draw (done, 5 rows kept)", "virc draw",
                                            "# round 1 of 2: say sft (to do)"]  # fmt: skip
    assert printed.err == "warning: no rows\nhint: draw some\n"
    rounds.run(asked, dry_run=True, quiet=False, verbose=False, as_json=True)
    printed = capsys.readouterr()
    assert (json.loads(printed.out)["progress"], printed.err) == ("begun", "")
    monkeypatch.setattr(rounds.planning, "missing", lambda *_: ())
    monkeypatch.setattr(rounds.running, "run", lambda *_, **named: given.update(named))
    rounds.run(asked, dry_run=False, quiet=True, verbose=True, as_json=False)
    assert (given["options"], capsys.readouterr().out) == (("-q", "-v"), "rl\n")
    rounds._print_table(found, now)
    assert [line.split() for line in capsys.readouterr().err.splitlines()[1:]] == [
        ["1", "draw", "done", "5", "rows", "kept", "draw"], ["1", "sft", "next", "-", "sft"],
        ["1", "rl", "to", "do", "-", "rl"],
    ]  # fmt: skip
    rounds._print_table(found, [now[0], StepState("begun"), now[2]])  # none is next before the half-done one is done
    assert [line.split()[2] for line in capsys.readouterr().err.splitlines()[1:]] == ["done", "begun", "to"]


def test_the_model_of_the_other_roles_is_refused_where_there_are_none() -> None:
    chosen: Any = SimpleNamespace(setup=SimpleNamespace(choice=1), chosen={"eyes": 2})
    options.check_default_role(chosen, {"--model": None, "--endpoint": "none"})
    with pytest.raises(UsageError, match="--model is the model of roles that have none"):
        options.check_default_role(chosen, {"--endpoint": "none", "--model": "tiny"})
    options.check_default_role(SimpleNamespace(**chosen.__dict__ | {"chosen": {"eyes": 1}}), {"--model": "tiny"})  # type: ignore[arg-type]


def test_published_systems_are_listed_the_nearest_first(tmp_path: Path) -> None:
    lacking = {"what": "later", "lacks": {"a": 1, "b": 2}, "stages": {"one": "sft", "two": "rl"}}
    rows = [{**lacking, "state": "planned"}, {**lacking, "lacks": {"a": 1}, "state": "planned"},
            {**lacking, "what": "", "state": "works"}, {**lacking, "lacks": {}, "state": "planned"}]  # fmt: skip
    assert [rows.index(each) for each in sorted(rows, key=ls._distance)] == [2, 3, 1, 0]
    assert [ls._summary(each) for each in rows] == ["needs: a, b", "needs: a", "one (sft), two (rl)", "later"]
    weights = [{"hub": "a/b", "folder": None}, {"hub": None, "folder": "w"}, {"hub": None, "folder": None}]
    assert [show._weights("m", each) for each in weights] == ["a/b", "w", "models/m"]
    stage = "{kind: sft, settings: {base: b, data: d, learning_rate: 1e-5}}"
    (tmp_path / "mine.yaml").write_text(f"name: mine\nstages: {{one: {stage}}}\n")
    own = systems.load(tmp_path / "mine.yaml")
    found = ls._found(own, SimpleNamespace(kind="own", what=""))  # type: ignore[arg-type]
    assert found["from"] == str(tmp_path / "mine.yaml")


def test_images_of_a_tool_are_saved_one_by_one(tmp_path: Path) -> None:
    made = (Image.new("RGB", (3, 5)), Image.new("RGB", (7, 2)))
    files = importlib.import_module("virc_cli.commands.tools.try")._saved(made, tmp_path / "made")
    assert files == [tmp_path / "made" / "image-1.png", tmp_path / "made" / "image-2.png"]
    assert [Image.open(each).size for each in files] == [(3, 5), (7, 2)]


def test_only_a_stage_of_which_nothing_fits_is_refused() -> None:
    fits, other = Verdict(("a",), True, "-"), Verdict(("b",), False, "-", "needs 8 GPUs", "add lora")
    for stage, verdicts in ((None, [other]), ("rl", [other, fits])):
        doctor._refuse("virc", stage, {"rl": verdicts})
    for verdicts, message, hint in (
        ([other], "virc rl cannot run here: needs 8 GPUs", "add lora"),
        ([other, other], "virc rl cannot run here: no combination of its overlays fits this machine",
         "train on a cluster: --launcher slurm"),
    ):  # fmt: skip
        with pytest.raises(SetupError) as caught:
            doctor._refuse("virc", "rl", {"rl": verdicts})
        assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([], (None, {})),
        (["http://a/v1", "http://b/v1?x=1"], ("http://b/v1?x=1", {})),  # the last one, whose = is in the address
        (["judge=http://a", "eyes=http://b", "ears=http://c"], ("http://a", {"eyes": "http://b", "ears": "http://c"})),
        (["judge=http://a", "http://b"], ("http://b", {})),
    ],
)
def test_addresses_are_of_the_judge_or_of_one_with_a_name(given: list[str], found: object) -> None:
    assert options.named_endpoints(given) == found


def test_names_come_once_in_order_however_they_are_listed() -> None:
    assert options.names_of(["lora, 3b", "3b,", "2x"]) == ("lora", "3b", "2x")
    assert options.names_of(None) == ()


@pytest.mark.parametrize(
    ("pipeline", "given", "refused", "said"),
    [
        (None, ["eyes=x"], {}, "--role belongs to --pipeline"),
        ("a.py", ["eyes"], {}, "--role eyes: it is NAME=URL or NAME=MODEL"),
        ("a.py", ["=x"], {}, "--role =x: it is NAME=URL or NAME=MODEL"),
        ("a.py", ["eyes=x", "mind=y", "eyes=z"], {}, "--role eyes is given twice"),
        ("a.py", [], {"--samples": False, "--seeds": True}, "--seeds"),
    ],
)
def test_roles_that_cannot_be_taken_are_named(
    pipeline: str | None, given: list[str], refused: dict[str, bool], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        options.named_roles(pipeline, given, refused)


def test_each_role_has_its_value() -> None:
    assert options.named_roles(None, [], {"--seeds": True}) == {}
    given = ["eyes=http://a/v1?x=1", "mind=tiny"]
    assert options.named_roles("a.py", given, {"--seeds": False}) == {"eyes": "http://a/v1?x=1", "mind": "tiny"}
    assert options.one_strategy(["best_of"]) == "best_of"
    with pytest.raises(UsageError, match="--strategy is given twice"):
        options.one_strategy(["best_of", "majority"])


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ({"sample": None, "train": "sft", "from": "base", "data": None}, "train sft from base, data of the stage"),
        ({"sample": None, "train": "rl", "from": "sft", "data": "rows"}, "train rl from sft, data rows"),
        (
            {"sample": {"name": "draw", "pairs": None, "from": "sft", "keep": 2, "samples": 8, "temperature": 0.7,
                        "data": None}},
            "draw: right solutions of sft, at most 2 of 8 at temperature 0.7, problems of --data",
        ),
        (
            {"sample": {"name": "draw", "pairs": "best", "from": "rl", "keep": 1, "samples": 4, "temperature": 1.0,
                        "data": "sums"}},
            "draw: pairs by the rule best of rl, at most 1 of 4 at temperature 1, problems sums",
        ),
    ],
)  # fmt: skip
def test_a_step_of_a_round_says_what_it_takes(step: dict[str, Any], line: str) -> None:
    assert show._round_line(step) == line


def test_texts_and_needs_say_what_is_here() -> None:
    text = {"source": "a/b", "commit": "0123456789", "license": None, "texts": ["x", "y"], "here": False}
    there = {**text, "license": "MIT", "texts": ["x"], "here": True}
    assert list(show._text_lines({"name": "mine", "texts": [text, there]})) == [
        "texts        2 of a/b@0123456, license none stated; not here: virc download texts --system mine",
        "texts        1 of a/b@0123456, license MIT; here",
    ]
    needs = [(True, None), (True, "images"), (False, None)]
    said = [show._needed("n", {"there": there, "lacks": lacks, "about": "rows"}) for there, lacks in needs]
    assert said == [("n", "there", "rows"), ("n", "partly", "rows; not images"), ("n", "missing", "rows")]


@pytest.mark.parametrize(("gpus", "device"), [((), "cpu"), ((Gpu("A", 24.0, 20.0, "1"),), "cuda")])
def test_memory_is_that_on_the_device_that_is_there(
    gpus: tuple[Gpu, ...], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_model(model: str, device: str, _: object) -> Memory:
        raise UsageError(f"{model} on {device}")

    monkeypatch.setattr("virc.envs.hardware.find", lambda _: SimpleNamespace(gpus=gpus))
    monkeypatch.setattr("virc.models.memory.of_model", of_model)
    with pytest.raises(UsageError, match=f"^m on {device}$"):
        doctor._memory("m", as_json=True)
