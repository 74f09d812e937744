"""Checks of lesson 08."""

from functools import partial

import torch

from .verdict import check_of_function, check_of_runs, decisions, no, number, yes

# The σ of a grey image of which a tenth became black or white.
salt_sigma = partial(
    number,
    expected=0.1581,
    why="√(0.1 · 0.5²)",
    slips={0.025: "that is the energy, σ²", 0.5: "only a tenth of the pixels are wrong"},
)


@check_of_function
def discrepancy_rule(answer):
    """Check ``my_rule(image, observation, sigma)``: the discrepancy principle says when to stop."""
    truth = 0.3 + 0.4 * torch.linspace(0, 1, 64 * 64).reshape(1, 64, 64)
    draws = torch.Generator().manual_seed(0)
    cases = []
    for sigma in (0.02, 0.1):
        noise = sigma * torch.randn(truth.shape, generator=draws)
        noise *= 0.999 * sigma / noise.square().mean().sqrt()  # a little under what is allowed
        far, x0 = truth + 3 * sigma, truth + noise
        cases += [
            ((far, x0, sigma), False, "it stops while the image is still far away"),
            (
                (truth, x0, sigma),
                True,
                "it goes on past the truth itself; compare the mean square, not its root or its "
                "sum, with sigma squared",
            ),
        ]
    return decisions(answer, cases, "stop once the residual is as small as the noise")


@check_of_runs
def fooled(run, least=1.0):
    """Check that a stopping rule was fooled: its choice lost at least this many decibels."""
    if run.problem.truth is None:
        return no("without a truth nobody can tell; make the noise yourself")
    rule = run.rule_name  # a rule may be fooled so well that it never stops the fit
    if rule in ("count", "oracle") or run.cut_short:
        return no(f"{rule!r} is no rule, or had no time; name one with stop=")
    lost = run.oracle_psnr - run.psnr
    told = f"{rule} chose iteration {run.chosen_at} and lost {lost:.2f} dB"
    if lost < least:
        return no(f"{told}; {least:g} dB are wanted")
    return yes(f"{told} (the best was iteration {run.oracle_at})")
