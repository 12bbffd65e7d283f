"""A folder is taken only where nothing of anybody else's is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.experiments.study import STUDY
from pipeline.io.claim_folder import FolderKind, claim
from pipeline.io.errors import UserError
from pipeline.io.files import write_json
from tests.pipeline.experiments.studies import study

SEARCH = FolderKind(
    name="search",
    mark="search.json",
    is_leftover=lambda path: path.name == "lock",
    check=None,
)


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    claim(tmp_path / "a" / "b", STUDY)
    assert (tmp_path / "a" / "b").is_dir()


def test_what_holds_one_is_kept_unless_replaced(tmp_path: Path) -> None:
    write_json(tmp_path / "study.json", study())
    with pytest.raises(
        UserError, match=r"contains a study; pass --resume .* --overwrite to replace"
    ):
        claim(tmp_path, STUDY)
    claim(tmp_path, STUDY, resume=True)
    assert (tmp_path / "study.json").exists()
    replaced = claim(tmp_path, STUDY, overwrite=True)
    assert not (tmp_path / "study.json").exists()
    with pytest.raises(UserError, match="a study that replaces another one and has saved nothing"):
        claim(tmp_path, STUDY)
    assert replaced is not None
    replaced.discard()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"study\.json: version: field required"):
        claim(tmp_path, STUDY, overwrite=True)
    assert (tmp_path / "study.json").exists()


def test_a_kind_without_overwrite_does_not_offer_it(tmp_path: Path) -> None:
    (tmp_path / "search.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError) as raised:
        claim(tmp_path, SEARCH)
    assert "--overwrite" not in str(raised.value)


def test_leftovers_of_a_start_are_no_obstacle_and_others_are(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    claim(tmp_path, SEARCH)
    (tmp_path / "photo.jpg").touch()
    for resume in (False, True):
        with pytest.raises(UserError, match="is not empty and not a search"):
            claim(tmp_path, SEARCH, resume=resume)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is a file; give a folder for the study with --out"):
        claim(tmp_path / "file", STUDY)
    with pytest.raises(UserError, match="below: cannot be created: Not a directory"):
        claim(tmp_path / "file" / "below", STUDY)
