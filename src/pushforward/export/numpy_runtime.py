"""Score rows with, and draw rows from, a normalizing flow that `pushforward` exported. Needs NumPy and nothing else.

    from pushforward_numpy import load

    model = load("model.npz")
    model.log_prob(x)  # (n, d) -> (n,), in nats
    model.sample(1000, seed=0)  # (1000, d)

`model.npz` holds two small programs (the log-density and the sampler) as lists of array operations, and their
constants. This module reads them, checks them, and carries the operations out. It runs no code from the file: an
operation is looked up by name in the table `OPERATIONS` at the end, and nothing else can happen. (A file made to do
harm can still waste time and memory, and give wrong numbers: SHA-256 sums are in the report of the export.)

A program has a fixed number of rows (`model.chunk`): longer inputs are cut, shorter ones filled up with their first
row, so that the score of a row never depends on the rows beside it. Random numbers are Threefry 2x32 (Salmon et al.,
2011), bit for bit those of JAX, so that a seed gives the rows that the trained model gives. A JAX key is one uint64.

Written for Python 3.10 and NumPy 1.24, or later.
"""

from __future__ import annotations

import functools
import json
import math
import zipfile

import numpy as np

VERSION = 1
# Hundreds of times what large models need, and below what harms a machine. Bytes, and steps of a loop.
MAX_FILE, MAX_PROGRAM, MAX_ARRAY, MAX_STEPS = 2**34, 2**27, 2**33, 10**6
DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
SUBPROGRAMS = ("jaxpr", "cond_jaxpr", "body_jaxpr")
# What NumPy and Python raise on a program that makes no sense.
BROKEN = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)


class ProgramError(ValueError):
    """The file is damaged, altered, or newer than this module."""


def load(path):
    """Read `model.npz`, trusting nothing in it.

    Args:
        path: of the file, or an open binary file.

    Raises:
        ProgramError: it is not what `pushforward export --to numpy-npz` writes.
        OSError: it cannot be read.
    """
    if not hasattr(path, "read"):
        with open(path, "rb") as file:
            return load(file)
    try:
        _check_archive(path)
        path.seek(0)
        with np.load(path, allow_pickle=False) as file:
            if "program" not in file.files:
                raise ProgramError("there is no program in the file; it is not an exported model.")
            program = json.loads(file["program"].tobytes().decode("utf-8"))
            constants = [file[f"c{n}"] for n in range(len(program["constants"]))]
        return Model(program, constants)
    except (ProgramError, OSError, MemoryError):
        raise
    except Exception as error:  # a damaged archive raises a dozen kinds
        raise ProgramError(f"not a model that pushforward exported, or damaged: {error}") from error


def _check_archive(file):
    """The sizes that the members declare, before anything is read into memory."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MAX_FILE:
            raise ProgramError(f"the file unpacks to more than {MAX_FILE:,} bytes.")
        for member in members:
            with archive.open(member) as entry:
                version = np.lib.format.read_magic(entry)
                if version != (1, 0):
                    raise ProgramError(f"{member.filename}: an array of format {version}, expected (1, 0).")
                shape, _, dtype = np.lib.format.read_array_header_1_0(entry)
            size = math.prod(shape) * dtype.itemsize
            cap = MAX_PROGRAM if member.filename == "program.npy" else MAX_ARRAY
            if dtype.name not in DTYPES or size > min(cap, member.file_size):
                raise ProgramError(f"{member.filename}: {size:,} bytes of {dtype} in {member.file_size:,}.")


class Model:
    """A distribution, loaded with `load`.

    Attributes:
        names: the columns of `x`, in order.
        condition_names: the columns of the condition; empty if there is none.
        dtype: in which it computes.
        chunk: the rows that are computed together.
        needs_key: whether `log_prob` is a random estimate, and so depends on a seed.
        information: versions and what the export found when it compared this file with the model.
    """

    def __init__(self, program, constants):
        if program["format"] != "pushforward-numpy" or program["version"] != VERSION:
            raise ProgramError(f"version {program['version']} of the format; this module reads version {VERSION}.")
        self.names, self.condition_names = list(program["names"]), list(program["condition_names"])
        self.dtype = np.dtype(_known(program["dtype"], ("float64", "float32"), "type"))
        self.chunk = int(program["chunk"])
        self.needs_key, self.information = bool(program["needs_key"]), dict(program["information"])
        if self.chunk < 1:
            raise ProgramError(f"a program for {self.chunk} rows.")
        self._types = [(np.dtype(_known(name, DTYPES, "type")), tuple(map(int, s))) for name, s in program["types"]]
        for dtype, shape in self._types:
            if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > MAX_ARRAY:
                raise ProgramError(f"an array of {shape}.")
        for array, number in zip(constants, program["constants"], strict=True):
            _same_type(array, self._types[number], "a constant")
        self._constants, self._functions = constants, []
        for function in program["functions"]:  # each may call those before it: no recursion
            self._functions.append(self._read(function))
        self._log_prob, self._sample = (self._functions[int(program[name])] for name in ("log_prob", "sample"))

    def log_prob(self, x, condition=None, *, seed=0):
        """The log-density of each row, in nats.

        Args:
            x: `(n, d)`, columns as in `names`; or one row `(d,)`.
            condition: `(n, k)`, or one row `(k,)` for all, if there are `condition_names`.
            seed: for a model whose log-density is a random estimate; ignored by the others.

        Returns:
            `(n,)`; a number for one row.
        """
        x = np.asarray(x, self.dtype)
        if x.shape[-1:] != (len(self.names),) or x.ndim > 2:
            raise ValueError(f"log_prob: expected rows (n, {len(self.names)}) of {self.names}, got shape {x.shape}.")
        rows = x.reshape(-1, len(self.names))
        key = [key_data(seed), np.arange(len(rows), dtype=np.uint32)] if self.needs_key else []
        out = self._by_chunks(self._log_prob, len(rows), [rows, *self._given(condition, len(rows)), *key])
        return out if x.ndim == 2 else out[0]

    def sample(self, n, condition=None, *, seed=0):
        """Draw rows; row `i` depends on the seed, on `i` and on its condition alone.

        Args:
            n: how many.
            condition: `(n, k)`, or one row `(k,)` for all, if there are `condition_names`.
            seed: 0 to 2^64 - 1, or the two words of a JAX key: `sample(jax.random.key(seed), n)` gives the same rows.

        Returns:
            `(n, d)`.
        """
        if not isinstance(n, (int, np.integer)) or n < 0:
            raise ValueError(f"sample: expected a number of rows, 0 or more, got {n!r}.")
        arguments = [key_data(seed), np.arange(n, dtype=np.uint32), *self._given(condition, n)]
        return self._by_chunks(self._sample, n, arguments)

    def _given(self, condition, n):
        k = len(self.condition_names)
        if (condition is None) != (k == 0):
            raise ValueError(f"condition: expected {f'{k} columns {self.condition_names}' if k else 'none'}.")
        if condition is None:
            return []
        values = np.asarray(condition, self.dtype)
        if values.shape not in ((k,), (n, k)):
            raise ValueError(f"condition: expected shape ({n}, {k}) or ({k},), got {values.shape}.")
        return [np.broadcast_to(values, (n, k))]

    def _by_chunks(self, function, n, arguments):
        """Run on `chunk` rows at a time. All arguments but the key have a row each."""
        parts = []
        for start in range(0, max(n, 1), self.chunk):
            cut = [a if type(a) is Key else _fill(a[start : start + self.chunk], self.chunk) for a in arguments]
            with np.errstate(all="ignore"):
                (out,) = function(*cut)
            parts.append(out[: min(self.chunk, n - start)])
        return np.concatenate(parts)

    def _read(self, function):
        """Check one program, and make a function of arrays of it."""
        types = [self._types[n] for n in function["inputs"]]
        size, live, equations = len(types), set(range(len(types))), []

        def operand(atom):
            """A slot's number, or an array."""
            if isinstance(atom, str):
                return self._constants[int(atom)]
            if isinstance(atom, list):
                (dtype, shape), value = self._types[atom[0]], atom[1]
                value = float.fromhex(value) if isinstance(value, str) else value
                return np.asarray(value, dtype).reshape(shape)
            if atom not in live:
                raise ProgramError(f"a value is used that is not there (slot {atom}).")
            return atom

        for name, atoms, results, params, freed in function["equations"]:
            operation = OPERATIONS[_known(name, OPERATIONS, "operation")]
            params = dict(params)
            for key in SUBPROGRAMS:
                if key in params:
                    params[key] = self._functions[params[key]]
            if "branches" in params:
                params["branches"] = [self._functions[n] for n in params["branches"]]
            params["out"] = [self._types[n] for n in results]
            equations.append((name, operation, [operand(a) for a in atoms], params, size, freed))
            live |= set(range(size, size + len(results)))
            if not set(freed) <= live:
                raise ProgramError(f"values are given up that are not there ({freed}).")
            live -= set(freed)
            size += len(results)
        return functools.partial(_call, types, equations, [operand(a) for a in function["outputs"]], size)


def _known(name, table, what):
    if name not in table:
        raise ProgramError(f"unknown {what} {str(name)[:80]!r}. Use the pushforward_numpy.py written beside the model.")
    return name


def _same_type(array, expected, what):
    if (array.dtype, array.shape) != expected:
        raise ProgramError(f"{what}: expected {expected[0]} {expected[1]}, got {array.dtype} {array.shape}.")


def _call(types, equations, outputs, size, *arguments):
    if len(arguments) != len(types):
        raise ProgramError(f"a program of {len(types)} inputs is called with {len(arguments)}.")
    for argument, expected in zip(arguments, types, strict=True):
        _same_type(argument, expected, "an input")
    slots = [*arguments, *[None] * (size - len(arguments))]
    for name, operation, operands, params, first, freed in equations:
        values = [slots[a] if isinstance(a, int) else a for a in operands]
        try:
            results = operation(params, *values)
        except ProgramError:
            raise
        except (RecursionError, *BROKEN) as error:
            raise ProgramError(f"the operation {name!r} fails: {error}") from error
        if not isinstance(results, (list, tuple)):
            results = (results,)
        if len(results) != len(params["out"]):
            raise ProgramError(f"the operation {name!r} gives {len(results)} results, not {len(params['out'])}.")
        for n, result in enumerate(results):
            slots[first + n] = np.asarray(result)
            _same_type(slots[first + n], params["out"][n], f"the operation {name!r}")
        for n in freed:
            slots[n] = None
    return [slots[a] if isinstance(a, int) else a for a in outputs]


def _fill(array, n):
    """`n` rows: the first one is repeated."""
    if len(array) == n:
        return np.ascontiguousarray(array)
    first = array[:1] if len(array) else np.zeros((1, *array.shape[1:]), array.dtype)
    return np.concatenate([array, np.broadcast_to(first, (n - len(array), *array.shape[1:]))])


# Random numbers ------------------------------------------------------------------------------------------------------


class Key(np.ndarray):
    """The words of a key, which belong to all rows."""


def key_data(seed):
    """The two words of `jax.random.key(seed)`."""
    if isinstance(seed, (int, np.integer)):
        if not 0 <= int(seed) < 2**64:
            raise ValueError(f"seed: expected 0 to 2^64 - 1, got {seed}.")
        seed = np.array([int(seed) >> 32, int(seed) & 0xFFFFFFFF], np.uint32)
    words = np.asarray(seed)
    if words.shape != (2,) or words.dtype != np.uint32:
        raise ValueError("seed: expected an integer, or two words of uint32.")
    return words.view(Key)


def _threefry(key_1, key_2, x_1, x_2):
    """Threefry 2x32 with 20 rounds."""
    key_1, key_2, a, b = np.broadcast_arrays(key_1, key_2, x_1, x_2)
    keys = (key_1, key_2, key_1 ^ key_2 ^ np.uint32(0x1BD11BDA))
    a, b = a + keys[0], b + keys[1]
    for group in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            a = a + b
            b = ((b << np.uint32(turn)) | (b >> np.uint32(32 - turn))) ^ a
        a, b = a + keys[(group + 1) % 3], b + keys[(group + 2) % 3] + np.uint32(group + 1)
    return a, b


def _pack(high, low):
    return (np.asarray(high, np.uint64) << np.uint64(32)) | np.asarray(low, np.uint64)


def _unpack(words):
    return (words >> np.uint64(32)).astype(np.uint32), (words & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def _words(keys, shape):
    """Two words for each key and each place of `shape`, hashes of the place's number."""
    places = np.arange(math.prod(shape), dtype=np.uint64).reshape(shape)
    high, low = _unpack(keys.reshape(keys.shape + (1,) * len(shape)))
    return _threefry(high, low, *_unpack(places))


def _random_bits(p, keys):
    dtype, shape = p["out"][0]
    high, low = _words(keys, shape[keys.ndim :])
    return _pack(high, low) if dtype.itemsize == 8 else (high ^ low).astype(dtype)


def _random_split(p, keys):
    return _pack(*_words(keys, p["out"][0][1][keys.ndim :]))


def _random_fold_in(p, keys, numbers):
    return _pack(*_threefry(*_unpack(keys), np.uint32(0), numbers.astype(np.uint32)))


# Special functions ---------------------------------------------------------------------------------------------------


def _each(function):
    """A function of `math` for arrays, in double precision."""
    return lambda p, x: np.array([function(v) for v in x.ravel().tolist()], x.dtype).reshape(x.shape)


def _lgamma(x):
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):  # poles, and beyond the largest number
        return math.inf


def _erf_inv(p, x):
    """Winitzki's approximation (relative error 2e-3), then Halley's method, in the tails on erfc, to full precision."""
    v = x.astype(np.float64)
    size = np.abs(v)
    safe = np.where((size > 0) & (size < 1), size, 0.5)
    log = np.log1p(-safe * safe)
    half = 2 / (math.pi * 0.147) + log / 2
    y = np.where(safe < 1e-3, safe * (math.sqrt(math.pi) / 2), np.sqrt(np.sqrt(half * half - log / 0.147) - half))
    for _ in range(3):
        tail = y > 0.5
        error = np.where(tail, (1 - safe) - ERFC(p, np.where(tail, y, 1.0)), ERF(p, np.where(tail, 0.0, y)) - safe)
        step = error * (math.sqrt(math.pi) / 2) * np.exp(y * y)
        y = y - step / (1 + y * step)
    y = np.where(size == 0, 0.0, np.where(size == 1, np.inf, np.where(size < 1, y, np.nan)))
    return np.copysign(y, v).astype(x.dtype)


def _integer_pow(p, x):
    out, base, n = np.ones_like(x), x, abs(p["y"])
    while n:
        out, base, n = (out * base if n & 1 else out), base * base, n >> 1
    return 1 / out if p["y"] < 0 else out


def _divide(p, a, b):
    return a / b if a.dtype.kind == "f" else (a - np.fmod(a, b)) // b


def _round(p, x):
    return np.rint(x) if p["rounding_method"] == 1 else np.trunc(x + np.copysign(0.5, x))


# Linear algebra ------------------------------------------------------------------------------------------------------


def _dot_general(p, a, b):
    (sum_a, sum_b), (batch_a, batch_b) = p["dimension_numbers"]
    free_a = [n for n in range(a.ndim) if n not in (*sum_a, *batch_a)]
    free_b = [n for n in range(b.ndim) if n not in (*sum_b, *batch_b)]
    batch, length = tuple(a.shape[n] for n in batch_a), math.prod(a.shape[n] for n in sum_a)
    left = a.transpose([*batch_a, *free_a, *sum_a]).reshape(*batch, math.prod(a.shape[n] for n in free_a), length)
    right = b.transpose([*batch_b, *sum_b, *free_b]).reshape(*batch, length, math.prod(b.shape[n] for n in free_b))
    return np.matmul(left, right).reshape(p["out"][0][1])


def _triangular_solve(p, a, b):
    """`x` with `a x = b`, row by row; `x a = b` is solved transposed."""
    turned = p["transpose_a"] == p["left_side"]  # exactly one of the two transposes
    a = np.swapaxes(a, -1, -2) if turned else a
    b = b if p["left_side"] else np.swapaxes(b, -1, -2)
    rows = range(a.shape[-1]) if p["lower"] != turned else range(a.shape[-1] - 1, -1, -1)
    x, done = np.zeros_like(b), []
    for n in rows:
        known = np.matmul(a[..., n : n + 1, done], x[..., done, :])[..., 0, :] if done else 0
        x[..., n, :] = b[..., n, :] - known
        if not p["unit_diagonal"]:
            x[..., n, :] /= a[..., n, n, None]
        done.append(n)
    return x if p["left_side"] else np.swapaxes(x, -1, -2)


# Shapes, slices and indices ------------------------------------------------------------------------------------------


def _broadcast_in_dim(p, x):
    shape = p["out"][0][1]
    inner = [1] * len(shape)
    for axis, n in zip(p["broadcast_dimensions"], x.shape, strict=True):
        inner[axis] = n
    return np.broadcast_to(x.reshape(inner), shape)


def _iota(p):
    dtype, shape = p["out"][0]
    inner = [n if axis == p["dimension"] else 1 for axis, n in enumerate(shape)]
    return np.broadcast_to(np.arange(shape[p["dimension"]], dtype=dtype).reshape(inner), shape)


def _slice(p, x):
    strides = p["strides"] or [1] * x.ndim
    return x[tuple(slice(*cut) for cut in zip(p["start_indices"], p["limit_indices"], strides, strict=True))]


def _split(p, x):
    ends = np.cumsum([shape[p["axis"]] for _, shape in p["out"]])
    return np.split(x, ends[:-1], p["axis"])


def _pad(p, x, value):
    """Negative padding cuts; interior padding goes between neighbours."""
    low, _, gap = (list(column) for column in zip(*p["padding_config"], strict=True))
    shape = p["out"][0][1]
    out, target, source = np.full(shape, value, x.dtype), [], []
    for n, start, between, length in zip(x.shape, low, gap, shape, strict=True):
        places = start + np.arange(n) * (between + 1)
        inside = (places >= 0) & (places < length)
        target.append(places[inside])
        source.append(np.flatnonzero(inside))
    out[np.ix_(*target)] = x[np.ix_(*source)]
    return out


def _cuts(shape, sizes, starts):
    starts = [min(max(int(s), 0), n - size) for s, n, size in zip(starts, shape, sizes, strict=True)]
    return tuple(slice(s, s + size) for s, size in zip(starts, sizes, strict=True))


def _dynamic_update_slice(p, x, update, *starts):
    out = x.copy()
    out[_cuts(x.shape, update.shape, starts)] = update
    return out


def _windows(p, shape, indices, sizes):
    """For each index vector the places of a window of `sizes` in an array of `shape`, moved inside; and what fitted."""
    batch, rank = indices.shape[:-1], len(shape)
    starts = [np.zeros(batch, np.int64) for _ in shape]
    for n, axis in enumerate(p["index_map"]):
        starts[axis] = indices[..., n].astype(np.int64)
    for axis, own in zip(p["operand_batching"], p["indices_batching"], strict=True):
        starts[axis] = np.broadcast_to(np.arange(batch[own]).reshape([-1, *[1] * (len(batch) - own - 1)]), batch)
    fits, places = np.ones(batch, bool), []
    for axis, start in enumerate(starts):
        last = shape[axis] - sizes[axis]
        fits &= (start >= 0) & (start <= last)
        offsets = np.arange(sizes[axis]).reshape([-1 if n == axis else 1 for n in range(rank)])
        places.append(np.clip(start, 0, last).reshape(batch + (1,) * rank) + offsets)
    return tuple(places), fits.reshape(batch + (1,) * rank) | (p["mode"] != "fill")


def _gather(p, x, indices):
    places, fits = _windows(p, x.shape, indices, p["slice_sizes"])
    fill = float.fromhex(p["fill"]) if isinstance(p["fill"], str) else p["fill"]
    out = np.where(fits, x[places], np.asarray(fill, x.dtype))
    batch, gone = indices.ndim - 1, (*p["collapsed"], *p["operand_batching"])
    out = out.reshape(out.shape[:batch] + tuple(n for axis, n in enumerate(p["slice_sizes"]) if axis not in gone))
    return np.moveaxis(out, range(batch, out.ndim), p["offset_dims"])


def _scatter(p, x, indices, updates, add=False):
    batch, gone = indices.ndim - 1, (*p["inserted"], *p["operand_batching"])
    updates = np.moveaxis(updates, p["window_dims"], range(batch, updates.ndim))
    window = iter(updates.shape[batch:])
    sizes = [1 if axis in gone else next(window) for axis in range(x.ndim)]
    places, fits = _windows(p, x.shape, indices, sizes)
    full = indices.shape[:-1] + tuple(sizes)
    fits = np.broadcast_to(fits, full)
    where, out = tuple(np.broadcast_to(place, full)[fits] for place in places), x.copy()
    if add:
        np.add.at(out, where, updates.reshape(full)[fits])
    else:
        out[where] = updates.reshape(full)[fits]
    return out


def _sort(p, *arrays):
    order = np.lexsort(arrays[: p["num_keys"]][::-1], axis=p["dimension"])
    return [np.take_along_axis(array, order, p["dimension"]) for array in arrays]


def _select(p, which, *cases):
    if which.dtype == bool:
        return np.where(which, cases[1], cases[0])
    return np.choose(which, cases, mode="clip")


def _cumulative(function):
    def run(p, x):
        x = np.flip(x, p["axis"]) if p["reverse"] else x
        out = function.accumulate(x, axis=p["axis"], dtype=x.dtype)
        return np.flip(out, p["axis"]) if p["reverse"] else out

    return run


# Loops ---------------------------------------------------------------------------------------------------------------


def _while(p, *values):
    n, m = p["cond_nconsts"], p["body_nconsts"]
    known, fixed, carried = values[:n], values[n : n + m], list(values[n + m :])
    for _ in range(MAX_STEPS):
        (going,) = p["cond_jaxpr"](*known, *carried)
        if not going.any():
            return carried
        new = p["body_jaxpr"](*fixed, *carried)
        if going.all():
            carried = new
            continue
        # With a condition for each member of a batch, those that have ended stay as they are.
        which = [going.reshape(going.shape + (1,) * (value.ndim - going.ndim)) for value in new]
        carried = [np.where(w, value, old) for w, value, old in zip(which, new, carried, strict=True)]
    raise ProgramError(f"a loop has not ended after {MAX_STEPS:,} steps.")


def _scan(p, *values):
    n, m, length = p["num_consts"], p["num_carry"], p["length"]
    if not 0 <= length <= MAX_STEPS:
        raise ProgramError(f"a loop of {length} steps.")
    fixed, carried, stacks = values[:n], list(values[n : n + m]), values[n + m :]
    out = [np.empty(shape, dtype) for dtype, shape in p["out"][m:]]
    for step in range(length - 1, -1, -1) if p["reverse"] else range(length):
        results = p["jaxpr"](*fixed, *carried, *(stack[step] for stack in stacks))
        carried = results[:m]
        for array, value in zip(out, results[m:], strict=True):
            array[step] = value
    return [*carried, *out]


def _cond(p, index, *values):
    return p["branches"][min(max(int(index), 0), len(p["branches"]) - 1)](*values)


def _same(p, *values):
    return values


def _plain(function):
    return lambda p, *values: function(*values)


def _reduced(function):
    return lambda p, x: function.reduce(x, axis=tuple(p["axes"]), dtype=p["out"][0][0])


def _extreme(function):
    def run(p, x):
        worst = -function(-np.inf, np.inf) if x.dtype.kind == "f" else None
        return function.reduce(x, axis=tuple(p["axes"]), **({} if worst is None else {"initial": worst}))

    return run


def _first(function):
    return lambda p, x: function(x, axis=p["axes"][0]).astype(p["out"][0][0])


def _shift(function):
    """A shift by the number's width or more gives 0 (-1 for a negative number and the arithmetic shift)."""

    def run(p, x, by):
        bits = x.dtype.itemsize * 8
        if function is np.right_shift and p.get("logical"):
            x = x.view(f"u{x.dtype.itemsize}")
        out = function(x, np.minimum(by, bits - 1).astype(x.dtype))
        keep = x.dtype.kind == "i" and function is np.right_shift
        return (out if keep else np.where(by >= bits, np.zeros_like(x), out)).view(p["out"][0][0])

    return run


def _ordered(function):
    """A comparison in the order of sorting, which puts -0 before 0 and NaN last."""

    def run(p, a, b):
        if a.dtype.kind == "f":
            bits = [x.view(f"i{x.dtype.itemsize}") for x in (a, b)]
            a, b = (np.where(x < 0, ~x ^ np.iinfo(x.dtype).min, x) for x in bits)
        return function(a, b)

    return run


ERF, ERFC = _each(math.erf), _each(math.erfc)
# JAX's name and NumPy's, where the two mean the same.
_NAMES = """
abs acos=arccos acosh=arccosh add add_any=add and=bitwise_and asin=arcsin asinh=arcsinh atan=arctan atan2=arctan2
atanh=arctanh cbrt ceil cos cosh eq=equal exp exp2 expm1 floor ge=greater_equal gt=greater is_finite=isfinite
le=less_equal log log1p lt=less max=maximum min=minimum mul=multiply ne=not_equal neg=negative nextafter not=invert
or=bitwise_or pow=power rem=fmod sign sin sinh sqrt square sub=subtract tan tanh xor=bitwise_xor
"""
OPERATIONS = {name.split("=")[0]: _plain(getattr(np, name.split("=")[-1])) for name in _NAMES.split()}
OPERATIONS |= {
    "div": _divide,
    "rsqrt": _plain(lambda x: 1 / np.sqrt(x)),
    "logistic": _plain(lambda x: 1 / (1 + np.exp(-x))),
    "integer_pow": _integer_pow,
    "round": _round,
    "erf": ERF,
    "erfc": ERFC,
    "erf_inv": _erf_inv,
    "lgamma": _each(_lgamma),
    "eq_to": _ordered(np.equal),
    "le_to": _ordered(np.less_equal),
    "lt_to": _ordered(np.less),
    "shift_left": _shift(np.left_shift),
    "shift_right_logical": lambda p, x, by: _shift(np.right_shift)({**p, "logical": True}, x, by),
    "shift_right_arithmetic": _shift(np.right_shift),
    "clamp": _plain(lambda low, x, high: np.minimum(np.maximum(x, low), high)),
    "select_n": _select,
    "convert_element_type": lambda p, x: x.astype(p["out"][0][0]),
    "bitcast_convert_type": lambda p, x: np.ascontiguousarray(x).view(p["out"][0][0]).reshape(p["out"][0][1]),
    "copy": _same,
    "stop_gradient": _same,
    "optimization_barrier": _same,
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": lambda p, *arrays: np.concatenate(arrays, p["dimension"]),
    "dynamic_slice": lambda p, x, *starts: x[_cuts(x.shape, p["out"][0][1], starts)],
    "dynamic_update_slice": _dynamic_update_slice,
    "expand_dims": lambda p, x: x.reshape(p["out"][0][1]),
    "gather": _gather,
    "iota": _iota,
    "pad": _pad,
    "reshape": lambda p, x: x.reshape(p["out"][0][1]),
    "rev": lambda p, x: np.flip(x, tuple(p["dimensions"])),
    "scatter": _scatter,
    "scatter-add": functools.partial(_scatter, add=True),
    "slice": _slice,
    "sort": _sort,
    "split": _split,
    "stack": lambda p, *arrays: np.stack(arrays, p["axis"]),
    "squeeze": lambda p, x: x.reshape(p["out"][0][1]),
    "tile": lambda p, x: np.tile(x, p["reps"]),
    "transpose": lambda p, x: x.transpose(p["permutation"]),
    "reduce_sum": _reduced(np.add),
    "reduce_prod": _reduced(np.multiply),
    "reduce_max": _extreme(np.maximum),
    "reduce_min": _extreme(np.minimum),
    "reduce_and": _reduced(np.bitwise_and),
    "reduce_or": _reduced(np.bitwise_or),
    "argmax": _first(np.argmax),
    "argmin": _first(np.argmin),
    "cumsum": _cumulative(np.add),
    "cumprod": _cumulative(np.multiply),
    "cummax": _cumulative(np.maximum),
    "cummin": _cumulative(np.minimum),
    "cumlogsumexp": _cumulative(np.logaddexp),
    "dot_general": _dot_general,
    "matrix_product": lambda p, a, a_transposed, b: np.matmul(a, b),
    "triangular_solve": _triangular_solve,
    "random_bits": _random_bits,
    "random_clone": _same,
    "random_fold_in": _random_fold_in,
    "random_split": _random_split,
    "random_unwrap": lambda p, keys: np.stack(_unpack(keys), -1),
    "random_wrap": lambda p, words: _pack(words[..., 0], words[..., 1]),
    "threefry2x32": lambda p, *words: list(_threefry(*words)),
    "unstack": lambda p, x: [x.take(n, p["axis"]) for n in range(x.shape[p["axis"]])],
    "cond": _cond,
    "scan": _scan,
    "while": _while,
}
