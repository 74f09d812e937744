"""Figures: something is drawn, and those who cannot see it are told what."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import diplearn as dip
from diplearn.course.figures import choices, closeups, curves, pick, predicted_gains
from diplearn.errors import InputError
from diplearn.figures import contact_sheet


@pytest.fixture(scope="module")
def run():
    problem = dip.denoising(dip.images.load("camera", size=32))
    return dip.fit(problem, dip.lab().replace(options={"down": (4, 4)  , "skip": (2, 2)}),
                   iterations=30, progress=False)  # fmt: skip


def drawn(figure):
    data, metadata = figure._repr_mimebundle_()
    kind = f"image/{figure.format}"
    image = np.asarray(Image.open(io.BytesIO(data[kind])).convert("RGB"))
    return image, metadata[kind]["alt"]


def test_a_contact_sheet_shows_every_image():
    red, blue = torch.zeros(3, 32, 32), torch.zeros(3, 32, 32)
    red[0], blue[2] = 1, 1
    image, alt = drawn(contact_sheet({"red": red, "blue": blue}, captions={"red": "20 dB"}))
    colours = image.reshape(-1, 3).astype(int)
    for wanted in ([255, 0, 0], [0, 0, 255]):
        assert (abs(colours - wanted).max(axis=1) < 8).mean() > 0.1
    assert "red" in alt and "blue" in alt


def test_a_grey_image_keeps_its_grey():
    """No stretching: an image that is dark must look dark."""
    image, _ = drawn(contact_sheet({"": torch.full((1, 32, 32), 0.25)}, width=2))
    middle = image[image.shape[0] // 2, image.shape[1] // 2]
    assert abs(int(middle[0]) - 64) <= 2


def test_an_empty_sheet_is_an_error():
    with pytest.raises(InputError):
        contact_sheet({})


def test_curves_with_and_without_truth(run):
    assert len(curves(run, marks={"best": 10}).axes) == 2
    blind = dip.Problem(run.problem.observation)
    other = dip.fit(blind, run.recipe, iterations=3, progress=False)
    assert len(curves({"blind": other}).axes) == 1


def test_pick_takes_the_first_the_last_and_some_between(run):
    chosen = pick(run.snapshots, 4)
    assert list(chosen)[0] == "iteration 1" and list(chosen)[-1] == "iteration 30"
    assert 3 <= len(chosen) <= 4


def test_choices_are_marked_on_the_curve():
    figure = choices([20.0, 25.0, 24.0], {"early": 1, "late": 3}, alt="two rules")
    axis = figure.axes[0]
    marked = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert marked["early: 1"] == [[1, 20]] and marked["late: 3"] == [[3, 24]]
    assert "best: 2" in marked and figure.alt == "two rules"
    series = pd.Series([25.0, 20.0], index=[10, 20])
    assert choices(series, {"rule": 20}).axes[0].lines[-1].get_xdata() == [20]


ODD = ["a$b$c", "$x_{$", r"\$", r"a\$b$", "$$", "x\udcffy", r"\frac{$"]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_names_are_drawn_as_they_stand(run, name):
    """Dollar signs are no formulas, and a file name may hold bytes that are no character."""
    figures = [
        contact_sheet({name: torch.zeros(1, 32, 32)}, captions={name: "3 $dB$"}),
        curves({name: run}, marks={f"{name}'s": 3}),
        choices([20.0, 25.0], {name: 1}),
    ]
    for figure in figures:
        drawn(figure)
        texts = [text for axis in figure.axes for text in [axis.title, *legend_of(axis)]]
        shown = [text.get_text() for text in texts if not text.get_parse_math()]
        assert any(name.replace("\udcff", "?") in text for text in shown), shown


def legend_of(axis):
    legend = axis.get_legend()
    return legend.get_texts() if legend else []


def test_a_pair_looks_the_same_in_all_panels():
    gains = {"cat": {"a + b": [(0.1, 0.2)], "a + c": [(0, 0)]}, "dog": {"a + c": [(-1, -0.9)]}}
    figure = predicted_gains(gains, alt="gains")
    looks = [
        {line.get_label(): (line.get_color(), line.get_marker()) for line in axis.lines}
        for axis in figure.axes
    ]
    assert looks[0]["a + c"] == looks[1]["a + c"] != looks[0]["a + b"]
    [dot] = [line for line in figure.axes[1].lines if line.get_label() == "a + c"]
    assert (list(dot.get_xdata()), list(dot.get_ydata())) == ([-1], [-0.9])
    assert drawn(figure)[1] == "gains"


def test_closeups_show_the_frames_and_stay_inside():
    image = torch.zeros(1, 40, 60)
    image[:, :8, :8] = 1  # white in one corner
    figure = closeups({"a": image, "b": 1 - image}, {"corner": (0, 0), "end": (39, 59)}, side=8)
    whole, *crops = figure.axes
    shown = [crop.images[0].get_array() for crop in crops]
    assert [part.shape for part in shown] == [(8, 8)] * 4
    assert [float(part.mean()) for part in shown] == [1, 0, 0, 1]
    assert [box.get_xy() for box in whole.patches] == [(-0.5, -0.5), (51.5, 31.5)]
    assert drawn(figure)[0].std() > 0
