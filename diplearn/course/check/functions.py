"""Checks of exercises whose answer is a function, tried on a small example with a known result."""

import math

import torch

from .verdict import check_of_function, decisions, function


@check_of_function
def stabilised(answer):
    """Lesson 04: `stabilised(x0, peak)`, whose noise has standard deviation 1 at any brightness."""
    peak, levels, even = 50.0, (8.0, 20.0, 40.0), torch.ones(3)
    draws = torch.Generator().manual_seed(0)
    counts = torch.stack([torch.poisson(torch.full((200, 200), n), draws) for n in levels])

    def deviations(x0, peak):
        return torch.as_tensor(answer(x0, peak)).reshape(counts.shape).float().std(dim=(1, 2))

    def otherwise(spread):
        if not spread.isfinite().all():
            return "some of the returned values are not finite"
        if spread.max() < 1e-6:
            return "the returned values are the same whatever x₀ is"
        told = "{:.2f}, {:.2f} and {:.2f}".format(*spread)
        if spread.max() < 1.1 * spread.min():
            return f"the deviations are equal, but not 1: {told}"
        way = "still grow with the light" if spread[-1] > spread[0] else "fall with the light"
        return f"the deviations {way} ({told}); a root evens them out"

    return function(
        deviations,
        inputs=(counts / peak, peak),
        right=even,
        why="8, 20 and 40 photons: deviations {given[0]:.2f}, {given[1]:.2f}, {given[2]:.2f}",
        slips={
            0.5 * even: "the derivative of √n is 1 / (2 √n): add a factor of 2",
            peak**-0.5 * even: "take the root of the *counts*: x₀ is counts / peak",
            0.5 * peak**-0.5 * even: "take twice the root of the *counts*: x₀ is counts / peak",
        },
        rtol=0.06,
        slack=0.04,
        otherwise=otherwise,
    )


@check_of_function
def neighbours(answer):
    """Lesson 04: `neighbours(residual)`, the correlation of pixels with their right neighbours."""
    draws = torch.randn(1, 40, 42, generator=torch.Generator().manual_seed(0))
    x = 0.5 + 0.1 * (draws[..., 1:] + 0.6 * draws[..., :-1] + torch.linspace(-1, 1, 41))
    left, right = x[..., :-1], x[..., 1:]
    product = (left - x.mean()) * (right - x.mean())
    return function(
        answer,
        inputs=[x],
        right=_correlation(left, right),
        why="0 for white noise, near 1 for a smooth image",
        slips={
            (left * right).sum() / (left.norm() * right.norm()): "subtract the mean first",
            (left * right).mean(): "subtract the mean, and divide by the variance",
            product.mean(): "that is a covariance; divide by the variance",
            product.sum(): "that is a sum of products; divide by the sum of squares",
            product.mean() / x.std(): "divide by the variance, not by its root",
            _correlation(x, x.roll(1, -1)): "roll() joins the two ends of the image",
            _correlation(x[:, :-1], x[:, 1:]): "that is the neighbour below, not to the right",
            1.0: "that is every pixel with itself; shift one of the two images by a pixel",
        },
        rtol=1e-3,
        atol=1e-5,
        slack=0.02,  # several definitions of the mean and of the variance are right
    )


def _correlation(a, b):
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]


@check_of_function
def unseen_by_blocks(answer):
    """Lesson 05: `unseen(image)`, the part of an image that 4x4 block means do not see."""
    image = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0))
    seen = _block_means(image).repeat_interleave(4, 1).repeat_interleave(4, 2)

    def otherwise(given):
        if _block_means(given).abs().max() < 1e-5:
            return "its block means are zero, but it is not this image's unseen part"
        return "the means of its 4x4 blocks are not zero"

    return function(
        answer,
        inputs=[image],
        right=image - seen,
        why="the image less its blocks' means; each block's rest adds up to zero",
        slips={
            seen: "that is the part that is seen; subtract it",
            image - image.mean((1, 2), True): "the mean of each block, not of the whole image",
            image: "that is the whole image",
            seen - image: "the other way round: the image less the means",
        },
        rtol=0.0,
        atol=1e-5,
        otherwise=otherwise,
    )


def _block_means(image):
    channels, height, width = image.shape
    return image.reshape(channels, height // 4, 4, width // 4, 4).mean((2, 4))


@check_of_function
def psnr_inside(answer):
    """Lesson 06: `psnr_inside(image, truth, known)`, the PSNR in dB over the missing pixels."""
    truth = torch.full((3, 8, 8), 0.5)
    known = torch.ones(1, 8, 8)
    known[:, :4, :2] = 0  # 8 pixels of 64
    wrong = torch.linspace(0.05, 0.2, 3 * 64).reshape(3, 8, 8)
    image = truth + wrong * (1 - known) + 0.01 * known  # known pixels may be a little off, too
    squares = (image - truth).square()
    missing = (known == 0).expand_as(truth)
    inside = squares * (1 - known)
    return function(
        answer,
        inputs=(image, truth, known),
        right=_decibels(squares[missing].mean()),
        why="only what was missing counts",
        slips={
            _decibels(squares.mean()): "that is the PSNR of the whole image",
            _decibels(squares[~missing].mean()): "those are the known pixels; invert the mask",
            _decibels(inside.mean()): "divide by the number of missing values, not of all",
            _decibels(inside.sum() / (1 - known).sum()): "each missing pixel holds three numbers",
        },
        otherwise="on the test image it gives {given:.2f}, not {right:.2f} dB",
    )


def _decibels(square):
    return -10 * math.log10(float(square))


@check_of_function
def apart(answer):
    """Lesson 07: `apart(a, b)`, whether two lists of scores, one score per seed, do not overlap."""
    cases = [
        ([26.4, 26.5, 26.6], [25.1, 25.3, 25.2], True, "here they do not overlap at all"),
        ([25.1, 25.3, 25.2], [26.4, 26.5, 26.6], True, "the second may be the higher one, too"),
        ([26.0, 24.0, 26.2], [25.0, 25.1, 25.2], False, "compare the lowest with the highest"),
        ([25.0, 26.0, 24.0], [24.9, 25.2, 25.4], False, "one list lies inside the other"),
        ([25.0, 25.0], [25.0, 25.0], False, "equal scores are not apart"),
    ]
    rows = [
        ((a, b), right, f"for {a} and {b} it says {not right}; {hint}")
        for a, b, right, hint in cases
    ]
    why = "every seed of one above every seed of the other, whichever that is"
    return decisions(answer, cases=rows, why=why)


@check_of_function
def discrepancy_rule(answer):
    """Lesson 08: `rule(image, observation, sigma)`, whether the discrepancy principle stops."""
    truth = 0.3 + 0.4 * torch.linspace(0, 1, 64 * 64).reshape(1, 64, 64)
    draws = torch.Generator().manual_seed(0)
    too_far = "it stops while the image is still far away from the observation"
    too_late = "it does not stop at the truth itself; compare the mean square with sigma squared"
    cases = []
    for sigma in (0.02, 0.1):
        noise = sigma * torch.randn(truth.shape, generator=draws)
        noise *= 0.999 * sigma / noise.square().mean().sqrt()  # a little under what is allowed
        far, x0 = truth + 3 * sigma, truth + noise
        cases += [((far, x0, sigma), False, too_far), ((truth, x0, sigma), True, too_late)]
    why = "stop once the residual is as small as the noise"
    return decisions(answer, cases=cases, why=why)


@check_of_function
def multiplications(answer):
    """Lesson 09: `count(inputs, outputs, size, side)`, the multiplications of a convolution.

    `inputs` and `outputs` are numbers of channels; the filters and the output image are square.
    """
    inputs, outputs, size, side = 5, 7, 3, 11
    right = inputs * outputs * size**2 * side**2
    return function(
        answer,
        inputs=(inputs, outputs, size, side),
        right=right,
        why="inputs · outputs · size² · side²",
        slips={
            right / size: "a filter has size times size weights per channel",
            right / side: "the image has side times side pixels",
            right / inputs: "every filter covers all input channels",
            right / outputs: "there is one filter for every output channel",
            right / side**2: "that is the number of weights; each is used at every pixel",
            2 * right: "that includes the additions; count only the multiplications",
        },
        rtol=1e-6,
        otherwise="5 to 7 channels, 3x3 filters, 11x11 pixels: {right:.0f}, not {given:g}",
    )


@check_of_function
def orthogonal(answer):
    """Lesson 09: `orthogonal(matrix)`, the matrix with all its singular values set to 1."""
    matrix = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)

    def otherwise(given):
        values = torch.linalg.svdvals(given)
        if torch.allclose(values, torch.ones_like(values), atol=1e-2):
            return "the singular values are 1, but the singular vectors have changed"
        return f"its singular values go from {values.min():.2f} to {values.max():.2f}"

    alike = "that scales all singular values alike; each must become 1"
    return function(
        answer,
        inputs=[matrix],
        right=u @ vt,
        why="the same singular vectors, and every singular value is one",
        slips={matrix / matrix.norm(): alike},
        rtol=0.0,
        atol=1e-3,
        otherwise=otherwise,
    )


@check_of_function
def tangent_kernel(answer):
    """Lesson 10: `kernel(A, B, z)`, the tangent kernel of f = B A z for a vector z."""
    draws = torch.Generator().manual_seed(0)
    A, B, z = (torch.randn(shape, generator=draws) for shape in ((3, 5), (4, 3), (5,)))
    first, second = z.square().sum() * B @ B.T, (A @ z).square().sum() * torch.eye(4)
    lengths = z.norm() * B @ B.T + (A @ z).norm() * torch.eye(4)
    return function(
        answer,
        inputs=(A, B, z),
        right=first + second,
        why="‖z‖² B Bᵀ for A, and ‖A z‖² times the identity for B; its modes are B's left ones",
        slips={
            first: "that is A's part; B's weights are trained, too",
            second: "that is B's part; A's weights are trained, too",
            lengths: "the lengths must be squared",
            B @ B.T + torch.eye(4): "a weight's effect depends on what it is multiplied with",
            (B @ A @ z).outer(B @ A @ z): "that is f fᵀ; differentiate by the weights first",
        },
        rtol=1e-3,
        atol=1e-3,
        otherwise="write f_i with indices, differentiate by A_jk and by B_ij",
    )


@check_of_function
def spectral_error(answer):
    """Lesson 10: `error(c, values, sigma, t)`, the expected error of gradient flow per pixel."""
    c, values = torch.linspace(2, 0.1, 50), torch.logspace(1, -3, 50)
    sigma, t = 0.3, 2.0
    left = torch.exp(-values * t)
    fitted = 1 - left
    bias, variance = (left * c).square().mean(), sigma**2 * fitted.square().mean()
    swapped = (fitted * c).square().mean() + sigma**2 * left.square().mean()
    return function(
        answer,
        inputs=(c, values, sigma, t),
        right=bias + variance,
        why="what is left of the image, and what has come of the noise",
        slips={
            bias: "that is the bias² alone; add the variance that the noise causes",
            variance: "that is the variance alone; add the bias² of what is not fitted yet",
            (bias + variance) * len(c): "per pixel: divide by N",
            (left * c**2).mean() + sigma**2 * fitted.mean(): "g and 1 − g are squared",
            bias + variance / sigma: "noise of deviation σ has variance σ²",
            swapped: "the other way round: g is what has been fitted, 1 − exp(−λt)",
            bias + sigma**2: "only the share g of the noise has been fitted",
        },
        rtol=1e-3,
        otherwise="the test case has {right:.4f}, not {given:.4f}",
    )
