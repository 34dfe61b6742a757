"""The page in a real browser: Debian's chromium, driven by selenium; nothing is fetched."""

import shutil
import socket
import time
from pathlib import Path

import pytest

from experiments.report.page import compose
from tests.report.page_sample import ABSENT, DOCUMENT, FILES, LABELS, NUMBERS, SHUFFLED

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
if not BROWSER or not DRIVER:
    pytest.skip("no chromium or no chromedriver on this machine", allow_module_level=True)


def has_loopback():
    """Whether this machine can talk to itself: selenium and the driver do so."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        try:
            socket.create_connection(server.getsockname(), timeout=1).close()
        except OSError:
            return False
    return True


if not has_loopback():
    pytest.skip("no loopback device: the driver cannot be reached", allow_module_level=True)

from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

COMMITTED = Path(__file__).parents[2] / "outputs" / "report"
PAGES = ("index.html", "beyond.html", "tables.html")
FIGURES = "main img:not(table img)"  # without thumbnails
LIMIT = 5_000_000  # bytes
DESKTOP, PHONE = (1280, 900), (390, 844)  # pixels


@pytest.fixture(scope="module")
def driver():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_bytes(compose(DOCUMENT, FILES)["report/index.html"])
    return path


@pytest.fixture(params=["sample", *PAGES])
def path(request, sample):
    return sample if request.param == "sample" else COMMITTED / request.param


def show(driver, path, size=DESKTOP, theme="light"):
    """Open a page as for the first time, on a screen of this size."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    driver.get("about:blank")
    driver.get_log("browser")  # what earlier pages said
    driver.get(path.as_uri())
    driver.execute_script("localStorage.clear(); delete document.documentElement.dataset.theme")


def until(driver, script, *arguments):
    """Wait until a script returns something true, and return it."""
    deadline = time.monotonic() + 60
    while not (found := driver.execute_script(script, *arguments)):
        assert time.monotonic() < deadline, f"never true: {script}"
        time.sleep(0.02)
    return found


def texts(driver, column, table="table_numbers"):
    script = (
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]"
        ".filter(row => !row.hidden).map(row => row.cells[arguments[1]].textContent)"
    )
    return driver.execute_script(script, table, column)


def header(driver, column, table="table_numbers"):
    return driver.find_elements(By.CSS_SELECTOR, f"#{table} th")[column]


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_no_error_and_every_picture_loads(driver, path, size):
    show(driver, path, size)
    driver.set_script_timeout(20)
    # A picture in a folded part is not loaded before it is opened.
    broken = driver.execute_async_script(
        "const done = arguments[0], images = [...document.querySelectorAll('main img')];"
        "document.querySelectorAll('details').forEach(part => { part.open = true; });"
        "Promise.all(images.map(image => image.decode().then(() => image.naturalWidth > 0, () => false)))"
        ".then(fine => done(images.filter((_, place) => !fine[place]).map(image => image.alt)))"
    )
    assert broken == []
    assert len(driver.find_elements(By.CSS_SELECTOR, "main img")) > 0
    assert driver.get_log("browser") == []
    resources = driver.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
        ".filter(name => !name.startsWith('data:'))"
    )
    assert resources == []


def test_errors_would_be_seen(driver, sample):
    show(driver, sample)
    driver.execute_script(
        "document.body.append(Object.assign(new Image(), {src: 'https://example.org/x.png'}))"
    )
    deadline, messages = time.monotonic() + 5, ""
    while "Content Security Policy" not in messages:
        assert time.monotonic() < deadline, f"no such complaint: {messages}"
        messages += " ".join(entry["message"] for entry in driver.get_log("browser"))


def test_page_is_small_enough(path):
    assert path.stat().st_size < LIMIT


@pytest.mark.parametrize("contents", [False, True])
def test_nothing_overflows_a_phone(driver, path, contents):
    show(driver, path, PHONE)
    driver.execute_script("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    if contents:
        driver.find_element(By.ID, "contents-button").click()
        assert driver.find_element(By.ID, "contents").is_displayed()
    width = driver.execute_script("return document.documentElement.scrollWidth")
    assert width <= PHONE[0]


@pytest.mark.parametrize("page", PAGES[:2])
def test_no_table_of_the_two_reports_is_cut_on_a_desktop(driver, page):
    show(driver, COMMITTED / page)
    cut = driver.execute_script(
        "return [...document.querySelectorAll('.box')]"
        ".filter(box => box.scrollWidth > box.clientWidth).map(box => box.id)"
    )
    assert cut == []


def test_the_first_screen_is_the_verdict(driver):
    show(driver, COMMITTED / "index.html")
    seen = driver.find_element(By.CSS_SELECTOR, "#table_verdicts .badge")
    assert seen.rect["y"] < DESKTOP[1]
    text = driver.find_element(By.TAG_NAME, "main").text
    assert "SHA-256" not in text[: len(text) // 2]


def test_figures_turn_in_the_dark(driver, sample):
    look = "return getComputedStyle(document.querySelector('main img')).filter"
    for theme, turned in (("light", False), ("dark", True)):
        show(driver, sample, theme=theme)
        assert ("invert" in driver.execute_script(look)) == turned


def test_numbers_sort_as_numbers_both_ways_and_back(driver, sample):
    show(driver, sample)
    every = NUMBERS + ABSENT
    unsorted = [every[place] for place in SHUFFLED]
    absent = [text for text in unsorted if text in ABSENT]
    button = header(driver, 1).find_element(By.TAG_NAME, "button")
    assert texts(driver, 1) == unsorted

    button.click()
    assert texts(driver, 1) == NUMBERS + absent
    assert header(driver, 1).get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)  # as a keyboard does it
    assert texts(driver, 1) == NUMBERS[::-1] + absent
    assert header(driver, 1).get_attribute("aria-sort") == "descending"
    # Rows move whole.
    assert texts(driver, 0) == [LABELS[every.index(text)] for text in texts(driver, 1)]
    button.click()
    assert texts(driver, 1) == unsorted
    assert header(driver, 1).get_attribute("aria-sort") is None


def test_words_sort_as_words_with_their_numbers(driver, sample):
    show(driver, sample)
    header(driver, 0).find_element(By.TAG_NAME, "button").click()
    assert texts(driver, 0) == LABELS  # sample 2 before sample 10
    header(driver, 2).find_element(By.TAG_NAME, "button").click()
    assert texts(driver, 2) == sorted(texts(driver, 2))
    assert header(driver, 0).get_attribute("aria-sort") is None


def test_sorted_rows_keep_the_label_they_stood_under(driver, sample):
    show(driver, sample)
    driver.execute_script("document.querySelector('details').open = true")
    table = driver.find_elements(By.CSS_SELECTOR, "#claims details table")[0]
    table.find_elements(By.TAG_NAME, "button")[2].click()
    first = "return getComputedStyle(arguments[0].tBodies[0].rows[0].cells[0], '::before').content"
    assert driver.execute_script(first, table) == '"POC"'  # the thesis' line, whose value is the smallest
    rows = driver.execute_script("return [...arguments[0].tBodies[0].rows].map(row => row.innerText)", table)
    assert ["thesis" in row for row in rows] == [True, False, False]


def test_filter_keeps_the_rows_with_every_word(driver, sample):
    show(driver, sample)
    box = driver.find_element(By.CSS_SELECTOR, "#table_numbers input[type=search]")
    box.send_keys("SAMPLE 17.9")
    assert texts(driver, 1) == ["17.93 %"]
    count = driver.find_element(By.CSS_SELECTOR, "#table_numbers output")
    assert count.text == f"1 of {len(SHUFFLED)} rows"
    box.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.BACKSPACE)
    assert len(texts(driver, 1)) == len(SHUFFLED)
    assert not driver.find_elements(By.CSS_SELECTOR, "#table_1 input")  # a short table needs none


def test_figures_enlarge_and_arrows_go_round(driver, path):
    show(driver, path)
    viewer = driver.find_element(By.ID, "viewer")
    images = driver.find_elements(By.CSS_SELECTOR, FIGURES)
    image = next(image for image in images if image.is_displayed())
    place = images.index(image)
    assert not viewer.is_displayed()
    # Scrolled to the middle: at the top, the bar would take the click.
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", image)
    image.click()
    assert viewer.is_displayed()
    shown = (
        "return document.querySelector('#viewer img').src"
        f" === document.querySelectorAll('{FIGURES}')[arguments[0]].src"
    )
    assert driver.execute_script(shown, place)
    fits = driver.execute_script(
        "const box = document.querySelector('#viewer img').getBoundingClientRect();"
        "return box.width > 0 && box.right <= innerWidth && box.bottom <= innerHeight"
    )
    assert fits
    keys = driver.switch_to.active_element
    keys.send_keys(Keys.ARROW_RIGHT)
    assert driver.execute_script(shown, (place + 1) % len(images))
    for _ in range(2):
        keys.send_keys(Keys.ARROW_LEFT)
    assert driver.execute_script(shown, (place - 1) % len(images))
    keys.send_keys(Keys.ESCAPE)
    until(driver, "return !document.getElementById('viewer').open")
    assert not viewer.is_displayed()


def test_caption_comes_along_and_the_cross_closes(driver, sample):
    show(driver, sample)
    image = driver.find_element(By.CSS_SELECTOR, "#figure_1 img")
    image.send_keys(Keys.ENTER)
    assert driver.find_element(By.CSS_SELECTOR, "#viewer > p").text == "Caption of one."
    driver.find_element(By.CSS_SELECTOR, "#viewer [data-do=close]").click()
    assert not driver.find_element(By.ID, "viewer").is_displayed()


@pytest.mark.parametrize("system", ["light", "dark"])
def test_theme_follows_the_system_then_the_reader(driver, sample, system):
    def dark():
        colour = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) < 200

    show(driver, sample, theme=system)
    assert dark() == (system == "dark")
    driver.find_element(By.ID, "theme-button").click()
    assert dark() == (system == "light")
    # Remembered; but chromium writes it down a little later, and what was not yet is lost when the page is turned.
    for wait in (0.5, 2, 8, 30):
        time.sleep(wait)
        driver.get(sample.as_uri())
        if dark() == (system == "light"):
            break
        driver.find_element(By.ID, "theme-button").click()
    else:
        pytest.fail("the theme that was chosen is not remembered")
    driver.find_element(By.ID, "theme-button").click()
    assert dark() == (system == "dark")


def test_contents_say_where_the_reader_is(driver, sample):
    show(driver, sample)
    driver.find_element(By.CSS_SELECTOR, '#contents a[href="#tables"]').click()
    until(driver, "return document.querySelector('#contents > ol > .current > a')?.hash === '#tables'")
    top = driver.execute_script("return document.getElementById('tables').getBoundingClientRect().top")
    assert 0 <= top < 200


def test_contents_fold_on_a_phone(driver, sample):
    show(driver, sample, PHONE)
    contents, button = (driver.find_element(By.ID, name) for name in ("contents", "contents-button"))
    assert not contents.is_displayed()
    button.click()
    assert contents.is_displayed()
    assert button.get_attribute("aria-expanded") == "true"
    contents.find_element(By.LINK_TEXT, "Figure 1").click()
    assert not contents.is_displayed()


def test_a_link_opens_what_is_folded(driver, sample):
    show(driver, sample)
    assert not driver.execute_script("return document.querySelector('details').open")
    driver.find_element(By.CSS_SELECTOR, '#claims a[href="#detail-a"]').click()
    until(driver, "return document.querySelector('details').open")


def test_a_long_caption_is_cut_and_shown_whole_when_asked(driver, sample):
    show(driver, sample)
    caption = driver.find_element(By.CSS_SELECTOR, "#table_wide > p")
    before = caption.size["height"]
    button = driver.find_element(By.CSS_SELECTOR, "#table_wide button.more")
    button.click()
    assert caption.size["height"] > 1.5 * before
    assert button.get_attribute("aria-expanded") == "true"


def test_a_wide_table_scrolls_and_says_that_there_is_more(driver, sample):
    show(driver, sample, PHONE)
    box = driver.find_element(By.CSS_SELECTOR, "#table_wide .box")
    until(driver, "return arguments[0].classList.contains('beyond')", box)
    driver.execute_script("arguments[0].scrollLeft = 1e5", box)
    until(driver, "return !arguments[0].classList.contains('beyond')", box)
    narrow = driver.find_element(By.CSS_SELECTOR, "#table_1 .box")
    assert "beyond" not in narrow.get_attribute("class")


def test_everything_is_on_paper(driver, sample):
    show(driver, sample)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not driver.find_element(By.ID, "contents").is_displayed()
        assert not driver.find_element(By.CSS_SELECTOR, "#table_numbers input").is_displayed()
        driver.execute_script("dispatchEvent(new Event('beforeprint'))")
        assert driver.execute_script("return document.querySelector('details').open")
        driver.execute_script("dispatchEvent(new Event('afterprint'))")
        assert not driver.execute_script("return document.querySelector('details').open")
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
