"""Results of measurements that take too long for a lesson; `benchmarks/` makes each file again.

- `ablation.csv`: the table of `diplearn sweep benchmarks/ablation.toml`, 225 fits.
- `overfitting.npz`: a fit of 50,000 iterations, from `benchmarks/overfitting.py`.
- `stopping.csv`: the loss of each stopping rule on 150 fits, from `benchmarks/stopping.py`.
"""

from pathlib import Path

__all__ = ["path"]


def path(name):
    """Return the path of a stored file, for `pandas.read_csv` or `numpy.load`.

    Parameters
    ----------
    name : str
        The file's name, such as "stopping.csv".

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> path("stopping.csv").exists()
    True
    """
    return Path(__file__).with_name(name)
