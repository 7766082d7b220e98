"""Lines of commands for what a test machine does not have: GPUs, servers, limits of an endpoint; and options."""

from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.errors import SetupError, UsageError
from virc.envs.hardware import Gpu, Machine
from virc.models.memory import Memory, Part
from virc.probing.result import Probed
from virc.training.estimate.fits import Verdict
from virc_cli.commands import doctor
from virc_cli.commands.systems import show
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
