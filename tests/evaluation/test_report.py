import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from reslab.evaluation.calibration import calibrate
from reslab.evaluation.canvas import DARK, LIGHT, to_data_uri, to_png
from reslab.evaluation.confidence import confidence
from reslab.evaluation.figures import curves
from reslab.evaluation.metrics import compute_metrics
from reslab.evaluation.report import ReportData, Result, render_report
from reslab.evaluation.selective import Target
from reslab.evaluation.tiles import Mistake
from reslab.runs.history import EpochRecord

VOID = {"meta", "link", "img", "br", "hr", "source", "input"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """The page's tags and visible text; fails where tags are not balanced."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(html)
        self.close()
        assert self.open == [], "left open"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"[ \n]+", " ", "".join(self.texts))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def metrics(classes, right=90, wrong=10):
    """Each class: ``right`` images recognised, ``wrong`` taken for the next class."""
    k = len(classes)
    true = np.repeat(np.arange(k), right + wrong)
    predicted = np.where(np.arange(k * (right + wrong)) % (right + wrong) < right, true, true + 1)
    return compute_metrics(np.eye(k, dtype=np.float32)[predicted % k], true, classes)


def record(epoch):
    return EpochRecord(
        epoch=epoch,
        step=epoch,
        learning_rate=0.1,
        train_loss=2 / epoch,
        train_accuracy=1 - 0.5 / epoch,
        val_loss=2 / epoch,
        val_accuracy=1 - 0.6 / epoch,
        seconds=1.0,
        images_per_second=10.0,
    )


def data(classes=("cat", "dog", "owl"), **changes):
    pixels_CHW = np.zeros((1, 8, 8), np.uint8)
    plain = ReportData(
        title="digits, resnet20",
        facts=(("data", "digits"), ("epochs", "3")),
        history=tuple(record(e) for e in (1, 2, 3)),
        best_epoch=2,
        results=(
            Result(weights="best", split="val", metrics=metrics(classes, 50, 0)),
            Result(weights="last", split="test", metrics=metrics(classes, 80, 20)),
            Result(weights="best", split="test", metrics=metrics(classes)),
        ),
        mistakes=(
            Mistake(pixels_CHW=pixels_CHW, true="cat", predicted="dog", probability=0.61),
            Mistake(pixels_CHW=pixels_CHW, true="owl", predicted="cat", probability=0.974),
        ),
        notes=("The test split has been opened twice.",),
        spec_text="model:\n  name: resnet20\n",
    )
    return replace(plain, **changes)


@pytest.fixture(name="html", scope="module")
def rendered():
    return render_report(data())


@pytest.fixture(name="page", scope="module")
def parsed(html):
    return Page(html)


def test_tags_are_balanced_and_the_language_is_told(page):
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert page.all("main")


def test_nothing_is_loaded_or_run(html, page):
    without_pictures = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", html)
    assert "//" not in without_pictures
    assert not page.all("script")
    assert not page.all("link")
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in attributes.keys() & {"src", "srcset", "href", "action", "data"}:
            assert attributes[name].startswith("data:image/png;base64,")
    assert "@import" not in html
    assert "url(" not in html


def test_the_policy_forbids_all_but_inline_style_and_data_images(page):
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == "'unsafe-inline'"
    assert rules["img-src"] == "data:"
    assert not rules.keys() & {"script-src", "connect-src", "font-src"}


def test_the_page_fits_a_phone_and_prints(html, page):
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )
    assert "@media print" in html


def test_the_headline_is_the_best_weights_on_the_test_split(page):
    assert "Test accuracy" in page.text
    assert page.text.index("90.0\u202f%") < page.text.index("80.0\u202f%")
    assert "interval 86.1\u201392.9\u202f%, n = 300" in page.text  # Wilson, 270 of 300
    assert page.text.index("best weights") < page.text.index("last weights")


def test_the_validation_split_is_the_headline_only_where_it_is_alone():
    html = render_report(data(results=data().results[:1]))
    assert "Validation accuracy" in Page(html).text


def test_all_contents_are_there(page):
    for text in ("digits, resnet20", "epochs", "opened twice", "name: resnet20", "owl"):
        assert text in page.text
    assert page.all("details")
    assert page.text.count("dog taken for owl: 10 of 100") == 1


def test_each_class_has_its_row_in_the_given_order(html):
    rows = re.findall(r'<th scope="row" title="(.*?)">.*?</tr>', html)
    assert rows == ["cat", "dog", "owl"]
    row = re.search(r'title="cat">.*?</tr>', html).group()
    assert row.count("90.0\u202f%") == 3  # precision, recall, F1
    assert "82.6\u201394.5\u202f%" in row  # Wilson, 90 of 100
    assert ">100<" in row


def test_mistakes_stand_with_the_surest_first(page):
    assert "owl → cat, 97\u202f%" in page.text
    assert page.text.index("owl → cat") < page.text.index("cat → dog")


def test_both_themes_are_embedded(html, page):
    for theme in (LIGHT, DARK):
        assert to_data_uri(to_png(curves(data().history, theme=theme, best_epoch=2))) in html
        assert f"--paper: {theme.paper}" in html
    assert len(page.all("picture")) == 2
    assert [s["media"] for s in page.all("source")] == [
        "screen and (prefers-color-scheme: dark)"
    ] * 2


def test_each_picture_is_told_in_words(page):
    alts = [image["alt"] for image in page.all("img")]
    assert len(alts) == 4
    assert "Validation accuracy ended at 80.0\u202f%." in alts[0]
    assert "The best epoch, 2, had 70.0\u202f%." in alts[0]
    assert "cat taken for dog: 10 of 100" in alts[1]
    assert "owl" in alts[2]


def test_pictures_keep_their_room_before_they_are_decoded(page):
    for image in page.all("img")[:2]:
        assert int(image["width"]) > 100
        assert int(image["height"]) > 100


def test_hostile_text_is_inert():
    mistake = replace(data().mistakes[0], true=HOSTILE, predicted=HOSTILE)
    html = render_report(
        data(
            classes=(HOSTILE, "dog"),
            title=HOSTILE,
            facts=((HOSTILE, HOSTILE),),
            mistakes=(mistake,),
            notes=(HOSTILE,),
            spec_text=HOSTILE,
        )
    )
    page = Page(html)
    assert not page.all("script")
    assert all(image["src"].startswith("data:image/png") for image in page.all("img"))
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.text.count("<script>alert(1)</script>") >= 8


@pytest.mark.parametrize("k", [2, 100])
def test_two_to_a_hundred_classes(k):
    classes = [f"class {i}" for i in range(k)]
    page = Page(render_report(data(classes, history=(), mistakes=())))
    assert len([t for t in page.all("th") if "title" in t]) == k
    assert ("Among top 5" in page.text) == (k > 5)
    assert "No image of a mistake was kept." in page.text


def test_a_class_without_images_says_so():
    counted = compute_metrics(np.eye(3, dtype=np.float32)[[0, 1]], np.array([0, 1]), "abc")
    page = Page(
        render_report(
            data(results=(Result(weights="best", split="test", metrics=counted),), mistakes=())
        )
    )
    assert "no image" in page.text
    assert "every image was recognised" in page.text


def test_a_run_without_anything_still_has_a_page():
    bare = ReportData(
        title="bare",
        facts=(),
        history=(),
        best_epoch=None,
        results=(),
        mistakes=(),
        notes=(),
        spec_text="",
    )
    page = Page(render_report(bare))
    assert "have not been evaluated" in page.text
    assert not page.all("img")


def test_equal_data_give_an_equal_page(html):
    assert render_report(data()) == html


def calibrated():
    rng = np.random.default_rng(0)
    labels_N = rng.integers(0, 3, 1_200)
    logits_NK = (8 * rng.normal(size=(1_200, 3)) + 8 * np.eye(3)[labels_N]).astype(np.float32)
    target = Target("coverage", 0.5)
    return calibrate(logits_NK, labels_N, target, weights="last", weights_sha256="")


def test_a_calibration_has_its_picture_in_both_themes_and_two_sentences(html):
    found = calibrated()
    with_it = render_report(data(calibration=found))
    page = Page(with_it)
    for theme in (LIGHT, DARK):
        assert to_data_uri(to_png(confidence(found, theme=theme))) in with_it
    assert "How sure it is" in page.text
    assert f"divided by {found.temperature:.4g}, fitted on 1\u202f200 validation" in page.text
    assert "error (ECE) of the last weights is" in page.text
    assert f"below {found.threshold:.4g} the answer is \u201cdon't know\u201d: 50.0" in page.text
    assert any("don't know" in image["alt"] for image in page.all("img"))
    assert "How sure it is" not in html
