"""A report in a real browser, opened from disk as a person would."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
_PATIENCE_MS = 180_000


# Every kind of element stays, but not each of thousands of cells: axe looks at one after the other.
_TRIM = """() => {
    const shapes = "svg :is(path, rect, circle, line, title)";
    for (const kind of ["tbody tr:nth-child(n+2)", ".charts figure:nth-of-type(n+2)", shapes])
        document.querySelectorAll(kind).forEach((one) => one.remove());
    document.querySelectorAll("pre").forEach((one) => one.replaceChildren("text"));
    document.querySelectorAll("details").forEach((one) => one.open = true);
}"""
_AXE = """async (within) => {
    const options = { runOnly: ["color-contrast"], resultTypes: ["violations"] };
    const found = await axe.run(within, options);
    return found.violations.flatMap((one) => one.nodes.map((node) => node.html));
}"""
# The lowest contrast of any text of a picture, which axe does not judge.
_PICTURES = """() => {
    const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const light = () => {
        const part = (byte) => byte / 255 <= 0.04045
            ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4;
        const [red, green, blue] = pen.getImageData(0, 0, 1, 1).data;
        return 0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue);
    };
    const paint = (colour) => { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); };
    return Math.min(...[...document.querySelectorAll("svg text")].map((text) => {
        paint(getComputedStyle(document.body).backgroundColor);
        const page = light();
        paint(getComputedStyle(text).fill);
        return (Math.max(page, light()) + 0.05) / (Math.min(page, light()) + 0.05);
    }));
}"""


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

    def shorten(self) -> None:
        """Cuts long tables and opens all that is folded."""
        self.page.evaluate(_TRIM)

    def low_contrast(self, within: str = "body") -> list[str]:
        """The elements whose text axe-core finds to stand out by less than 4.5:1."""
        self.page.evaluate(AXE_SCRIPT)
        return self.page.evaluate(_AXE, within)

    def contrast_in_pictures(self) -> float:
        """The lowest contrast of a text in a picture with the page."""
        return self.page.evaluate(_PICTURES)

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
