"""What the line of a download says: how far it is, how fast, and how long the rest takes."""

from threading import Event as Event_

import pytest

from virc.core.events import Event, Reporter
from virc.download import meter as module
from virc.download.hub.repository import File
from virc.download.meter import Meter, part_of, per_second


def test_the_rest_takes_as_long_as_it_took_at_that_rate_and_ever_less() -> None:
    meter = Meter(1_000_000_000, Reporter())
    came = meter.begin("fetching", FILE)
    said = []
    for now, size in ((0.0, 0), (5.0, 100_000_000), (10.0, 300_000_000)):
        came(size)
        said.append(meter.line(now))
    assert said == [
        "model.safetensors  0.0 of 1.0 GB, waiting",
        "model.safetensors  0.1 of 1.0 GB, 20 MB/s, 45 s left",
        "model.safetensors  0.4 of 1.0 GB, 40 MB/s, 15 s left",
    ]


def test_the_rate_is_of_the_last_seconds_and_of_one_step() -> None:
    meter = Meter(1_000_000_000, Reporter())
    came = meter.begin("fetching", FILE)
    for now in range(21):
        line = meter.line(float(now))
        came(100_000_000 if now < 5 else 1_000_000)
    assert line == "model.safetensors  0.5 of 1.0 GB, 1.0 MB/s, 8 min left"
    checked = meter.begin("checking", FILE)
    assert meter.line(21.0) == "checking model.safetensors  0.0 of 2.0 KB, waiting"
    checked(400)
    checked(600)
    assert meter.line(22.0) == "checking model.safetensors  1.0 of 2.0 KB, 1.0 KB/s, 1 s left"
    meter.begin("checking", FILE)
    assert meter.line(23.0).startswith("checking model.safetensors  0.0 of 2.0 KB")


def test_the_units_are_those_of_the_whole() -> None:
    assert [part_of(*each) for each in ((0, 10**6), (10**6, 10**9), (500, 500))] == [
        "0.0 of 1.0 MB", "0.0 of 1.0 GB", "0.5 of 0.5 KB",
    ]  # fmt: skip
    assert [per_second(each) for each in (2.94e6, 1e7, 112.4e6)] == ["2.9 MB/s", "10 MB/s", "112 MB/s"]


def test_a_warning_is_said_once_and_progress_while_something_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY", 0.001)
    events: list[Event] = []
    came = Event_()
    meter = Meter(0, Reporter(lambda event: (events.append(event), came.set())))
    for text in ("one", "other", "one"):
        meter.warn(text)
    assert [event.text for event in events] == ["one", "other"]
    for ended, goes_on in (("checking", False), ("fetching", True)):
        meter.begin(ended, FILE)  # type: ignore[arg-type]
        meter.end(ended, FILE)  # type: ignore[arg-type]
        came.clear()
        with meter.running():
            assert came.wait(60 if goes_on else 0.02) is goes_on
    assert events[-1].kind == "progress"


def test_a_long_name_is_cut_and_what_is_done_with_it_is_not() -> None:
    meter = Meter(0, Reporter())
    meter.begin("unpacking", File("chartqa/validation/images-of-charts.tar", 2000))
    assert meter.line(0.0).startswith("unpacking …a/validation/images-of-charts.tar  0.0 of 2.0 KB")


FILE = File("model.safetensors", 2000)


def test_of_very_many_files_thousands_are_logged() -> None:
    events: list[Event] = []
    meter = Meter(0, Reporter(events.append))
    for number in range(100_000):
        meter.end("fetching", File(f"{number}.png", 10))
    meter.end("fetching", File("images.bin", 1 << 30))
    meter.end("unpacking", File("images.tar", 10))
    lines = [event.text for event in events]
    assert len(lines) < 210
    assert lines[:1] + lines[-3:] == [
        "fetched 0.png, 10 bytes", "fetched 100,000 files", "fetched images.bin, 1.1 GB",
        "unpacked images.tar, 10 bytes",
    ]  # fmt: skip
