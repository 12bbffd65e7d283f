"""Files that deploy a server, by their own tools, and by running what is in the image."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.launchers.torchx.test_components import torchx

DEPLOY = Path(__file__).parents[3] / "deploy"
_SERVE = """
import importlib.metadata, re, sys
from pathlib import Path
allowed = {"torch", "homerec", *map(str.strip, open(PACKAGES, encoding="utf-8"))}
canonical = lambda name: re.sub("[-_.]+", "-", name).lower()
allowed = {canonical(name) for name in allowed}
owners = importlib.metadata.packages_distributions()

class OnlyTheImage:
    def find_spec(self, name, path=None, target=None):
        found = owners.get(name.partition(".")[0])
        if found and not allowed & {canonical(one) for one in found}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, OnlyTheImage())
import launchers.cli.model.serve
from launchers.cli.main import open_command
from pipeline.io.console import plain_console
from pipeline.serving.http.keys import Keys
from pipeline.serving.http.server import serve_until_signal
from pipeline.serving.settings import Settings
from pipeline.serving.start import open_app
open_command("serve")
app = open_app(Path(MODEL), Settings(), Keys(()))
body, _ = app.served.answer(app.samples[0], "application/json", "application/json")
print(app.served.model.digest.encode() in body)
"""


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tool(name: str) -> str:
    """Return the path of a tool, which the environment of tests has."""
    found = shutil.which(str(Path(sys.executable).parent / name)) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}")
    return found


def test_the_image_has_what_a_server_imports(model_folder: Path) -> None:
    code = f"PACKAGES, MODEL = {str(DEPLOY / 'packages.txt')!r}, {str(model_folder)!r}\n{_SERVE}"
    assert run(sys.executable, "-c", code) == "True\n"


def test_every_package_of_the_image_is_pinned() -> None:
    pins = (DEPLOY.parent / "requirements" / "cpu.txt").read_text(encoding="utf-8")
    pinned = {line.partition("==")[0] for line in pins.splitlines()}
    packages = (DEPLOY / "packages.txt").read_text(encoding="utf-8").split()
    assert set(packages) <= pinned


def test_the_dockerfile_passes_hadolint() -> None:
    assert run(tool("hadolint"), str(DEPLOY / "Dockerfile")) == ""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER 10001$", text, re.MULTILINE)


def test_the_manifest_passes_the_schemas_of_kubernetes() -> None:
    run(tool("kubernetes-validate"), "--strict", str(DEPLOY / "kubernetes.yaml"))
    text = (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    deployment: Any = next(yaml.safe_load_all(text))
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    (server,) = pod["containers"]
    drain_s = int(server["args"][1]) / 1000 + 5  # after preStop
    assert drain_s < pod["terminationGracePeriodSeconds"]


def test_the_torchx_component_is_a_server_per_replica() -> None:
    component = f"{DEPLOY.parent / 'launchers' / 'torchx' / 'components.py'}:serve"
    words = ("--model", "/m", "--keys", "/k", "--replicas", "2", "--", "--queue", "9")
    out = torchx("run", "--dryrun", "-s", "local_cwd", component, *words)
    assert "'num_replicas': 2" in out
    assert "'0.0.0.0'" in out
    assert "'--queue'" in out
