"""The slides of every lecture in a browser, from the disk, with the network cut."""

import pytest
from lecture_runs import LECTURES, executed

from course_utils.publish import slides

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("path", LECTURES, ids=[path.stem for path in LECTURES])
def test_slides_open_offline_and_each_is_seen_whole(browser, tmp_path_factory, tmp_path, path):
    page_path = slides.build(executed(path, tmp_path_factory), path.stem, tmp_path)
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.set_default_timeout(120_000)  # a machine under test is slow
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: errors.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(page_path.as_uri())
    page.wait_for_function("() => window.Reveal?.isReady() && window.MathJax?.startup?.promise")
    page.evaluate("() => MathJax.startup.promise")
    total = page.evaluate("() => Reveal.getTotalSlides()")
    assert total >= 5
    cut, silent = [], []
    for number in range(total):
        box = page.locator(".slides section.present:not(.stack) > .slide-box")
        if box.evaluate("box => box.classList.contains('scrolls')"):
            cut.append(number)
        if not page.evaluate("() => Reveal.getSlideNotes()"):
            silent.append(number)
        page.evaluate("() => Reveal.next()")
    assert page.evaluate("() => Reveal.isLastSlide()")
    assert (cut, silent) == ([], []), "what does not fit on a slide, and slides without notes"
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert errors == []
    context.close()
