"""Folders that come to their place whole, or not at all."""

import stat

import pytest

from qlora.folders import written_whole


def test_a_folder_has_its_name_when_it_is_complete(tmp_path):
    place = tmp_path / "new" / "model"
    with written_whole(place) as part:
        (part / "weights").write_text("1")
        assert not place.exists()
    assert [path.name for path in place.parent.iterdir()] == ["model"] and (place / "weights").read_text() == "1"
    assert stat.S_IMODE(place.stat().st_mode) == 0o755, "others may read it, as they may other folders"


def test_an_empty_folder_gives_way(tmp_path):
    with written_whole(tmp_path) as part:
        (part / "weights").write_text("1")
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_what_fails_leaves_nothing(tmp_path, error):
    def write():
        with written_whole(tmp_path / "model") as part:
            (part / "weights").write_text("1")
            raise error

    with pytest.raises(type(error)):
        write()
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_lost(tmp_path):
    place = tmp_path / "model"
    place.mkdir()
    (place / "notes").write_text("mine")

    def write():
        with written_whole(place) as part:
            (part / "weights").write_text("1")

    with pytest.raises(OSError, match="model"):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["model"] and (place / "notes").read_text() == "mine"
