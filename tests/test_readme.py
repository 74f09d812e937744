"""The README's example does what it says."""

import re
from pathlib import Path

import diplearn as dip

README = Path(__file__).resolve().parent.parent / "README.md"


def example(word):
    """The README's Python example in which a word stands."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if word in block]
    return block


def test_a_network_an_operator_and_a_rule_of_ones_own(capsys):
    names = {}
    exec(example("class Shake"), names)
    run, problem = names["run"], names["problem"]
    assert len(example("class Shake").splitlines()) <= 32
    assert run.stopped_by == "steady" and run.own_network
    assert run.psnr > dip.psnr(problem.observation, problem.truth) + 1
    assert "stopped by steady" in capsys.readouterr().out
