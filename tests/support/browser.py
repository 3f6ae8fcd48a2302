"""A headless Chromium, driven over its DevTools protocol: what a page loads, logs and looks like."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import websocket

#: where Debian's and others' packages put it
NAME = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SECONDS = 60  # a busy machine starts it slowly


class Browser:
    """One tab; use in `with`."""

    def __enter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
        command = [
            NAME,
            *flags.split(),
            "--remote-debugging-port=0",
            f"--user-data-dir={self._profile.name}",
            "about:blank",
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = self._port()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=SECONDS) as answer:
                tab = next(entry for entry in json.load(answer) if entry["type"] == "page")
            self._socket = websocket.create_connection(
                tab["webSocketDebuggerUrl"], timeout=SECONDS, suppress_origin=True
            )
        except BaseException:
            self.__exit__()
            raise
        self._number, self.events = 0, []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        self._profile.cleanup()

    def _port(self) -> str:
        """The port that Chromium chose, which it writes into its profile."""
        file, end = Path(self._profile.name, "DevToolsActivePort"), time.monotonic() + SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if file.exists() and len(lines := file.read_text().splitlines()) > 1:
                return lines[0]
            time.sleep(0.05)
        raise RuntimeError(f"{NAME} did not start")

    def call(self, method: str, **parameters):
        """The result of a command; events that come before it are kept."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while (message := json.loads(self._socket.recv())).get("id") != self._number:
            self.events.append(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        return message["result"]

    def open(self, path: Path, width: int, height: int = 800, dark: bool = False) -> None:
        """Opens a file in a window of so many pixels; `events` are those of this page until it is loaded."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.events = []
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self._socket.recv()))

    def evaluate(self, expression: str):
        """The value of a JavaScript expression in the page, awaited if it is a promise."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["text"])
        return found["result"].get("value")

    def requests(self) -> list[str]:
        """Addresses that the page asked for, data in the page itself left out."""
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent if not each["request"]["url"].startswith("data:")]

    def complaints(self) -> list[str]:
        """What the page's console shows, and exceptions."""
        kinds = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in kinds]
