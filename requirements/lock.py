"""Writes cpu.txt and dev.txt anew: resolve pyproject.toml's ranges in a fresh environment, freeze.

torchrec cannot be resolved as it stands: it asks for fbgemm-gpu, the CUDA build, which overwrites
the files of fbgemm-gpu-cpu. So it goes in without its dependencies, and those it declares are
resolved beside the project's own. Needs nothing but Python and a package index.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOT_LISTED = {
    # torch.txt pins torch; pip and wheel come with the environment.
    "torch",
    "pip",
    "wheel",
    # Optuna asks for these for studies in a database; ours are files, and it imports them lazily.
    "alembic",
    "greenlet",
    "mako",
    "sqlalchemy",
}
DECLARED_BY_TORCHREC = """
import importlib.metadata, json
print(json.dumps(importlib.metadata.requires("torchrec")))
"""


def main() -> None:
    """Resolve, freeze, write; a failing pip ends it with its own message."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin", "python"))

        def run(*args: str) -> str:
            done = subprocess.run(
                [python, *args], check=True, stdout=subprocess.PIPE, encoding="utf-8"
            )
            return done.stdout

        def freeze() -> list[str]:
            lines = run("-m", "pip", "freeze", "--all").splitlines()
            return [line for line in lines if line.split("==")[0].lower() not in NOT_LISTED]

        ours = {r: r.replace("fbgemm-gpu", "fbgemm-gpu-cpu") for r in project["dependencies"]}
        torchrec = next(r for r in ours if r.startswith("torchrec"))
        run("-m", "pip", "install", "-q", "-r", str(HERE / "torch.txt"))
        run("-m", "pip", "install", "-q", "--no-deps", torchrec)
        declared = [r for r in json.loads(run("-c", DECLARED_BY_TORCHREC)) if "extra ==" not in r]
        theirs = [r for r in declared if r != "fbgemm-gpu"]
        ranges = [r for r in ours.values() if r != torchrec and not r.startswith("torch==")]
        run("-m", "pip", "install", "-q", *ranges, *theirs)
        cpu = freeze()
        run("-m", "pip", "install", "-q", *project["optional-dependencies"]["dev"])
        everything = freeze()

    moved = sorted(set(cpu) - set(everything))
    if moved:
        sys.exit(f"the dev tools ask for other versions of runtime packages: {', '.join(moved)}")
    write(HERE / "cpu.txt", cpu)
    write(HERE / "dev.txt", [line for line in everything if line not in cpu])


def write(path: Path, pins: list[str]) -> None:
    """Replace the pins of a list, keep its head: the comment lines that say what it is for."""
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    path.write_text("\n".join([*head, *pins]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
