"""report.html, the page of a run: what it says, that it loads nothing, and that it never ends a run."""

import json
import os
import webbrowser
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.browser import Tags, assert_self_contained, browse
from support.mifid_sets import jpeg
from support.settings import TINY

from monet.cli import main
from monet.core.config import make_config
from monet.core.files import write_config
from monet.scoring.health import HEALTH_CHECKS
from monet.training.history import write_preview
from monet.training.overfitting import HOW_TO_READ, OVERFITTING
from monet.training.previews import MOST_FRAMES, keep_frame, list_frames, split_preview
from monet.training.report import VERDICTS, image_count, update_report, write_report
from monet.training.report_command import open_report
from monet.training.run_files import RunFiles

LOSSES = ("cycle", "identity", "photo_to_monet", "monet_to_photo", "monet_discriminator", "photo_discriminator")
FACTS = {"total_steps": 30_000, "device": "8 TPU", "precision": "bfloat16", "paintings": 300, "photos": 7038,
         "is_sample": False}
RANDOM = np.random.default_rng(0)


def noise(count=8):
    return RANDOM.uniform(-1, 1, [count, 256, 256, 3]).astype(np.float32)


def smooth(count=8):
    """Pictures of a few large patches, which no health check minds."""
    return np.repeat(np.repeat(RANDOM.uniform(-0.9, 0.9, [count, 8, 8, 3]), 32, axis=1), 32, axis=2).astype(np.float32)


def write_history(files, rows, names=LOSSES):
    lines = [f"{25 * row},1,0.24,{','.join(f'{1 + 1 / row + number:.5f}' for number, _ in enumerate(names))}"
             for row in range(1, rows + 1)]
    with open(files.history, "w", encoding="utf-8") as file:
        file.write("\n".join([",".join(["step", "epoch", "seconds_per_step", *names]), *lines, ""]))


@pytest.fixture
def run(tmp_path):
    """A function that writes the files of a run into the folder `out`: a history of `rows`, a preview."""
    def make(rows=40, photos=None, painted=None, **settings):
        files = RunFiles(str(tmp_path / "out"))
        write_config(make_config(**{**TINY, **settings}), files.config)
        write_history(files, rows)
        (tmp_path / "out" / "report.json").write_text(json.dumps(FACTS))
        photos = smooth() if photos is None else photos
        write_preview(photos, photos if painted is None else painted, files.preview)
        keep_frame(photos, files.previews, 0)
        return files

    return make


def page_of(files, problems=None):
    write_report(files, problems)
    with open(files.report, encoding="utf-8") as file:
        text = file.read()
    assert_self_contained(text)
    return text


def write_zip(path, count):
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number:04d}.jpg", jpeg(number))


def test_the_page_has_all_parts(run):
    files = run(rows=1000, learning_rate=3e-4)
    keep_frame(smooth(), files.previews, 12_000)
    write_zip(files.zip, 3)
    text = page_of(files, ["Not RGB: 0001.jpg (1 in all)."])
    for words in ("300 paintings and 7,038 photos", "25,000 steps", "of 30,000", "100.0 minutes", "8 TPU", "bfloat16",
                  "step 12,000", "cycle", "learning_rate", "0.0003", "0.0002", "holds 3 paintings", "Not RGB"):
        assert words in text, words
    tags = Tags(text).found
    assert [attributes["type"] for name, attributes in tags if name == "input"] == ["range"] * 6
    assert len([name for name, _ in tags if name == "img"]) == 2 * 6 + 3  # pairs, the photos and two frames
    assert text.count("<polyline") == 2 * len(LOSSES)
    assert "prefers-color-scheme: dark" in text


def test_the_page_shows_overfitting_and_how_to_read_it(run):
    files = run()
    assert "overfitting" not in page_of(files)
    Path(files.facts).write_text(json.dumps(FACTS | {"paintings": 270, "held_out": 30}))
    write_history(files, 40, (*LOSSES, *OVERFITTING))
    text = page_of(files)
    assert "270 paintings to train on, 30 held out, and 7,038 photos" in text
    assert HOW_TO_READ in text
    assert text.count("<polyline") == 2 * len(LOSSES) + 3 * len(OVERFITTING)


def test_a_page_of_noise_is_under_3_mb(run):
    """Noise is what JPEG compresses least."""
    files = run(rows=1000, photos=noise(), painted=noise())
    for step in range(0, 25 * 60, 25):
        keep_frame(noise(), files.previews, step)
    page_of(files)
    assert os.path.getsize(files.report) < 3e6


def test_hostile_content_is_shown_as_text(run):
    """In a loss's name, a setting, a problem with the zip, and the files beside."""
    bad = "<script>alert('x')</script>"
    files = run(diffaugment="color")
    write_history(files, 3, names=(bad, "<img src=x onerror=y>"))
    with open(files.config, encoding="utf-8") as file:
        values = json.load(file)
    with open(files.config, "w", encoding="utf-8") as file:
        json.dump(values | {"preset": bad, "diffaugment": bad, bad: bad, "image_names": ["\ud800", None]}, file)
    with open(files.facts, "w", encoding="utf-8") as file:
        json.dump({**FACTS, "device": bad, "precision": bad}, file)
    write_zip(files.zip, 2)
    text = page_of(files, [f"Unreadable: {bad}\udcff.jpg"])
    assert "<script" not in text and "<img src=x" not in text
    assert text.count("&lt;script") >= 6


@pytest.mark.parametrize("left", [{"config.json"}, {"config.json", "history.csv"}, set()])
def test_what_is_missing_or_damaged_is_left_out_with_a_warning(run, tmp_path, caplog, left):
    files = run()
    for path in (files.history, files.facts, files.config, files.preview):
        if os.path.basename(path) not in left:
            with open(path, "wb") as file:
                file.write(b"\0\xff damaged")
    text = page_of(files)
    assert "<h1>" in text or caplog.records
    assert ("<polyline" in text) == ("history.csv" in left)
    for path in (files.history, files.facts, files.config, files.preview):
        os.remove(path)
    assert "<footer>" in page_of(files)


def test_a_page_that_cannot_be_written_does_not_end_the_run(run, caplog):
    files = run()
    os.makedirs(os.path.join(files.report, "a folder in its place"))
    update_report(files)
    assert any("report.html" in record.getMessage() for record in caplog.records)


def test_a_run_without_losses_yet_has_a_page(run):
    assert "No losses" in page_of(run(rows=0))


# What the page judges.


def test_a_run_whose_length_is_not_known_yet_says_so(run):
    files = run()
    write_config(make_config(minutes=90.0), files.config)
    with open(files.facts, "w", encoding="utf-8") as file:
        json.dump({**FACTS, "total_steps": None}, file)
    assert "of as many as 90 minutes allow" in page_of(files)


def test_every_check_of_health_has_a_verdict():
    assert set(VERDICTS) == set(HEALTH_CHECKS)


@pytest.mark.parametrize(("paint", "fault"), [
    (lambda photos: photos, None),
    (lambda photos: -photos, "inverted"),
    (lambda photos: photos[:1].repeat(len(photos), axis=0), "collapse"),
    (lambda photos: photos * 0.9 + 0.06 * (-1.0) ** np.arange(256)[:, None], "checkerboard"),
])
def test_health_is_that_of_the_preview(run, paint, fault):
    """Although a preview is a JPEG."""
    photos = smooth()
    text = page_of(run(photos=photos, painted=paint(photos)))
    assert [name for name, verdicts in VERDICTS.items() if verdicts[True] in text] == ([fault] if fault else [])
    assert text.count("✓") == len(VERDICTS) - bool(fault)


def test_few_pictures_or_losses_are_not_judged(run):
    assert VERDICTS["identity rises"][False] not in page_of(run(rows=3))
    assert "Health" not in page_of(run(photos=smooth(3)))


def test_the_preview_is_read_back_as_it_was_written(run):
    photos, painted = smooth(3), smooth(3)
    found = split_preview(run(photos=photos, painted=painted).preview)
    for images, expected in zip(found, (photos, painted), strict=True):
        assert len(images) == 3  # the sheet has a place for a fourth pair
        assert np.abs(images / 127.5 - 1 - expected).mean() < 0.02


@pytest.mark.parametrize(("problems", "good"), [(None, None), ([], True), (["A reason."], False)])
def test_the_zip_is_judged_only_if_it_was_checked(run, problems, good):
    files = run()
    with zipfile.ZipFile(files.zip, "w") as archive:
        for number in range(7000):
            archive.writestr(f"{number}.jpg", b"")
    text = page_of(files, problems)
    assert ("The submission" in text) == (good is not None)
    assert ("passes every check" in text) == bool(good) and ("A reason." in text) == (good is False)
    assert image_count(files.preview) == 0  # no zip


def test_scores_are_those_of_this_zip(run):
    files = run()
    with open(files.scores, "w", encoding="utf-8") as file:
        file.write("step,seconds,photos,fid,memorization_distance,mifid\n25,1,16,99,0.3,99.5\n50,1,16,88,0.3,88.5\n")
    write_zip(files.zip, 2)
    with open(files.score, "w", encoding="utf-8") as file:
        json.dump({"mifid": 77.25, "fid": 70.0, "num_images": 1000, "sampled_from": 7000, "note": "a note"}, file)
    text = page_of(files)
    for words in ("MiFID 88.50", "step 50", "MiFID 77.25", "1,000 images, a sample of 7,000", "a note"):
        assert words in text
    os.utime(files.score, (0, 0))  # older than the zip, so about another one
    assert "MiFID 77.25" not in page_of(files)


def test_the_choice_of_a_checkpoint_is_shown_with_its_reason(run):
    files = run()
    with open(files.scores, "w", encoding="utf-8") as file:
        file.write("step,photos,colour_left,mifid,chosen,why\n25,64,0.5,,1,the first\n50,64,0.4,,1,it is <later>\n"
                   "75,64,,99.5,,\n100,64,1.9,,0,its colours come apart\n")
    text = page_of(files)
    for words in ("step 50", "because it is &lt;later&gt;", "colours left"):
        assert words in text


def test_only_settings_that_differ_from_the_preset_or_changed_are_listed(run, tmp_path):
    files = run()
    write_config(make_config(data="/home/someone/pictures"), files.config)
    text = page_of(files)
    assert "<table>" not in text and "/home/someone" not in text and str(tmp_path) not in text
    with open(files.config, encoding="utf-8") as file:
        values = json.load(file)
    with open(files.config, "w", encoding="utf-8-sig") as file:  # with a byte order mark
        json.dump({**values, "cycle_weight": 3.0, "changes": [
            {"step": 1500, "setting": "cycle_weight", "was": 10.0, "now": 3.0}]}, file)
    text = page_of(files)
    assert "From step 1,500 on, cycle_weight is 3.0; before, it was 10.0" in text
    assert text.count("<tr>") == 2


# The frames.


def test_frames_stay_few_and_even(tmp_path):
    painted = smooth(2)[:, ::32, ::32]
    for step in range(0, 301 * 7, 7):
        keep_frame(painted, str(tmp_path), step)
        steps = [step for step, _ in list_frames(str(tmp_path))]
        assert len(steps) <= MOST_FRAMES and steps[0] == 0 and steps[-1] == step
    widths = np.diff(steps)
    assert len(steps) == MOST_FRAMES and widths.max() < 2 * widths.mean()


def test_frames_of_steps_that_are_trained_again_go(tmp_path):
    painted = smooth(1)[:, ::32, ::32]
    for step in (0, 100, 200, 300):
        keep_frame(painted, str(tmp_path), step)
    (tmp_path / "step-x.jpg").write_text("somebody's")
    keep_frame(painted, str(tmp_path), 100)
    assert [step for step, _ in list_frames(str(tmp_path))] == [0, 100]
    assert list_frames(str(tmp_path / "none")) == []


# The command.


def test_report_writes_the_page_anew(trained_out, capsys):
    page = trained_out / "report.html"
    assert "6 steps" in page.read_text(encoding="utf-8")  # from the run itself
    assert [path.name for path in (trained_out / "previews").iterdir()]
    page.unlink()
    write_zip(trained_out / "images.zip", 3)
    assert main(["report", str(trained_out)]) == 0
    assert str(page) in capsys.readouterr().out
    assert "holds 3 paintings" in page.read_text(encoding="utf-8")


def test_report_of_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_page_is_opened_or_the_user_is_told_to(run, monkeypatch, capsys):
    files = run()
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or len(opened) == 1)
    open_report(files)
    assert opened[0].startswith("file:///") and opened[0].endswith("out/report.html")
    assert capsys.readouterr().err == ""
    open_report(files)  # there is no browser
    assert files.report in capsys.readouterr().err


MOVE = """<script>
for (const input of document.querySelectorAll('.slide input')) {
    input.value = 20;
    input.dispatchEvent(new Event('input'));
}
</script>"""


def test_chromium_parses_all_that_was_written_and_moves_the_sliders(run, tmp_path):
    text = page_of(run(rows=1000))
    (tmp_path / "moved.html").write_text(text + MOVE, encoding="utf-8")
    shown, written = Tags(browse(tmp_path / "moved.html", tmp_path, "--dump-dom")).found, Tags(text).found
    for name in ("figure", "img", "svg", "polyline", "h2", "li", "input"):
        assert [tag for tag, _ in shown].count(name) == [tag for tag, _ in written].count(name) > 0
    assert [attributes["style"] for _, attributes in shown if attributes.get("class") == "slide"] == ["--at: 20%;"] * 6
