"""The exercises that ask for a function: right is right, every usual slip gets its own hint."""

import itertools

import pytest
import torch

from diplearn.course import check


def mse(image, truth):
    return (image - truth).square().mean()


def anscombe(x0, a, b):
    return 2 / a * (a * x0 + 3 / 8 * a**2 + b).sqrt()


def centred(x):
    return x - x.mean()


def products(x):
    return centred(x)[..., 1:] * centred(x)[..., :-1]


def pairwise(images):
    return torch.stack([mse(a, b) for a, b in itertools.combinations(images, 2)]).mean()


def cosine(a, b):
    return (a * b).sum() / (a.norm() * b.norm())


def pearson(a, b):
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]


def seen(image):
    channels, height, width = image.shape
    means = image.reshape(channels, height // 4, 4, width // 4, 4).mean((2, 4))
    return means.repeat_interleave(4, 1).repeat_interleave(4, 2)


def unseen_of_another(image):
    return image.flip(1) - seen(image.flip(1))


def disturbance(x):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(1))


def followed(denoise, x, above=1, below=1):
    b, epsilon = disturbance(x), 0.01
    change = denoise(x + above * epsilon * b) - denoise(x - below * epsilon * b)
    return (b * change).mean() / ((above + below) * epsilon)


def two_layers(A, B, z):
    return (z @ z) * B @ B.T + (A @ z).square().sum() * torch.eye(len(B))


def share(values, t):
    return 1 - torch.exp(-values * t)


def bias(c, values, t):
    return ((1 - share(values, t)) * c).square().mean()


def variance(values, sigma, t):
    return sigma**2 * share(values, t).square().mean()


def total_error(c, values, s, t):
    return len(c) * (bias(c, values, t) + s**2 * (2 * share(values, t).mean() - 1))


def half_total_error(c, values, s, t):
    return len(c) * (bias(c, values, t) + 2 * s**2 * share(values, t).mean()) - s**2


ANSWERS = {
    "stabilised": [
        (anscombe, True, "right"),
        (lambda x0, a, b: 2 / a * (a * x0 + b).sqrt(), True, "right"),
        (lambda x0, a, b: 1 / a * (a * x0 + b).sqrt(), False, "factor of 2"),
        (lambda x0, a, b: 2 * (a * x0 + b).sqrt(), False, "divide by it"),
        (lambda x0, a, b: (a * x0 + b).sqrt(), False, "divide by a / 2"),
        (lambda x0, a, b: 2 * (x0.clamp(min=0) / a + 3 / 8).sqrt(), False, "there is a b"),
        (lambda x0, a, b: 3.5 * anscombe(x0, a, b), False, "but not 1"),
        (lambda x0, a, b: x0 / a, False, "still grow"),
        (lambda x0, a, b: (x0 / a + 5).log(), False, "fall with the light"),
        (lambda x0, a, b: x0 - x0, False, "whatever x₀ is"),
        (lambda x0, a, b: (x0 - 1).log(), False, "finite"),
        (lambda x0, a, b: x0.mean(), False, "shape"),
        (lambda x0, a, b: "much", False, "failed"),
    ],
    "neighbours": [
        (lambda x: pearson(x[..., :-1], x[..., 1:]), True, "right"),
        (lambda x: products(x).mean() / x.var(), True, "right"),
        (lambda x: cosine(x[..., 1:], x[..., :-1]), False, "mean first"),
        (lambda x: (x[..., 1:] * x[..., :-1]).mean(), False, "the mean, and"),
        (lambda x: products(x).mean(), False, "covariance"),
        (lambda x: products(x).sum(), False, "sum of products"),
        (lambda x: products(x).mean() / x.std(), False, "not by its root"),
        (lambda x: pearson(x, x.roll(1, -1)), False, "roll"),
        (lambda x: pearson(x[:, :-1], x[:, 1:]), False, "below"),
        (lambda x: pearson(x, x), False, "itself"),
        (lambda x: -2.0, False, "it gives -2.00"),
        (lambda x: x, False, "failed"),
    ],
    "own_error": [
        (lambda many: torch.stack(many).var(dim=0).mean(), True, "half the mean squared"),
        (lambda many: pairwise(many) / 2, True, "half the mean squared"),
        (pairwise, False, "halve it"),
        (lambda many: pairwise(many[:2]) / 2, False, "use all of them"),
        (lambda many: pairwise(many[:2]), False, "not the first two"),
        (lambda many: torch.stack(many).var(dim=0, correction=0).mean(), False, "M − 1"),
        (lambda many: (pairwise(many) / 2).sqrt(), False, "not its root"),
        (lambda many: torch.stack(many).std(dim=0).mean(), False, "not the deviations"),
        (lambda many: torch.stack(many).var(), False, "the image is in it"),
        (lambda many: torch.stack(many).var(dim=0).sum(), False, "not the sum"),
        (lambda many: 7.0, False, "it gives 7.00000"),
    ],
    "unseen_by_blocks": [
        (lambda x: x - seen(x), True, "right"),
        (seen, False, "part that is seen"),
        (lambda x: x - x.mean((1, 2), keepdim=True), False, "not of the whole"),
        (lambda x: x, False, "whole image"),
        (lambda x: seen(x) - x, False, "other way round"),
        (unseen_of_another, False, "not this image's"),
        (lambda x: x.square(), False, "not zero"),
        (lambda x: x[:, ::4, ::4], False, "shape"),
    ],
    "degrees_of_freedom": [
        (followed, True, "diagonal"),
        (lambda f, x: followed(f, x, 1, 0), True, "diagonal"),
        (lambda f, x: x.numel() * followed(f, x), False, "per pixel"),
        (lambda f, x: 2 * followed(f, x), False, "2ε apart"),
        (lambda f, x: followed(f, x) / 2, False, "how far apart"),
        (lambda f, x: followed(lambda image: image, x), False, "with itself"),
        (lambda f, x: (f(x + 0.1 * disturbance(x)) - f(x)).std() / 0.1, False, "multiply"),
        (lambda f, x: -3.0, False, "-3.000"),
    ],
    "tangent_kernel": [
        (two_layers, True, "right"),
        (lambda A, B, z: (z @ z) * B @ B.T, False, "A's part"),
        (lambda A, B, z: (A @ z).square().sum() * torch.eye(4), False, "B's part"),
        (lambda A, B, z: z.norm() * B @ B.T + (A @ z).norm() * torch.eye(4), False, "squared"),
        (lambda A, B, z: B @ B.T + torch.eye(4), False, "multiplied with"),
        (lambda A, B, z: torch.outer(B @ A @ z, B @ A @ z), False, "differentiate"),
        (lambda A, B, z: A @ A.T, False, "not (4, 4)"),
        (lambda A, B, z: torch.ones(4, 4), False, "indices"),
    ],
    "error_without_truth": [
        (lambda c, v, s, t: bias(c, v, t) + s**2 * (2 * share(v, t).mean() - 1), True, "for each"),
        (lambda c, v, s, t: bias(c, v, t), False, "for ever"),
        (lambda c, v, s, t: bias(c, v, t) + 2 * s**2 * share(v, t).mean(), False, "not fitted"),
        (lambda c, v, s, t: bias(c, v, t) + s**2 * (share(v, t).mean() - 1), False, "costs 2"),
        (lambda c, v, s, t: bias(c, v, t) + variance(v, s, t), False, "noise in it"),
        (lambda c, v, s, t: bias(c, v, t) + 2 * variance(v, s, t) - s**2, False, "not Σ g²"),
        (lambda c, v, s, t: bias(c, v, t) + 2 * s * share(v, t).mean() - s**2, False, "variance"),
        (lambda c, v, s, t: ((1 - share(v, t)) * c).square().sum(), False, "the test case"),
        (lambda c, v, s, t: bias(c, v, t) + s**2 * (2 * share(v, t).sum() - 1), False, "trace"),
        (total_error, False, "divide by N"),
        (half_total_error, False, "the energy by N"),
    ],
}
ANY = [  # what every such exercise must bear
    (None, None, "no answer"),
    (3, False, "int; a function is wanted"),
    ("abs", False, "str; a function is wanted"),
    (lambda: 1, False, "failed: TypeError"),
    (lambda *inputs: inputs[0].nonsense, False, "failed: AttributeError"),
    (lambda *inputs: object() < 3, False, "failed: TypeError"),
]


@pytest.mark.parametrize(
    ("name", "answer", "right", "words"),
    [(name, *row) for name, rows in ANSWERS.items() for row in [*ANY, *rows]],
)
def test_functions(name, answer, right, words):
    verdict = getattr(check, name)(answer)
    assert verdict.right is right and words in verdict.words


def test_a_function_gets_copies():
    x = torch.ones(3)
    verdict = check.function(lambda x: x.mul_(2), inputs=[x], right=x + 1, why="twice", slips={})
    assert verdict and x.sum() == 3
