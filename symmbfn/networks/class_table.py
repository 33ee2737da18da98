"""How beliefs about classes enter the network, and how site states become logits.

Such a module reads the probabilities, the bounded logits and the previous estimate of a variable,
and writes logits. With preconditioning they are added to the logits of the belief, so that the
network only has to learn what the other variables say about the class. Here is the simplest one;
others are in `wyckoff_positions` and `element_slots`. `model.channels` puts them into a model.

Source: book, method-preconditioning; book, method-beliefs.
"""

from torch import nn

from symmbfn._shapes import Float, Tensor


def zeroed(linear: nn.Linear) -> nn.Linear:
    """The same layer with weights and bias 0, so that a new model answers with its prior."""
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def two_layers(n_in: int, width: int, n_out: int) -> nn.Sequential:
    """Two linear layers with SiLU between them."""
    return nn.Sequential(nn.Linear(n_in, width), nn.SiLU(), nn.Linear(width, n_out))


class ClassTable(nn.Module):
    """A linear module: one row of weights for each class (elements of sites; 15 x 13 axes).

    Args:
        n_inputs: number of classes K, all axes together.
        width: hidden width H.
        log_prior: log of the classes' frequencies, shape (K,): the logits before training.

    Source: Jiao et al. 2023 (DiffCSP): type embedding and head.
    """

    def __init__(self, n_inputs: int, width: int, log_prior: Float[Tensor, "K"] | None = None):
        super().__init__()
        self.read = nn.Linear(n_inputs, width)
        self.write = zeroed(nn.Linear(width, n_inputs))
        if log_prior is not None:
            self.write.bias.data.copy_(log_prior)

    def embed(self, theta: Float[Tensor, "*X K"]) -> Float[Tensor, "*X H"]:
        """Read beliefs.

        Args:
            theta: probabilities of the classes, shape (..., K).

        Returns:
            Input of the sites, shape (..., H).
        """
        return self.read(theta)

    def logits(self, h: Float[Tensor, "*X H"]) -> Float[Tensor, "*X K"]:
        """Write logits.

        Args:
            h: site states, shape (..., H).

        Returns:
            Logits, shape (..., K); the log prior before training.
        """
        return self.write(h)
