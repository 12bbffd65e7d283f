"""An Ethernet wire between two network namespaces, which can be cut, be slow, or lose one way.

The kernel's own tools for that (netem, drop actions) are modules that many hosts lack. So each
end is a tap device, and this process carries the frames.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import selectors
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

DEVICE = "/dev/net/tun"
# <linux/if_tun.h>, <linux/sched.h>
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_CLONE_NEWNET = 0x40000000
_FRAME = 65536


@dataclass
class Wire:
    """What happens to frames; may be changed at any time.

    Attributes:
        delay: seconds from one end to the other.
        dead: ends, 0 or 1, whose frames get lost, without a word to anybody.
        carried: frames so far, from each end.
        lost: frames so far.
    """

    delay: float = 0.0
    dead: set[int] = field(default_factory=set)
    carried: list[int] = field(default_factory=lambda: [0, 0])
    lost: int = 0

    def cut(self) -> None:
        """Both ways."""
        self.dead = {0, 1}

    def repair(self) -> None:
        """As it was."""
        self.dead = set()


@contextmanager
def wire(pids: Sequence[int], addresses: Sequence[str]) -> Iterator[Wire]:
    """A wire between the network namespaces of two processes, each end with its address."""
    made = Wire()
    with ExitStack() as stack:
        taps = [_tap(pid) for pid in pids]
        for tap, pid, address in zip(taps, pids, addresses, strict=True):
            stack.callback(os.close, tap)
            inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip"]
            for words in (
                ["link", "set", "lo", "up"],
                ["address", "add", f"{address}/24", "dev", "wire"],
                ["link", "set", "wire", "mtu", "16000", "up"],
            ):
                subprocess.run([*inside, *words], check=True)
        stop, stopper = os.pipe()
        stack.callback(os.close, stop)
        carrier = threading.Thread(target=_carry, args=(made, taps, stop), name="wire")
        carrier.start()
        stack.callback(carrier.join)
        stack.callback(os.close, stopper)
        yield made


def _carry(made: Wire, taps: Sequence[int], stop: int) -> None:
    """Frames from each tap to the other, in order, until `stop` is closed."""
    waiting: deque[tuple[float, int, bytes]] = deque()
    with selectors.DefaultSelector() as selector:
        for end, tap in enumerate(taps):
            selector.register(tap, selectors.EVENT_READ, end)
        selector.register(stop, selectors.EVENT_READ, None)
        while True:
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, end, frame = waiting.popleft()
                if end in made.dead:
                    made.lost += 1
                    continue
                os.write(taps[1 - end], frame)
                made.carried[end] += 1
            for key, _ in selector.select(waiting[0][0] - now if waiting else None):
                if key.data is None:
                    return
                waiting.append((time.monotonic() + made.delay, key.data, os.read(key.fd, _FRAME)))


def _tap(pid: int) -> int:
    """A tap device 'wire' in the network namespace of `pid`, open here."""
    found: list[int] = []

    def enter() -> None:  # in a thread that ends: this process stays where it is
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(namespace)
        tap = os.open(DEVICE, os.O_RDWR)
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", b"wire", _IFF_TAP | _IFF_NO_PI))
        found.append(tap)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found, f"no tap device for process {pid}"
    return found[0]
