"""One person to numbers: made or read, then seen by the frozen encoder, the radiomics, the ruler and the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool3d

from engine.anatomy import region_named
from engine.checkpoints.files import CheckpointError
from engine.cohort.store import CohortStore
from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.radiomics import radiomics
from engine.evaluation.metrics.realism.patches import blocks_of
from engine.evaluation.metrics.realism.score_model import LocalScoreModel
from engine.evaluation.subjects.appearance import appearance, crops, ribbon_of
from engine.evaluation.subjects.gaussian import LatentGaussian
from engine.imaging.volume import Volume, VolumeError, finite
from engine.inference.counterfactual import counterfactual
from engine.inference.generate import Model, load
from engine.inference.infer import infer
from engine.measure.features import FeatureEncoder
from engine.measure.foreign_features import ForeignEncoder, foreign
from engine.measure.shipped import load_ruler
from engine.model.flow import Joint, Levels, interpolate, shifted
from engine.model.joint import JointModel
from engine.vocabulary.schema import Row

#: the columns' noise levels at which the velocity's loss is taken, each with two draws of noise
LOSS_LEVELS = (0.15, 0.35, 0.55, 0.75, 0.95)
LOSS_DRAWS = 2
#: draws of a person's table from the bare scan
INFER_DRAWS = 16
#: steps of a what-if, backwards and forwards
WHATIF_STEPS = 16
#: SD of the noise of a perturbed replay, in intensities of 0..1, and its largest shift in voxels
REPLAY_NOISE, REPLAY_SHIFT = 0.02, 1
#: evaluations of a draw of the local score model
LOCAL_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class Setting:
    """All a worker needs to build itself; plain enough to be sent to another process. ``region`` is what is measured."""

    checkpoint: str
    store: str
    device: str
    seed: int
    steps: int
    guidance: float | None
    encoder: str | None
    region: str | None
    folder: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """One person of a ``side``: ``make`` says how (real, sample, gaussian, replay, local, mean), ``index`` is the store's row or the
    seed, ``given`` the attributes asked for, ``wants`` what is extracted."""

    side: str
    number: int
    make: str
    index: int
    given: tuple[tuple[str, Any], ...] = ()
    wants: tuple[str, ...] = ("features",)


@dataclass(frozen=True, eq=False)
class Extracted:
    """A person's id, row and arrays."""

    id: str
    row: Row
    arrays: dict[str, np.ndarray]


def encoder_at(path: str | Path, channels: int) -> FeatureEncoder | ForeignEncoder:
    """The frozen encoder in a folder, or somebody else's weights in a file."""
    return FeatureEncoder.load(path) if Path(path).is_dir() else foreign(path, channels)


class Extractor:
    """A worker: the model, the store, the ruler and the encoder, loaded once."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.model: Model = load(setting.checkpoint, setting.device)
        self.store = CohortStore.open(setting.store)
        self.ruler = None if setting.region is None else load_ruler(region_named(setting.region))
        self.encoder = None if setting.encoder is None else encoder_at(setting.encoder, len(self.store.channels))
        self.gaussian: LatentGaussian | None = None
        self.local: LocalScoreModel | None = None
        self.extractions = {
            "features": self._features,
            "measures": self._measures,
            "appearance": lambda data, task: appearance(data, self.store.channels),
            "crops": lambda data, task: crops(data, self.setting.seed, task.number),
            "patches": lambda data, task: {"patches": blocks_of(data)},
            "slices": self._slices,
            "small": self._small,
            "reconstruction": self._reconstruction,
            "infer": self._infer,
            "whatif": self._whatif,
            "loss": self._loss,
        }

    def person(self, task: Task) -> Extracted:
        """Make or read the person and extract what the task wants.

        A real scan that cannot be used is an :class:`EvaluationError` that names the person; of a made one the arrays are NaN.
        """
        name, row, data = self._made(task)
        arrays: dict[str, np.ndarray] = {}
        try:
            for want in task.wants:
                arrays |= self.extractions[want](data, task)
        except EvaluationError as error:
            if task.make in ("real", "replay"):
                raise EvaluationError(f"{name}: {error}") from None
            arrays |= {"empty": np.array(True)}
        return Extracted(name, row, arrays)

    def _made(self, task: Task) -> tuple[str, Row, Float[np.ndarray, "c x y z"]]:
        if task.make in ("real", "replay"):
            row = self.store.rows[task.index]
            data = self.store.scan(task.index)
            if task.make == "replay":
                rng = np.random.default_rng([self.setting.seed, task.number])
                data = np.roll(data, rng.integers(-REPLAY_SHIFT, REPLAY_SHIFT + 1, 3), (1, 2, 3))
                data = np.clip(data + REPLAY_NOISE * rng.standard_normal(data.shape, np.float32), 0, 1)
            known = {name: row.get(name) for name in self.model.schema.names}
            for derived in self.model.schema.derived:
                if known[derived.name] is None:
                    known[derived.name] = derived.value(row)
            return str(row["participant_id"]), known, data
        if task.make == "mean":
            return "mean", {}, np.load(f"{self.setting.folder}/mean.npy").astype(np.float32)
        if task.make == "local":
            rng = np.random.default_rng([self.setting.seed, task.index])
            return f"local-{task.index}", {}, self._local().sample(rng, LOCAL_STEPS).clip(0, 1)
        if task.make == "gaussian":
            self.gaussian = self.gaussian or LatentGaussian.load(self.setting.folder)
            row = dict(task.given)
            return f"seed-{task.index}", row, self.gaussian.draw(self.model, row, task.index)
        (person,) = self.model.generate(
            n=1, given=dict(task.given), seed=task.index, steps=self.setting.steps, guidance=self.setting.guidance
        )
        return (
            f"seed-{task.index}",
            person.attributes,
            np.asarray(person.volume.data, np.float32).reshape(-1, *self.store.grid),
        )

    def _local(self) -> LocalScoreModel:
        """The score model of the training persons in ``local.npy``, loaded once."""
        if self.local is None:
            rows = np.load(f"{self.setting.folder}/local.npy")
            self.local = LocalScoreModel(training=np.stack([self.store.scan(int(row)) for row in rows]))
        return self.local

    def _features(self, data: np.ndarray, task: Task) -> dict[str, np.ndarray]:
        found = {"radiomics": radiomics(data[None])[0]}
        if self.encoder is not None:
            found["encoded"] = self.encoder.encode(data[None])[0]
        return found

    def _measures(self, data: np.ndarray, task: Task) -> dict[str, np.ndarray]:
        if self.ruler is None:
            return {}
        volume = Volume(data[0] if len(data) == 1 else data, self.store.affine, self.store.channels)
        arrays = {}
        try:
            if "appearance" in task.wants and self.ruler.region.cortex:
                found = self.ruler.classes_on(finite(volume))
                arrays = ribbon_of(found, self.ruler.region.cortex)
                values = self.ruler.values_of(found)
            else:
                values = self.ruler.measure(volume)
        except (VolumeError, CheckpointError):
            values = {}
        return arrays | {"measures": np.array([values.get(name, np.nan) for name in self.ruler.measures])}

    def _slices(self, data: np.ndarray, task: Task) -> dict[str, np.ndarray]:
        middles = [n // 2 for n in data.shape[1:]]
        return {
            f"slice{axis}": np.rint(255 * np.take(data, middles[axis], 1 + axis)).astype(np.uint8) for axis in range(3)
        }

    def _small(self, data: np.ndarray, task: Task) -> dict[str, np.ndarray]:
        return {"small": np.rint(255 * avg_pool3d(torch.from_numpy(data)[None], 2)[0].numpy()).astype(np.uint8)}

    @torch.inference_mode()
    def _reconstruction(self, data: np.ndarray, task: Task) -> dict[str, np.ndarray]:
        net = self.model.checkpoint.model
        volume = torch.from_numpy(data)[None].to(self.model.device)
        table = torch.zeros(1, *net.codes.shape, device=self.model.device)
        none = torch.zeros(1, net.codes.shape[0], dtype=torch.bool, device=self.model.device)
        back = net.decode(net.encode(volume, table, none))
        error = (back - volume).square().mean(1)[0].cpu().numpy()
        mask = np.asarray(self.store.mask[task.index])
        found = {"whole_mse": np.array(error.mean()), "inside_mse": np.array(error[mask].mean())}
        if "infer" in task.wants:  # of the few that are read, since it takes as long as all else
            from monai.metrics.regression import SSIMMetric

            ssim = SSIMMetric(spatial_dims=3, data_range=1.0)(back.cpu(), volume.cpu())
            found["ssim_value"] = np.array(float(torch.as_tensor(ssim).mean()))
        return found

    def _infer(self, data: np.ndarray, task: Task) -> dict[str, np.ndarray]:
        volume = Volume(data[0] if len(data) == 1 else data, self.store.affine, self.store.channels)
        seed = self.setting.seed + INFER_DRAWS * task.index  # noise of their own, or persons would not count as so many
        draws = infer(self.model, volume, samples=INFER_DRAWS, seed=seed)
        state, _ = self.model.schema.encode(draws)
        return {"inferred": state.astype(np.float32)}

    def _whatif(self, data: np.ndarray, task: Task) -> dict[str, np.ndarray]:
        """The scan's person at another value of one attribute, and back; before any residual is added back. What their body
        is made of follows."""
        row = self.store.rows[task.index]
        follows = () if self.ruler is None else self.ruler.region.composition
        columns = [column.name for column in self.model.schema.columns if column.name not in follows]
        fact = {name: row[name] for name in columns if row.get(name) is not None}
        ((name, value),) = task.given
        scan = Volume(data[0] if len(data) == 1 else data, self.store.affine, self.store.channels)
        there = counterfactual(self.model, scan, factual=fact, intervention={name: value}, steps=WHATIF_STEPS)
        back = counterfactual(
            self.model, there.volume, factual={**fact, name: value}, intervention={name: fact[name]}, steps=WHATIF_STEPS
        )
        kept = [scan, there.reconstruction, there.null, back.volume]
        volumes = np.stack([np.asarray(v.data, np.float32).reshape(data.shape) for v in kept])
        found = {
            "asked": np.array([float(fact[name]), float(value)]),
            "volumes": np.rint(255 * volumes.clip(0, 1)).astype(np.uint8),
            "inside": np.asarray(self.store.mask[task.index]),
        }
        for when, volume in (("before", there.reconstruction), ("after", there.volume)):
            seen = np.asarray(volume.data, np.float32).reshape(data.shape)
            parts = self._features(seen, task) | self._measures(seen, task)
            found |= {f"{when}_{key}": array for key, array in parts.items()}
        return found

    @torch.inference_mode()
    def _loss(self, data: np.ndarray, task: Task) -> dict[str, np.ndarray]:
        net, device = self.model.checkpoint.model, self.model.device
        state, known = (torch.from_numpy(a).to(device) for a in self.model.schema.encode([self.store.rows[task.index]]))
        bare = net.encode(torch.from_numpy(data)[None].to(device), state, torch.zeros_like(known))
        image, table = _velocity_errors(net, Joint(bare, state), known)
        found = {"image_loss": image, "table_loss": table}
        if net.rows is not None:
            found["rows_loss"] = _velocity_errors(net.rows, Joint(bare[:, :0, :1], state), known)[1]
        return {name: error.cpu().numpy() for name, error in found.items()}


def _velocity_errors(
    net: JointModel, person: Joint, known: Bool[Tensor, "1 k"]
) -> tuple[Float[Tensor, " draws"], Float[Tensor, " draws"]]:
    """Mean squared error of the velocity of one person's image and known columns, at every level and draw."""
    count = len(LOSS_LEVELS) * LOSS_DRAWS
    t = torch.tensor(LOSS_LEVELS, device=known.device).repeat(LOSS_DRAWS)
    noise = net.noise(list(range(count)))
    columns = torch.where(known, t[:, None], 1.0)
    levels = Levels(shifted(t, net.config.shift), columns, torch.ones_like(t))
    clean = Joint(person.image.expand(count, -1, -1), person.table.expand(count, -1, -1), noise.mask)
    found = net.velocity(interpolate(clean, noise, levels), levels)
    beside = (found.table - (noise.table - clean.table)).square().sum(-1) * known
    image = (found.image - (noise.image - clean.image)).square().mean((1, 2))
    return image, beside.sum(1) / known.sum().clamp(min=1)
