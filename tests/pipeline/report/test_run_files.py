from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.io.errors import UserError
from pipeline.report.run_files import read_run

LINE = '{"kind": "train", "step": 1, "time": 1.5, "loss/点击": 0.5}\n'


def test_text_is_utf_8_and_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(LINE, encoding="utf-8-sig")
    assert read_run(tmp_path).tasks == ["点击"]


@pytest.mark.parametrize("name", ["metrics.jsonl", "config.json"])
def test_a_file_in_another_encoding_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(LINE, encoding="utf-8")
    (tmp_path / name).write_bytes(LINE.encode() + LINE.encode("gb18030"))
    said = f"{tmp_path / name}: line 2: not UTF-8: byte 0xb5; remove the damaged line or file"
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        read_run(tmp_path)
