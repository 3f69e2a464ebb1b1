"""Chromium as a person would use it, by ChromeDriver (W3C WebDriver): one page, a microphone that is a WAVE file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from twisted.internet.threads import deferToThread

from tests.interop.case import InteropTestCase
from tests.interop.programs import find_program
from tests.ports import HOST

_START_LIMIT = 40.0
_ANSWER_LIMIT = 60.0
_STOP_LIMIT = 20.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

#: Gives the frequency in Hz that is loudest in what the page's audio element plays, or 0.
_LISTEN = """
const done = arguments[arguments.length - 1];
const stream = document.querySelector("audio").srcObject;
if (!stream) { done(0); return; }
const context = new AudioContext(), analyser = context.createAnalyser();
analyser.fftSize = 8192;
context.createMediaStreamSource(stream).connect(analyser);
context.resume().then(() => setTimeout(() => {
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  let best = 0;
  bins.forEach((level, bin) => { if (level > bins[best]) best = bin; });
  done(bins[best] > -60 ? best * context.sampleRate / analyser.fftSize : 0);
  context.close();
}, 1000));
"""


class Browser:
    """A Chromium of one test, without a window.

    Args:
        case: the test that it runs in; skipped where Chromium or ChromeDriver is not installed.
        microphone: what it hears, again and again.
    """

    def __init__(self, case: InteropTestCase, microphone: Path) -> None:
        self._case = case
        self._driver = find_program("chromedriver")
        self._binary = find_program("chromium")
        self._microphone = microphone
        self._port = case.ports.take()
        self._session = ""

    async def start(self) -> None:
        """Start both."""
        options = (f"--port={self._port}", "--log-level=SEVERE")
        self._program = self._case.start(self._driver, *options, label="chromedriver")
        await self._program.says("started successfully", _START_LIMIT)
        profile = self._case.directory / "chromium"
        arguments = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={self._microphone}", "--autoplay-policy=no-user-gesture-required",
            "--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns",
            f"--user-data-dir={profile}",
        ]  # fmt: skip
        wanted = {"browserName": "chrome", "goog:chromeOptions": {"binary": self._binary, "args": arguments}}
        begun = await self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{begun['sessionId']}"
        self._case.addCleanup(self.stop)

    async def stop(self) -> None:
        """Close the browser, and end both. Idempotent."""
        session, self._session = self._session, ""
        if session:
            await self._ask("DELETE", session)
            self._program.send_signal("TERM")
            await self._program.ends(_STOP_LIMIT)

    async def visit(self, url: str) -> None:
        """Load a page."""
        await self._ask("POST", f"{self._session}/url", {"url": url})

    async def click(self, selector: str) -> None:
        """Click on what a CSS selector finds first."""
        found = await self._ask("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        await self._ask("POST", f"{self._session}/element/{found[_ELEMENT]}/click", {})

    async def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page; give what it returns."""
        return await self._ask("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    async def hears(self) -> float:
        """Give the frequency in Hz of the tone that the page plays; 0 where it is silent."""
        return float(await self._ask("POST", f"{self._session}/execute/async", {"script": _LISTEN, "args": []}))

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        return await deferToThread(self._ask_now, method, path, body)

    def _ask_now(self, method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        url, kind = f"http://{HOST}:{self._port}{path}", {"Content-Type": "application/json"}
        with urlopen(Request(url, data, kind, method=method), timeout=_ANSWER_LIMIT) as answer:
            return json.load(answer)["value"]
