"""A dataset of which only some files are here, as `virc download` brings those that stages need."""

import json
from pathlib import Path

import pytest
from support import crux
from support.called import virc

from virc.core.errors import DataError
from virc.data.formats import registry as formats


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `dataset_info.json` names four times as many files as are there; its images are unpacked."""
    folder = tmp_path_factory.mktemp("crux") / "CRUX"
    crux.publish(folder)
    assert virc("unpack", folder / f"{crux.IMAGES}.tar.lz4", "--to", folder).code == 0
    for file in folder.glob("*.json"):
        if file.stem not in (crux.DYNAMIC, crux.DYNAMIC.replace("1_Instr", "2_Prac"), "dataset_info"):
            file.unlink()
    return folder


@pytest.mark.integration
def test_a_set_of_which_some_files_are_here_is_checked_with_one_note(fetched: Path) -> None:
    done = virc("data", "check", fetched, "--quiet")
    assert done.code == 0, done.err
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"{fetched / 'dataset_info.json'} names 6 files that are not there: ViRC_stage_1_")
    assert done.err.endswith(", …\n")
    checked = virc("data", "check", fetched, "--json")
    assert len(checked.json["datasets"]) == 6
    assert checked.json["rows"] == checked.json["good"] > 30


def test_a_folder_with_none_of_them_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text(json.dumps({"a": {"file_name": "a.json"}}))
    for read in (formats.sources, formats.left_out):
        with pytest.raises(DataError, match=r"names a\.json for a, which is not there"):
            read(tmp_path)
    done = virc("data", "check", tmp_path)
    assert (done.code, done.err.count("\n")) == (5, 1)
