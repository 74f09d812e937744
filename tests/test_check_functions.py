"""The exercises that ask for a function: right is right, every usual slip gets its own hint."""

import pytest
import torch

import diplearn as dip
from diplearn.course import check


def mse(image, truth):
    return (image - truth).square().mean()


def anscombe(x0, peak):
    return 2 * (peak * x0 + 3 / 8).sqrt()


def centred(x):
    return x - x.mean()


def products(x):
    return centred(x)[..., 1:] * centred(x)[..., :-1]


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


def decibels(values):
    return -10 * torch.log10(values.mean())


def inside(x, t, known):
    return decibels((x - t)[(known == 0).expand_as(t)].square())


def by_svd(matrix):
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vt


def two_layers(A, B, z):
    return (z @ z) * B @ B.T + (A @ z).square().sum() * torch.eye(len(B))


def share(values, t):
    return 1 - torch.exp(-values * t)


def bias(c, values, t):
    return ((1 - share(values, t)) * c).square().mean()


def variance(values, sigma, t):
    return sigma**2 * share(values, t).square().mean()


def crossed(c, values, s, t):
    g = torch.exp(-values * t)
    return ((1 - g) * c).square().mean() + s**2 * g.square().mean()


def unsquared(c, values, s, t):
    g = share(values, t)
    return ((1 - g) * c**2).mean() + s**2 * g.mean()


ANSWERS = {
    "stabilised": [
        (anscombe, True, "right"),
        (lambda x0, peak: (peak * x0).sqrt() + (peak * x0 + 1).sqrt(), True, "right"),
        (lambda x0, peak: (peak * x0 + 3 / 8).sqrt(), False, "factor of 2"),
        (lambda x0, peak: 2 * x0.sqrt(), False, "counts"),
        (lambda x0, peak: x0.sqrt(), False, "twice the root"),
        (lambda x0, peak: 3.5 * anscombe(x0, peak), False, "but not 1"),
        (lambda x0, peak: peak * x0, False, "still grow"),
        (lambda x0, peak: (peak * x0 + 1).log(), False, "fall with the light"),
        (lambda x0, peak: x0 - x0, False, "whatever x₀ is"),
        (lambda x0, peak: (x0 - 1).log(), False, "finite"),
        (lambda x0, peak: x0.mean(), False, "shape"),
        (lambda x0, peak: "much", False, "failed"),
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
    "psnr_inside": [
        (inside, True, "right"),
        (lambda x, t, known: decibels((x - t).square()), False, "whole image"),
        (lambda x, t, known: inside(x, t, 1 - known), False, "invert the mask"),
        (lambda x, t, known: decibels((x - t).square() * (1 - known)), False, "missing values"),
        (
            lambda x, t, known: decibels(
                ((x - t).square() * (1 - known)).sum() / (1 - known).sum()
            ),
            False,
            "three numbers",
        ),
        (lambda x, t, known: 3.0, False, "3.00"),
    ],
    "apart": [
        (lambda a, b: min(a) > max(b) or min(b) > max(a), True, "whichever"),
        (lambda a, b: min(a) > max(b), False, "second may be the higher"),
        (lambda a, b: sum(a) != sum(b), False, "lowest with the highest"),
        (lambda a, b: max(a) != max(b), False, "lowest with the highest"),
        (lambda a, b: min(a) >= max(b) or min(b) >= max(a), False, "equal scores"),
        (lambda a, b: False, False, "at all"),
        (lambda a, b: a.sort() or b.sort() or a[0] > b[-1] or b[0] > a[-1], True, "whichever"),
    ],
    "discrepancy_rule": [
        (lambda x, x0, s: mse(x, x0) <= s**2, True, "right"),
        (lambda x, x0, s: mse(x, x0) >= s**2, False, "far away"),
        (lambda x, x0, s: (x - x0).square().sum() <= s**2, False, "not stop at the truth"),
        (lambda x, x0, s: x.nonsense(), False, "AttributeError"),
    ],
    "multiplications": [
        (lambda i, o, k, s: i * o * k * k * s * s, True, "right"),
        (lambda i, o, k, s: i * o * k * s * s, False, "per channel"),
        (lambda i, o, k, s: i * o * k * k * s, False, "pixels"),
        (lambda i, o, k, s: o * k * k * s * s, False, "input channels"),
        (lambda i, o, k, s: i * k * k * s * s, False, "output channel"),
        (lambda i, o, k, s: i * o * k * k, False, "weights"),
        (lambda i, o, k, s: 2 * i * o * k * k * s * s, False, "additions"),
        (lambda i, o, k, s: 1, False, "38115, not 1"),
    ],
    "orthogonal": [
        (by_svd, True, "right"),
        (lambda m: dip.optimisers.orthogonalize([m])[0], False, "from"),
        (lambda m: m / m.norm(), False, "alike"),
        (lambda m: torch.eye(6, 10), False, "vectors have changed"),
        (lambda m: m.T, False, "the shape (10, 6)"),
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
    "spectral_error": [
        (lambda c, v, s, t: bias(c, v, t) + variance(v, s, t), True, "right"),
        (lambda c, v, s, t: bias(c, v, t), False, "bias² alone"),
        (lambda c, v, s, t: variance(v, s, t), False, "variance alone"),
        (lambda c, v, s, t: len(c) * (bias(c, v, t) + variance(v, s, t)), False, "per pixel"),
        (unsquared, False, "are squared"),
        (lambda c, v, s, t: bias(c, v, t) + variance(v, s, t) / s, False, "variance σ²"),
        (crossed, False, "other way round"),
        (lambda c, v, s, t: bias(c, v, t) + s**2, False, "only the share"),
        (lambda c, v, s, t: 7.0, False, "the test case"),
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
