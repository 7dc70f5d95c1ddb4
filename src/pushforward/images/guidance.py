"""Guided and denoised samples of transformer flows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_number, message
from pushforward._parts import parts, replaced, rewritten
from pushforward._types import Array
from pushforward.bijections import (
    AffineMap,
    Autoregressive,
    ExtrapolatedMap,
    InvertedMap,
    ProductOfNormalsMap,
)
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.distributions.base import AbstractDistribution
from pushforward.dynamics import NullableCondition
from pushforward.dynamics import guided as guided_fields
from pushforward.nets import CausalTransformer, WithContrast
from pushforward.nets.attention import check_temperature
from pushforward.nets.base import AbstractConditioner

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class ClassifierFree:
    r"""Away from the model without its class: $\theta \leftarrow \theta + w_t (\theta - \theta_\varnothing)$.

    Here $\theta$ are shift and log-scale of a token, and the weight grows evenly along the tokens,
    $w_t = w\,t/(T - 1)$. The model must have been trained with dropped classes, as
    `ImageDensity` trains a TarFlow, and `objectives.ImageObjective(class_dropout=0.1)` any flow.

    Args:
        weight: Weight $w$; 0 is the model.
        annealed: Whether the weight grows along the tokens; otherwise it is $w$ everywhere.

    Source: Zhai et al., 2024, arXiv 2412.06329.
    """

    weight: float
    annealed: bool = True


@dataclass(frozen=True)
class ProductOfNormals:
    r"""Away from the model without its class: each token's normal is $\propto p(x_t \mid c)^{1+w}/p(x_t)^w$.

    With the deviation of the model without class at least that of the model with it, this is a normal for every weight.

    Args:
        weight: Weight $w \ge 0$; 0 is the model.
        annealed: Whether the weight grows along the tokens as in `ClassifierFree`.

    Source: Gu et al., 2025, arXiv 2506.06276.
    """

    weight: float
    annealed: bool = False


@dataclass(frozen=True)
class AttentionTemperature:
    r"""Away from the same model with its attention logits divided by $\tau \ne 1$, which needs no classes.

    Args:
        weight: Weight $w$; 0 is the model.
        temperature: Divisor $\tau$ of the contrast's logits, above 0.
        annealed: Whether the weight grows along the tokens as in `ClassifierFree`.

    Source: Zhai et al., 2024, arXiv 2412.06329.
    """

    weight: float
    temperature: float = 1.5
    annealed: bool = True


Guidance = ClassifierFree | ProductOfNormals | AttentionTemperature


def guided(model: Tree, guidance: Guidance) -> Tree:
    r"""The same model with guided autoregressions, which is a model of its own.

    A token's guided parameters are still a function of the tokens before it. So the guided model is a flow like any
    other: every sampler takes it, `GaussSeidelJacobi` too, and its `log_prob` is the exact density of **its own
    samples**. It is another density than the model's, and no power of it, because each token is normalised by itself.

    Args:
        model: A flow, a bijection, or any tree of them, whose layers are autoregressive; guided ones are guided anew.
        guidance: `ClassifierFree(...)`, `ProductOfNormals(...)` or `AttentionTemperature(...)`. The first two act on
            the layers that see a class, the last one on those that have attention.

    Cost: two passes of the networks in place of one.

    Raises:
        TypeError: The guidance is none of these, or no layer of the model can be guided by it.
        ValueError: A weight or a temperature is out of its bounds.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.images.tarflow(jax.random.key(0), shape=(1, 4, 4), n_classes=3, patch=2, width=8, n_heads=2)
        >>> strong = pf.images.guided(flow, pf.images.ClassifierFree(2.0))
        >>> strong.sample(jax.random.key(1), 5, condition=jax.numpy.eye(3)[0]).shape
        (5, 1, 4, 4)
    """
    if not isinstance(guidance, Guidance):
        fix = "Write ClassifierFree(2.0), ProductOfNormals(1.0) or AttentionTemperature(0.5, temperature=1.5)."
        raise TypeError(message("guided", "a guidance", type(guidance).__name__, fix))
    low = 0.0 if isinstance(guidance, ProductOfNormals) else -math.inf
    check_number("guided", "weight", guidance.weight, low=low)
    if isinstance(guidance, AttentionTemperature):
        check_temperature("guided", guidance.temperature)
    layers = [part for part in parts(model) if isinstance(part, Autoregressive)]
    if not any(_fits(_plain(layer).conditioner, guidance) for layer in layers):
        wanted = "attention" if isinstance(guidance, AttentionTemperature) else "a class as their condition"
        fix = "Build the flow with n_classes=, or guide by AttentionTemperature."
        raise TypeError(message("guided", f"autoregressive layers with {wanted}", type(model).__name__, fix))

    def change(part: Any) -> Any:
        return _with_guidance(_plain(part), guidance) if isinstance(part, Autoregressive) else part

    return rewritten(model, change)


def with_guidance(model: Tree, guidance: Guidance | float) -> Tree:
    """The same model of images with guided samples, by what fits its kind.

    Args:
        model: A model over levels, or a flow.
        guidance: What `guided` takes, or a weight $w$ alone. With classes a weight is that of `ClassifierFree` for
            autoregressive layers, and of `dynamics.guided` for velocities and scores; without classes it is that of
            `AttentionTemperature`. 0 is the model.

    Raises:
        TypeError: No part of the model can be guided.
        ValueError: A weight is not finite.
    """
    if isinstance(guidance, Guidance):
        return guided(model, guidance)
    if isinstance(guidance, bool) or not isinstance(guidance, int | float):
        fix = "Write guidance=2.0, or guidance=ClassifierFree(2.0)."
        raise TypeError(message("guidance", "a weight or a guidance", repr(guidance), fix))
    weight = check_number("guidance", "weight", guidance, low=-math.inf)
    if weight == 0:
        return model
    if any(map(_is_nullable, jax.tree.leaves(model, is_leaf=_is_nullable))):
        return guided_fields(model, weight)
    layers = [part for part in parts(model) if isinstance(part, Autoregressive)]
    if not layers:
        fix = "Take tarflow, or with classes flow_matching or score_sde; or lower the temperature of a flow's latents."
        raise TypeError(message("guidance", "a model that can be guided", "one without attention or fields", fix))
    of_classes = any(_plain(layer).conditioner.cond_shape is not None for layer in layers)
    return guided(model, ClassifierFree(weight) if of_classes else AttentionTemperature(weight))


def _is_nullable(node: Any) -> bool:
    return isinstance(node, NullableCondition)


def _fits(conditioner: AbstractConditioner, guidance: Guidance) -> bool:
    if isinstance(guidance, AttentionTemperature):
        return isinstance(conditioner, CausalTransformer)
    return conditioner.cond_shape is not None


def _plain(layer: Autoregressive) -> Autoregressive:
    """The layer without its guidance."""
    net, own = layer.conditioner, layer.scalar_map
    if not isinstance(net, WithContrast):
        return layer
    inner = own.scalar_map if isinstance(own, ExtrapolatedMap) else InvertedMap(AffineMap(own.max_log_scale))  # pyright: ignore[reportAttributeAccessIssue]
    return Autoregressive(net.conditioner, inner, layer.inversion)


def _with_guidance(layer: Autoregressive, guidance: Guidance) -> Autoregressive:
    net = layer.conditioner
    if not _fits(net, guidance) or guidance.weight == 0:
        return layer
    contrast = net
    if isinstance(guidance, AttentionTemperature) and isinstance(net, CausalTransformer):
        contrast = _at_temperature(net, guidance.temperature)
    drop = not isinstance(guidance, AttentionTemperature)
    pair = WithContrast(net, contrast, drop_condition=drop, annealed=guidance.annealed)
    return Autoregressive(pair, _guided_map(layer.scalar_map, guidance), layer.inversion)


def _guided_map(scalar_map: AbstractScalarMap, guidance: Guidance) -> AbstractScalarMap:
    if not isinstance(guidance, ProductOfNormals) or not scalar_map.n_params > 1:
        # Of shifts alone the product of the normals is the same extrapolation.
        return ExtrapolatedMap(scalar_map, guidance.weight)
    if isinstance(scalar_map, InvertedMap) and isinstance(scalar_map.scalar_map, AffineMap):
        return ProductOfNormalsMap(scalar_map.scalar_map.max_log_scale, guidance.weight)
    fix = "Guide by ClassifierFree, which takes any map."
    raise TypeError(message("guided", "layers of InvertedMap(AffineMap())", type(scalar_map).__name__, fix))


def _at_temperature(net: CausalTransformer, temperature: float) -> CausalTransformer:
    layers = net.transformer.layers
    attention = replaced(layers.attention, temperature=float(temperature))
    return replaced(net, transformer=replaced(net.transformer, layers=replaced(layers, attention=attention)))


def denoise(flow: AbstractDistribution, noisy: Any, noise_sd: float, condition: Any = None) -> Array:
    r"""The mean of the images without noise, $\hat x = y + \sigma^2\,\nabla_y \log p(y)$, by Tweedie's formula.

    It is exact if $p$ is the density of images with normal noise of deviation $\sigma$, on which the flow must have
    been trained. Then samples of the flow are noisy images, and this takes their noise off.

    Args:
        flow: The density of noisy images.
        noisy: Noisy images `(*batch, C, H, W)`.
        noise_sd: Standard deviation $\sigma$ of the noise, in the units of the flow's events.
        condition: Conditions `(*batch, *cond_shape)`, or None.

    Cost: a log-density and its gradient, whose memory grows with the batch.

    Raises:
        ValueError: The deviation is no positive number, or a shape does not fit.

    Source: Robbins, 1956; Efron, 2011, doi 10.1198/jasa.2011.tm11181; for flows Zhai et al., 2024, arXiv 2412.06329.

    Example:
        >>> import jax, pushforward as pf
        >>> noisy = pf.Flow(pf.StandardNormal((1, 1, 1)), pf.Affine(scale=5.0**0.5, shape=(1, 1, 1)))
        >>> pf.images.denoise(noisy, jax.numpy.full((1, 1, 1), 2.5), 1.0).round(4).item()  # of N(0, 4) with noise
        2.0
    """
    sd = check_number("denoise", "noise_sd", noise_sd, low=0.0, high=math.inf, open_low=True)
    return _denoised(flow, jnp.asarray(noisy, jnp.result_type(float)), jnp.asarray(sd), condition)


@eqx.filter_jit
def _denoised(flow: AbstractDistribution, noisy: Array, sd: Array, condition: Any) -> Array:
    score = jax.grad(lambda y: jnp.sum(flow.log_prob(y, condition)))(noisy)
    return noisy + sd**2 * score
