"""The built site in a browser that reaches nothing else."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oomkit.kernel.snapshot_json import encode_snapshot
from oomkit.kernel.state import Snapshot
from oomkit.lab.server import LabServer
from tests.views.browser import CHROMIUM, Browser

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build/site"
AXE = ROOT / "build/npm/node_modules/axe-core/axe.min.js"

_NOWHERE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
_HEARD = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


def needs_site() -> None:
    """Skip where there is no browser or no built site."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    if not (SITE / "lab.json").exists():
        pytest.skip("needs the built site (make site)")


class Lab(Browser):
    """One tab with the lab in it."""

    def visit(self, url: str) -> None:
        """Load the lab and wait until it can answer."""
        for domain in ("Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        self.value(_UNTIL % "document.documentElement?.dataset.python === 'ready'")

    def until(self, condition: str) -> None:
        """Wait until an expression of the page's script holds."""
        self.value(_UNTIL % condition)

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            code = {"Enter": 13, "ArrowRight": 39}[key]
            how = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", **how, **(text if kind == "keyDown" else {}))

    def ask(self, name: str, given: dict[str, Any], file: tuple[str, bytes] | None = None) -> Any:
        """Ask the page's worker, as the page does.

        Returns:
            The answer, or ``{"faults": [...]}``.
        """
        made = "null"
        if file is not None:
            made = f"new File([Uint8Array.from({[*file[1]]})], {json.dumps(file[0])})"
        return self.value(_ASK % (json.dumps(name), json.dumps(given), made))

    def complaints(self) -> list[str]:
        """What the console shows, and what was asked of other hosts."""
        found = [json.dumps(one["params"]) for one in self.events if one["method"] in _HEARD]
        sent = (one for one in self.events if one["method"] == "Network.requestWillBeSent")
        urls = [one["params"]["request"]["url"] for one in sent]
        return found + [url for url in urls if not url.startswith(("http://127.0.0.1:", "blob:"))]


_UNTIL = """(async () => {
  while (!(%s)) await new Promise((again) => setTimeout(again, 20));
  return true;
})()"""
_ASK = """(async () => {
  const { ask } = await import("/python.js");
  try {
    return await ask(%s, %s, %s);
  } catch (error) {
    return { faults: error.lines || [String(error)] };
  }
})()"""


@contextmanager
def lab(snapshot: Snapshot, page: str = "", **how: Any) -> Iterator[Lab]:
    """A tab with the lab ready, served as ``oomkit lab`` serves it."""
    server = LabServer(SITE, 0, lambda: encode_snapshot(snapshot))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Lab(flags=[_NOWHERE], **how) as tab:
            tab.visit(f"{server.url}{page}")
            yield tab
    finally:
        server.shutdown()
        server.server_close()
