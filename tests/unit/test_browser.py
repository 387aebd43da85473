"""The watch over pages sees what it is there for."""

import pytest
from browser import watch

PAGES = {
    "<script>console.error('lost')</script>": "console: lost",
    "<script>missing()</script>": "error: missing is not defined",
    "<script>alert('hello')</script>": "dialog: hello",
    "<script>fetch('https://example.org/x')</script>": "request: https://example.org/x",
    "<img src='../outside.png'>": "request: file://{parent}/outside.png",
}
GOOD = "<img src='a picture.svg'><img src='data:image/svg+xml,<svg/>'><p>A page</p>"
PICTURE = "<svg xmlns='http://www.w3.org/2000/svg'/>"


def problems_of(chromium, folder, html):
    folder.mkdir()
    (folder / "page.html").write_text(f"<!doctype html><meta charset='utf-8'>{html}")
    (folder / "a picture.svg").write_text(PICTURE)
    (folder.parent / "outside.png").write_text(PICTURE)
    problems = []
    context = chromium.new_context(offline=True)
    watch(context, folder, problems)
    page = context.new_page()
    page.goto((folder / "page.html").as_uri())
    page.wait_for_load_state("networkidle")
    context.close()
    return problems


@pytest.mark.parametrize("html", PAGES)
def test_what_a_page_must_not_do_is_noticed(chromium, tmp_path, html):
    expected = PAGES[html].format(parent=tmp_path)
    problems = problems_of(chromium, tmp_path / "folder", html)
    assert any(problem.startswith(expected) for problem in problems), problems


def test_a_page_may_ask_for_its_own_files(chromium, tmp_path):
    assert problems_of(chromium, tmp_path / "folder", GOOD) == []


def test_a_page_opens_as_wide_and_as_dark_as_asked(page_of, tmp_path):
    (tmp_path / "page.html").write_text("<!doctype html><p>A page</p>")
    page = page_of(tmp_path / "page.html", width=390, dark=True)
    assert page.evaluate("[innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]") == [
        390,
        True,
    ]
