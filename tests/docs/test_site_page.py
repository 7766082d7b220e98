"""The example of a site file in the pages has every key, and can be read."""

from pathlib import Path

import yaml as pyyaml
from code_blocks import blocks

from virc.cluster.site import Site, read_site


def _example() -> str:
    (found,) = [block.text for block in blocks("docs/training.md") if block.marks.get("file") == "slurm.yaml"]
    return found


def test_the_example_has_every_key_and_explains_it() -> None:
    keys = [line for line in _example().splitlines() if line[:1].isalpha()]
    assert {line.partition(":")[0] for line in keys} == set(Site.__struct_fields__)
    commented = {line.partition(":")[0] for line in keys if "  # " in line}
    assert set(Site.__struct_fields__) - commented == {"partition", "qos", "constraint"}  # the line before says it


def test_the_example_is_read_as_its_comments_say(tmp_path: Path) -> None:
    file = tmp_path / "slurm.yaml"
    file.write_text(_example(), encoding="utf-8")
    site = read_site(file, {})
    assert site.time == "24:00:00"
    assert pyyaml.safe_load(_example())["time"] == 86400  # as YAML 1.1 reads it
    assert site.setup == ("module load cuda/13.0", "ulimit -n 65536")
    assert site.gres == "gpu:h100:{devices}"
    assert all(getattr(site, name) for name in Site.__struct_fields__)
