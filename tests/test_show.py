"""How lessons show results: captioned, or hidden below a prediction."""

import pandas as pd
import pytest
import torch

from diplearn.course import show
from diplearn.errors import InputError
from diplearn.figures import Figure, contact_sheet


def page(*results, **numbers):
    return show.reveal(*results, text="00 example", **numbers)._repr_mimebundle_()["text/html"]


def test_a_hidden_result_comes_after_the_button_with_its_texts():
    before, after = page(contact_sheet({"a": torch.rand(1, 8, 8)})).split("<summary>")
    assert "<textarea" in before and "<img" not in before
    assert '<img src="data:image/jpeg;base64,' in after
    assert 'alt="What a reader who cannot see' in after
    assert "printed below the figure" in after


def test_tables_and_text_can_be_hidden():
    shown = page("a < b", pd.DataFrame({"c": [1.5]}))
    assert "a &lt; b" in shown and "<table" in shown


def test_an_unknown_text_or_a_missing_number_is_refused(monkeypatch):
    with pytest.raises(InputError, match=r"has no \[none\]; it has example"):
        show.reveal(text="00 none")
    with pytest.raises(InputError, match="no captions for lesson 98"):
        show.show(text="98 none")
    monkeypatch.setattr(show, "_lesson", lambda number: {"x": {"caption": "{gap:.1f} dB"}})
    with pytest.raises(InputError, match="needs a value for 'gap'"):
        show.reveal(text="00 x")
    assert "2.0 dB" in show.reveal(text="00 x", gap=2)._repr_mimebundle_()["text/html"]


def test_a_shown_figure_gets_its_alternative_text_and_caption(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    figure = Figure()
    show.show(figure, "1.5 dB", text="00 example")
    assert figure.alt.startswith("What a reader")
    assert "1.5 dB" in capsys.readouterr().out
    assert shown[0] is figure and "printed below" in shown[1].data
