"""The summary of a model: counts, costs and layers, from weights or from shapes alone."""

from __future__ import annotations

import json

import equinox as eqx
import jax
import numpy as np
import pytest

import pushforward as pf

KEY = jax.random.key(0)


def build(key):
    flow = pf.flows.nsf(
        key, dim=4, condition_dim=2, n_layers=3, width=8, depth=1, linear="lu", actnorm=True, autoregressive=False
    )
    return pf.training.in_data_units(
        flow, pf.Standardize(np.zeros(4), np.ones(4)), pf.Standardize([0.0] * 2, [1.0] * 2)
    )


@pytest.fixture(scope="module")
def flow() -> pf.Flow:
    return build(KEY)


def test_counts_and_layers(flow: pf.Flow):
    found = pf.summary(flow)
    params = jax.tree.leaves(pf.trainable(flow)[0])
    assert found.trained == sum(leaf.size for leaf in params)
    assert found.fixed == 2 * 4 + 2 * 2 + 3 * 2 * 4  # two standardisations, and the permutations of the LU layers
    tops = [layer for layer in found.layers if layer.level == 0]
    assert [layer.name.split()[0] for layer in tops] == ["Standardize", "EmbedCondition"]
    inner = [layer for layer in found.layers if layer.level == 1]
    assert [layer.name.split()[0] for layer in inner] == ["ActNorm", "LULinear", "Coupling"]
    assert [layer.repeats for layer in inner] == [3, 3, 3]
    assert "bins=8" in inner[-1].name
    assert sum(layer.trained for layer in tops) == found.trained
    assert found.log_prob_passes == found.sample_passes == 1
    assert json.loads(json.dumps(found.to_dict()))["cond_shape"] == [2]


def test_shapes_are_enough(flow: pf.Flow):
    assert pf.summary(eqx.filter_eval_shape(build, KEY)) == pf.summary(flow)


def test_costs_of_sequential_flows_and_of_other_models():
    maf = pf.flows.maf(KEY, dim=5, n_layers=2, width=8, linear="reverse")
    found = pf.summary(maf)
    assert (found.log_prob_passes, found.sample_passes) == (1, 5)
    assert found.sample_cost == "5 sequential steps in each of 2 layers"
    assert "exact" in found.exactness
    lines = str(found).splitlines()
    assert lines[0] == "Flow over events of shape (5,), no condition"
    assert max(map(len, lines)) < 120
    mixture = pf.Mixture([maf, pf.StandardNormal((5,))])
    assert pf.summary(mixture).layers == ()
    assert pf.summary(mixture).base is None
    assert pf.summary(mixture).log_prob_cost == "not known"
    assert pf.summary(pf.StandardNormal((2, 3))).trained == 0
    with pytest.raises(TypeError, match="a distribution"):
        pf.summary(maf.bijection)  # pyright: ignore[reportArgumentType] - refused
