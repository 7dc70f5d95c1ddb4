"""Flow++: couplings by mixtures of logistics, with a gated conditioner."""

from __future__ import annotations

from pushforward._checks import check_int, message
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Coupling, Invert, LogisticMixtureMap
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.coupling import Split, split_mask
from pushforward.flows.layers import MAX_DIM, Linear, condition_shape, stack
from pushforward.nets.gated import GatedMLP


def flowpp(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    components: int = 8,
    base: AbstractDistribution | None = None,
    linear: Linear = "lu",
    split: Split = "half",
    activation: str = "elu",
    max_log_scale: float = 5.0,
    actnorm: bool = True,
) -> Flow:
    r"""Flow++: $z_T = e^{\tanh \alpha} \operatorname{logit} F(x_T; \pi, \mu, s) + \beta$, $F$ a mixture of logistics.

    All of $\pi, \mu, s, \alpha, \beta$ come from the coordinates that pass, through gated residual blocks with layer
    normalisation. The map is applied from data to latent, which needs no search.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of the conditioner.
        depth: gated residual blocks of the conditioner.
        components: logistics per mixture (32 for images in the paper).
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each coupling: `"reverse"`, `"permutation"`, `"lu"`, or `(key, dim) -> bijection`.
        split: transformed coordinates: `"half"`, `"alternating"` or a mask of booleans.
        activation: one of relu, elu, gelu, silu, softplus, tanh.
        max_log_scale: bound on the log-scales of the logistics.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel; sampling a safeguarded Newton iteration per layer, all dimensions at once; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Ho, Chen, Srinivas, Duan, Abbeel, 2019, arXiv 1902.00275.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.flowpp(jax.random.key(0), dim=2, n_layers=1, width=8, depth=1, components=3)
        >>> flow.log_prob(jax.numpy.zeros((4, 2))).shape
        (4,)
    """
    scalar_map = LogisticMixtureMap(components, max_log_scale=max_log_scale)
    dim = check_int("flowpp", "dim", dim, 1, MAX_DIM)
    mask = split_mask("flowpp", split, dim)
    if linear is None and not mask.all() and dim > 1:
        fix = "Without one the same coordinates would pass unchanged through every layer."
        raise ValueError(message("flowpp", "a linear layer between couplings", "linear=None", fix))
    cond_shape = condition_shape("flowpp", condition_dim)
    n_mapped = int(mask.sum())

    def make(layer_key: PRNGKeyArray) -> AbstractBijection:
        conditioner = GatedMLP(
            layer_key,
            dim - n_mapped,
            (scalar_map.n_params, n_mapped),
            width=width,
            depth=depth,
            cond_shape=cond_shape,
            activation=activation,
        )
        return Invert(Coupling(mask, conditioner, scalar_map, cond_shape=cond_shape))

    return stack("flowpp", key, make, dim=dim, n_layers=n_layers, base=base, linear=linear, actnorm=actnorm)
