"""What all tests share."""

import torch

# The pictures of the tests are small: two threads gain little there, and on a busy machine they
# spend their time waiting for one another. (The notebooks' kernels use all cores, as a learner's.)
torch.set_num_threads(1)
