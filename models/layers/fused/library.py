"""Compiles kernels.cpp and the headers next to it with the machine's C++ compiler, once."""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).with_name("kernels.cpp")  # includes the headers next to it
# As numbers are rounded one by one (no -ffast-math), NaN stays NaN. OpenMP's runtime is not linked:
# the symbols are found in the one that torch has loaded, whose threads are shared.
_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math")
_OF_MACHINE = {
    "x86_64": ("-march=native", "-mprefer-vector-width=512"),
    "aarch64": ("-mcpu=native",),
}


def library() -> Path:
    """Return the shared library for this source, compiler and processor, from the cache.

    Raises:
        OSError: no compiler, or a cache that cannot be written.
        CalledProcessError: the compiler failed.
    """
    compiler = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    where = shutil.which(compiler[0])
    if where is None:
        raise OSError(f"no C++ compiler ({compiler[0]}) is installed; set CXX, or install g++")
    command = [*compiler, *_FLAGS, *_OF_MACHINE.get(platform.machine(), ())]
    version = os.stat(where)
    key = repr((command, version.st_size, version.st_mtime_ns, _processor()))
    files = [_SOURCE, *sorted(_SOURCE.parent.glob("*.h"))]
    content = b"".join(file.read_bytes() for file in files)
    digest = hashlib.sha256(key.encode() + content).hexdigest()[:16]
    library = _cache() / f"kernels-{digest}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            objects, made = Path(folder) / "kernels.o", Path(folder) / "kernels.so"
            for step in (
                [*command, "-c", str(_SOURCE), "-o", str(objects)],
                [*compiler, "-shared", str(objects), "-o", str(made)],
            ):
                subprocess.run(step, check=True, capture_output=True, text=True, errors="replace")
            made.replace(library)  # ranks that compile at once each put the same file
    return library


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "homerec"


def _processor() -> str:
    """Return what the processor can do: a home folder may be shared by machines that differ."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    return next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
