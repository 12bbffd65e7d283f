"""A real browser for tests of pages: chromium without a window, steered over a pipe.

`--remote-debugging-pipe` reads and writes the DevTools protocol (JSON, each message ended by a
zero byte) on file descriptors 3 and 4: no driver, no port, no package.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PATIENCE = 600.0
_FLAGS = (
    "--headless",
    "--no-sandbox",  # it refuses to run as root with one
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # containers have little of it
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-pipe",
    "--window-size=1280,1000",
)
_FAULTS = ("error", "warning", "assert")
# Keys that are no letters: the code that Windows gave them, which the protocol asks for.
_KEYS = {"Backspace": 8, "Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36,
         "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}  # fmt: skip


def find_browser() -> str | None:
    """The program, if this machine has one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page. `faults`: errors on its console, exceptions, loads that failed or were refused;
    `addresses`: all that it asked for."""

    def __init__(self, sending: int, receiving: int) -> None:
        self.faults: list[str] = []
        self.addresses: list[str] = []
        self._sending, self._receiving = sending, receiving
        self._buffer = b""
        self._last = 0
        self._loaded = False
        self._session = ""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Network.emulateNetworkConditions", offline=True, latency=0,
                 downloadThroughput=-1, uploadThroughput=-1)  # fmt: skip

    def open(self, path: Path) -> None:
        """Until it is loaded and its charts are drawn; there is no network."""
        self._loaded = False
        self.faults.clear()
        self.addresses.clear()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while not self._loaded:
            self._take(self._message())
        self.run("window.ready")

    def run(self, script: str) -> Any:
        """The value of an expression; a promise's, once it is kept."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True,
                          awaitPromise=True, userGesture=True)  # fmt: skip
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description", answer))
        return answer["result"].get("value")

    def settle(self) -> None:
        """Until what was asked for has been painted."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def middle(self, selector: str) -> tuple[float, float]:
        """Of an element, brought into sight: pixels of the window."""
        x, y = self.run(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)});"
            "node.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const box = node.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return x, y

    def mouse(self, kind: str, x: float, y: float, clicks: int = 0) -> None:
        """kind: moved, pressed, released."""
        held = kind != "moved" or clicks
        self.ask("Input.dispatchMouseEvent", type=f"mouse{kind.capitalize()}", x=x, y=y,
                 button="left" if held else "none", buttons=1 if held and kind != "released" else 0,
                 clickCount=clicks, pointerType="mouse")  # fmt: skip

    def click(self, selector: str) -> None:
        self.click_at(*self.middle(selector))

    def click_at(self, x: float, y: float, clicks: int = 1) -> None:
        self.mouse("moved", x, y)
        for n in range(1, clicks + 1):
            self.mouse("pressed", x, y, n)
            self.mouse("released", x, y, n)
        self.settle()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.mouse("moved", *start)
        self.mouse("pressed", *start, 1)
        for part in (0.5, 1.0):
            x, y = (a + part * (b - a) for a, b in zip(start, end, strict=True))
            self.mouse("moved", x, y, 1)
        self.mouse("released", *end, 1)
        self.settle()

    def press(self, *keys: str) -> None:
        for key in keys:
            code = _KEYS.get(key, ord(key[0].upper()))
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            self.ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", key=key,
                     text=text, windowsVirtualKeyCode=code)  # fmt: skip
            self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)
        self.settle()

    def write(self, text: str) -> None:
        """Into what has the focus."""
        self.ask("Input.insertText", text=text)
        self.settle()

    def dark(self, on: bool) -> None:
        value = "dark" if on else "light"
        self.ask("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-color-scheme", "value": value}])  # fmt: skip
        self.settle()

    def resize(self, width: int, height: int) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=False)  # fmt: skip
        self.settle()

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """What the window shows as PNG, or the whole page."""
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command; what happens meanwhile is noted."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._sending, data) :]
        while (answer := self._message()).get("id") != self._last:
            self._take(answer)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        found: dict[str, Any] = answer["result"]
        return found

    def _message(self) -> dict[str, Any]:
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._receiving], [], [], max(0, end - time.monotonic()))
            data = os.read(self._receiving, 1 << 20) if ready else b""
            assert data, "the browser says nothing more"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def _take(self, event: dict[str, Any]) -> None:
        kind, params = event.get("method"), event.get("params", {})
        if kind == "Page.loadEventFired":
            self._loaded = True
        elif kind == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.faults.append(details.get("exception", {}).get("description", details["text"]))
        elif kind == "Runtime.consoleAPICalled" and params["type"] in _FAULTS:
            self.faults.append(str([each.get("value") for each in params["args"]]))
        elif kind == "Log.entryAdded" and params["entry"]["level"] in _FAULTS:
            self.faults.append(params["entry"]["text"])
        elif kind == "Network.loadingFailed":
            self.faults.append(params["errorText"])
        elif kind == "Network.requestWillBeSent":
            self.addresses.append(params["request"]["url"])


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A new browser with an empty profile; gone, with all that it wrote, at the end."""
    program = find_browser()
    assert program, f"no browser: none of {', '.join(NAMES)} is on PATH"
    to_read, to_write = os.pipe()
    our_read, their_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:

        def wire() -> None:
            # Free numbers first: the pipes may be 3 and 4 themselves, the wrong way round.
            reading, writing = os.dup(to_read), os.dup(their_write)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=wire,
            close_fds=False,
        )
        os.close(to_read)
        os.close(their_write)
        try:
            yield Browser(to_write, our_read)
        finally:
            os.close(to_write)  # it ends with its pipe
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(our_read)
