"""The report in a browser, opened from disk: what it asks for, what it shows, who can use it, how fast it is."""

import os
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest

import earnest as er
from earnest.diagnostics.report import report
from earnest.diagnostics.report_names import visible
from earnest.inference.users import summarise, workload

CHROMIUM = os.environ.get("EARNEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
MODEL = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "=cmd()|' /C calc'!A0",
    "x" * 10_000,
    "ann\u202etxt.exe",
    "</script><script>alert(2)</script>",
    "line\u2028separator\u2029and\nbreak",
    "\"'><svg onload=alert(3)>",
    "javascript:alert(4)",
    "مستخدم",
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install playwright"
    )
    if CHROMIUM is None:
        pytest.skip("no Chromium on the path: `make browser`, or set EARNEST_CHROMIUM to one")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Opens a report; afterwards nothing may have gone wrong, asked for anything, or spoken up."""
    contexts, wrong, asked, pages = [], [], [], []

    def opened(path, width=1280, colours="light", **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=colours, **options)
        contexts.append(context)
        address = path.resolve().as_uri()
        pages.append(address)

        def answer(route):
            asked.append(route.request.url)
            if route.request.url == address:
                route.continue_()
            else:
                route.abort()

        context.route("**/*", answer)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("popup", lambda other: wrong.append(f"popup: {other.url}"))
        page.goto(address)
        page.wait_for_selector("#user-rows tr")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
    assert asked == pages  # each file once, and nothing else


@pytest.fixture(scope="module")
def fit():
    """A fit of 130 users, nine of whom have got hostile names, in three models one of which has."""
    log = MODEL.simulate(users=130, comparisons_per_user=12, models=3, seed=5).log.to_arrow().to_pandas()
    for column in ("model_a", "model_b"):
        log[column] = log[column].replace({"model_2": "<b>gpt</b>\u202e<img src=x onerror=alert(5)>"})
    made = er.fit_em(MODEL, er.read_comparisons(log[["user", "model_a", "model_b", "winner"]]))
    frame = made.attentiveness.copy()
    frame["user"] = HOSTILE + frame["user"].tolist()[len(HOSTILE) :]
    return replace(made, attentiveness=frame)


@pytest.fixture(scope="module")
def path(fit, tmp_path_factory):
    found = SimpleNamespace(
        verdict="The scale is <b>not</b> identified.",
        only_ranking=True,
        directions=pd.DataFrame({"direction": ["alpha & beta"], "eigenvalue": [0.25]}),
        contraction=pd.DataFrame(
            {"parameter": ["skill"], "prior_sd": [2.0], "posterior_sd": [0.5], "contraction": [0.9]}
        ),
        advice=("Gold users would help.",),
    )
    checks = SimpleNamespace(
        verdict="All is well.",
        table=pd.DataFrame(
            [{"check": "left share", "observed": 0.5, "expected": 0.5, "lower": 0.4, "upper": 0.6, "p": 0.5}]
        ),
    )
    return report(tmp_path_factory.mktemp("report"), fit, identifiability=found, checks=checks)


def shown(page, name):
    return page.inner_text(f"#at-{name}")


def move_to(page, stop):
    page.eval_on_selector(
        "#threshold", "(slider, stop) => { slider.value = stop; slider.dispatchEvent(new Event('input')); }", str(stop)
    )


def rows(page):
    """The table's rows as it shows them: rank, user, votes, mean, interval, kept."""
    return [tuple(cells) for cells in page.eval_on_selector_all(
        "#user-rows tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))")]  # fmt: skip


# The slider ---------------------------------------------------------------------------------------------------------


def test_the_slider_shows_what_python_says(visit, path, fit):
    page = visit(path)
    curve, best = er.thresholds(fit), er.thresholds(fit).recommend()
    stops = np.unique(np.append(np.arange(1001) / 1000, best.threshold))
    assert page.get_attribute("#threshold", "max") == str(len(stops) - 1)
    start = int(np.flatnonzero(stops == best.threshold)[0])
    assert page.input_value("#threshold") == str(start)
    assert shown(page, "mark") == "recommended"
    top = fit.attentiveness["mean"].max()
    for stop in [start, *range(0, len(stops), 41), int(np.searchsorted(stops, top)) - 1]:
        move_to(page, stop)
        if stops[stop] > top:
            assert (shown(page, "users"), shown(page, "effective")) == ("0", "none")
            continue
        row = curve.at(stops[stop])
        assert float(shown(page, "threshold")) == pytest.approx(stops[stop], abs=5.1e-5)
        assert shown(page, "users") == f"{int(row['users']):,}"
        assert shown(page, "labels") == f"{int(row['labels']):,}"
        assert shown(page, "precision") == f"{row['precision']:.1%}"
        assert shown(page, "effective") == f"{row['effective_labels']:,.0f}"
        assert shown(page, "users-note") == f"of 130 ({row['users'] / 130:.1%})"
        assert page.get_attribute("#cursor-worth", "x1") == page.get_attribute("#point-worth", "cx")
        assert float(page.get_attribute("#cursor-worth", "x1")[:-1]) == pytest.approx(100 * stops[stop], abs=1e-3)
    assert page.inner_text("#soft") == f"{curve.soft_weights_leave_one_out:,.0f}"
    page.click("#back")
    assert page.input_value("#threshold") == str(start)


def test_a_typed_threshold_is_taken_to_the_nearest_stop(visit, path, fit):
    page = visit(path)
    page.fill("#typed", "0.25")
    assert shown(page, "threshold") == "0.250"
    assert shown(page, "users") == f"{(fit.attentiveness['mean'] >= 0.25).sum()}"
    page.fill("#typed", "")
    page.fill("#typed", "7")  # not a threshold: the slider stays
    assert shown(page, "threshold") == "0.250"


def test_the_table_follows_the_slider(visit, path, fit):
    page = visit(path)
    page.select_option("#size", "500")
    mean = fit.attentiveness.set_index("user")["mean"]
    by_name = {visible(user): value for user, value in mean.items()}
    for stop in (200, 700, 950):
        page.fill("#typed", f"{stop / 1000}")
        page.wait_for_function("kept => document.querySelectorAll('#user-rows td.out').length === kept",
                               arg=int((mean < stop / 1000).sum()))  # fmt: skip
        for _, name, _, _, _, kept in rows(page):
            assert kept == ("kept" if by_name[name] >= stop / 1000 else "left out")


# The table ----------------------------------------------------------------------------------------------------------


def test_sorting_paging_searching_and_choosing(visit, path, fit):
    page = visit(path)
    frame = fit.attentiveness.assign(user=[visible(user) for user in fit.attentiveness["user"]])
    down = frame.sort_values("mean", ascending=False, kind="stable")
    assert [row[1] for row in rows(page)] == down["user"].head(25).tolist()
    assert [row[3] for row in rows(page)] == [f"{v:.3f}" for v in down["mean"].head(25)]
    assert rows(page)[0][4] == f"{down['lower'].iloc[0]:.3f} to {down['upper'].iloc[0]:.3f}"
    page.click("#page-next")
    assert [row[0] for row in rows(page)] == [str(rank) for rank in range(26, 51)]
    page.click("#page-last")
    assert [row[1] for row in rows(page)] == down["user"].tail(5).tolist()
    assert page.inner_text("#users-status") == "Rows 126 to 130 of 130 users"
    page.click("#page-next", force=True)  # there is no next page: nothing happens
    assert len(rows(page)) == 5
    page.click("[data-sort=mean]")
    assert [row[1] for row in rows(page)] == down["user"].tail(25).tolist()[::-1]
    assert page.get_attribute("th:has([data-sort=mean])", "aria-sort") == "ascending"
    page.click("[data-sort=name]")
    # JavaScript compares UTF-16 units, which for these names is Python's order.
    assert [row[1] for row in rows(page)] == sorted(frame["user"])[:25]
    page.click("[data-sort=width]")
    wide = (frame["upper"].round(3) - frame["lower"].round(3)).max()
    low, high = rows(page)[0][4].split(" to ")
    assert float(high) - float(low) == pytest.approx(wide, abs=1e-9)
    page.fill("#search", "USER_10")
    assert sorted(row[1] for row in rows(page)) == sorted(u for u in frame["user"] if "user_10" in u)
    assert page.inner_text("#users-status").endswith("users that match, of 130")
    page.fill("#search", "nobody is called this")
    assert rows(page) == []
    assert page.inner_text("#users-status") == "No user matches, of 130"
    page.fill("#search", "")
    page.select_option("#size", "500")
    cut = er.thresholds(fit).recommend().threshold
    for which, chosen in (("kept", frame["mean"] >= cut), ("out", frame["mean"] < cut)):
        page.select_option("#which", which)
        assert {row[1] for row in rows(page)} == set(frame["user"][chosen])


def test_the_keyboard_does_it_all(visit, path):
    page = visit(path)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.focus("#threshold")
    before = float(shown(page, "threshold"))
    page.keyboard.press("ArrowRight")
    assert before < float(shown(page, "threshold")) <= before + 0.001
    page.keyboard.press("Home")
    assert (shown(page, "threshold"), shown(page, "users")) == ("0.000", "130")
    said = page.get_attribute("#threshold", "aria-valuetext")
    assert said.startswith("0.000 : keeps 130 users, ")
    assert ", and 1,560 labels, " in said
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.dataset.sort || ''"))
    assert {"typed", "back", "search", "which", "size", "name", "votes", "mean", "width", "page-next"} <= reached
    page.focus("[data-sort=votes]")
    page.keyboard.press("Enter")
    assert page.get_attribute("th:has([data-sort=votes])", "aria-sort") == "descending"
    page.focus("#page-last")
    page.keyboard.press("Space")
    assert len(rows(page)) == 5
    assert page.evaluate("document.activeElement.id") == "page-last"  # the focus is not lost where the pages end


# Who can use it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(visit, path, colours, width):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-core: pip install axe-playwright-python"
    )
    page = visit(path, width, colours)
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], each["impact"], each["nodes"][0]["html"][:200]) for each in found] == []


def test_axe_is_awake(visit, path):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-core: pip install axe-playwright-python"
    )
    page = visit(path)
    page.eval_on_selector("label[for=threshold]", "label => label.remove()")
    assert "label" in {each["id"] for each in axe.Axe().run(page).response["violations"]}


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_hangs_over_the_edge(visit, path, width):
    page = visit(path, width)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_colours_follow_the_system_and_the_choice(visit, path):
    page = visit(path, colours="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.select_option("#theme", "light")
    light = page.evaluate(paper)
    assert light == "rgb(255, 255, 255)" != dark
    page.select_option("#theme", "dark")
    assert page.evaluate(paper) == dark
    page.select_option("#theme", "")
    page.emulate_media(color_scheme="light")
    assert page.evaluate(paper) == light
    page.select_option("#theme", "dark")
    page.emulate_media(media="print")
    assert page.evaluate(paper) == light  # paper is white
    assert not page.is_visible("#threshold")
    assert page.is_visible("#at-users")


# Hostile names ------------------------------------------------------------------------------------------------------


def test_hostile_names_do_nothing(visit, path):
    page = visit(path)  # no dialog, no request, no message: `visit` looks
    page.select_option("#size", "500")
    names = [row[1] for row in rows(page)]
    assert {visible(name) for name in HOSTILE} <= set(names)
    assert page.eval_on_selector_all("img, iframe, object, embed, link, base, form", "all => all.length") == 0
    assert page.eval_on_selector_all("script", "all => all.length") == 3
    assert page.eval_on_selector_all("main b", "all => all.length") == 0
    assert page.evaluate("[...document.querySelectorAll('*')].flatMap(e => [...e.attributes])"
                         ".filter(a => a.name.startsWith('on') || a.name === 'src' || a.name === 'style').length") == 0  # fmt: skip
    assert page.eval_on_selector_all("#user-rows th bdi", "all => all.length") == 130
    heights = page.eval_on_selector_all("#user-rows tr", "all => all.map(e => e.getBoundingClientRect().height)")
    assert max(heights) - min(heights) < 8  # a long name is cut, not folded; other scripts stand a little higher
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
    page.fill("#search", "<img src=x")
    assert [row[1] for row in rows(page)] == ["<img src=x onerror=alert(1)>"]


def test_the_policy_holds_against_what_would_get_in(browser, path):
    # Not through `visit`: here the browser must complain.
    page, said = browser.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
    page.goto(path.resolve().as_uri())
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)>')")
    page.evaluate("const s = document.createElement('script'); s.textContent = 'alert(2)'; document.body.append(s)")
    assert page.evaluate("fetch('https://example.org/').then(() => 'out', () => 'held')") == "held"
    page.close()
    assert "dialog" not in said
    assert len([text for text in said if "Content Security Policy" in text]) >= 3


# Size ---------------------------------------------------------------------------------------------------------------


def crowd(fit, users):
    """A fit whose table has many users, of 20 votes each, with intervals as wide as theirs are."""
    rng = np.random.default_rng(1)
    mean = rng.beta(1.0, 0.7, users)
    half = 1.64 * np.sqrt(mean * (1 - mean) / 12) * rng.uniform(0.8, 1.2, users)
    frame = pd.DataFrame({
        "user": [f"user_{k:06d}" for k in rng.permutation(users)], "comparisons": 20, "mean": mean, "sd": half / 1.64,
        "lower": np.clip(mean - half, 0, 1), "upper": np.clip(mean + half, 0, 1),
    })  # fmt: skip
    return replace(fit, attentiveness=frame)


def opens(visit, path):
    start = time.perf_counter()
    page = visit(path)
    return page, time.perf_counter() - start


def answers(page, action):
    """Seconds from an action of the script's own to the painted page."""
    return page.evaluate(
        f"async () => {{ const start = performance.now(); {action}; "
        "await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))); "
        "return (performance.now() - start) / 1000; }"
    )


@pytest.mark.parametrize("ids", ["plain", "hash"])
def test_a_hundred_thousand_users_stay_small_and_smooth(visit, fit, tmp_path, ids):
    path = report(tmp_path, crowd(fit, 100_000), ids=ids, identifiability=False)
    assert path.stat().st_size < 3_000_000
    page, seconds = opens(visit, path)
    assert seconds < 4  # 2 on a machine that has nothing else to do; the figure is measured in the long test
    assert page.inner_text("#users-status") == "Rows 1 to 25 of 100,000 users"
    assert "holds all 100,000 users" in page.inner_text("#users")
    type_in = "const s = document.getElementById('search'); s.value = '00'; s.dispatchEvent(new Event('input'))"
    assert answers(page, type_in) < 1
    assert answers(page, "document.querySelector('[data-sort=name]').click()") < 2
    slide = "const s = document.getElementById('threshold'); s.value = 500; s.dispatchEvent(new Event('input'))"
    assert answers(page, slide) < 0.5


@pytest.mark.long
def test_a_real_fit_of_a_hundred_thousand_users(visit, tmp_path, record_property):
    log = MODEL.simulate(users=100_000, comparisons_per_user=20, models=6, seed=3).log
    # The fit is not what is measured, and of all takes half an hour: parameters of some, posterior means of all.
    some = er.fit_em(MODEL, MODEL.simulate(users=3_000, comparisons_per_user=20, models=6, seed=3).log)
    counts = MODEL.count(log)
    work = workload(counts)
    with jax.enable_x64(True):
        found = summarise(some.model, some.free, work)
    frame = crowd(some, 100_000).attentiveness.assign(user=list(counts.users))
    frame = frame.assign(mean=found.mean[work.pattern_of_user], sd=found.sd[work.pattern_of_user])
    fit = replace(some, counts=counts, attentiveness=frame, fingerprint=log.fingerprint())
    start = time.perf_counter()
    path = report(tmp_path, fit, log=log)
    wrote = time.perf_counter() - start
    page, opened = opens(visit, path)
    curve = er.thresholds(fit)
    page.fill("#typed", "0.5")
    row = curve.at(0.5)
    assert shown(page, "users") == f"{int(row['users']):,}"
    assert shown(page, "effective") == f"{row['effective_labels']:,.0f}"
    for name, value in (("seconds", wrote), ("bytes", path.stat().st_size), ("opens", opened)):
        record_property(name, value)
    print(f"report {wrote:.1f} s, {path.stat().st_size:,} bytes, opens in {opened:.2f} s")
    assert wrote < 20
    assert path.stat().st_size < 3_000_000
    assert opened < 2
