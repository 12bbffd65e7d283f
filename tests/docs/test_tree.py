"""House rules of CONTRIBUTING.md that no linter has: sizes of files and folders."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("benchmarks", "embeddings", "launchers", "models", "pipeline", "tests")
FILES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))


def test_no_file_has_more_than_300_lines() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert len(lines) > 300
    assert not {str(path): count for path, count in lines.items() if count > 300}


def test_no_folder_has_more_than_20_files() -> None:
    counts = Counter(path.parent for path in FILES if path.name != "__init__.py")
    assert not {str(folder): count for folder, count in counts.items() if count > 20}


def test_init_files_are_at_most_one_docstring_line() -> None:
    inits = [path for path in FILES if path.name == "__init__.py"]
    assert not [str(path) for path in inits if len(path.read_text("utf-8").splitlines()) > 1]


def test_names_are_never_markup_to_rich() -> None:
    """A path such as 'a[/x]b' or 'a:fire:' is text, wherever it is printed: by one console."""
    consoles = [
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if path.relative_to(ROOT).parts[0] in ("embeddings", "launchers", "pipeline")
        if re.search(r"(?<!\w)Console\(", path.read_text("utf-8"))
    ]
    assert consoles == ["pipeline/io/console.py"]
