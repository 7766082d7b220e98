"""What a problem of several samples leaves behind, twice in the same place; `support.looked_at` recounts it."""

from pathlib import Path

from support.called import virc
from support.servers import Body, serve, turn_of
from support.solving import CROP, answer


def test_the_taken_sample_is_neither_the_first_nor_the_last(image: Path, tmp_path: Path) -> None:
    begun = 0

    def turns(body: Body) -> str:
        nonlocal begun
        begun += turn_of(body) == 0
        looks = (0, 2, 2, 1)[(begun - 1) % 4]  # of each sample
        return CROP if turn_of(body) < looks else answer(("5", "97", "97", "6")[(begun - 1) % 4])

    trace = tmp_path / "kept" / "trace"
    for _ in range(2):  # the second takes the place of the first
        with serve(turns) as server:
            words = ("--endpoint", server.url, "--samples", 4, "--trace", trace, "--json")
            found = virc("solve", image, "What does it read?", *words).json
        assert (found["answer"], found["turns"], found["calls"]) == ("97", 3, {"crop_image": 2})
        assert found["votes"] == [
            {"answer": "97", "count": 2}, {"answer": "5", "count": 1}, {"answer": "6", "count": 1},
        ]  # fmt: skip
        assert found["replies"] == 1 + 3 + 3 + 2
    assert {each.name for each in trace.iterdir()} == {"index.html", *(f"sample-{number}" for number in range(1, 5))}
    assert [each.name for each in trace.parent.iterdir()] == ["trace"]
    names = {each.name for each in (trace / "sample-2").iterdir()}
    assert names == {"index.html", "trace.json", "conversation.json", *(f"image-{number}.png" for number in range(3))}
