"""What the command line says of errors that are no fault of the library."""

from __future__ import annotations

import pytest

from pushforward._checks import package_of
from pushforward.cli.reporter import USAGE, fail


def test_a_missing_extra_is_told_with_the_command_that_installs_it(capsys: pytest.CaptureFixture[str]) -> None:
    """It was called a fault of pushforward, with a traceback."""
    with pytest.raises(ImportError) as caught:
        package_of("pushforward explore", "no_such_package", "explore")
    assert fail(caught.value, as_json=False, debug=False) == USAGE
    assert capsys.readouterr().err == (
        "error: pushforward explore: expected the package no_such_package, got none. "
        "Install it: pip install 'pushforward[explore]'.\n"
    )
