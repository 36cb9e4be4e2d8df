"""The page in a real browser, from disk, with the network off."""

import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from tiny import FAILED, OBJECTIVES, RECIPE, trial

from archsearch.outcome import Outcome, Result
from archsearch.report.ablation import Report
from archsearch.report.ablation_page import write_ablation_page
from archsearch.report.frame import trials_frame
from archsearch.report.page import write_page

pytestmark = pytest.mark.browser

HOSTILE = "</script><script>window.owned=1</script><img src=x onerror='window.owned=1'>"


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1200", "--no-first-run",
                 "--disable-background-networking", "--disable-dev-shm-usage"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1},
    )
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, tmp_path):
    trials = [
        trial(0, 0.5, 1e9, 100),
        trial(1, 0.6, 2e9, 50, environment={"host": HOSTILE}),
        trial(2, 0.4, 2e9, 50),
        FAILED,
    ]
    write_page(tmp_path / "p.html", HOSTILE, RECIPE, trials, trials_frame(trials, OBJECTIVES), "python cli.py")
    browser.get((tmp_path / "p.html").as_uri())
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def selected(page):
    return page.find_element(By.ID, "detail").get_attribute("data-trial")


def click_point(page, chart, number):
    """A real mouse click on the marker of a trial."""
    where = """
      const box = document.querySelectorAll('.chart')[arguments[0]], layout = box._fullLayout;
      for (const trace of box._fullData) {
        const i = trace.customdata ? Array.from(trace.customdata).indexOf(arguments[1]) : -1;
        if (i < 0) continue;
        const frame = box.getBoundingClientRect();
        return [frame.left + layout.xaxis._offset + layout.xaxis.d2p(trace.x[i]),
                frame.top + layout.yaxis._offset + layout.yaxis.d2p(trace.y[i])];
      }"""
    x, y = page.execute_script(where, chart, number)
    actions = webdriver.ActionChains(page)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y)).pause(0.3).click()
    actions.perform()


def test_opens_offline_with_a_chart_per_pair(page):
    assert len(page.find_elements(By.CSS_SELECTOR, ".chart .main-svg")) >= 3
    rows = page.find_elements(By.CSS_SELECTOR, "#front tbody tr")
    assert [row.get_attribute("data-trial") for row in rows] == ["1", "0"]
    assert selected(page) == "1"
    script = "return [...document.querySelectorAll('.chart')].map(c => c.clientWidth - c._fullLayout.width)"
    WebDriverWait(page, 5).until(lambda page: all(abs(gap) < 2 for gap in page.execute_script(script)))
    page.set_window_size(800, 900)
    WebDriverWait(page, 5).until(lambda page: all(abs(gap) < 2 for gap in page.execute_script(script)))
    page.set_window_size(1400, 1200)


@pytest.mark.parametrize("chart", [0, 1, 2])
def test_a_click_shows_the_architecture_and_rings_it_everywhere(page, chart):
    click_point(page, chart, 2)
    assert selected(page) == "2"
    text = page.find_element(By.ID, "detail").text
    assert "Trial 2: inception, band_kernel_size 11" in text
    assert "stage 1: 2 metanext blocks, inception(square_kernel_size=3, " in text
    rings = page.execute_script(
        "return [...document.querySelectorAll('.chart')].map(c => c.data.at(-1)).map(t => [t.x[0], t.y[0]])"
    )
    assert rings == [[2, 40], [50, 40], [50, 2]]


def test_the_table_works_from_the_keyboard(page):
    page.find_elements(By.CSS_SELECTOR, "#front tbody tr")[1].send_keys(Keys.ENTER)
    assert selected(page) == "0"


def test_names_are_text_and_nothing_else(page):
    assert page.find_element(By.TAG_NAME, "h1").text == HOSTILE
    assert page.execute_script("return window.owned") is None
    assert HOSTILE in page.find_element(By.ID, "detail").text


@pytest.fixture
def ablation(browser, tmp_path):
    base = Result("base", base="base", accuracies={0: 0.5, 1: 0.52}, paper={"top1": 82.3, "train": 900.0})
    speeds = {"train": {"throughput": 50.0, "ratio": 1.2, "ratio_interval": [1.1, 1.3]}}
    results = [
        Result(name, factor, "base", parts=(name,), accuracies={0: 0.4, 1: 0.45}, speeds=speeds, paper={"top1": 82.0})
        for name, factor in ((HOSTILE, "one"), ("b", "one"), ("c", "two"))
    ]
    outcome = Outcome("o", HOSTILE, (base, *results), {"device": HOSTILE}, "python cli.py ablate", "A100")
    write_ablation_page(tmp_path / "a.html", Report.of(outcome))
    browser.get((tmp_path / "a.html").as_uri())
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_an_ablation_has_bars_per_factor_and_its_table(ablation):
    charts = ablation.find_elements(By.CSS_SELECTOR, ".chart .main-svg:first-child")
    assert len(charts) == 3  # two factors, and accuracy against speed
    bars = "return [...document.querySelectorAll('.chart')].map(c => c.querySelectorAll('.bars .point').length)"
    WebDriverWait(ablation, 5).until(lambda page: page.execute_script(bars)[0] >= 4)
    assert ablation.execute_script("return document.querySelectorAll('.errorbar').length") > 0
    first = ablation.find_elements(By.CSS_SELECTOR, "#tables table")[0]
    cells = [row.find_elements(By.TAG_NAME, "td") for row in first.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert [row[0].text for row in cells] == ["", "one", "", "two"]
    assert [row[1].text for row in cells] == ["base", HOSTILE, "b", "c"]
    assert "paired by seed" in ablation.find_element(By.ID, "tables").text
    assert ablation.find_element(By.TAG_NAME, "h1").text == HOSTILE
    assert ablation.execute_script("return window.owned") is None
