"""The page in a real browser: from disk with the network off, and served while its study runs."""

import csv
import dataclasses
import io
import json
import shutil
import time

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from served import go, serving
from tiny import RECIPE, make_study, shipped_space, trial
from views import HOSTILE, LUCKY, confirmed_view, hostile_view, noisy_view, one_of_each, searched_view, view

from archsearch.ablation.analysis import Report
from archsearch.ablation.outcome import Outcome, Result
from archsearch.arch import Arch
from archsearch.recipes import PROXIES
from archsearch.report.confirm_tables import confirmation_document
from archsearch.report.page.html import write_page
from archsearch.utils.key_fields import key_fields

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--window-size=1400,1200",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--enable-unsafe-swiftshader",  # WebGL without a GPU
)
CHARTS = ("pareto", "space", "hypervolume", "parallel", "curves", "importance", "slice")
PATIENCE = 60  # seconds, of a machine with other work


def until(page, condition):
    """Waits for what the page does in its own time."""
    return WebDriverWait(page, PATIENCE, 0.05).until(condition)


@pytest.fixture(scope="module")
def chromium():
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.execute_cdp_cmd("Network.enable", {})
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium):
    """With the network off."""
    network(chromium, offline=True)
    yield chromium
    complaints = [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
    assert complaints == []


def network(driver, offline):
    speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": offline, **speed})


def load(browser, url):
    """Opens a page and waits for the end of its script: on a busy machine the driver may return before."""
    browser.get(url)
    script = "return location.href === arguments[0] && 'archsearch' in window"
    until(browser, lambda page: page.execute_script(script, url))


@pytest.fixture
def open_page(browser, tmp_path):
    def opened(*views):
        write_page(tmp_path / "p.html", list(views))
        load(browser, (tmp_path / "p.html").as_uri())
        until(browser, lambda page: page.find_elements(By.CSS_SELECTOR, "#trials tbody tr"))
        return browser

    return opened


@pytest.fixture
def page(open_page):
    return open_page(view())


def seen(page, chart):
    """Scrolls to a chart and waits until it is drawn and up to date."""
    box = page.find_element(By.ID, chart)
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    until(page, lambda page: page.execute_script("return archsearch.drawn(arguments[0])", chart))
    return box


def test_what_the_maps_are_too_small_for_stands_in_the_head(open_page):
    told = ("Proxy maps of 16-8-4-2 are too small to judge kernel_size from 5 on.", "Large enough are <96>.")
    page = open_page(view(small_maps=told))
    assert [line.text for line in page.find_elements(By.CSS_SELECTOR, "#studies .maps")] == [" ".join(told)]
    page = open_page(view(small_maps=told), view(name="other", small_maps=told), view(name="large"))
    assert [line.text for line in page.find_elements(By.CSS_SELECTOR, "#studies .maps")] == [
        "small, other: " + " ".join(told)
    ]
    page = open_page(view())
    assert page.find_elements(By.CSS_SELECTOR, "#studies .maps") == []


def click_point(page, chart, number, *keys):
    """A real mouse click on the marker of a trial."""
    where = """
      const box = document.getElementById(arguments[0]), layout = box._fullLayout;
      for (const trace of box._fullData) {
        const i = trace.mode === "markers" && trace.text
          ? Array.from(trace.text).findIndex((text) => text.includes(`trial ${arguments[1]}<`)) : -1;
        if (i < 0) continue;
        const frame = box.getBoundingClientRect();
        return [frame.left + layout.xaxis._offset + layout.xaxis.d2p(trace.x[i]),
                frame.top + layout.yaxis._offset + layout.yaxis.d2p(trace.y[i])];
      }"""
    seen(page, chart)
    x, y = page.execute_script(where, chart, number)
    for key in keys:
        webdriver.ActionChains(page).key_down(key).perform()
    actions = webdriver.ActionChains(page)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    actions.perform()
    hovered = """
      const points = document.getElementById(arguments[0])._hoverdata ?? [];
      return points.some((point) => point.text?.includes(`trial ${arguments[1]}<`));"""
    until(page, lambda page: page.execute_script(hovered, chart, number))  # what is clicked is what is hovered over
    webdriver.ActionChains(page).click().perform()
    for key in keys:
        webdriver.ActionChains(page).key_up(key).perform()


def drag(page, chart, start, end):
    """A drag between two places of a chart, in shares of its size."""
    box = seen(page, chart).rect
    top = page.execute_script("return window.scrollY")
    at = [(round(box["x"] + x * box["width"]), round(box["y"] - top + y * box["height"])) for x, y in (start, end)]
    actions = webdriver.ActionChains(page)
    pointer = actions.w3c_actions.pointer_action
    pointer.move_to_location(*at[0]).pointer_down().pause(0.1)
    pointer.move_to_location(*at[1]).pause(0.1).pointer_up()
    actions.perform()


def corners(page, *places):
    """Places on the front, given by their scores, in shares of the chart's size."""
    script = """
      const box = document.getElementById("pareto"), layout = box._fullLayout, frame = box.getBoundingClientRect();
      return arguments[0].map(([x, y]) => [(layout.xaxis._offset + layout.xaxis.d2p(x)) / frame.width,
                                           (layout.yaxis._offset + layout.yaxis.d2p(y)) / frame.height]);"""
    seen(page, "pareto")
    return page.execute_script(script, places)


def looked_at(page):
    return page.find_element(By.ID, "detail").get_attribute("data-trial")


def chosen(page):
    """Numbers of the selected trials, as the table shows them."""
    return [
        int(row.find_elements(By.TAG_NAME, "td")[0].text) for row in page.find_elements(By.CSS_SELECTOR, "tr.chosen")
    ]


def shows(page, chart, numbers):
    """Waits until a chart marks these trials: it is brought up to date when it is seen."""
    seen(page, chart)
    until(page, lambda page: page.execute_script("return archsearch.marked(arguments[0])", chart) == numbers)


def marked_pixels(page, chart):
    """How many pixels the marks of a chart cover."""
    script = """
      const canvas = document.querySelector(`#${arguments[0]} + canvas`);
      const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.reduce((sum, value, i) => sum + (i % 4 === 3 && value > 0), 0);"""
    return page.execute_script(script, chart)


def test_opens_offline_and_draws_every_view(page):
    for chart in CHARTS:
        seen(page, chart)
    assert looked_at(page) == "1"
    header = page.find_element(By.ID, "studies").text
    assert "6 trials of space small, 2 on the front, 1 infeasible, 1 pruned, 1 failed" in header
    rows = page.find_elements(By.CSS_SELECTOR, "#trials tbody tr")
    assert [row.find_elements(By.TAG_NAME, "td")[1].text for row in rows] == [
        "on the front", "on the front", "dominated", "infeasible", "pruned", "failed",
    ]  # fmt: skip
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_fits_every_width_down_to_a_phone(page):
    fits = "return document.documentElement.scrollWidth <= window.innerWidth"
    gap = "const c = document.getElementById('pareto'); return Math.abs(c.clientWidth - c._fullLayout.width)"
    for width in (1400, 900, 420):
        page.set_window_size(width, 900)
        seen(page, "pareto")
        until(page, lambda page: page.execute_script(fits))
        until(page, lambda page: page.execute_script(gap) < 2)
    page.set_window_size(1400, 1200)


@pytest.mark.parametrize("chart", ["pareto", "slice"])
def test_a_click_shows_the_trial_and_highlights_it_everywhere(page, chart):
    click_point(page, chart, 2)
    until(page, lambda page: looked_at(page) == "2")
    assert chosen(page) == [2]
    for other in ("pareto", "slice", "space", "parallel"):
        shows(page, other, [2])
        assert marked_pixels(page, other) > 50
    seen(page, "curves")
    assert page.execute_script("return document.getElementById('curves').data.map((t) => t.name)") == ["trial 2"]
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
    assert chosen(page) == []
    ring = 2 * 3.14 * 10 * 2
    for other in ("pareto", "slice", "space"):
        shows(page, other, [])
        assert marked_pixels(page, other) < 2 * ring  # around the one that is looked at
    shows(page, "parallel", [])
    assert marked_pixels(page, "parallel") == 0


def test_a_trial_is_told_whole(page):
    click_point(page, "pareto", 0)
    until(page, lambda page: looked_at(page) == "0")
    text = page.find_element(By.ID, "detail").text
    for words in (
        "on the front: inception, band_kernel_size 7",
        "stages 1 to 3", "C = 40, 80, 160", "blocks: 2, 2, 6", "DW 3 x 3", "DW 1 x 9", "MLP: C, 4C, C, gelu",
        "Target network, counted and measured", "1 GMACs", "4 M params",
        "100 img/s (95 % confidence interval 95.2 img/s to 105 img/s); "
        "3.33 times as fast as the reference (3.23 to 3.45)",
        "batch 2, 224 px, fp32", "Proxy network, trained", "50.0 %", "1: loss 1.500, 50.0 %",
        "Next to it on the front", "python cli.py study --repeat 0",
    ):  # fmt: skip
        assert words in text
    assert "+10.0 points" in text  # trial 1 beside it
    assert "+100.0 %" in text
    config = page.find_element(By.CSS_SELECTOR, "#detail details pre").get_attribute("textContent")
    assert Arch.from_dict(json.loads(config)) == one_of_each()[0].arch


def test_a_dominated_trial_names_those_that_beat_it(page):
    click_point(page, "pareto", 2)
    until(page, lambda page: "Dominated by" in page.find_element(By.ID, "detail").text)
    page.find_element(By.CSS_SELECTOR, "#detail td button").click()
    assert looked_at(page) in ("0", "1")
    assert len(chosen(page)) == 2


def test_a_box_selects_and_a_key_adds(page):
    drag(page, "pareto", *corners(page, (0.97e9, 0.61), (2.03e9, 0.45)))
    until(page, lambda page: chosen(page) == [0, 1])
    time.sleep(0.5)  # a click right after it would be the second of a double one
    click_point(page, "pareto", 2, Keys.SHIFT)
    until(page, lambda page: chosen(page) == [0, 1, 2])
    shows(page, "pareto", [0, 1, 2])
    assert page.find_element(By.ID, "chosen").text == "3 of 6 trials selected"


def test_a_selection_made_elsewhere_takes_away_boxes_and_brushes(page):
    drag(page, "pareto", *corners(page, (0.97e9, 0.61), (2.03e9, 0.45)))
    until(page, lambda page: chosen(page) == [0, 1])
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
    boxes = "return (document.getElementById('pareto').layout.selections ?? []).length"
    until(page, lambda page: page.execute_script(boxes) == 0)
    seen(page, "parallel")
    drag(page, "parallel", *axis_span(page, "top-1", 0.45, 0.55))
    until(page, lambda page: chosen(page) == [0])
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
    brushes = "return document.getElementById('parallel').data[0].dimensions.filter((d) => d.constraintrange).length"
    until(page, lambda page: page.execute_script(brushes) == 0)
    assert chosen(page) == []
    drag(page, "parallel", *axis_span(page, "MACs", 1.9e9, 2.05e9))
    until(page, lambda page: chosen(page) == [1, 2])


def test_what_the_legend_hides_is_not_marked(page):
    seen(page, "pareto")
    page.execute_script("""
      const box = document.getElementById("pareto"), at = box.data.findIndex((t) => t.name === "failed");
      return Plotly.restyle(box, {visible: "legendonly"}, [at]);""")
    page.execute_script("archsearch.select([1, 5])")
    shows(page, "pareto", [1])


def test_brushing_parallel_coordinates_selects(page):
    seen(page, "parallel")
    drag(page, "parallel", *axis_span(page, "top-1", 0.45, 0.55))
    until(page, lambda page: chosen(page) == [0])
    shows(page, "pareto", [0])


def axis_span(page, label, low, high):
    """Two places on an axis of the parallel coordinates, in shares of the chart's size."""
    script = """
      const box = document.getElementById("parallel"), frame = box.getBoundingClientRect();
      for (const axis of box.querySelectorAll(".y-axis")) {
        if (axis.querySelector(".axis-title").textContent !== arguments[0]) continue;
        const brush = axis.querySelector(".axis-brush").getBoundingClientRect();
        const {values, range} = box._fullData[0].dimensions.find((d) => d.label === arguments[0]);
        const [bottom, top] = range ?? [Math.min(...values), Math.max(...values)];
        const line = axis.querySelector(".axis path").getBoundingClientRect();
        const at = (value) => line.bottom - (value - bottom) / (top - bottom) * line.height;
        return [arguments[1], arguments[2]].map((value) => [(brush.left + brush.width / 2 - frame.left) / frame.width,
          (at(value) - frame.top) / frame.height]);
      }"""
    return page.execute_script(script, label, low, high)


def test_axes_can_be_chosen(page):
    Select(page.find_element(By.ID, "pareto-x")).select_by_visible_text("target inference throughput")
    seen(page, "pareto")
    title = page.execute_script("return document.getElementById('pareto').layout.xaxis.title.text")
    assert title == "target inference throughput (img/s), more is better"
    assert page.execute_script("return document.querySelectorAll('#pareto .errorbar').length") > 0
    Select(page.find_element(By.ID, "pareto-y")).select_by_visible_text("target MACs")
    line = page.execute_script("const t = document.getElementById('pareto').data[0]; return [t.x, t.y]")
    assert line == [[100], [1e9]]


def test_the_papers_networks_stand_beside(open_page):
    page = open_page(view([trial(0, 0.5, 3.9e9, 100), trial(1, 0.6, 4.9e9, 50)]))
    seen(page, "pareto")
    names = page.execute_script("return document.getElementById('pareto').layout.annotations.map((a) => a.text)")
    assert {"InceptionNeXt-T", "ConvNeXt-T"} <= set(names)
    page.find_element(By.ID, "marks").click()
    count = "return document.getElementById('pareto').layout.annotations.length"
    until(page, lambda page: page.execute_script(count) == 0)


def test_a_confirmation_is_an_arrow_and_a_table(open_page):
    made = confirmed_view()
    page = open_page(made)
    seen(page, "pareto")
    arrows = """return document.getElementById('pareto').layout.annotations.filter((a) => a.showarrow)
      .map((a) => [a.ax, a.ay, a.x, a.y])"""
    assert page.execute_script(arrows) == [[1e9, 0.5, 1e9, 0.72], [2e9, 0.6, 2e9, 0.68]]
    dots = """const t = document.getElementById('pareto').data.find((t) => t.name === 'confirmed on the test split');
      return t && [t.x, t.y, t.error_y.array.length]"""
    assert page.execute_script(dots) == [[1e9, 2e9, 3e9], [0.72, 0.68, 0.61], 3]
    box = page.find_element(By.ID, "confirmations")
    rows = [
        [cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in box.find_elements(By.TAG_NAME, "tr")
    ]
    (table,) = confirmation_document(made.confirmation).tables
    assert rows[1:] == table.rows
    assert all(note in box.text for note in table.notes)
    assert not page.execute_script("return window.owned")  # the error of a training is text
    page.find_element(By.ID, "confirmed").click()
    until(page, lambda page: page.execute_script(arrows) == [])
    assert page.execute_script(dots) is None
    page.find_element(By.ID, "confirmed").click()
    Select(page.find_element(By.ID, "pareto-y")).select_by_visible_text("target inference throughput")
    seen(page, "pareto")
    assert page.execute_script(arrows) == []
    Select(page.find_element(By.ID, "pareto-x")).select_by_visible_text("proxy top-1")
    until(page, lambda page: page.execute_script(arrows) == [[0.5, 100, 0.72, 100], [0.6, 50, 0.68, 50]])


def test_speeds_of_another_machine_are_named_as_its_own(open_page):
    page = open_page(view(recipe={**view().recipe, "speeds": {"device": "Toy Board"}}))
    told = page.find_element(By.ID, "studies").text
    assert "target network on Toy Board, read from benchmark's results" in told
    assert "test machine" not in told
    Select(page.find_element(By.ID, "pareto-x")).select_by_visible_text("target inference throughput on Toy Board")
    seen(page, "pareto")
    title = "return document.getElementById('pareto').layout.xaxis.title.text"
    until(page, lambda page: "throughput on Toy Board (img/s)" in page.execute_script(title))


def test_without_a_confirmation_nothing_is_said_of_one(page):
    assert not page.find_element(By.ID, "confirmations").is_displayed()
    assert not page.find_element(By.ID, "confirmed").is_displayed()


def test_the_table_sorts_filters_and_works_from_the_keyboard(page):
    def numbers():
        rows = page.find_elements(By.CSS_SELECTOR, "#trials tbody tr")
        return [int(row.find_elements(By.TAG_NAME, "td")[0].text) for row in rows]

    head = {cell.text: cell for cell in page.find_elements(By.CSS_SELECTOR, "#trials thead button")}
    head["proxy top-1"].click()
    assert numbers()[:3] == [1, 0, 2]
    assert page.find_element(By.CSS_SELECTOR, "th[aria-sort=descending]").text.startswith("proxy top-1")
    search = page.find_element(By.ID, "filter")
    for text, found in (("accuracy>45%", [1, 0]), ("macs<=1G", [0]), ("diverged", [5]), ("band_kernel_size=9", [1])):
        search.clear()
        search.send_keys(text)
        assert numbers() == found
    search.clear()
    search.send_keys(Keys.SPACE)
    first = page.find_elements(By.CSS_SELECTOR, "#trials tbody tr")[0]
    first.send_keys(Keys.ARROW_DOWN)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert looked_at(page) == "0"
    assert chosen(page) == [0]


def test_noise_is_told_sorted_filtered_and_exported(open_page):
    made = noisy_view()
    page = open_page(made)
    search = page.find_element(By.ID, "filter")
    search.send_keys("front_probability<5%")
    numbers = "return [...document.querySelectorAll('#trials tbody tr')].map((r) => Number(r.cells[0].textContent))"
    assert page.execute_script(numbers) == [3]
    search.clear()
    search.send_keys("front_probability>=0")
    head = {cell.text: cell for cell in page.find_elements(By.CSS_SELECTOR, "#trials thead button")}
    head["P(front)"].click()
    likely = sorted((0, 1, 2, 3), key=lambda number: -made.chances[number])
    assert page.execute_script(numbers) == likely
    page.execute_script("archsearch.select([2])")
    detail = page.find_element(By.ID, "detail").text
    assert f"On the front in {100 * made.chances[2]:.0f} % of the draws" in detail
    assert "95 % confidence interval 52.9 % to 65.1 %" in detail
    assert "from seeds" in page.find_element(By.ID, "studies").text
    seen(page, "pareto")
    bars = "return document.getElementById('pareto').data.find((t) => t.name === 'dominated').error_y.array"
    assert page.execute_script(bars) == pytest.approx([0.01 * 2**0.5 * 4.302653] * 2, rel=1e-4)
    rows = list(csv.DictReader(io.StringIO(page.execute_script("return archsearch.csvText([2, 5])"))))
    assert float(rows[0]["low.accuracy"]) == pytest.approx(0.59 - 0.01 * 2**0.5 * 4.302653)
    assert float(rows[0]["front_probability"]) == made.chances[2]
    assert (rows[1]["low.accuracy"], rows[1]["front_probability"]) == ("", "")


def test_smoothed_accuracies_stand_beside_the_observed_ones(open_page):
    made = searched_view(40)
    page = open_page(made)
    page.execute_script(f"archsearch.select([{LUCKY}])")
    detail, found = page.find_element(By.ID, "detail").text, made.smoothed
    assert f"smoothed {100 * found.accuracy[LUCKY]:.2f} %" in detail
    assert f"On the front of true scores with probability {100 * found.chances[LUCKY]:.0f} %" in detail
    assert f"(in {100 * made.observed_chances[LUCKY]:.0f} % of the draws around the observed scores)" in detail
    assert "P(front) is the probability, by a model" in page.find_element(By.ID, "studies").text
    head = {cell.text: cell for cell in page.find_elements(By.CSS_SELECTOR, "#trials thead button")}
    head["proxy top-1, smoothed"].click()
    numbers = "return [...document.querySelectorAll('#trials tbody tr')].map((r) => Number(r.cells[0].textContent))"
    assert page.execute_script(numbers)[0] == int(found.accuracy.argmax())
    (row,) = csv.DictReader(io.StringIO(page.execute_script(f"return archsearch.csvText([{LUCKY}])")))
    assert float(row["accuracy.smoothed"]) == pytest.approx(found.accuracy[LUCKY], rel=1e-5)
    assert (row["front_smoothed"] == "true") == found.front[LUCKY]
    assert float(row["front_probability_observed"]) == made.observed_chances[LUCKY]


def test_without_seeds_the_page_has_the_intervals_of_the_table(open_page):
    """Wilson's; and a study beside it of which nothing is known."""
    first, second, *rest = one_of_each()
    perfect = dataclasses.replace(second.evaluation, scores={**second.evaluation.scores, "accuracy": 1.0})
    made = view([first, dataclasses.replace(second, evaluation=perfect), *rest], images=200)
    other = view([trial(0, 0.7, 3e9, 40), trial(1, 0.6, 4e9, 40)], "other")
    page = open_page(made, other)
    rows = list(csv.DictReader(io.StringIO(page.execute_script("return archsearch.csvText([0, 1, 5, 6])"))))
    for row, (_, expected) in zip(rows[:2], made.frame.iterrows(), strict=False):
        ends = (float(row["low.accuracy"]), float(row["high.accuracy"]))
        assert ends == pytest.approx((expected["accuracy.low"], expected["accuracy.high"]))
        assert float(row["front_probability"]) == expected["front_probability"]
    assert float(rows[1]["low.accuracy"]) < float(rows[1]["high.accuracy"]) == 1.0
    assert [row["low.accuracy"] for row in rows[2:]] == ["", ""]
    assert [row["front_probability"] for row in rows[2:]] == ["", ""]
    studies = page.find_element(By.ID, "studies").text
    assert studies.count("from the sample of 200 validation images alone") == 1
    assert "accuracy.low" not in other.frame


def test_the_selection_becomes_csv_in_the_records_units(page):
    text = page.execute_script("return archsearch.csvText([0, 5])")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["trial"] for row in rows] == ["0", "5"]
    assert float(rows[0]["macs"]) == 1e9
    assert float(rows[0]["accuracy"]) == 0.5
    assert rows[1]["error"] == "diverged: nan"
    assert rows[1]["accuracy"] == ""


def test_dark_and_light(page):
    before = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.find_element(By.ID, "theme").click()
    after = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert before != after
    page.find_element(By.ID, "theme").click()
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == before


def test_several_studies_in_one_picture(open_page):
    other = view([trial(0, 0.7, 3e9, 40)], "other")
    page = open_page(view(), other)
    seen(page, "pareto")
    names = page.execute_script("return document.getElementById('pareto').data.map((t) => t.name)")
    assert {"small: on the front", "other: on the front", "small: failed"} <= set(names)
    assert len(page.find_elements(By.CSS_SELECTOR, "#trials tbody tr")) == 7
    assert "different" not in page.find_element(By.ID, "studies").text


@pytest.mark.parametrize("trials", [one_of_each()[5:], one_of_each()[:1]], ids=["failed only", "one"])
def test_studies_with_little_to_show(open_page, trials):
    page = open_page(view(trials, importance={}))
    for chart in CHARTS:
        box = page.find_element(By.ID, chart)
        page.execute_script("arguments[0].scrollIntoView()", box)
        until(page, lambda page, box=box: box.get_attribute("innerHTML"))


def test_one_objective_is_shown_too(open_page):
    page = open_page(view(recipe={**RECIPE, "objectives": ["accuracy"]}))
    seen(page, "pareto")
    assert "of a proxy network trained on drawn;" in page.find_element(By.ID, "studies").text


def test_the_size_of_proxies_is_told(open_page):
    space = shipped_space("inception_dw")
    recipe = {**RECIPE, "space": space.to_dict(), "proxy": key_fields(space.fitted(PROXIES["cpu"]))}
    outline = "dims 24-48-96-192, depths 1-1-3-1, images of 32 px, maps of 16-8-4-2"
    told = open_page(view(recipe=recipe)).find_element(By.ID, "studies").text
    assert f"of a proxy network (of the baseline: {outline}) trained on drawn;" in told


def test_names_are_text_and_nothing_else(open_page):
    page = open_page(hostile_view())
    for chart in CHARTS:
        seen(page, chart)
    for number in (0, 2):
        page.find_elements(By.CSS_SELECTOR, "#trials tbody tr")[number].send_keys(Keys.ENTER)
    page.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.find_element(By.TAG_NAME, "h1").text == HOSTILE
    assert HOSTILE in page.find_element(By.ID, "detail").text
    assert page.execute_script("return window.owned") is None
    assert page.execute_script("return document.querySelectorAll('img').length") == 0


@pytest.fixture
def ablation(browser, tmp_path):
    base = Result("base", base="base", accuracies={0: 0.5, 1: 0.52}, paper={"top1": 82.3, "train": 900.0})
    speeds = {"train": {"throughput": 50.0, "ratio": 1.2, "ratio_interval": [1.1, 1.3]}}
    results = [
        Result(name, factor, "base", parts=(name,), accuracies={0: 0.4, 1: 0.45}, speeds=speeds, paper={"top1": 82.0})
        for name, factor in ((HOSTILE, "one"), ("b", "one"), ("c", "two"))
    ]
    outcome = Outcome("o", HOSTILE, (base, *results), {"device": HOSTILE}, "python cli.py ablate", "A100")
    write_page(tmp_path / "a.html", [], [Report.of(outcome)])
    load(browser, (tmp_path / "a.html").as_uri())
    return browser


def test_an_ablation_has_bars_per_factor_and_its_table(ablation):
    charts = ablation.find_elements(By.CSS_SELECTOR, "#ablations .chart")
    assert len(charts) == 3  # two factors, and accuracy against speed
    for chart in charts:
        seen(ablation, chart.get_attribute("id"))
    bars = (
        "return [...document.querySelectorAll('#ablations .chart')].map(c => c.querySelectorAll('.bars .point').length)"
    )
    until(ablation, lambda page: page.execute_script(bars)[0] >= 4)
    assert ablation.execute_script("return document.querySelectorAll('.errorbar').length") > 0
    first = ablation.find_elements(By.CSS_SELECTOR, "#ablations table")[0]
    cells = [row.find_elements(By.TAG_NAME, "td") for row in first.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert [row[0].text for row in cells] == ["", "one", "", "two"]
    assert [row[1].text for row in cells] == ["base", HOSTILE, "b", "c"]
    assert "paired by seed" in ablation.find_element(By.ID, "ablations").text
    assert ablation.find_element(By.CSS_SELECTOR, "#ablations h2").text == HOSTILE
    assert not ablation.find_element(By.ID, "searches").is_displayed()
    assert ablation.execute_script("return window.owned") is None


@pytest.mark.serial
def test_a_page_that_is_served_gains_a_trial_and_keeps_the_selection(chromium, small_space, tmp_path):
    """The study goes on in this process, the page in a browser, the server between them."""
    study, url = make_study(small_space, name="small"), f"{tmp_path}/s.db"
    go(study, url, 4)
    network(chromium, offline=False)
    with serving(url, "small") as server:
        load(chromium, server.url)
        until(chromium, lambda page: len(page.find_elements(By.CSS_SELECTOR, "#trials tbody tr")) == 4)
        seen(chromium, "pareto")
        chromium.find_elements(By.CSS_SELECTOR, "#trials tbody tr")[2].send_keys(Keys.ENTER)
        assert (looked_at(chromium), chosen(chromium)) == ("2", [2])
        assert seen(chromium, "parallel").find_elements(By.CSS_SELECTOR, ".y-axis")  # WebGL under the server's policy
        seen(chromium, "pareto")
        chromium.execute_script("document.querySelector('#detail details').open = true")
        chromium.find_elements(By.CSS_SELECTOR, "#trials tbody tr")[2].send_keys("")
        go(study, url, 5)
        start = time.monotonic()
        until(chromium, lambda page: "5 trials" in page.find_element(By.ID, "studies").text)
        assert time.monotonic() - start < 2
        assert len(chromium.find_elements(By.CSS_SELECTOR, "#trials tbody tr")) == 5
        assert (looked_at(chromium), chosen(chromium)) == ("2", [2])
        assert chromium.switch_to.active_element.get_attribute("data-row") == "2"
        shows(chromium, "pareto", [2])
    until(chromium, lambda page: "not connected" in page.find_element(By.ID, "live").text)
    chromium.get("about:blank")
    chromium.get_log("browser")  # that the server is gone is an error to the browser, and the page says it
