"""What the line of a download says: how far it is, how fast, and how long the rest takes."""

from virc.core.events import Event, Reporter
from virc.download.hub.repository import File
from virc.download.meter import Meter


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
    checked(1000)
    assert meter.line(22.0) == "checking model.safetensors  1.0 of 2.0 KB, 1.0 KB/s, 1 s left"


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
