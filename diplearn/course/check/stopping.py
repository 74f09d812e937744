"""Checks of lesson 08."""

import torch

from .verdict import OPEN, Verdict, number, run_or_hint


def discrepancy_rule(answer):
    """Check a function ``my_rule(image, observation, sigma)`` (lesson 08).

    Parameters
    ----------
    answer : callable or None
        Returns whether the image explains the observation as well as the truth would.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> discrepancy_rule(lambda x, x0, sigma: (x - x0).square().mean() <= sigma**2)
    ✓ right: stop once the residual is as small as the noise
    """
    if answer is None:
        return OPEN
    truth = 0.3 + 0.4 * torch.linspace(0, 1, 64 * 64).reshape(1, 64, 64)
    draws = torch.Generator().manual_seed(0)
    for sigma in (0.02, 0.1):
        noise = sigma * torch.randn(truth.shape, generator=draws)
        noise *= 0.999 * sigma / noise.square().mean().sqrt()  # a little under what is allowed
        try:
            at_truth, far = (
                bool(answer(image, truth + noise, sigma)) for image in (truth, truth + 3 * sigma)
            )
        except Exception as error:
            return Verdict(False, f"not yet: it raised {type(error).__name__}: {error}")
        if far:
            return Verdict(False, "not yet: it stops while the image is still far away")
        if not at_truth:
            hint = "compare the mean square, not its root or its sum, with sigma squared"
            return Verdict(False, f"not yet: it goes on past the truth itself; {hint}")
    return Verdict(True, "right: stop once the residual is as small as the noise")


def salt_sigma(answer):
    """Check σ of a grey image of which a tenth became black or white (lesson 08).

    Parameters
    ----------
    answer : float or None
        In the units of [0, 1].

    Returns
    -------
    Verdict

    Examples
    --------
    >>> salt_sigma(0.025)
    ✗ not yet: that is the energy, σ²
    """
    hints = {0.025: "that is the energy, σ²", 0.5: "only a tenth of the pixels are wrong"}
    return number(answer, 0.1581, "√(0.1 · 0.5²)", hints)


def fooled(run, least=1.0):
    """Check that a stopping rule was fooled: it chose far from the best (lesson 08).

    Parameters
    ----------
    run : Run or None
        Of a problem with a truth, with a rule to end it.
    least : float, optional
        Decibels that the choice must lose.

    Returns
    -------
    Verdict
    """
    if (hint := run_or_hint(run)) is not None:
        return hint
    if run.problem.truth is None:
        return Verdict(False, "not yet: without a truth nobody can tell; make the noise yourself")
    rule = run.rule_name  # which may have been fooled so well that it never spoke
    if rule in ("count", "oracle") or run.stopped_by in ("interrupted", "halted"):
        return Verdict(False, f"not yet: {rule!r} is no rule, or had no time; name one with stop=")
    lost = run.oracle_psnr - run.psnr
    told = f"{rule} chose iteration {run.chosen_at} and lost {lost:.2f} dB"
    if lost < least:
        return Verdict(False, f"not yet: {told}; {least:g} dB are wanted")
    return Verdict(True, f"right: {told} (the best was iteration {run.oracle_at})")
