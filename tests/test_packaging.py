"""What the package promises as a whole: no unsafe readers, no work at import, everything documented and declared."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import pushforward

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

UNSAFE_READERS = {"pickle", "dill", "joblib", "cloudpickle", "marshal", "shelve"}
NETWORK = {"socket", "ssl", "http", "urllib", "ftplib", "smtplib", "requests", "httpx", "urllib3", "aiohttp"}
# The one file that listens: it serves a page to this machine.
LISTENS = {"explore/server.py": ["socket"]}
HEAVY = {
    "jax",
    "jaxlib",
    "equinox",
    "optax",
    "scipy",
    "sklearn",
    "pandas",
    "polars",
    "pyarrow",
    "matplotlib",
    "torch",
    "blackjax",
    "arviz",
    "numpyro",
}
# Where the name to install differs from the name to import.
DISTRIBUTION = {"sklearn": "scikit-learn", "ott": "ott-jax"}


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that a file imports by absolute name, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def parsed(path: Path, at_import: bool) -> ast.Module:
    """A file; with `at_import` what importing it runs, without the bodies of functions."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if at_import else ():
        if isinstance(node, ast.FunctionDef):
            node.body = [ast.Pass()]
    return tree


def called(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """The calls of a file, with the dotted name that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def unsafe(source: str) -> list[str]:
    """What a file does that could run code from a model or a data file, or reach for the network or another backend."""
    tree = ast.parse(source)
    roots = {name.split(".")[0] for name in imported(tree)}
    found = sorted(roots & (UNSAFE_READERS | NETWORK | {"torch"}))
    for name, call in called(tree):
        if name in ("eval", "exec", "compile", "__import__") or name.endswith((".unsafe_load", "yaml.load")):
            found.append(name)
        if any(keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False" for keyword in call.keywords):
            found.append(f"{name}(allow_pickle)")
        if name in ("np.load", "numpy.load") and not any(k.arg == "allow_pickle" for k in call.keywords):
            found.append(f"{name} without allow_pickle=False")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_source_is_safe(path: Path):
    own = path.relative_to(ROOT / "src/pushforward").as_posix()
    assert unsafe(path.read_text()) == LISTENS.get(own, [])


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from torch import nn",
        "def f():\n    import joblib",
        "import urllib.request",
        "eval('1')",
        "np.load(f, allow_pickle=True)",
        "np.load(f)",
    ],
)
def test_the_scan_finds_what_it_looks_for(source: str):
    assert unsafe(source)


def test_no_module_imports_the_public_face():
    """The layers hold between the parts; `pushforward` itself stands above them all."""
    wrong = []
    for path in set(SOURCES) - {ROOT / "src/pushforward/__init__.py"}:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                faces = "pushforward" in [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                faces = node.module == "pushforward" and [alias.name for alias in node.names] != ["__version__"]
            else:
                continue
            if faces:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []


def test_every_import_is_a_declared_dependency():
    optional = [text for extra in PROJECT["optional-dependencies"].values() for text in extra]
    for at_import, requirements in ((True, PROJECT["dependencies"]), (False, [*PROJECT["dependencies"], *optional])):
        declared = {re.split(r"[^\w-]", text)[0].lower() for text in requirements}
        used = {name.split(".")[0] for path in SOURCES for name in imported(parsed(path, at_import))}
        third_party = used - set(sys.stdlib_module_names) - {"pushforward"}
        assert {DISTRIBUTION.get(name, name) for name in third_party} <= declared


def test_every_declared_dependency_is_used():
    declared = {re.split(r"[^\w-]", text)[0].lower() for text in PROJECT["dependencies"]}
    used = {name.split(".")[0] for path in SOURCES for name in imported(ast.parse(path.read_text()))}
    assert declared <= {DISTRIBUTION.get(name, name) for name in used}


def test_metadata():
    installed = metadata.metadata("pushforward")
    assert installed["Requires-Python"] == ">=3.11"
    assert installed["License-Expression"] == "Apache-2.0"
    assert metadata.version("pushforward") == PROJECT["version"] == pushforward.__version__
    (script,) = metadata.entry_points(group="console_scripts", name="pushforward")
    assert callable(script.load())
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert (ROOT / "src/pushforward/py.typed").exists()


def public_names() -> list[tuple[str, str]]:
    """Module and name of all that is exported: `__all__` of the package and of its public modules."""
    modules = ["pushforward"]
    for module in pkgutil.walk_packages(pushforward.__path__, "pushforward."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            modules.append(module.name)
    return [(name, item) for name in modules for item in getattr(importlib.import_module(name), "__all__", ())]


def undocumented(module: str, name: str) -> list[str]:
    """The name itself and its public methods, as far as they have no docstring of their own or by inheritance."""
    item = getattr(importlib.import_module(module), name)
    if not callable(item) or typing.get_origin(item) is not None:  # a constant, or the name of a type
        return []
    missing = [] if inspect.getdoc(item) else [name]
    if inspect.isclass(item):
        methods = [m for m, _ in inspect.getmembers(item, inspect.isfunction) if not m.startswith("_")]
        ours = [m for m in methods if getattr(item, m).__module__.startswith("pushforward")]
        missing += [f"{name}.{method}" for method in ours if not inspect.getdoc(getattr(item, method))]
    return missing


def test_every_public_name_is_documented():
    names = public_names()
    assert len(names) > 40
    assert [missing for module, name in names for missing in undocumented(module, name)] == []


def test_every_module_is_documented():
    assert [str(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def loaded(code: str, *flags: str) -> dict[str, list[str]]:
    """Run code in a new interpreter with the network cut off; the top-level modules it has loaded, and what it left."""
    program = f"""
import sys
def hook(event, arguments):
    if event in ("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise RuntimeError(f"{{event}} {{arguments}}")
sys.addaudithook(hook)
{code}
import json
jax, numpy = sys.modules.get("jax"), sys.modules.get("numpy")
print(json.dumps(dict(
    modules=sorted({{name.split(".")[0] for name in sys.modules}}),
    x64=[bool(jax and jax.config.jax_enable_x64)],
    random=[bool(numpy and "numpy.random" in sys.modules and numpy.random.get_state()[1][0] != before)],
)))
"""
    done = subprocess.run([sys.executable, *flags, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_is_quiet():
    """No connection, no warning, no optional dependency, no change of JAX's settings or of the global random state."""
    # JAX's own import draws from NumPy's global state; ours must not.
    seeded = "import numpy, jax\nnumpy.random.seed(1); before = numpy.random.get_state()[1][0]\n"
    after = loaded(seeded + "import pushforward as pf; pf.flows.maf, pf.FlowDensity, pf.fit", "-W", "error")
    assert not {"torch", "polars", "matplotlib"} & set(after["modules"])  # (scikit-learn itself imports pandas)
    assert not any(after["x64"])
    assert not any(after["random"])


def test_importing_the_name_alone_does_not_load_jax():
    assert not HEAVY & set(loaded("import pushforward")["modules"])


def test_help_does_not_load_jax():
    """JAX alone takes most of a second to import; the help of the command line answers in less than half of one."""
    code = """
from pushforward.cli import main
from pushforward.cli.app import find_verbs
for words in ([], *([verb] for verb in find_verbs())):
    if main([*words, "--help"]):
        raise RuntimeError(f"{words} --help failed")
"""
    assert not HEAVY & set(loaded(code)["modules"])


def test_example_data_is_what_its_source_says():
    text = (ROOT / "examples/data/SOURCE.txt").read_text()
    data = (ROOT / "examples/data/seattle_weather.csv").read_bytes()
    assert hashlib.sha256(data).hexdigest() in text
    assert data.count(b"\n") == 1462
