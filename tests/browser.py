"""Pages of the results in a real browser: Chromium, driven by Playwright.

A test takes the fixture `page_of` and opens a file with it:

    def test_map(page_of):
        page = page_of("results/explore/demo/map.html", width=390, dark=True)
        page.get_by_text("noise").click()

The test fails at its end if the page, or one it leads to, logs an error, throws, opens a dialog or
asks for anything outside its folder. The Chromium is the system's; without one the test is skipped.
"""

import os
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INLINE = ("data", "blob", "about")  # schemes that ask nobody


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium, a Playwright Browser for the tests of a module."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    command = next(filter(None, map(shutil.which, COMMANDS)), None)
    if command is None:
        pytest.skip(f"none of {', '.join(COMMANDS)} is installed")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root in its sandbox
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=command, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def page_of(chromium):
    """A function (path, width=1440, height=900, dark=False, folder=None) that opens a file.

    width, height: of the window, in CSS pixels. dark: what the user's system prefers. folder: all
    that the page may ask for is in it; None takes the page's own.
    Returns the Playwright Page after its `load` event. Several may be open in one test.
    """
    problems, contexts = [], []

    def open_page(path, width=1440, height=900, dark=False, folder=None):
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            offline=True,
        )
        contexts.append(context)
        path = Path(path).resolve()
        watch(context, Path(folder or path.parent).resolve(), problems)
        page = context.new_page()
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems, "\n".join(problems)


def watch(context, folder, problems):
    """Append what a Playwright BrowserContext's pages do wrong to a list, as texts.

    folder: absolute Path; every `file:` that is asked for must be in it.
    """

    def dismiss(dialog):
        problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def check_console(message):
        if message.type == "error":
            problems.append(f"console: {message.text}")

    def check_request(request):
        if not _is_inside(request.url, folder):
            problems.append(f"request: {request.url[:200]}")

    context.on("dialog", dismiss)
    context.on("console", check_console)
    context.on("request", check_request)
    context.on("weberror", lambda error: problems.append(f"error: {error.error}"))


def _is_inside(url, folder):
    """Whether what a page asks for is in the page, or in a file of the folder."""
    parts = urlsplit(url)
    if parts.scheme in INLINE:
        return True
    path = Path(os.path.normpath(unquote(parts.path)))
    return parts.scheme == "file" and path.is_relative_to(folder)
