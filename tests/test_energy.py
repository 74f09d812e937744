"""The energy: its values, its gradients, and that it is the published one."""

import pytest
import torch

from diplearn import Problem
from diplearn.energy import BACKGROUND, data_term, energy, total_variation
from diplearn.errors import InputError
from diplearn.operators import Blur, Downsample, Identity, Mask, Operator

OPERATORS = {
    "identity": Identity(),
    "lanczos2": Downsample(3),
    "box": Downsample(4, "box"),
    "mask": Mask.pixels(17, 18, 0.4),
    "blur": Blur(1.2),
}


def image(channels=1, height=17, width=18, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(channels, height, width, generator=generator, dtype=torch.float64)


class In64Bits:
    """A problem in float64: gradcheck needs the digits that a Problem's float32 has not."""

    def __init__(self, operator, x):
        self.operator = operator
        # Every residual is 0.3 or -0.3 (0 where a pixel is missing): |r| has no gradient at 0.
        self.observation = operator(x) + 0.3 * operator(image(seed=1) - 0.5).sign()


@pytest.mark.parametrize("kind", ["mse", "l1", "poisson"])
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_gradients_of_the_data_term(operator, kind):
    x = 0.2 + 0.6 * image()
    problem = In64Bits(operator, x)
    if kind == "poisson":
        problem.observation = problem.observation.abs()  # counts are not negative
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: data_term(x, problem, kind), x)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_of_total_variation(channels):
    x = image(channels, 7, 9).requires_grad_()
    assert torch.autograd.gradcheck(total_variation, x)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_gradients_of_the_energy(operator):
    x = image()
    problem = In64Bits(operator, x)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: energy(x, problem, tv_weight=0.01), x)


def test_the_gradient_of_the_mse_is_the_adjoint_of_the_residual():
    x = image().float().requires_grad_()
    operator = Downsample(3)
    problem = Problem(torch.rand(1, 6, 6), operator, truth=torch.rand(1, 17, 18))
    data_term(x, problem).backward()
    residual = operator(x.detach()) - problem.observation
    expected = 2 / residual.numel() * operator.adjoint(residual, x.shape)
    assert torch.allclose(x.grad, expected, atol=1e-7)


def test_a_flat_image_has_a_finite_gradient():
    flat = torch.full((1, 16, 16), 0.5, requires_grad=True)
    total_variation(flat).backward()
    assert torch.isfinite(flat.grad).all()


def published_tv_loss(x):
    """What the authors' utils/sr_utils.py computes (beta = 1/2), for x of shape (1, C, H, W)."""
    across = (x[:, :, :, 1:] - x[:, :, :, :-1]) ** 2
    down = (x[:, :, 1:, :] - x[:, :, :-1, :]) ** 2
    return ((across[:, :, :-1] + down[:, :, :, :-1]) ** 0.5).sum()


@pytest.mark.parametrize("shape", [(1, 17, 31), (3, 20, 16)])
def test_total_variation_is_the_published_one(shape):
    x = image(*shape)
    assert total_variation(x).item() == pytest.approx(published_tv_loss(x[None]).item(), rel=1e-9)


def test_values():
    x0 = torch.full((3, 16, 16), 0.5)
    problem = Problem(x0)
    assert data_term(x0, problem) == 0
    assert data_term(x0 + 0.1, problem).item() == pytest.approx(0.01, rel=1e-5)
    assert data_term(x0 + 0.1, problem, "l1").item() == pytest.approx(0.1, rel=1e-5)
    x = x0.clone()
    x[:, 5, 5] += 0.4  # one pixel: the edges to its left and above, and a corner of the two
    one = 3 * (2**0.5 * 0.4 + 2 * 0.4)
    assert total_variation(x).item() == pytest.approx(one, rel=1e-3)
    both = data_term(x, problem) + 0.1 * total_variation(x)
    assert energy(x, problem, tv_weight=0.1).item() == pytest.approx(both.item())
    assert energy(x, problem, "l1") == data_term(x, problem, "l1")


def photons(peak=20.0):
    """A mean image, and counts of photons over the peak."""
    x = 0.1 + 0.8 * image(3)
    draws = torch.Generator().manual_seed(2)
    return x, torch.poisson(peak * x, generator=draws) / peak


def test_poisson_is_the_likelihood_of_counts():
    """Over the peak: minus the logarithm of the probability, less its value at x = x0."""
    peak, (x, x0) = 20.0, photons()
    x.requires_grad_()
    problem = Problem(x0.float().clamp(0, 1)).varied(observation=x0)

    def log_p(rate):
        distribution = torch.distributions.Poisson(peak * rate, validate_args=False)
        return distribution.log_prob(peak * x0).mean()

    value = data_term(x, problem, "poisson")
    expected = (log_p(x0.clamp(min=1e-12)) - log_p(x)) / peak
    assert value.item() == pytest.approx(expected.item(), rel=2e-3)
    (found,) = torch.autograd.grad(value, x)
    (wanted,) = torch.autograd.grad(expected, x)
    assert torch.allclose(found, wanted, rtol=2e-3, atol=1e-6)


def test_poisson_near_the_observation_is_a_square_over_twice_the_brightness():
    x0 = torch.full((1, 16, 16), 0.4)
    value = data_term(x0 + 0.004, Problem(x0), "poisson")
    assert value.item() == pytest.approx(0.004**2 / (2 * 0.4), rel=0.02)


@pytest.mark.parametrize("brightness", [0.25, 0.5, 1.0])
def test_poisson_at_the_truth_is_half_a_photon_at_any_brightness(brightness):
    x, peak = torch.full((1, 300, 300), brightness), 40.0
    x0 = torch.poisson(peak * x, generator=torch.Generator().manual_seed(0)) / peak
    value = data_term(x, Problem(x).varied(observation=x0), "poisson")
    assert value.item() == pytest.approx(1 / (2 * peak), rel=0.05)


def test_poisson_is_zero_at_the_observation_and_above_zero_elsewhere():
    x0 = image(3).float()
    x0[:, :4] = 0  # black: no photon was counted
    problem = Problem(x0)
    assert data_term(x0, problem, "poisson") == 0
    for scale in (0.0, 0.5, 0.99, 1.01, 2.0, -1.0):
        assert data_term(scale * x0, problem, "poisson") > 0
    x = torch.zeros_like(x0).requires_grad_()  # black, where photons were counted
    data_term(x, problem, "poisson").backward()
    assert torch.isfinite(x.grad).all() and (x.grad[:, 4:] < 0).all()
    wanted = (1 - (x0 + BACKGROUND) / BACKGROUND) / x0.numel()
    assert torch.allclose(x.grad, wanted)


def test_poisson_leads_back_from_below_zero():
    """A network without a sigmoid, and an operator whose weights are partly negative, go there."""
    x0 = torch.full((1, 16, 16), 0.3, dtype=torch.float64)
    problem = Problem(x0.float()).varied(observation=x0)
    below = torch.linspace(-0.5, 0.2, 256, dtype=torch.float64).reshape(1, 16, 16)
    below.requires_grad_()
    value = data_term(below, problem, "poisson")
    value.backward()
    assert (below.grad < 0).all()
    slopes = below.grad.flatten()  # convex: slopes rise up to the observation
    assert (slopes.diff() >= -1e-12).all()


def test_poisson_where_a_mask_hides_pixels_costs_nothing():
    mask = Mask.hole(20, 20)
    x0 = image(3, 20, 20).float()
    problem = Problem(x0, mask)
    x = (x0 + (1 - mask.known)).requires_grad_()  # differs in the hole alone
    value = data_term(x, problem, "poisson")
    value.backward()
    assert value == 0 and x.grad[:, mask.known[0] == 0].abs().max() == 0


def test_what_a_mask_hides_costs_nothing():
    mask = Mask.hole(20, 20)
    x0 = image(3, 20, 20).float()
    problem = Problem(x0, mask)
    other = x0 + (1 - mask.known)  # differs in the hole alone
    assert data_term(other, problem) == 0
    x = other.clone().requires_grad_()
    data_term(x + 0.1, problem).backward()
    assert x.grad[:, mask.known[0] == 0].abs().max() == 0
    # The mean runs over all pixels, missing ones too, as in the published code.
    expected = 0.01 * (1 - mask.missing)
    assert data_term(x0 + 0.1, problem).item() == pytest.approx(expected, rel=1e-4)


def test_an_operator_of_ones_own_needs_one_method():
    class Mirror(Operator):
        def __call__(self, x):
            return x.flip(-1)

    x = image(3, 16, 16).float()
    assert data_term(x, Problem(x.flip(-1), Mirror())) == 0


@pytest.mark.parametrize("function", [data_term, energy])
def test_an_unknown_data_term_lists_the_known_ones(function):
    x = torch.rand(1, 16, 16)
    with pytest.raises(InputError, match="'huber'; there are mse, l1, poisson"):
        function(x, Problem(x), "huber")
