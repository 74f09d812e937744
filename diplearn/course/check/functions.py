"""Checks of exercises whose answer is a function, tried on a small example with a known result."""

import torch

from .verdict import check_of_function, function


@check_of_function
def stabilised(answer):
    """Lesson 04b: `stabilised(x0, a, b)`: noise of variance a x + b gets the deviation 1."""
    a, b, levels, even = 0.01, 0.0004, (20.0, 40.0, 80.0), torch.ones(3)
    draws = torch.Generator().manual_seed(0)
    counts = torch.stack([torch.poisson(torch.full((200, 200), n), draws) for n in levels])
    x0 = a * counts + b**0.5 * torch.randn(counts.shape, generator=draws)

    def deviations(x0, a, b):
        return torch.as_tensor(answer(x0, a, b)).reshape(x0.shape).float().std(dim=(1, 2))

    def otherwise(spread):
        if not spread.isfinite().all():
            return "some of the returned values are not finite"
        if spread.max() < 1e-6:
            return "the returned values are the same whatever x₀ is"
        told = "{:.2f}, {:.2f} and {:.2f}".format(*spread)
        if spread.max() < 1.03 * spread.min():
            return f"the deviations are equal, but not 1: {told}"
        if 0.9 < spread[-1] < spread[0] < 1.3:
            return f"nearly, but the dark is still noisier ({told}): there is a b, too"
        way = "still grow with the light" if spread[-1] > spread[0] else "fall with the light"
        return f"the deviations {way} ({told}); a root evens them out"

    return function(
        deviations,
        inputs=(x0, a, b),
        right=even,
        why="dark, middle and bright: deviations {given[0]:.2f}, {given[1]:.2f}, {given[2]:.2f}",
        slips={
            0.5 * even: "the derivative of √v is v' / (2 √v): add a factor of 2",
            a * even: "the derivative of √(a x + b) has a factor a: divide by it",
            0.5 * a * even: "the derivative of √(a x + b) is a / (2 √(a x + b)): divide by a / 2",
        },
        rtol=0.02,
        slack=0.02,
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
def own_error(answer):
    """Lesson 04: `own_error(images)`, the mean square of the error that each result has alone."""
    draws = torch.randn(4, 3, 16, 20, generator=torch.Generator().manual_seed(0))
    images = [torch.linspace(0.2, 0.8, 20) + 0.1 * draw for draw in draws]
    stack, first = torch.stack(images), (images[0] - images[1]).square().mean()
    right, biased = stack.var(dim=0).mean(), stack.var(dim=0, correction=0).mean()
    return function(
        answer,
        inputs=[images],
        right=right,
        why="half the mean squared difference of two results, averaged over all pairs",
        slips={
            2 * right: "the difference of two results contains the own errors of both: halve it",
            first / 2: "right for the first two images; use all of them",
            first: "halve it, and use all images, not the first two only",
            biased: "their mean contains a part of each error: divide by M − 1, not by M",
            right.sqrt(): "the mean square is wanted, not its root",
            stack.std(dim=0).mean(): "average the squares, not the deviations",
            stack.var(): "that varies over the pixels, too: the image is in it",
            stack.var(correction=0): "that varies over the pixels, too: the image is in it",
            stack.var(dim=0).sum(): "the mean over the pixels is wanted, not the sum",
        },
        rtol=1e-3,
        otherwise="on the test images it gives {given:.5f}, not {right:.5f}",
    )


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
def degrees_of_freedom(answer):
    """Lesson 08: `degrees(denoise, x0)`, the divergence of a denoiser, per pixel."""
    x0 = torch.rand(1, 128, 128, generator=torch.Generator().manual_seed(0))
    steps = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]

    def denoise(image):  # a quarter of the image, and half of its 3x3 mean
        mean = torch.stack([image.roll(step, (1, 2)) for step in steps]).mean(dim=0)
        return 0.1 + image / 4 + mean / 2

    right = 1 / 4 + 1 / 18
    return function(
        answer,
        inputs=(denoise, x0),
        right=right,
        why="the matrix of the test's filter has 1/4 + 1/18 along its diagonal",
        slips={
            right * x0.numel(): "that is the divergence; per pixel, divide it by N",
            2 * right: "the two images are 2ε apart: divide by 2ε",
            right / 2: "divide by how far apart the two disturbances are",
            1.0: "that is the disturbance with itself; take what denoise makes of it",
            (right**2 + 7 / 324) ** 0.5: "multiply the change with b, pixel by pixel",
        },
        rtol=0.06,  # b is random
        otherwise="for a filter with 0.306 on its diagonal it gives {given:.3f}",
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
def error_without_truth(answer):
    """Lesson 10: `estimate(c0, values, sigma, t)`, the error per pixel that SURE estimates.

    `c0` are the coefficients of the noisy image less the first output.
    """
    c0, values = torch.linspace(2, 0.1, 50), torch.logspace(1, -3, 50)
    sigma, t = 0.3, 2.0
    g = 1 - torch.exp(-values * t)
    energy, noise = ((1 - g) * c0).square().mean(), sigma**2
    return function(
        answer,
        inputs=(c0, values, sigma, t),
        right=energy + 2 * noise * g.mean() - noise,
        why="the energy, and what it hides: two σ²/N for each degree of freedom, less σ²",
        slips={
            energy: "that is the energy, which falls for ever; what does the noise add?",
            energy + 2 * noise * g.mean(): "the energy also counts noise that is not fitted: σ²",
            energy + noise * g.mean() - noise: "each degree of freedom costs 2 σ²/N",
            energy + noise * g.square().mean(): "c₀ has noise in it, so this bias² is too large",
            energy + 2 * noise * g.square().mean() - noise: "the trace of H is Σ g, not Σ g²",
            energy + 2 * sigma * g.mean() - noise: "noise of deviation σ has variance σ²",
            50 * (energy + 2 * noise * g.mean() - noise): "per pixel: divide by N",
            50 * energy + 2 * noise * g.sum() - noise: "per pixel: divide the energy by N, too",
            energy + 2 * noise * g.sum() - noise: "per pixel: divide the trace by N, too",
        },
        rtol=1e-3,
        otherwise="the test case has {right:.4f}, not {given:.4f}",
    )
