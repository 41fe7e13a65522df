"""A report in a real browser, opened from disk as a person would."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
_PATIENCE_MS = 180_000


class Look:
    """An open page, all that its console said, and all that it asked for."""

    def __init__(self, browser: Browser, report: Path, width: int, scheme: str) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        self.context.set_default_timeout(_PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.console: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(report.as_uri())

    def wait_for_console(self, text: str) -> None:
        """Waits until the console has said this; some of it comes after the page."""
        if not any(text in line for line in self.console):
            self.page.wait_for_event("console", lambda message: text in message.text)

    def column(self, caption: str, name: str) -> list[str]:
        """The texts of a table's column, from the top."""
        return self.page.evaluate(
            """([caption, name]) => {
                const table = [...document.querySelectorAll("table")]
                    .find((table) => table.caption.textContent.startsWith(caption));
                const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent);
                const column = heads.indexOf(name);
                return [...table.tBodies[0].rows].map((row) => row.cells[column].textContent);
            }""",
            [caption, name],
        )

    def exact(self, caption: str, name: str) -> list[float]:
        """The exact numbers of a table's column, from the top."""
        return self.page.evaluate(
            """([caption, name]) => {
                const table = [...document.querySelectorAll("table")]
                    .find((table) => table.caption.textContent.startsWith(caption));
                const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent);
                const column = heads.indexOf(name);
                return [...table.tBodies[0].rows]
                    .map((row) => Number(row.cells[column].dataset.value));
            }""",
            [caption, name],
        )

    def luminance(self, selector: str, of: str) -> float:
        """The relative luminance (WCAG 2) of an element's computed colour."""
        text = self.page.evaluate(
            "([selector, of]) => getComputedStyle(document.querySelector(selector))[of]",
            [selector, of],
        )
        parts = [float(part) / 255 for part in text[text.index("(") + 1 : -1].split(",")[:3]]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=_ARGUMENTS, timeout=_PATIENCE_MS
        )
        try:
            yield chromium
        finally:
            chromium.close()
