"""`compress` and `decompress`: images to bytes and back, by the conditional masses of a model."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message, package_of
from pushforward._programs import program
from pushforward._types import Array
from pushforward.distributions.pixels import AutoregressivePixels, AveragedOrders
from pushforward.images.asked import condition_of
from pushforward.images.compression.container import CompressedImagesError, Container
from pushforward.images.compression.fixed_point import frequencies, on_grid, safe_shift
from pushforward.images.reading.levels import level_type
from pushforward.io.weights import named_arrays

# Images are coded together as long as their parameters, and the masses of a block of steps, are no more numbers.
MOST_NUMBERS = 2**23
MOST_AT_ONCE = 1024
# Bytes of images that a file may unpack to, unless the caller allows more.
MAX_BYTES = 2**31
OTHER_IMAGES = (
    "the images that come out are not those that went in. Pass the conditions that `compress` was given, and use the "
    "same version of pushforward."
)


def compress(
    model: Any, images: Any, condition: Any = None, *, labels: Any = None, at_once: int | None = None
) -> bytes:
    """The images as bytes, without loss, in about as many bits as the model's log-masses say.

    Each number is written by a range coder (constriction) with the model's masses of its levels given the numbers
    before it. The bytes hold digests of the model and of the images, so that `decompress` returns exactly these images
    or raises an error, in any other process too.

    Args:
        model: A distribution of images of levels with conditionals, `AutoregressivePixels`, such as
            `pf.images.pixelcnn` builds; or an estimator that holds one as `model_`.
        images: Images `(n, C, H, W)` of whole numbers, such as uint8.
        condition: Conditions `(n, n_classes)`; the decoder needs the same. None is "no class" for every image.
        labels: Classes `(n,)`, for a model with classes, in place of `condition`: those of an `ImageDensity`, or
            0, 1, ... They are written into the file in `log2(n_classes)` bits each, so that the decoder needs none.
        at_once: Number of images that are coded together; more are faster and need more memory. None chooses by size.

    Cost: one pass of the network in float64.

    Raises:
        ValueError: The images do not fit the model.
        TypeError: The model has no conditional masses of pixels.
        ImportError: constriction is not installed.
    """
    name = "compress"
    coder = package_of(name, "constriction", "compression").stream
    density, model = model, model_with_conditionals(name, model)
    images = _levels(name, images, model)
    classes = None if labels is None else _classes(name, density, labels, condition, len(images))
    condition = classes if condition is None else condition
    condition = _conditions(name, condition, len(images), model)
    size = at_once_for(model, len(images)) if at_once is None else check_int(name, "at_once", at_once, 1)
    encoder, family = coder.queue.RangeEncoder(), coder.model.Categorical(perfect=False)
    steps = math.prod(model.event_shape)
    params_of, masses_of = program(_params, model), program(_log_masses, model)
    if classes is not None and classes.shape[1] > 1:
        encoder.encode(np.argmax(classes, axis=1).astype(np.int32), coder.model.Uniform(classes.shape[1]))
    shifts: dict[int, int] = {}
    for start in range(0, len(images), size):
        count = min(size, len(images) - start)
        rows = _as_steps(_filled(images[start : start + count], size), model)
        params = params_of(rows.astype(np.float64), _filled(condition[start : start + count], size).T)
        block = max(1, MOST_NUMBERS // (model.n_levels * size))
        for first in range(0, steps, block):
            # The last block begins earlier, so that all have one length and one program.
            begin = min(first, max(steps - block, 0))
            grid = on_grid(np.asarray(masses_of(params[:, begin : begin + block])))
            for i in range(first, min(first + block, steps)):
                own = grid[:, i - begin, :count]
                shift = safe_shift(own)
                if shift:
                    shifts[start // size * steps + i] = shift
                counts = frequencies(own, shift).astype(np.float32)
                encoder.encode(rows[i, :count].astype(np.int32), family, counts)
    words = np.asarray(encoder.get_compressed(), np.uint32)
    shape: Any = model.event_shape
    digests = digest_of(model), digest_of_images(images)
    labelled = classes is not None
    return Container(shape, model.n_levels, size, len(images), shifts, words, *digests, labelled).to_bytes()


def decompress(model: Any, data: bytes, condition: Any = None, *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The images that `compress` made these bytes of, exactly.

    Args:
        model: The same model, with the same weights.
        data: The bytes.
        condition: The conditions that `compress` was given; None for a file that holds classes.
        max_bytes: The largest number of bytes that the images may take; a larger file is refused before it is decoded.

    Shapes:
        `(n, C, H, W)` in uint8 up to 256 levels, else in uint16

    Cost: one step of the network for each number of an image, for as many images at once as were coded together.

    Raises:
        CompressedImagesError: The bytes are damaged, altered, too large, or those of another model or condition.
        TypeError: The model has no conditional masses of pixels.
        ImportError: constriction is not installed.
    """
    name = "decompress"
    coder = package_of(name, "constriction", "compression").stream
    model = model_with_conditionals(name, model)
    file = Container.from_bytes(bytes(data))
    _check_fit(file, model, max_bytes)
    decoder, family = coder.queue.RangeDecoder(file.words), coder.model.Categorical(perfect=False)
    if file.classes:
        condition = _decoded_classes(decoder, coder, file, model)
    condition = _conditions(name, condition, file.n_images, model)
    steps, size, dtype = math.prod(model.event_shape), file.at_once, level_type(model.n_levels)
    begin, advance = program(_begin, model), program(_step, model)
    groups = [np.zeros((0, *model.event_shape), dtype)]
    for start in range(0, file.n_images, size):
        count = min(size, file.n_images - start)
        rows, previous = np.zeros((steps, count), dtype), np.zeros(size)
        state = begin(previous, _filled(condition[start : start + count], size).T)
        for i in range(steps):
            log_masses, state = advance(state, np.int32(i), previous)
            shift = file.shifts.get(start // size * steps + i, 0)
            counts = frequencies(on_grid(np.asarray(log_masses))[:, :count], shift).astype(np.float32)
            try:
                rows[i] = decoder.decode(family, counts)
            except AssertionError as error:  # so constriction says that no symbol fits
                raise CompressedImagesError(f"decompress: {OTHER_IMAGES}") from error
            previous[:count] = rows[i]
        groups.append(_as_images(rows, model))
    images = np.concatenate(groups)
    if digest_of_images(images) != file.images:
        raise CompressedImagesError(f"decompress: {OTHER_IMAGES}")
    return images


def _classes(name: str, density: Any, labels: Any, condition: Any, n: int) -> np.ndarray:
    """The conditions `(n, n_classes)` of labels.

    Raises:
        ValueError: Conditions are given too, or the labels are not those of the model.
    """
    if condition is not None:
        raise ValueError(message(name, "labels or condition", "both", "Give one of them."))
    given: Any = condition_of(density, labels, n)
    return given


def _decoded_classes(decoder: Any, coder: Any, file: Container, model: AutoregressivePixels) -> np.ndarray:
    """The conditions `(n, n_classes)` of the classes with which the words begin."""
    if model.cond_shape is None:
        raise CompressedImagesError("decompress: the file holds classes, and the model has none.")
    n_classes = model.cond_shape[0]
    places = np.zeros(file.n_images, np.int64)
    if n_classes > 1 and file.n_images:
        places = np.asarray(decoder.decode(coder.model.Uniform(n_classes), file.n_images))
    return np.eye(n_classes)[places]


def model_with_conditionals(name: str, model: Any) -> AutoregressivePixels:
    """The model itself, or the one that an estimator holds.

    Raises:
        TypeError: The model has no conditional masses of pixels.
    """
    model = getattr(model, "model_", model)
    if isinstance(model, AveragedOrders):
        got, fix = "the average over several orders", "Take one of them: model.in_order(0)."
    elif not isinstance(model, AutoregressivePixels):
        got, fix = (
            type(model).__name__,
            "Train one of pf.images: made, pixelcnn, pixelcnnpp, row_lstm, diagonal_bilstm.",
        )
    else:
        return model
    raise TypeError(message(name, "a model whose pixels have conditional masses", got, fix))


def at_once_for(model: AutoregressivePixels, n: int) -> int:
    """The number of images that are coded together: a power of two, unless there are fewer."""
    most = MOST_NUMBERS // (model.law.n_params * math.prod(model.event_shape))
    return max(1, min(n, MOST_AT_ONCE, 2 ** max(most, 1).bit_length() // 2))


def digest_of(model: AutoregressivePixels) -> bytes:
    """16 bytes that another model, or the same one with other weights, does not have."""
    facts = (type(model.net).__name__, type(model.law).__name__, model.event_shape, model.n_levels, model.cond_shape)
    digest = hashlib.sha256(repr(facts).encode())
    for name, array in sorted(named_arrays(model).items()):
        value = np.asarray(array)
        digest.update(f"{name} {value.dtype} {value.shape}".encode() + value.tobytes())
    return digest.digest()[:16]


def digest_of_images(images: np.ndarray) -> bytes:
    """16 bytes that other images do not have."""
    return hashlib.sha256(f"{images.dtype} {images.shape}".encode() + images.tobytes()).digest()[:16]


def _check_fit(file: Container, model: AutoregressivePixels, max_bytes: int) -> None:
    if (*file.shape, file.n_levels) != (*model.event_shape, model.n_levels):
        has, needs = f"images {file.shape} of {file.n_levels} levels", f"{model.event_shape} of {model.n_levels}"
        raise CompressedImagesError(f"decompress: the file has {has}, but the model is for {needs}.")
    if file.model != digest_of(model):
        fix = "Load the model with which the images were compressed."
        raise CompressedImagesError(f"decompress: the file was written with another model, or other weights. {fix}")
    n_bytes = file.n_images * math.prod(file.shape) * level_type(file.n_levels).itemsize
    if n_bytes > max_bytes or file.at_once > max(MOST_AT_ONCE, file.n_images):
        fix = "Raise max_bytes if you trust the file."
        raise CompressedImagesError(
            f"decompress: the file would unpack to {n_bytes:,} bytes, above {max_bytes:,}. {fix}"
        )


def _levels(name: str, images: Any, model: AutoregressivePixels) -> np.ndarray:
    """The images in the type that `decompress` gives."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1:] != model.event_shape:
        expected = f"images (n, {', '.join(map(str, model.event_shape))})"
        raise ValueError(message(name, expected, f"shape {images.shape}", "Channels come first."))
    whole = images.astype(np.int64)
    if not np.array_equal(whole, images) or whole.min(initial=0) < 0 or whole.max(initial=0) >= model.n_levels:
        fix = "Pass the levels themselves, such as uint8 pixels, not scaled ones."
        raise ValueError(message(name, f"whole numbers 0 .. {model.n_levels - 1}", "others", fix))
    return whole.astype(level_type(model.n_levels))


def _conditions(name: str, condition: Any, n: int, model: AutoregressivePixels) -> np.ndarray:
    """Conditions `(n, size)`, of size 0 for a model without."""
    size = 0 if model.cond_shape is None else math.prod(model.cond_shape)
    if condition is None:
        return np.zeros((n, size))
    condition = np.asarray(condition, np.float64)
    if condition.shape != (n, size):
        raise ValueError(
            message(name, f"conditions ({n}, {size})", f"shape {condition.shape}", "Give one row an image.")
        )
    return condition


def _filled(rows: np.ndarray, n: int) -> np.ndarray:
    """The rows, with zeros behind them up to `n` rows."""
    return np.concatenate([rows, np.zeros((n - len(rows), *rows.shape[1:]), rows.dtype)])


def _as_steps(images: np.ndarray, model: AutoregressivePixels) -> np.ndarray:
    return images.reshape(len(images), -1).T[np.asarray(model.order)]


def _as_images(steps: np.ndarray, model: AutoregressivePixels) -> np.ndarray:
    flat = np.empty_like(steps)
    flat[np.asarray(model.order)] = steps
    return np.ascontiguousarray(flat.T).reshape(-1, *model.event_shape)


# The four programs, in float64, of a model; a condition of no numbers is none.
def _given(condition: Array) -> Array | None:
    return condition if condition.shape[0] else None


def _params(model: AutoregressivePixels, steps: Array, condition: Array) -> Array:
    return model.params_of_steps(steps, _given(condition))


def _log_masses(model: AutoregressivePixels, params: Array) -> Array:
    return model.law.log_masses(params)


def _begin(model: AutoregressivePixels, previous: Array, condition: Array) -> Any:
    return jax.tree.map(jnp.asarray, model.begin(previous.shape[0], _given(condition)))


def _step(model: AutoregressivePixels, state: Any, i: Array, previous: Array) -> tuple[Array, Any]:
    return model.step(state, i, previous)
