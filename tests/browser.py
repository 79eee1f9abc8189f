# SPDX-License-Identifier: BSD-3-Clause
"""Open a page in headless Chromium and use it: the DevTools protocol over a pipe, with nothing to install.

Chromium started with ``--remote-debugging-pipe`` reads JSON messages from descriptor 3 and writes its answers
and events to descriptor 4, each ended by a zero byte.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds for one answer: only reached when something is broken

# Moves the pipes to the descriptors that Chromium expects, out of each other's way, and becomes Chromium.
LAUNCHER = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
for pipe, fd in zip(pipes, (3, 4)):
    os.dup2(pipe, fd)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


class Page:
    """One page in a browser of its own; closes both at the end of a ``with`` block.

    Attributes
    ----------
    complaints : list of str
        What appeared on the console: messages, errors, uncaught exceptions.
    requests : list of str
        Every address that the page asked for, its own included; ``data:`` addresses ask nobody.
    """

    def __init__(self, path: Path, profile: Path) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._events: list[dict[str, Any]] = []
        self._unread = b""
        self._last_id = 0
        with contextlib.ExitStack() as stack:
            self._start(stack, profile)
            target = self._send("Target.createTarget", url="about:blank")["targetId"]
            self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
            self.call("Page.navigate", url=path.as_uri())
            self.wait_for("Page.loadEventFired")
            self._open = stack.pop_all()

    def _start(self, stack: contextlib.ExitStack, profile: Path) -> None:
        self._log = stack.enter_context(profile.with_suffix(".log").open("wb"))
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        launcher = [sys.executable, "-c", LAUNCHER, str(to_browser), str(from_browser)]
        command = [
            find_chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={profile}", "--window-size=1000,1400", "--remote-debugging-pipe",
        ]  # fmt: skip
        process = subprocess.Popen(
            [*launcher, *command], pass_fds=(to_browser, from_browser), stderr=self._log
        )
        stack.callback(_end, process)
        for descriptor in (self._read, self._write):  # Chromium ends when its pipes do
            stack.callback(os.close, descriptor)
        os.close(to_browser)
        os.close(from_browser)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command to the page and return its answer."""
        return self._send(method, session=self._session, **params)

    def wait_for(self, method: str, **params: Any) -> None:
        """Read events until one of this name with these parameters has come."""
        while True:
            for event in self._events:
                if event["method"] == method and params.items() <= event["params"].items():
                    self._events.remove(event)
                    return
            self._receive()

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_until(self, condition: str) -> None:
        """Evaluate an expression until it is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, condition
            time.sleep(0.02)

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Scroll an element into view and return its left, top, width and height."""
        return tuple(self.evaluate(
            f"(e => (e.scrollIntoView({{block: 'center'}}), e = e.getBoundingClientRect(),"
            f" [e.left, e.top, e.width, e.height]))(document.querySelector({json.dumps(selector)}))"
        ))  # fmt: skip

    def resize(self, width: int, height: int) -> None:
        """Show the page in a window of this many pixels: with fewer than 600 across, on a phone."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def prefer(self, scheme: str) -> None:
        """Be a reader who prefers "light" or "dark" pages."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        """Save a picture of the whole page, scrolled as it is."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def move(self, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x: float, y: float) -> None:
        self.move(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def click_on(self, selector: str) -> None:
        left, top, width, height = self.box(selector)
        self.click(left + width / 2, top + height / 2)

    def tap(self, x: float, y: float) -> None:
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str, modifiers: int = 0) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=modifiers)

    def _send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last_id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._read, 1 << 16) if ready else b""
            assert chunk, f"chromium does not answer; see {self._log.name}"
            self._unread += chunk
        text, _, self._unread = self._unread.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self._note(message)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event["method"], event["params"]
        self._events.append(event)
        if method == "Network.requestWillBeSent":
            if not (url := params["request"]["url"]).startswith("data:"):
                self.requests.append(url)
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(params))
