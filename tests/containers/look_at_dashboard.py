"""Looks at the Ray dashboard as a person would: logs in, opens pages, takes screenshots.

look_at_dashboard.py URL TOKEN_FILE FOLDER JOB_ID WORKER
Prints JSON: what each page shows, the errors on the browser's console.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
PATIENCE_MS = 180_000


def log_in(page: Page, url: str, token: str) -> str:
    """Returns what the page showed before the token was given."""
    page.goto(url)
    field = page.get_by_placeholder("Enter your authentication token")
    field.wait_for()
    before = page.inner_text("body")
    field.fill(token)
    field.press("Enter")
    field.wait_for(state="hidden")
    return before


def main() -> None:
    url, token_file, folder, job, worker = sys.argv[1:]
    seen: dict[str, object] = {}
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM, timeout=PATIENCE_MS
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        seen["login"] = log_in(page, url, Path(token_file).read_text().strip())
        for name, path, texts in (
            ("cluster", "#/cluster", ["ray-head", worker]),
            ("jobs", "#/jobs", [job]),
            ("job", f"#/jobs/{job}", ["SUCCEEDED"]),
        ):
            page.goto(f"{url}/{path}")
            for text in texts:
                page.get_by_text(text).filter(visible=True).first.wait_for()
            page.wait_for_timeout(1500)  # tables fill one after the other
            seen[name] = page.inner_text("body")
            page.screenshot(path=f"{folder}/{name}.png", full_page=True)
        browser.close()
    print(json.dumps({"seen": seen, "errors": errors}))


main()
