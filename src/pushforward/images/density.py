"""`ImageDensity`: a model of images, fitted, sampled, scored in bits per dimension, edited and saved."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from pushforward._checks import check_int, message
from pushforward.images import latents
from pushforward.images.fitting import fit_images, rehearse_images, task_of, with_words
from pushforward.images.guidance import with_guidance as guided_model
from pushforward.images.pixel_map import PixelMap
from pushforward.images.reading.levels import Images, Layout, labels_of, level_type
from pushforward.images.reading.sources import read_alike, read_images
from pushforward.images.recipe import Recipe, recipe_of
from pushforward.images.scoring import Bits, bits_of, log_probs
from pushforward.images.training_options import ImageTraining
from pushforward.tables.errors import DataError
from pushforward.tables.estimators.seeds import seed_number
from pushforward.training import FitResult
from pushforward.training.tracking import AbstractTracker

if TYPE_CHECKING:
    from pushforward.images.guidance import Guidance
    from pushforward.images.restoration import Restored
    from pushforward.training.rehearsal import Rehearsal


class ImageDensity(BaseEstimator):
    r"""The law of images: a model of the zoo over the levels of their pixels.

    A continuous model is a flow over real images behind a map of the pixels, and is made a law of levels by noise
    (`distributions.Dequantized`): its bits per dimension are a bound. A discrete model has exact ones. Training and
    scoring run in float32.

    Args:
        flow: Name in `pushforward.images.IMAGE_ZOO`, such as `"realnvp"` or `"glow"`; `pf.images.describe()` lists
            them.
        flow_options: Options of the model, such as `{"width": 64}`; those that are absent have the model's defaults,
            which are smaller for images of up to 16 x 16 pixels and for less than 5,000 images.
        dequantization: `"uniform"` noise, or `"variational"` noise that is learned; None takes that of the model.
        pixel_map: `"histogram"`, `"logit"` or `"affine"` map from pixels to real numbers; None takes the histograms of
            pixels where these differ, as in images of digits, and the logit elsewhere, as in photographs.
        max_seconds: Time budget of the training; it shortens the schedule.
        flips: Whether training mirrors images left to right. The model then is that of both.
        training: An `ImageTraining`, or a mapping of some of its options, such as `{"max_epochs": 20}`.
        progress: How progress is shown: `"auto"` a bar on a terminal, False nothing.
        random_state: Seed: an integer, a NumPy `RandomState` or `Generator`, or None for NumPy's global state.

    Attributes:
        model_: The distribution over levels.
        flow_: The flow over real images, in the units of pixels; None for a discrete model.
        result_: The `FitResult` of the training; its verdict speaks of bits per dimension.
        held_out_bits_: `Bits` of the held-out images; None if none were held out.
        notes_: Remarks on the model, a sentence each.
        recipe_: What the model is made of, as data.
        classes_: The classes, or None.
        class_shares_: The share of each class among the images of the fit, or None.
        round_trip_: Largest distance, in standard deviations, at which an image or a sample came back from its latents.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> images = np.random.default_rng(0).integers(0, 4, (60, 4, 4)).astype(np.uint8)
        >>> density = pf.images.ImageDensity("gaussian").fit(images, n_levels=4)
        >>> density.sample(3).shape, density.score_samples(images).shape
        ((3, 1, 4, 4), (60,))
    """

    model_: Any
    flow_: Any
    result_: FitResult
    held_out_bits_: Bits | None
    notes_: tuple[str, ...]
    recipe_: Recipe
    classes_: np.ndarray | None
    class_shares_: np.ndarray | None
    round_trip_: float | None

    def __init__(
        self,
        flow: str = "realnvp",
        *,
        flow_options: Mapping[str, Any] | None = None,
        dequantization: Literal["uniform", "variational"] | None = None,
        pixel_map: PixelMap | None = None,
        max_seconds: float | None = None,
        flips: bool = False,
        training: ImageTraining | Mapping[str, Any] | None = None,
        progress: Any = False,
        random_state: Any = 0,
    ):
        self.flow = flow
        self.flow_options = flow_options
        self.dequantization = dequantization
        self.pixel_map = pixel_map
        self.max_seconds = max_seconds
        self.flips = flips
        self.training = training
        self.progress = progress
        self.random_state = random_state

    def fit(
        self,
        images: Any,
        labels: Any = None,
        *,
        n_levels: int | None = None,
        layout: Layout | None = None,
        stream: bool = False,
        checkpoint: str | os.PathLike | None = None,
        resume: bool = False,
        tracker: AbstractTracker | Sequence[AbstractTracker] | None = None,
    ) -> ImageDensity:
        """Fit the model to images.

        Args:
            images: Whole numbers `(n, H, W)`, `(n, H, W, C)` or `(n, C, H, W)`; the path of an NPZ file, a folder of
                PNG or JPEG files or a glob of them; see `pushforward.images.read_images`.
            labels: A class for each image, for a model of images given their class; None fits one without classes.
            n_levels: Number of levels of a pixel, where the type of the array does not say it.
            layout: `"channels_first"` or `"channels_last"`, where the array does not show it.
            stream: Whether files of a folder are decoded batch by batch while the model trains, so that they need not
                fit into memory.
            checkpoint: Folder for checkpoints, from which a fit that was killed goes on; see `pushforward.fit`.
            resume: Whether to go on from there.
            tracker: Tracker that gets the learning curve as it grows, or several.

        Raises:
            DataError: The images cannot be used.
            ValueError: An option is unknown or out of its bounds.
            FitError: Training diverged and could not be repaired.
        """
        found = read_images(images, n_levels=n_levels, layout=layout, stream=stream)
        classes, condition, recipe = self._planned(found, labels)
        shares = None if condition is None else condition.mean(0, dtype=np.float64)
        training = ImageTraining.of(self.training).filled(recipe.entry.training)
        fitted = fit_images(
            found,
            condition,
            recipe,
            training,
            flips=self.flips,
            max_seconds=self.max_seconds,
            seed=seed_number(self.random_state),
            progress=self.progress,
            options={"checkpoint": checkpoint, "resume": resume, "tracker": tracker},
        )
        self.recipe_, self.classes_, self.class_shares_ = recipe, classes, shares
        self._keep(fitted.model, with_words(fitted.result, fitted.bits))
        self.held_out_bits_, self.notes_, self.round_trip_ = fitted.bits, fitted.notes, fitted.round_trip
        self.n_images_ = len(found)
        return self

    def _planned(self, found: Images, labels: Any) -> tuple[np.ndarray | None, np.ndarray | None, Recipe]:
        """The classes, the conditions `(n, n_classes)` and the recipe of a fit to images."""
        classes, condition = None, None
        if labels is not None:
            own: Any = labels_of(labels, len(found), "ImageDensity.fit")
            classes, places = np.unique(own, return_inverse=True)
            condition = np.eye(len(classes), dtype=np.float32)[places]
        recipe = recipe_of(
            self.flow,
            self.flow_options,
            images=found,
            n_classes=None if classes is None else len(classes),
            dequantization=self.dequantization,
            pixel_map=self.pixel_map,
        )
        return classes, condition, recipe

    def rehearse(self, images: Images, labels: Any = None) -> tuple[Any, Rehearsal | None]:
        """The untrained model of a fit and its size, time and memory, some of whose steps are run; nothing is kept.

        Args:
            images: Images that `read_images` gave.
            labels: Their classes, as for `fit`.

        Returns:
            The model over levels, and the `Rehearsal`; None for a model that is set in closed form.
        """
        _, condition, recipe = self._planned(images, labels)
        training = ImageTraining.of(self.training).filled(recipe.entry.training)
        seed = seed_number(self.random_state)
        task = task_of(images, condition, recipe, training, flips=self.flips, seed=seed)
        return task.model, rehearse_images(task, training)

    def _keep(self, model: Any, result: FitResult) -> None:
        self.model_, self.result_ = model, result
        self.flow_ = getattr(model, "flow", None)

    def read(self, images: Any, name: str = "ImageDensity") -> Images:
        """Images of the kind of the fit, with the labels of their source if it has some.

        Args:
            images: Images as for `fit`.
            name: Name of the caller, for messages.

        Raises:
            DataError: They have another shape or another bit depth than those of the fit.
        """
        check_is_fitted(self, "model_")
        return read_alike(images, self.recipe_.shape, self.recipe_.n_levels, name)

    def _levels(self, images: Any, name: str) -> np.ndarray:
        return self.read(images, name).levels

    def _condition(self, labels: Any, n: int, name: str) -> np.ndarray | None:
        """The conditions `(n, n_classes)` of labels, one label for all or one for each image."""
        if self.classes_ is None:
            if labels is not None:
                fix = "Leave them out, or fit with labels."
                raise ValueError(message(name, "no labels (the model has no classes)", "labels", fix))
            return None
        own: Any = labels_of(np.broadcast_to(np.asarray(labels), (n,)), n, name)
        known = {label: place for place, label in enumerate(self.classes_.tolist())}
        unknown = [label for label in own.tolist() if label not in known]
        if unknown:
            fix = "The model knows the classes of its fit alone."
            raise DataError("labels", message(name, f"labels among {list(known)[:20]}", repr(unknown[0]), fix))
        return np.eye(len(known), dtype=np.float32)[[known[label] for label in own.tolist()]]

    def score_samples(self, images: Any, labels: Any = None, *, n_draws: int = 1, random_state: Any = 0) -> np.ndarray:
        r"""The log-probability of each image in nats, `(n,)`; for a dequantized density a random lower bound on it.

        Args:
            images: Images as for `fit`, of the shape and bit depth of the fit.
            labels: Their classes, for a model with classes; None sums over the classes by their shares in the fit.
            n_draws: Number of draws of the noise for each image: the bound rises with it.
            random_state: Seed of the noise.
        """
        levels = self._levels(images, "ImageDensity.score_samples")
        key = jax.random.key(seed_number(random_state))
        if self.classes_ is None or labels is not None:
            condition = self._condition(labels, len(levels), "ImageDensity.score_samples")
            return log_probs(self.model_, levels, condition, key, n_draws)
        each = []
        for place, share in enumerate(self.class_shares_ if self.class_shares_ is not None else ()):
            condition = np.tile(np.eye(len(self.classes_), dtype=np.float32)[place], (len(levels), 1))
            each.append(np.log(share) + log_probs(self.model_, levels, condition, key, n_draws))
        return np.logaddexp.reduce(each, axis=0)

    def bits_per_dim(self, images: Any, labels: Any = None, *, n_draws: int = 1, random_state: Any = 0) -> Bits:
        """Bits per dimension of images: mean, standard error, and whether the figure is exact or a bound.

        Args:
            images: Images as for `fit`, of the shape and bit depth of the fit.
            labels: As for `score_samples`.
            n_draws: Number of draws of the noise for each image: the bound falls with it.
            random_state: Seed of the noise.
        """
        scores = self.score_samples(images, labels, n_draws=n_draws, random_state=random_state)
        return bits_of(self.model_, scores, n_draws)

    def sample(
        self,
        n: int = 1,
        labels: Any = None,
        *,
        temperature: float = 1.0,
        guidance: Guidance | float = 0.0,
        random_state: Any = 0,
    ) -> np.ndarray:
        """New images `(n, C, H, W)`, uint8 for up to 256 levels.

        Args:
            n: Number of images. The same seed gives the same images, and more of them begin with the fewer.
            labels: A class for each, or one for all; None draws the classes by their shares in the fit.
            temperature: Factor of the latents of a flow: below 1 images are more typical and less varied.
            guidance: Weight that pulls images towards their class, such as 1 or 2, for `tarflow`, `flow_matching` and
                `score_sde`, at twice the cost; or a `ClassifierFree`, `ProductOfNormals` or `AttentionTemperature`.
                Without classes a weight pulls samples of `tarflow` away from those of a blurred attention. 0 is none.
            random_state: Seed.

        Raises:
            TypeError: The model cannot be guided, or a temperature is given for one without latents.
        """
        check_is_fitted(self, "model_")
        n, seed = check_int("ImageDensity.sample", "n", n, 1), seed_number(random_state)
        if labels is None and self.classes_ is not None:
            labels = np.random.default_rng(seed).choice(self.classes_, n, p=self.class_shares_)
        condition = self._condition(labels, n, "ImageDensity.sample")
        model = (
            self.model_ if isinstance(guidance, int | float) and guidance == 0 else guided_model(self.model_, guidance)
        )
        drawn = latents.draw(model, n, condition, jax.random.key(seed), temperature)
        return self._stored(drawn)

    def encode(self, images: Any, labels: Any = None) -> np.ndarray:
        """The latents `(n, C, H, W)` of images under the flow, each level taken at its middle.

        Args:
            images: Images as for `fit`.
            labels: Their classes, for a model with classes.
        """
        levels = self._levels(images, "ImageDensity.encode")
        return latents.encode(self.model_, levels, self._condition(labels, len(levels), "ImageDensity.encode"))

    def decode(self, z: Any, labels: Any = None) -> np.ndarray:
        """The images `(n, C, H, W)` of latents.

        Args:
            z: Latents `(n, C, H, W)`.
            labels: Their classes, for a model with classes.
        """
        check_is_fitted(self, "model_")
        z = np.asarray(z)
        condition = self._condition(labels, len(z), "ImageDensity.decode")
        return self._stored(latents.decode(self.model_, z, condition))

    def interpolate(self, first: Any, second: Any, n: int = 8, labels: Any = None) -> np.ndarray:
        """Images `(n, C, H, W)` on the way from one image to another, along a great circle of their latents.

        Args:
            first: The image at the start, `(C, H, W)`, or `(H, W)` of one channel.
            second: The image at the end.
            n: Number of images, both ends among them.
            labels: Class of all, for a model with classes.
        """
        ends = [np.asarray(image).reshape(1, *self.recipe_.shape) for image in (first, second)]
        z = self.encode(np.concatenate(ends), labels)
        return self.decode(latents.between(z[0], z[1], n), labels)

    def attribute_direction(self, images: Any, has: Any, labels: Any = None) -> np.ndarray:
        """The direction `(C, H, W)` of an attribute: mean latent of the images that have it less that of the others.

        Args:
            images: Images as for `fit`, some hundreds of each kind.
            has: A boolean for each image.
            labels: Their classes, for a model with classes.

        Raises:
            ValueError: All images have the attribute, or none.

        Source: Kingma and Dhariwal, 2018, section 5.4, arXiv 1807.03039.
        """
        z, chosen = self.encode(images, labels), np.asarray(has, bool)
        if chosen.shape != (len(z),) or chosen.all() or not chosen.any():
            fix = "Pass True for each image with the attribute, False for each without."
            got = f"{chosen.sum()} of {chosen.size} True"
            raise ValueError(message("attribute_direction", f"{len(z)} booleans of both kinds", got, fix))
        return z[chosen].mean(0) - z[~chosen].mean(0)

    def edit(self, image: Any, direction: Any, amount: Any = 1.0, labels: Any = None) -> np.ndarray:
        """An image moved along a direction of its latent: `(C, H, W)`, or one for each amount.

        Args:
            image: The image, `(C, H, W)`, or `(H, W)` of one channel.
            direction: Direction of latents, such as `attribute_direction` gives.
            amount: How far to go, a number or several: 1 is from the mean of those without to those with the attribute.
            labels: Class of the image, for a model with classes.
        """
        z = self.encode(np.asarray(image).reshape(1, *self.recipe_.shape), labels)
        steps = np.asarray(amount, np.float32).reshape(-1, 1, 1, 1)
        moved = self.decode(z + steps * np.asarray(direction), labels)
        return moved if np.ndim(amount) else moved[0]

    def restore(
        self,
        images: Any,
        labels: Any = None,
        *,
        mask: Any = None,
        factor: int | None = None,
        noise_sd: float = 0.0,
        n_draws: int = 16,
        method: Any = "auto",
        random_state: Any = 0,
    ) -> Restored:
        """Draws of images behind observations of them: inpainting, super-resolution or denoising.

        It is `pushforward.images.restore` with this model.

        Args:
            images: Observations, of any source that `read_images` takes: with `mask` images whose unknown pixels may
                have any level, with `factor` images of means over blocks.
            labels: Their classes, for a model with classes.
            mask: Booleans `(H, W)` or `(C, H, W)`, True where a pixel is known; or the known part by name, such as
                `"left-half"`.
            factor: Side of a block.
            noise_sd: Standard deviation of the noise, in levels.
            n_draws: Number of draws of each image, 2 or more.
            method: `"auto"`, or a method of `inverse_problems` for flows, such as `HMC(n_rounds=40)`.
            random_state: Seed.
        """
        from pushforward.images.restoration import restore

        check_is_fitted(self, "model_")
        asked: dict[str, Any] = {"mask": mask, "factor": factor, "noise_sd": noise_sd, "n_draws": n_draws}
        return restore(self, images, labels, **asked, method=method, random_state=seed_number(random_state))

    def _stored(self, levels: np.ndarray) -> np.ndarray:
        return np.asarray(levels).astype(level_type(self.recipe_.n_levels))

    def describe(self) -> str:
        """What the model is and how good, in a few sentences."""
        check_is_fitted(self, "model_")
        recipe, shape = self.recipe_, " x ".join(map(str, self.recipe_.shape))
        given = "" if self.classes_ is None else f" given one of {len(self.classes_)} classes"
        kind = "exact" if recipe.entry.kind == "discrete" else f"a bound, with {recipe.dequantization} noise"
        lines = [
            f"{recipe.flow} over images of {shape} pixels with {recipe.n_levels} levels{given}; bits are {kind}.",
            self.result_.verdict.text,
            *self.notes_,
        ]
        return "\n".join(lines)

    def save(self, folder: str | os.PathLike, *, force: bool = False) -> None:
        """Write the model to a folder of JSON and safetensors with a manifest, complete or not at all.

        Args:
            folder: Folder to write.
            force: Whether an existing model folder is replaced.

        Raises:
            FileExistsError: The folder exists and `force` is False, or it holds other files.
        """
        from pushforward.images.folder import save_images_model

        check_is_fitted(self, "model_")
        save_images_model(self, folder, force=force)

    @staticmethod
    def load(folder: str | os.PathLike) -> ImageDensity:
        """Read a model that `save` wrote. Nothing in the folder is run as code.

        Args:
            folder: The folder.

        Raises:
            UntrustedModelError: The folder is damaged or altered, or holds another kind of model.
        """
        from pushforward.images.folder import load_images_model

        return load_images_model(folder)
