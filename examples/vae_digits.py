"""A VAE on scikit-learn's digits, whose posterior is a diagonal Gaussian, or a flow.

    python3 examples/vae_digits.py

It fits the same encoder and decoder with both posteriors, and prints the log-likelihood of test images by importance
sampling. `benchmarks/vae_digits.py` does it thoroughly.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from sklearn.datasets import load_digits

import pushforward as pf

LATENT, CODE, WIDTH = 4, 32, 64


def build(key: Any, flow_posterior: bool) -> pf.distributions.VAE:
    """The model. Encoder and decoder are networks, and could be any Equinox modules."""
    keys = jax.random.split(key, 4)
    encoder = pf.MLP(keys[0], 64, (CODE,), width=WIDTH)
    posterior: Any = pf.ConditionalNormal(pf.MLP(keys[1], CODE, (2 * LATENT,)), (LATENT,), (CODE,))
    if flow_posterior:
        flow = pf.flows.sylvester(keys[2], dim=LATENT, condition_dim=CODE, n_layers=4, fast="sample")
        posterior = pf.Flow(posterior, flow.bijection)
    decoder = pf.distributions.ConditionalBernoulli(pf.MLP(keys[3], LATENT, (64,), width=WIDTH), (64,), (LATENT,))
    return pf.distributions.VAE(pf.StandardNormal((LATENT,)), encoder, posterior, decoder)


def main(max_epochs: int = 150, n_draws: int = 1000) -> dict[str, float]:
    """Mean test log-likelihoods of both models, in nats per image."""
    x = (load_digits(return_X_y=True)[0] > 7.5).astype(np.float32)
    x = x[np.random.default_rng(0).permutation(len(x))]
    train, test = x[:1400], x[1400:]
    found = {}
    for name, flow_posterior in (("diagonal Gaussian", False), ("Sylvester flow", True)):
        vae = build(jax.random.key(0), flow_posterior)
        objective = pf.objectives.ELBO(warm_up=500)
        options = pf.training.Steps(batch_size=100)
        how = {"objective": objective, "max_epochs": max_epochs, "options": options, "progress": False}
        fitted: Any = pf.fit(vae, train, key=jax.random.key(1), **how).flow
        nats = fitted.with_draws(n_draws).log_prob(test, key=jax.random.key(2))
        found[name] = float(nats.mean())
        print(f"{name}: {found[name]:.2f} nats per test image")
    return found


if __name__ == "__main__":
    main()
