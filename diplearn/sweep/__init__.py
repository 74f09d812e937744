"""Run many fits, in this process, in worker processes or on a Dask cluster.

    from diplearn import sweep

    cases = sweep.grid(image=["camera", "coins"], size=64, seed=range(3))
    with sweep.workers() as executor:
        table = sweep.sweep(cases, executor, results="denoised")

A `Case` describes one fit. `grid` makes many cases; `read` takes them from a TOML file:

    images = ["camera", "photo.jpg"]         # bundled images, the paper's, or files beside this one
    size = 64                                # centre squares; without `size`, whole images
    seeds = 3                                # 0, 1 and 2; or a list

    [problem]                                # or several tables [[problem]]
    task = "denoising"                       # a function of `problems`, and its arguments
    sigma = "25/255"

    [base]                                   # a recipe, and the fields to change
    recipe = "lab"
    members = 1
    iterations = 400

    [vary.depth]                             # each factor is varied alone
    2 = { options = { down = [16, 32], skip = [4, 4] } }
    3 = { options = { down = [16, 32, 64], skip = [4, 4, 4] } }

    [vary."learning rate"]
    slow = { learning_rate = 0.003 }
    fast = { learning_rate = 0.03 }

These are five recipes (the base, two depths, two learning rates), two images and three seeds: 30
cases.

Each result is stored as KEY.json (the row), KEY.png (the image that the stopping rule chose) and
KEY.csv (the curve). The key is a hash of all settings that affect the fit. A sweep that is run
again, or extended, makes only the fits whose results are missing or damaged.

The exact bits of a result depend on the number of cores. Each fit uses `threads` cores, one by
default, so that on one machine a row is the same in this process, in a worker and under Dask.

Modules in reading order: `cases`, `toml`, `one_fit`, `executors`, `many_fits`; `diplearn.results`
stores the results.
"""

from .cases import Case, grid
from .executors import Stopped, cluster, workers
from .many_fits import sweep, table
from .toml import read

__all__ = ["Case", "Stopped", "cluster", "grid", "read", "sweep", "table", "workers"]
