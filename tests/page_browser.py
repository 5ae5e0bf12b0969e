"""The report's page in a real browser.

    make page-test             needs Debian's chromium, and playwright in .venv: .venv/bin/python -m pip install playwright

The pages are opened from the disk, as a reader does, in headless Chromium. Every test fails where the console has an error or a warning,
where the page asks for anything but itself, or where it is wider than the screen.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from aae import train
from aae.device import device_name
from aae.runs import CHOICE, write_json
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.study import SweepStudy
from analysis import page as page_module
from analysis import report
from analysis.figures import draw_all
from analysis.page import page_html
from analysis.trials import read_run
from tests.golden import tiny_arrays
from tests.played import HOSTILE, MIXED, MIXED_BASELINES, Fate, failed, made_up, open_run, play

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
try:
    from playwright.sync_api import Page, sync_playwright
except ImportError:
    pytest.exit("make page-test needs playwright: .venv/bin/python -m pip install playwright", 2)
if CHROMIUM is None:
    pytest.exit("make page-test needs Chromium: apt-get install chromium", 2)

READY_S = 60  # on a machine that is at work; what the page must keep is in the test of it
WIDE, PHONE = {"width": 1400, "height": 1000}, {"width": 390, "height": 844}
NUM_LINES = "id => document.getElementById('plot-' + id).data.flatMap(t => t.customdata || []).filter(n => n !== null).length"
Opened = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # as root, in a container
        yield opened
        opened.close()


@pytest.fixture
def opened(browser) -> Iterator[Opened]:
    """Opens a page and waits until all is drawn; at the end nothing must have gone wrong in it."""
    wrong, contexts = list[str](), list[Any]()

    def open_page(path: Path, fragment: str = "", screen: dict[str, int] = WIDE, **options: Any) -> Page:
        context = browser.new_context(viewport=screen, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith((path.as_uri(), "data:", "blob:")) else None)
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(path.as_uri() + fragment)
        if options.get("java_script_enabled", True):
            wait_until_ready(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= screen["width"]
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def wait_until_ready(page: Page) -> int:
    """Milliseconds from the page's start until all plots were drawn. Playwright's own waiting evaluates text, which the page forbids."""
    until = time.monotonic() + READY_S
    while (ready := page.evaluate("document.documentElement.dataset.ready")) is None:
        assert time.monotonic() < until, "not drawn"
        time.sleep(0.02)
    return int(ready)


def wait_for(page: Page, expression: str) -> None:
    until = time.monotonic() + READY_S
    while not page.evaluate(expression):
        assert time.monotonic() < until, expression
        time.sleep(0.02)


def at_rest(page: Page) -> None:
    wait_for(page, "!busy && !waiting.size")


@pytest.fixture(scope="session")
def mixed(tmp_path_factory) -> Path:
    run = play(tmp_path_factory.mktemp("mixed"), MIXED, baselines=MIXED_BASELINES)
    return report.write_files(read_run(run))


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """Two real trainings that drew pictures, with their checkpoints and data."""
    folder = tmp_path_factory.mktemp("trained")
    np.savez(folder / "tiny.npz", **tiny_arrays())
    study = open_run(folder, 2, folder / "tiny.npz")
    for _ in range(2):
        handout = study.next()
        assert handout is not None
        number = handout.number
        train.train(handout.config, lambda row, number=number: bool(study.report(number, row)), handout.folder, handout.attempt)
        study.tell(number, TrialState.COMPLETE)
    return report.write_files(read_run(study.run))


@pytest.fixture(scope="session")
def large(tmp_path_factory) -> Path:
    """200 trials of 60 epochs, with figures as PNGs."""
    folder = tmp_path_factory.mktemp("large")
    run = made_up(folder, 200, 60)
    (folder / "index.html").write_text(page_html(run, draw_all(run)), encoding="utf-8")
    return folder / "index.html"


# ---- every kind of run ----

HELD = {"metric": "val/reconstruction", "constraint": {"metric": "val/prior_mismatch", "upper": 0.2}}
NO_LABELS = {"data": {"num_labels": 0}, "model": {"class_source": "none"}, "objective": {"adversarial_y": None, "classification": None}}
RUNS: dict[str, Callable[[Path], Path]] = {
    "no trial": lambda folder: open_run(folder, 3).run,
    "all failed": lambda folder: play(folder, [failed(), failed(HOSTILE)]),
    "one": lambda folder: play(folder, [Fate([0.3, 0.2, 0.1])]),
    "nothing complete": lambda folder: play(folder, [Fate([0.3], "interrupted"), Fate([0.3], "PRUNED", "pruned"), Fate([], "DIVERGED")]),
    "a constraint": lambda folder: play(
        folder,
        [Fate([30.0 - n, 25.0 - n], more={"val/prior_mismatch": 0.1 * n}) for n in range(5)],
        study=HELD,
        trial=NO_LABELS,
    ),
}


@pytest.mark.parametrize("kind", RUNS)
def test_the_page_of_every_kind_of_run_opens_without_a_word_on_the_console(kind, tmp_path, opened):
    written = report.write_files(read_run(RUNS[kind](tmp_path)))
    for screen, scheme in ((WIDE, "light"), (PHONE, "dark")):
        page = opened(written, screen=screen, color_scheme=scheme)
        plots = page.locator(".plot")
        assert plots.count() == (7 if kind in ("one", "a constraint") else 6)  # of the codes where there is a best trial
        assert (page.locator(".plot.empty").count() == plots.count()) == (kind in ("no trial", "all failed"))
        for place in page.locator(".plot.empty").all():  # what cannot be drawn says why, and says it of itself
            said = place.locator("xpath=..").inner_text().strip()
            assert said.endswith(".") and any(word in said for word in ("No trial", "Fewer", "searched trial", "not in the run folder")), (
                said
            )


def test_what_diverged_far_above_does_not_press_the_others_flat_and_is_counted(tmp_path, opened):
    """Seen to fail with an axis over all values."""
    kept = {"val/prior_mismatch": 0.1}
    fates = [Fate([0.6 - 0.01 * number, 0.4, 0.2 + 0.01 * number], more=kept) for number in range(4)]
    run = play(tmp_path, [*fates, Fate([9000.0], "DIVERGED", more=kept)], study=HELD, trial=NO_LABELS)
    page = opened(report.write_files(read_run(run)))
    for plot in ("history", "learning-curves"):
        low, high = page.evaluate("plot => document.getElementById('plot-' + plot)._fullLayout.yaxis.range", plot)
        assert 0.1 < low < high < 0.7, plot
        assert page.locator(f"#plot-{plot} .annotation-text").text_content() == "1 diverged or failed: far above"


def test_a_training_of_one_epoch_and_a_first_trial_are_seen_and_no_tick_stands_between_two_of_them(tmp_path, opened):
    """Seen to fail with the best trial's line alone, and with an axis that begins at trial 0."""
    page = opened(report.write_files(read_run(play(tmp_path, [Fate([0.3])]))))
    drawn = "document.getElementById('plot-learning-curves').data.filter(trace => trace.mode === 'markers').flatMap(trace => trace.y)"
    assert page.evaluate(drawn) == [30]
    low, high = page.evaluate("document.getElementById('plot-history')._fullLayout.xaxis.range")
    assert low <= -0.5 and high >= 0.5
    for plot in ("history", "learning-curves"):
        ticks = page.locator(f"#plot-{plot} .xtick text").all_text_contents()
        assert ticks and not any("." in tick for tick in ticks), (plot, ticks)
    assert page.locator("#filtered").inner_text() == "1 trial"


RUNGS = {
    "trials": 23,
    "least_trials": 20,
    "least_correlation": 0.6,
    "correlation": {"1": -0.1, "2": 0.41, "3": 0.72, "4": 0.9},
    "stops": {"1": 8, "3": 3},
    "stops_left_out": {"1": 4, "2": 1},
}


def test_the_plot_of_the_rungs_has_the_correlations_the_threshold_and_what_the_pruner_did(tmp_path, opened):
    run = play(tmp_path, [Fate([0.3, 0.2, 0.1]), Fate([0.4, 0.3, 0.2])])
    write_json(run / CHOICE, {"trials": {}, "rungs": RUNGS})
    page = opened(report.write_files(read_run(run)), "#trial=1")
    traces = page.evaluate("document.getElementById('plot-rungs').data.map(trace => [trace.x, trace.y])")
    assert traces == [[[1, 2, 3, 4], [-0.1, 0.41, 0.72, 0.9]], [[1, 4], [0.6, 0.6]], [[1, 3], [-0.1, 0.72]], [[1, 2], [-0.1, 0.41]]]
    said = page.evaluate("document.getElementById('plot-rungs').data[3].text[0]")
    assert said == "epoch 1: -0.10, stops nobody; 8 stopped so far, 4 let go on"


@pytest.mark.parametrize("screen", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_axes_can_be_read_in_light_and_dark(screen, scheme, mixed, opened):
    page = opened(mixed, screen=screen, color_scheme=scheme)
    ink, paper = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    brightness = [sum(map(int, colour.removeprefix("rgb(").rstrip(")").split(","))) for colour in (ink, paper)]
    assert abs(brightness[0] - brightness[1]) > 450 and (brightness[0] < brightness[1]) == (scheme == "light")
    assert page.evaluate("document.getElementById('plot-history').layout.font.color") == page.evaluate("css('--text')")


def test_a_name_with_markup_is_text_everywhere(mixed, opened):
    page = opened(mixed, "#trial=1")
    page.locator("#plot-history").scroll_into_view_if_needed()
    assert HOSTILE in page.locator("#marked-text").inner_text()
    said = page.locator("#plot-history").evaluate(
        """place => {
          const curve = place.data.findIndex(trace => (trace.customdata || []).includes(1));
          Plotly.Fx.hover(place, [{curveNumber: curve, pointNumber: place.data[curve].customdata.indexOf(1)}]);
          return place.querySelector('.hoverlayer').textContent;
        }"""
    )
    assert f"trial 1 ({HOSTILE})" in said and page.locator("svg.main-svg script").count() == 0


# ---- a trial is marked ----


def dot(page: Page, plot: str, number: int) -> tuple[float, float]:
    """Where a trial's last point stands on the screen."""
    page.locator(f"#plot-{plot}").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """([plot, number]) => {
          const place = document.getElementById('plot-' + plot), found = [];
          place._fullData.forEach(trace => (trace.customdata || []).forEach((n, i) => n === number && found.push([trace, i])));
          const [trace, i] = found[found.length - 1], box = place.getBoundingClientRect(), layout = place._fullLayout;
          const xaxis = layout['xaxis' + trace.xaxis.slice(1)], yaxis = layout['yaxis' + trace.yaxis.slice(1)];
          return [box.left + xaxis._offset + xaxis.d2p(trace.x[i]), box.top + yaxis._offset + yaxis.d2p(trace.y[i])];
        }""",
        [plot, number],
    )
    return x, y


@pytest.mark.parametrize("plot", ["history", "learning-curves", "ranks", "parallel", "slices"])
def test_a_click_marks_the_trial_in_every_plot_and_opens_its_row(plot, mixed, opened):
    """Seen to fail with no listener for plotly_click."""
    page, number = opened(mixed), 9
    page.mouse.click(*dot(page, plot, number))
    wait_for(page, f"shared.trial === {number}")
    at_rest(page)
    assert f"trial={number}" in page.url and page.locator("#marked-text").inner_text().startswith(f"trial {number}: val/error")
    assert page.locator("tbody.marked").get_attribute("data-trial") == str(number)
    assert "optim.reconstruction.rate" in page.locator("tbody.marked .detail").inner_text()
    colour = page.evaluate("css('--mark')")
    for name in ("history", "learning-curves", "ranks", "parallel", "slices"):
        drawn = page.evaluate("name => JSON.stringify(document.getElementById('plot-' + name).data)", name)
        assert colour in drawn, name
    page.keyboard.press("Escape")
    assert page.locator("tbody.marked").count() == 0 and "trial=" not in page.url


def test_a_row_shows_the_pictures_of_its_trial(trained, opened):
    page = opened(trained)
    for number in (0, 1):
        page.locator(f"tbody[data-trial='{number}'] tr.trial").click()
        figures = page.locator("tbody.marked .detail figure")
        assert figures.count() == 3 and page.locator("tbody.marked .detail img").count() == 3
        assert page.evaluate("[...document.querySelectorAll('.detail img')].every(image => image.naturalWidth > 20)")
        for link in page.locator("tbody.marked .detail a").all():
            assert (trained.parent / (link.get_attribute("href") or "")).is_file()


def test_a_code_shows_its_image(trained, opened):
    page = opened(trained)
    page.locator("#plot-codes").focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, "!document.getElementById('image').hidden")
    box = page.locator("#image").bounding_box()
    assert (
        box is not None
        and box["width"] > 50
        and "data:image/png" in page.evaluate("document.getElementById('image').style.backgroundImage")
    )


def test_a_plot_is_saved_as_a_picture_by_a_button_and_no_button_sends_anything_away(mixed, opened):
    page = opened(mixed)
    page.locator("#plot-history").hover()
    assert page.locator("#plot-history .modebar-btn").count() == 4 and page.locator("#plot-history a[href]").count() == 0
    with page.expect_download() as saved:
        page.locator("#plot-history .modebar-btn").first.click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")


# ---- filters, sorting, keys ----


def test_brushing_an_axis_filters_everything_else_and_a_double_click_takes_it_back(mixed, opened):
    """Seen to fail with `brushed` that leaves `shared.brush` as it was."""
    page = opened(mixed)
    page.locator("#plot-parallel").scroll_into_view_if_needed()
    before = {plot: page.evaluate(NUM_LINES, plot) for plot in ("history", "learning-curves", "slices")}
    box, axis = page.evaluate(
        """() => {
          const place = document.getElementById('plot-parallel'), box = place.getBoundingClientRect(), {xaxis, yaxis} = place._fullLayout;
          const [x, low, middle] = [xaxis.d2p(0) + xaxis._offset, yaxis.d2p(-0.05) + yaxis._offset, yaxis.d2p(0.5) + yaxis._offset];
          return [[box.left + x, box.top + low, box.top + middle], parallelAxes[0]];
        }"""
    )
    x, low, middle = box
    page.mouse.move(x - 15, low)
    page.mouse.down()
    page.mouse.move(x, (low + middle) / 2, steps=4)
    page.mouse.move(x + 15, middle, steps=4)
    page.mouse.up()
    wait_for(page, "Object.keys(shared.brush).length === 1")
    at_rest(page)
    rows = page.locator("tbody[data-trial]:visible")
    half = (axis["low"] * axis["high"]) ** 0.5 if axis["log"] else (axis["low"] + axis["high"]) / 2
    values = [float(text.removesuffix(" %")) for text in rows.locator("tr.trial td:nth-child(3)").all_inner_texts()]
    assert 0 < len(values) < len(MIXED) and max(values) <= 1.02 * half
    assert all(page.evaluate(NUM_LINES, plot) < num for plot, num in before.items())
    assert "brush=" in page.url and "val/error brushed" in page.locator("#filtered").inner_text()
    page.mouse.dblclick(x + 60, middle)
    wait_for(page, "Object.keys(shared.brush).length === 0")
    page.keyboard.press("Escape")  # it may have hit a line
    at_rest(page)
    assert rows.count() == len(MIXED) and {plot: page.evaluate(NUM_LINES, plot) for plot in before} == before


def test_choices_that_are_numbers_are_compared_and_sorted_as_numbers_and_a_list_is_one_word(tmp_path, opened):
    """Seen to compare them as texts: 1000 < 128."""
    space = {
        "train.batch_size": {"kind": "categorical", "choices": [32, 64, 128, 1000]},
        "model.hidden_dims": {"kind": "categorical", "choices": [[16, 16], [32]]},
        "train.ema_decay": {"kind": "categorical", "choices": [None, 0.9, 0.99]},
    }
    study = {"sampler": {"kind": "RandomSampler", "seed": 0}, "pruner": {"kind": "NopPruner"}}
    run = read_run(play(tmp_path, [Fate([0.3, 0.2, 0.1])] * 12, baselines={}, space=space, study=study))
    page = opened(report.write_files(run))
    for text, wanted in (
        ("batch_size>=128", lambda params: params["train.batch_size"] >= 128),
        ("batch_size<100", lambda params: params["train.batch_size"] < 100),
        ("hidden_dims=[16, 16]", lambda params: params["model.hidden_dims"] == "[16, 16]"),
        ("ema_decay>0.95", lambda params: (params["train.ema_decay"] or 0) > 0.95),  # null is above no number
        ("ema_decay=null", lambda params: params["train.ema_decay"] is None),
    ):
        numbers = {trial.number for trial in run.trials if wanted(trial.params)}
        page.locator("#filter").fill(text)
        wait_for(page, f"JSON.stringify([...shown].sort((a, b) => a - b)) === '{sorted(numbers)}'.replaceAll(' ', '')")
        at_rest(page)
        assert {int(body.get_attribute("data-trial") or -1) for body in page.locator("tbody[data-trial]:visible").all()} == numbers, text
        assert 0 < len(numbers) < 12


def test_the_filter_reads_metrics_that_the_table_alone_has(tmp_path, opened):
    """Seen to be no column, though the table sorted by it."""
    fates = [Fate([0.3], more={"val/knn_error": 0.01 * number}) for number in range(6)]
    page = opened(report.write_files(read_run(play(tmp_path, fates, baselines={}))))
    page.locator("#filter").fill("val/knn_error<2.5")
    wait_for(page, "JSON.stringify([...shown].sort()) === '[0,1,2]'")
    assert "no column" not in page.locator("#filtered").inner_text()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("state=PRUNED", {3}),
        ("trial>=10 trial<12", {10, 11}),
        ("value<5", {3, 6}),
        ("hostile-nothing", set()),
        ("failed state!=COMPLETE out", set()),
        ("no_such=1", set(range(len(MIXED)))),
    ],
)
def test_the_filter_reads_columns_and_words(text, numbers, mixed, opened):
    page = opened(mixed)
    page.locator("#filter").fill(text)
    wait_for(page, f"shared.filter === {text!r} && document.getElementById('filtered').textContent !== '{len(MIXED)} trials'")
    assert {int(body.get_attribute("data-trial") or -1) for body in page.locator("tbody[data-trial]:visible").all()} == numbers
    assert ("no column no_such" in page.locator("#filtered").inner_text()) == ("no_such" in text)


def test_a_head_sorts_up_down_and_back_and_absent_values_stay_last(mixed, opened):
    page = opened(mixed)

    def order() -> list[str]:
        return page.locator("tbody[data-trial]").evaluate_all("bodies => bodies.map(body => body.dataset.trial)")

    first = order()
    button = page.locator("#table th button").nth(2)
    button.click()
    up = order()
    assert page.locator("#table th").nth(2).get_attribute("aria-sort") == "ascending" and up[:2] == ["3", "6"] and up[-1] == "5"
    button.click()
    down = order()
    assert down[0] == "4" and down[-1] == "5" and sorted(down) == sorted(up)
    button.click()
    assert order() == first


def test_everything_is_done_from_the_keyboard(mixed, opened):
    page = opened(mixed)
    page.locator("#filter").focus()
    page.keyboard.type("state=COMPLETE")
    wait_for(page, "order.length === 10")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # past the button that shows all, to the first head
    page.keyboard.press("Enter")
    assert page.evaluate("shared.sort") == "trial:up"
    page.locator("tbody[data-trial='0'] tr.trial").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.evaluate("shared.trial") == 1 and page.locator("tbody.marked .detail").count() == 1
    page.locator("#plot-history").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("shared.trial") == 2
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.parentNode.dataset.trial") == "2"
    page.keyboard.press("Escape")
    assert page.evaluate("shared.trial") is None


def test_a_link_and_a_reload_keep_what_is_marked_filtered_sorted_and_brushed(mixed, opened):
    page = opened(mixed, "#trial=8&filter=state%3DCOMPLETE&sort=trial%3Adown&brush=val%2Ferror:0:9")
    for _ in range(2):
        assert page.evaluate("[shared.trial, shared.filter, shared.sort]") == [8, "state=COMPLETE", "trial:down"]
        assert (
            page.evaluate("order") == [12, 11, 10, 9, 8, 7, 6, 2][-len(page.evaluate("order")) :]
            and page.locator("tbody.marked").count() == 1
        )
        page.reload()
        wait_until_ready(page)


def test_the_page_of_a_running_sweep_says_so_and_reads_itself_again(tmp_path, monkeypatch, opened):
    monkeypatch.setattr(page_module, "REWRITTEN_S", 1)
    run = play(tmp_path, [Fate([0.3, 0.2, 0.1]), Fate([0.3, 0.2], "interrupted")])
    page = opened(report.write_files(read_run(run), running=True), "#trial=1")
    assert "Running: 1 of 2 trials told, 1 at work." in page.locator("#standing").inner_text()
    assert page.locator("tbody[data-trial='1'] td").nth(1).inner_text() == "running"
    study = SweepStudy(run, load_sweep(run.parent / "s.yaml", {}))
    study.tell(1, TrialState.COMPLETE)
    written = report.write_files(read_run(run))
    assert "Ended" in written.read_text(encoding="utf-8")
    until = time.monotonic() + READY_S
    while True:
        with contextlib.suppress(Exception):  # in the middle of its reload
            if "Ended: all 2 trials told." in page.locator("#standing").inner_text(timeout=2000):
                break
        assert time.monotonic() < until
        time.sleep(0.1)
    wait_until_ready(page)
    assert page.evaluate("shared.trial") == 1 and page.locator("tbody.marked").count() == 1


# ---- without JavaScript, and large ----


def test_without_javascript_the_page_says_what_it_is_and_shows_the_figures(mixed, opened):
    page = opened(mixed, java_script_enabled=False)
    assert "need JavaScript, which is off" in page.locator("body").inner_text()
    assert (
        page.locator("noscript img").count() == 5
        and not page.locator("#filter").is_visible()
        and not page.locator("#plot-history").is_visible()
    )
    assert page.locator("tbody[data-trial]:visible").count() == len(MIXED)


def test_200_trials_of_60_epochs_are_at_most_8_mb_and_ready_in_2_s(large, opened, capsys):
    """Of an idle machine; on one at work the time is only told."""
    assert large.stat().st_size <= 8e6
    times = [wait_until_ready(opened(large)) for _ in range(5)]
    with capsys.disabled():
        print(f"\n{large.stat().st_size / 1e6:.1f} MB, ready in {statistics.median(times)} ms (median of {times}) on {device_name()}")
    if os.getloadavg()[0] < 0.7 * (os.cpu_count() or 1):
        assert statistics.median(times) <= 2000


def test_2000_trials_open_thinned_out_and_the_page_says_so(tmp_path, opened):
    run = made_up(tmp_path, 2000, 200)
    written = tmp_path / "index.html"
    written.write_text(page_html(run, draw_all(run, captions_alone=True)), encoding="utf-8")
    page = opened(written, "#trial=1999")
    said = page.locator("#thinned").inner_text()
    assert "Of 2,000 trials the plots show 400" in said and "Of 200 epochs a line shows at most 120" in said
    assert page.locator("tbody[data-trial]").count() == 2000 and page.evaluate(NUM_LINES, "history") > 1900
