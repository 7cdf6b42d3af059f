"""The baseline that any generator should beat: a normal distribution of autoencoder latents, given the table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from engine.cohort.store import CohortStore
from engine.inference.generate import Model
from engine.vocabulary.schema import Row

#: training persons it is fitted on, at most
PERSONS = 300
#: weight of the ridge that regresses scores on attributes, in persons
RIDGE = 5.0


@dataclass(frozen=True, kw_only=True)
class LatentGaussian:
    """Latents ~ N(mean + (b a) V, V' R V) with attributes' codes a, principal directions V (r, n * c), slopes b (r, k * d) and the
    residual's covariance R = root root'. Directions: all that the training persons span."""

    mean: np.ndarray
    directions: np.ndarray
    slopes: np.ndarray
    root: np.ndarray

    @classmethod
    @torch.inference_mode()
    def fitted(cls, model: Model, store: CohortStore, rows: Int[np.ndarray, " n"]) -> LatentGaussian:
        """Fit to the bare latents of the store's ``rows`` (the first :data:`PERSONS`), missing cells as the mean."""
        net, coded = model.checkpoint.model, []
        state, _ = model.schema.encode([store.rows[i] for i in rows[:PERSONS]])
        none = torch.zeros(1, net.codes.shape[0], dtype=torch.bool, device=model.device)
        table = torch.zeros(1, *net.codes.shape, device=model.device)
        for row in rows[:PERSONS]:
            volume = torch.from_numpy(store.scan(row))[None].to(model.device)
            coded.append(net.encode(volume, table, none)[0].flatten().cpu().numpy())
        latents, codes = np.stack(coded).astype(float), state.reshape(len(state), -1).astype(float)
        mean = latents.mean(0)
        left, values, directions = np.linalg.svd(latents - mean, full_matrices=False)
        scores = (left * values)[:, : len(values) - 1]
        slopes = np.linalg.solve(codes.T @ codes + RIDGE * np.eye(codes.shape[1]), codes.T @ scores).T
        rest = scores - codes @ slopes.T
        covariance = rest.T @ rest / max(1, len(rest) - 1)
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.clip(values, 0, None))
        return cls(mean=mean, directions=directions[: scores.shape[1]], slopes=slopes, root=root)

    def save(self, folder: str | Path) -> None:
        """Into ``folder/gaussian.npz``."""
        parts = {name: getattr(self, name).astype(np.float32) for name in ("mean", "directions", "slopes", "root")}
        np.savez(Path(folder) / "gaussian.npz", **parts)

    @classmethod
    def load(cls, folder: str | Path) -> LatentGaussian:
        """What :meth:`save` wrote."""
        with np.load(Path(folder) / "gaussian.npz") as parts:
            return cls(**{name: parts[name] for name in parts.files})

    @torch.inference_mode()
    def draw(self, model: Model, row: Row, seed: int) -> Float[np.ndarray, "c x y z"]:
        """One volume of a person with the attributes ``row``."""
        known: dict[str, Any] = {c.name: row.get(c.name) for c in model.schema.columns}
        codes = model.schema.encode([known])[0].reshape(-1)
        noise = np.random.default_rng([seed, 1]).standard_normal(self.root.shape[1])
        latent = self.mean + (self.slopes @ codes + self.root @ noise) @ self.directions
        image = model.checkpoint.model.config.image
        state = torch.from_numpy(latent.astype(np.float32)).reshape(1, image.tokens, image.latent).to(model.device)
        return model.checkpoint.model.decode(state)[0].cpu().numpy()
