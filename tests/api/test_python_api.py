"""`import virc`: the commands as functions."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import virc
from virc.core.errors import UsageError

PICTURE = Path(__file__).parents[1] / "pictures" / "triangle.png"
QUESTION = "How large is angle A?"
HEAVY = {"torch", "transformers", "PIL", "openai", "typer", "huggingface_hub", "numpy", "yaml"}


def test_importing_virc_loads_nothing_heavy() -> None:
    code = f"import sys, virc; print(*sorted({HEAVY} & sys.modules.keys()), len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *heavy, _ = done.stdout.split()
    assert heavy == []


@pytest.mark.parametrize("name", [each for each in virc.__all__ if each[0].islower()])
def test_every_function_is_typed_and_documented(name: str) -> None:
    function = getattr(virc, name)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(each.annotation is not inspect.Signature.empty for each in signature.parameters.values())
    assert "Args:" in function.__doc__
    assert name in dir(virc)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'slove'"):
        virc.slove  # noqa: B018


def test_solve_takes_a_path_or_an_image() -> None:
    assert virc.solve(PICTURE, QUESTION).answer == "73"
    with Image.open(PICTURE) as image:
        assert virc.solve(image, QUESTION, "tiny").answer == "73"


def test_a_loaded_model_solves_several_problems() -> None:
    with virc.load("tiny") as model:
        assert [virc.solve(PICTURE, QUESTION, model).answer for _ in range(2)] == ["73", "73"]
        with pytest.raises(UsageError, match="chosen already"):
            virc.solve(PICTURE, QUESTION, model, device="cpu")


def test_mistakes_are_virc_errors() -> None:
    with pytest.raises(virc.VircError, match=r"gone\.png"):
        virc.solve("gone.png", QUESTION)
    with pytest.raises(virc.VircError):
        virc.load("no-such-model")
