"""`pushforward mcp`: an assistant's questions are answered as the library answers them, and nothing is written."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pushforward.cli.mcp_server import MOST_ROWS, Tools, server_of
from pushforward.tables.estimators import FlowDensity

pytestmark = pytest.mark.float32


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("mcp")
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    frame = pd.DataFrame({"word": rng.choice(["x", "y"], 300), "a": a, "b": a + 0.5 * rng.normal(size=300)})
    small = {"n_layers": 1, "width": 8, "max_epochs": 10, "verify": False, "random_state": 0}
    FlowDensity(order=["a", "b"], **small).fit(frame).save(folder / "model")
    return folder / "model", frame


def asked(folder: Path, name: str, arguments: dict[str, Any]) -> Any:
    """What a client of the protocol gets."""
    from mcp import Client

    async def ask() -> Any:
        async with Client(server_of(folder)) as client:
            listed = (await client.list_tools()).tools
            assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in listed)
            return {tool.name for tool in listed}, await client.call_tool(name, arguments)

    return asyncio.run(ask())


def test_a_client_scores_a_row(made: tuple[Path, pd.DataFrame]):
    folder, frame = made
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    rows = frame.head(3).to_dict(orient="records")
    names, result = asked(folder, "score", {"rows": rows})
    assert names == {"inspect", "score", "sample", "evaluate"}
    found = result.structured_content["result"]
    expected = FlowDensity.load(folder).score_samples(frame.head(3))
    np.testing.assert_allclose([row["log_prob"] for row in found], expected, rtol=1e-5)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before


def test_a_mistake_reaches_the_client_in_words(made: tuple[Path, pd.DataFrame]):
    _, result = asked(made[0], "score", {"rows": [{"a": 1.0}]})
    assert result.is_error
    assert "no word" in result.content[0].text


def test_the_model_is_described(made: tuple[Path, pd.DataFrame]):
    facts = Tools(made[0]).inspect()
    assert [column["name"] for column in facts["columns"]] == ["word", "a", "b"]
    assert facts["fitted_rows"] == 300
    json.dumps(facts)


def test_samples_hold_what_is_known(made: tuple[Path, pd.DataFrame]):
    found = Tools(made[0]).sample(20, where="word=x", seed=1)
    assert {row["word"] for row in found["rows"]} == {"x"}
    assert len(found["rows"]) == 20
    assert "report" in found


def test_new_rows_judge_the_model(made: tuple[Path, pd.DataFrame]):
    folder, frame = made
    rows: Any = frame.to_dict(orient="records")
    sentences = Tools(folder).evaluate(rows)
    assert any("nats" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda tools: tools.score([]), "1 to"),
        (lambda tools: tools.sample(0), "n from 1"),
        (lambda tools: tools.sample(MOST_ROWS + 1), "n from 1"),
    ],
)
def test_calls_are_bounded(made: tuple[Path, pd.DataFrame], call: Any, words: str):
    with pytest.raises(ValueError, match=words):
        call(Tools(made[0]))
