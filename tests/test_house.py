"""The shape of the house stays as `docs/explanation/design.md` says."""

from __future__ import annotations

import sys

import pytest

from documents import ROOT


@pytest.fixture(scope="module", autouse=True)
def _scripts():
    sys.path.insert(0, str(ROOT / "scripts"))
    yield
    sys.path.remove(str(ROOT / "scripts"))


def test_few_functions_are_wide():
    """An estimator of scikit-learn names its options in its constructor, and a verb of the command line its flags."""
    import house  # type: ignore[import-not-found]

    wide = house.wide_functions()
    assert len(wide) <= 5, wide


def test_the_zoo_does_not_repeat_itself():
    import house  # type: ignore[import-not-found]

    assert house.repeated_share("flows") < 0.10


def test_composites_are_asked_for_their_members_and_not_for_their_class():
    import house  # type: ignore[import-not-found]

    assert house.ladders() == []
