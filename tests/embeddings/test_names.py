from __future__ import annotations

import pytest
from torch import nn

from embeddings.names import check_name, table_names


@pytest.mark.parametrize("name", ["user_id", "视频", "é", "a-b", "1", "a@b", "x" * 200])
def test_other_names_stand_for_themselves(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "'' is no name"),
        ("video.id", "'video.id' is no name: .*'video_id'"),
        ("a b", "'a_b'"),
        (" a", "'_a'"),
        ("a\n", "'a_'"),
        ("a\x00b", "'a_b'"),
        ("a\u2028b", "'a_b'"),
        ("\ud800", "'_'"),
        ("a,b", "'a_b'"),
        ("a/b", "'a_b'"),
        ("hist_*", "'hist__'"),
        ("x" * 201, "a name of 201 characters; give one of at most 200"),
    ],
)
def test_names_that_part_or_match_are_refused(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        check_name(name)
    assert "\n" not in str(caught.value)


def test_tables_do_not_have_names_that_torch_keeps() -> None:
    kept = [name for name in dir(nn.ModuleDict()) if not name.startswith("_")]
    found = table_names([*kept, "type_", "type__", "user"])
    assert found["user"] == "user"
    assert found["type_"] == "type_"
    assert found["type"] == "type___"
    assert len(set(found.values())) == len(found)
    assert not set(kept) & set(found.values())
