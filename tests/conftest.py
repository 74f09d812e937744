"""What all tests share."""

import pytest
import torch

# The images of the tests are small: two threads gain little there, and on a busy machine they
# spend their time waiting for one another. (The notebooks' kernels use all cores, as a learner's.)
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_weights_whatever_ran_before():
    """Let a test that builds a network of its own build the same one each time."""
    torch.manual_seed(0)
