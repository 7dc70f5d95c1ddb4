"""The results of calibration tests as sentences."""

from __future__ import annotations

from pushforward.metrics import LocalC2ST, Uniformity


def rank_sentence(name: str, found: Uniformity, passed: bool) -> str:
    """The result of a test of ranks.

    Args:
        name: Name of the test, `"ranks of NAME"`.
        found: The test.
        passed: Whether it was passed.
    """
    what = name.removeprefix("ranks of ")
    if passed:
        return f"The ranks of {what} are uniform, as those of a calibrated posterior are (p = {found.p_value:.2g})."
    faults = []
    if found.p_shift <= 3 * found.p_value:
        side = "low" if found.mean > 0 else "high"
        faults.append(f"its location is too {side}, by about {abs(found.mean):.2g} standard deviations")
    if found.p_spread <= 3 * found.p_value:
        width = "narrow" if found.variance > 1 else "wide"
        faults.append(f"it is too {width}: the scores' variance is {found.variance:.2g}, not 1")
    fault = " and ".join(faults) or "its shape is another"
    return f"The posterior of {what} is not calibrated: {fault} (p = {found.p_value:.1g})."


def coverage_sentence(name: str, found: Uniformity, passed: bool) -> str:
    """The result of the test of expected coverage; arguments as in `rank_sentence`."""
    share = float((found.levels <= 0.9).mean())
    if passed:
        return f"Regions of 90 % of the mass hold the truth {share:.1%} of the time (p = {found.p_value:.2g})."
    fault = "overconfident" if share < 0.9 else "too cautious, or misplaced"
    return (
        f"Regions of 90 % of the mass hold the truth {share:.1%} of the time: the posterior is {fault} "
        f"(p = {found.p_value:.1g})."
    )


def tarp_sentence(name: str, found: Uniformity, passed: bool) -> str:
    """The result of the test of coverage by distance; arguments as in `rank_sentence`."""
    if passed:
        return f"Balls about random points hold the truth as often as they should (TARP, p = {found.p_value:.2g})."
    return f"Balls about random points hold the truth too often or too seldom (TARP, p = {found.p_value:.1g})."


def local_sentence(found: LocalC2ST, passed: bool) -> str:
    """The result of the test at one observation."""
    if passed:
        return f"A classifier finds no error of the posterior at the observation (p = {found.p_value:.2g})."
    return f"A classifier tells the posterior from the truth at the observation (p = {found.p_value:.1g})."


def distance_sentence(p_value: float, passed: bool) -> str:
    """How the observation lies among the simulated ones."""
    if passed:
        return f"The observation lies among the simulated ones (p = {p_value:.2g})."
    return (
        f"The observation is further out than all but {p_value:.1%} of the simulated ones: the simulator or the prior "
        "may be misspecified, and the posterior is an extrapolation."
    )


def predictive_sentence(p_value: float, passed: bool) -> str:
    """How the observation lies among simulations from the posterior."""
    if passed:
        return f"Simulations from the posterior look like the observation (p = {p_value:.2g})."
    return f"Simulations from the posterior do not look like the observation (p = {p_value:.1g})."


def pairs_sentence(n: int, needed: int) -> str:
    """What the number of pairs cannot show."""
    return (
        f"With {n} pairs small errors stay hidden: {needed} would show a shift of 0.1 standard deviations, or a width "
        "that is a tenth too small, 95 times in 100."
    )
