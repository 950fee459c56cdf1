"""The site in a browser, from the disk, with the network cut: what it asks for, how accessible it is, its search."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from lecture_runs import built_site
from pages import wait_ms, watched

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PAGES = ["index", "lectures/03_transformers", "assignments/a1_markov_chains", "library/course_utils.learn.losses"]
LOOKS = [(name, scheme) for name in PAGES for scheme in ("light", "dark")]
DAILY = LOOKS[0::4] + LOOKS[3::4]  # each page in one of them


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return built_site(tmp_path_factory)


@pytest.mark.parametrize(
    ("name", "scheme"), [pytest.param(*look, marks=() if look in DAILY else pytest.mark.soak) for look in LOOKS]
)
def test_a_page_asks_for_nothing_and_is_accessible(browser, pages, name, scheme):
    context = browser.new_context(offline=True, color_scheme=scheme)
    page, elsewhere, errors = watched(context)
    page.goto(f"{pages.as_uri()}/{name}.html")
    page.wait_for_timeout(2000)  # what scripts ask for after the page is there
    assert elsewhere == []
    assert errors == []
    found = Axe().run(page).response["violations"]
    serious = [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]
    assert serious == []
    context.close()


def test_search_finds_a_lecture(browser, pages):
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.set_default_timeout(wait_ms(120))
    page.goto(f"{pages.as_uri()}/search.html?q=transformers")
    page.locator("#search-results li").first.wait_for(timeout=wait_ms(60))
    assert "03_transformers" in page.locator("#search-results").inner_html()
    context.close()


def test_a_narrow_screen_scrolls_only_downwards(browser, pages):
    context = browser.new_context(offline=True, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.set_default_timeout(wait_ms(120))
    for name in PAGES:
        page.goto(f"{pages.as_uri()}/{name}.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    context.close()
