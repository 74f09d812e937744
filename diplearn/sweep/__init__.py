"""Many fits: in this process, in worker processes or on a Dask cluster; kept as they arrive.

    from diplearn import sweep

    cases = sweep.grid(image=["camera", "coins"], size=64, seed=range(3))
    with sweep.workers() as executor:
        table = sweep.sweep(cases, executor, results="denoised")

A `Case` says what to fit. `grid` makes many cases, and so does `read`, from a TOML file:

    images = ["camera", "photo.jpg"]       # bundled, the paper's, or files beside this one
    size = 64                                # centre squares; without it, whole images
    seeds = 3                                # 0, 1 and 2; or a list

    [problem]                                # or several tables [[problem]]
    task = "denoising"                       # and the arguments of that function of `problems`
    sigma = "25/255"

    [base]                                   # fields of the recipe that differ from lab's own
    recipe = "lab"
    members = 1
    iterations = 400

    [vary.depth]                             # one factor at a time, around the base:
    2 = { options = { down = [16, 32], skip = [4, 4] } }
    3 = { options = { down = [16, 32, 64], skip = [4, 4, 4] } }

    [vary."learning rate"]
    slow = { learning_rate = 0.003 }
    fast = { learning_rate = 0.03 }

This file describes five recipes (the base, depth 2, depth 3, learning rate slow and fast), each for
two images and three seeds: 30 cases.

The result of a case is kept under the case's key, a hash of everything that decides the fit. To run
the same sweep again, or a longer one, makes only those fits whose results are missing or damaged.
Three files hold a result: KEY.json (the row), KEY.png (the image that the stopping rule chose) and
KEY.csv (the curve).

The bits of a fit depend on how many cores compute it. Each fit gets `threads` cores, one by
default, wherever it runs: on one machine, a row is the same in this process, in a worker and under
Dask.

The modules, in reading order: `cases` (what a case is, and grids of them), `toml` (cases from a
file), `one_fit` (from a case to its result), `executors` (where fits run), `many_fits` (the sweep).
What is kept, and how, is in `diplearn.results`.
"""

from .cases import Case, grid
from .executors import Stopped, cluster, workers
from .many_fits import sweep, table
from .toml import read

__all__ = ["Case", "Stopped", "cluster", "grid", "read", "sweep", "table", "workers"]
