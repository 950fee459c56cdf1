"""The slides of every lecture in a browser, from the disk, with the network cut."""

import pytest
from effort import some
from lecture_runs import LECTURES, executed
from pages import watched

from autograder.publish import slides

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("path", some(2, {path.stem: path for path in LECTURES}))
def test_slides_open_offline_and_each_is_seen_whole(browser, tmp_path_factory, tmp_path, path):
    page_path = slides.build(executed(path, tmp_path_factory), path.stem, tmp_path)
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 720})
    page, elsewhere, errors = watched(context)
    page.goto(page_path.as_uri())
    page.wait_for_function("() => window.Reveal?.isReady() && window.MathJax?.startup?.promise")
    page.evaluate("() => MathJax.startup.promise")
    total = page.evaluate("() => Reveal.getTotalSlides()")
    assert total >= 5
    cut, silent, unfolded, small = [], [], [], []
    for number in range(total):
        box = page.locator(".slides section.present:not(.stack) > .slide-box")
        prints = box.locator(".jp-OutputArea-output > pre").count()  # a long print may scroll
        if not prints and box.evaluate("box => box.classList.contains('scrolls')"):
            cut.append(number)
        if not page.evaluate("() => Reveal.getSlideNotes()"):
            silent.append(number)
        results = box.locator(".jp-OutputArea-output").count()
        unfolded += [
            number for code in box.locator(".course-code").all() if code.evaluate("c => c.open") == bool(results)
        ]
        sizes = box.locator("img.course-plot").evaluate_all("all => all.map(i => i.getBoundingClientRect().height)")
        small += [number for size in sizes if size < 720 / 4 / len(sizes)]
        page.evaluate("() => Reveal.next()")
    assert page.evaluate("() => Reveal.isLastSlide()")
    assert (cut, silent) == ([], []), "what does not fit on a slide, and slides without notes"
    assert (unfolded, small) == ([], []), "code that is not folded where there is a result, and small plots"
    assert elsewhere == []
    assert errors == []
    context.close()
