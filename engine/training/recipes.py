"""Named, typed functions that return a complete, frozen configuration: one for each shipped checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from engine.anatomy.torso import TORSO
from engine.cohort.preprocess.preprocess import PreprocessConfig
from engine.cohort.store import CohortStore
from engine.model.config import (
    AutoencoderConfig,
    DetailConfig,
    MaskConfig,
    ModelConfig,
    TransformerConfig,
    table_config,
)
from engine.model.flow import NoiseMixture
from engine.phantom.atlas.build import volumes
from engine.phantom.heart.raster import RASTER as CINE
from engine.phantom.shape.frame import GRID, HD
from engine.phantom.skin.build import build_skin
from engine.training.augment import Augmentation
from engine.training.mask_classes import HEAD_CODES, HEART_CODES, HEART_WALLS, TORSO_CODES, mask_of
from engine.training.run import Progress
from engine.training.stages.anatomy.fit import AnatomyRecipe, train_anatomy
from engine.training.stages.atlas.fit import AtlasTraining
from engine.training.stages.autoencoder import AutoencoderTraining
from engine.training.stages.features import FeatureRecipe, head_features, heart_features, torso_features
from engine.training.stages.flow_examples import FlowTraining
from engine.training.stages.heart.measure import HeartRecipe, train_heart
from engine.training.stages.labelled_torsos import train_body_on
from engine.training.stages.local.detail import DetailTraining
from engine.training.stages.local.mask_detail import MaskDetailTraining
from engine.training.stages.local.refiner import RefinerTraining
from engine.training.stages.local.texture import TextureTraining
from engine.training.stages.mask import MaskTraining
from engine.training.stages.measure_head import MeasureRecipe, labelled_rows, train_measure
from engine.training.stages.measure_torso import BodyRecipe
from engine.vocabulary.catalogue import CATALOGUE, end_systolic_volume, weight
from engine.vocabulary.schema import AttributeSchema


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that makes a checkpoint besides the cohort: grid, columns, networks, training stages, seed.

    ``preprocess`` is None where the store is computed and not ingested, ``rows`` where the model has no network of rows,
    ``texture`` where the decoder is left as it is; ``mask`` is the segmentation that a model learns from a cohort with label
    maps, whose ``atlas`` is registered first where masks are decoded to one, and ``detail`` the local networks that it then has.
    ``autoencoder_share``, ``mask_share``, ``rows_share``, ``refiner_share``, ``mask_detail_share``, ``detail_share`` and
    ``texture_share`` are the parts of a limited training time that go to these stages, ``patient_steps`` those in which the flow
    learns patients beside a store's persons, ``guidance`` is the default weight of the
    finished model.
    """

    name: str
    title: str
    schema: AttributeSchema
    preprocess: PreprocessConfig | None
    model: ModelConfig
    autoencoder: AutoencoderTraining = field(default_factory=AutoencoderTraining)
    flow: FlowTraining = field(default_factory=FlowTraining)
    rows: FlowTraining | None = None
    texture: TextureTraining | None = None
    mask: MaskConfig | None = None
    mask_training: MaskTraining = field(default_factory=MaskTraining)
    atlas: AtlasTraining = field(default_factory=AtlasTraining)
    detail: DetailConfig | None = None
    detail_training: DetailTraining = field(default_factory=DetailTraining)
    refiner: RefinerTraining = field(default_factory=RefinerTraining)
    mask_detail: MaskDetailTraining = field(default_factory=MaskDetailTraining)
    autoencoder_share: float = 0.4
    mask_share: float = 0.15
    refiner_share: float = 0.1
    mask_detail_share: float = 0.15
    detail_share: float = 0.15
    rows_share: float = 0.1
    texture_share: float = 0.0
    patient_steps: int = 600
    guidance: float = 1.0
    seed: int = 0


WEIGHT = weight()
PERSON = (
    CATALOGUE["age"].number(),
    CATALOGUE["sex"].category(),
    CATALOGUE["height"].number(),
    CATALOGUE["bmi"].number(),
)
BODY = (
    CATALOGUE["ethnicity"].category(("white", "black", "south_asian", "east_asian", "other")),
    *(CATALOGUE[name].number() for name in ("waist", "body_fat", "sat", "vat", "muscle", "liver_volume", "liver_pdff")),
    CATALOGUE["smoking"].category(),
)
HEART_COLUMNS = (
    CATALOGUE["heart_rate"].number(),
    CATALOGUE["pathology"].category(),
    *(CATALOGUE[name].number() for name in ("lv_edv", "lv_ef", "lv_mass", "rv_edv", "rv_esv", "wall_thickness")),
)
ETHNICITIES = ("White", "Asian or Asian British", "Black or Black British", "Chinese", "Other")


def head_t1(size: str = "cpu") -> Recipe:
    """T1-weighted heads at 2 mm with age, sex, height, BMI and ethnicity; ``size`` cpu or gpu."""
    ethnicity = CATALOGUE["ethnicity"].category(ETHNICITIES, "self-reported ethnicity")
    grid = PreprocessConfig().grid
    image = AutoencoderConfig(grid=grid, latent=64, widths=(16, 48, 128, 160), skip=True)
    rows = TransformerConfig(width=48, depth=2)
    recipe = Recipe(
        name="head_t1",
        title="Head, T1-weighted MRI",
        schema=AttributeSchema(columns=(*PERSON, ethnicity), derived=(WEIGHT,)),
        preprocess=PreprocessConfig(),
        model=ModelConfig(image=image, flow=TransformerConfig(width=192, depth=6, heads=4), rows=rows),
        mask=mask_of(HEAD_CODES, atlas=True),
        mask_training=MaskTraining(mirror=0.5),
        detail=DetailConfig(),
        # few persons, so more deformed copies of each
        flow=FlowTraining(copies=24),
        rows=of_rows(steps=500),
        texture=TextureTraining(mirror=0.5),
        autoencoder_share=0.3,
        texture_share=0.3,
        guidance=2.5,
    )
    if size == "cpu":
        return recipe
    return replace(
        recipe,
        model=replace(recipe.model, flow=TransformerConfig(width=320, depth=8, heads=8)),
        autoencoder=replace(recipe.autoencoder, steps=20000, batch=8),
        flow=replace(recipe.flow, steps=60000, batch=128, copies=64),
    )


#: a scan is drawn for a whole row, so most examples have one
WHOLE_ROWS = NoiseMixture(
    equal=0.05, table_clean=0.65, image_clean=0.2, table_noise=0.02, independent=0.08, reveal=0.25
)


def torso_dixon(size: str = "cpu") -> Recipe:
    """In-silico torsos (``somatwin phantom``): water and fat images with body composition; ``size`` cpu or gpu.

    No deformation: persons are unlimited, and a body has a left and a right.
    """
    still = Augmentation(mirror=0, rotation=0, scale=0, shift=0, elastic=0, gain=0.03, gamma=0)
    image = AutoencoderConfig(grid=GRID, channels=len(TORSO.channels), latent=64, widths=(16, 48, 128, 160), skip=True)
    big = size == "gpu"
    flow = TransformerConfig(width=320, depth=8, heads=8) if big else TransformerConfig(width=192, depth=6, heads=4)
    return Recipe(
        name="torso_dixon",
        title="Torso, two-point Dixon MRI (computed persons)",
        schema=AttributeSchema(columns=(*PERSON, *BODY), derived=(WEIGHT,)),
        preprocess=None,
        model=ModelConfig(image=image, flow=flow, rank=64, table_rank=16, rows=TransformerConfig(width=96, depth=4)),
        autoencoder=AutoencoderTraining(steps=20000 if big else 6000, batch=8 if big else 2, augmentation=still),
        flow=FlowTraining(
            steps=60000 if big else 20000,
            batch=128 if big else 16,
            copies=1,
            augmentation=still,
            mixture=WHOLE_ROWS,
        ),
        rows=of_rows(steps=2000),
        texture=TextureTraining(),
        mask=mask_of(TORSO_CODES, latent=128),
        detail=DetailConfig(mask_steps=1),
        autoencoder_share=0.4,
        texture_share=0.3,
    )


def heart_cine(size: str = "cpu") -> Recipe:
    """In-silico hearts (``somatwin phantom --recipe heart_cine``): short-axis cines with volumes and function; ``size`` cpu or gpu.

    A token holds 16 x 16 x 4 voxels in all phases, so that space and time are coupled in every one of them. Volumes are
    counted, so copies of a person are turned and shifted, never scaled.
    """
    big = size == "gpu"
    image = AutoencoderConfig(
        grid=CINE.grid, channels=CINE.phases, latent=96, widths=(48, 96, 160, 192), patch=(16, 16, 4), skip=True
    )
    flow = TransformerConfig(width=384, depth=10, heads=8) if big else TransformerConfig(width=192, depth=6, heads=4)
    turned = Augmentation(mirror=0, rotation=2, scale=0, shift=(2, 2, 1), elastic=0, gain=0.04, gamma=0.04)
    return Recipe(
        name="heart_cine",
        title="Heart, short-axis cine MRI (computed persons)",
        schema=AttributeSchema(columns=(*PERSON, *HEART_COLUMNS), derived=(WEIGHT, end_systolic_volume())),
        preprocess=None,
        model=ModelConfig(
            image=image,
            flow=flow,
            rank=127,
            table_rank=16,
            rows=TransformerConfig(width=96, depth=4),
            calibrated=("lv_edv", "lv_ef", "lv_mass", "rv_edv", "rv_esv", "wall_thickness"),
        ),
        autoencoder=AutoencoderTraining(
            steps=20000 if big else 6000,
            batch=8 if big else 2,
            moving=2.0,
            augmentation=replace(turned, scale=0.03, elastic=0.8),
        ),
        flow=FlowTraining(
            steps=60000 if big else 20000,
            batch=128 if big else 32,
            copies=4,
            augmentation=turned,
            mixture=WHOLE_ROWS,
        ),
        rows=of_rows(steps=2000),
        detail=DetailConfig(classes=tuple(HEART_CODES), codes=tuple(HEART_CODES.values()), walls=HEART_WALLS),
        autoencoder_share=0.4,
        mask_share=0,
        refiner_share=0.15,
        detail_share=0.15,
        guidance=2.0,
    )


def torso_dixon_hd(size: str = "cpu") -> Recipe:
    """Torsos as :func:`torso_dixon`'s at 2 x 2 x 3 mm (``somatwin phantom --recipe torso_dixon_hd``): a cascade, whose tokens tell a
    torso at 4 x 4 x 6 mm, while local networks, whose steps cost as much as at any voxel size, learn the rest. No checkpoint of it is
    shipped."""
    recipe = torso_dixon(size)
    return replace(
        recipe,
        name="torso_dixon_hd",
        title="Torso, two-point Dixon MRI at 2 x 2 x 3 mm (computed persons)",
        model=replace(recipe.model, image=replace(recipe.model.image, grid=HD.grid, reduction=2)),
    )


def head_t1_1mm(size: str = "cpu") -> Recipe:
    """Heads as :func:`head_t1`'s at 1 mm: a cascade, whose tokens and atlas tell a head at 2 mm, so that it can begin with that model
    (``--from head-t1``), while local networks learn the rest. No checkpoint of it is shipped."""
    recipe, preprocess = head_t1(size), PreprocessConfig(grid=(192, 224, 224), spacing=1.0)
    return replace(
        recipe,
        name="head_t1_1mm",
        title="Head, T1-weighted MRI at 1 mm",
        preprocess=preprocess,
        model=replace(recipe.model, image=replace(recipe.model.image, grid=preprocess.grid, reduction=2)),
    )


def table(schema: AttributeSchema, size: str = "cpu") -> Recipe:
    """A cohort of people without scans (:class:`engine.cohort.sources.table.TableCohort`), its ``schema`` not yet fitted."""
    flow = TransformerConfig(width=256, depth=8, heads=8) if size == "gpu" else TransformerConfig(width=96, depth=4)
    return Recipe(
        name=TABLE,
        title="Table of people",
        schema=schema,
        preprocess=None,
        model=table_config(flow, schema),
        flow=of_rows(steps=20000),
    )


def of_rows(steps: int) -> FlowTraining:
    """Training on rows alone: there is no image whose level could differ from the columns'."""
    mixture = NoiseMixture(equal=0.6, table_clean=0, image_clean=0, table_noise=0, independent=0.4)
    return FlowTraining(steps=steps, batch=256, table_weight=1.0, mixture=mixture)


def private(recipe: Recipe) -> Recipe:
    """The recipe as it is trained within a privacy budget: in few steps, since the noise of each grows with the root of their number."""
    flow, rows = recipe.flow, recipe.rows
    return replace(
        recipe,
        flow=replace(flow, steps=min(flow.steps, PRIVATE_STEPS)),
        rows=replace(rows, steps=min(rows.steps, PRIVATE_STEPS)) if rows else None,
    )


def tiny(size: str = "cpu") -> Recipe:
    """A recipe of seconds for tests and first tries: 32 x 32 x 32 voxels, the columns of :func:`head_t1`."""
    del size
    grid = (32, 32, 32)
    return replace(
        head_t1(),
        name="tiny",
        texture=None,
        texture_share=0,
        mask=None,
        detail=None,
        title="Tiny test model",
        preprocess=replace(PreprocessConfig(), grid=grid, spacing=6.0),
        model=ModelConfig(
            image=AutoencoderConfig(grid=grid, latent=8, widths=(4, 8, 8, 16), blocks=1),
            flow=TransformerConfig(width=48, depth=2, heads=4),
            rows=TransformerConfig(width=16, depth=1, heads=2),
        ),
        autoencoder=AutoencoderTraining(steps=40, batch=2, warmup=5, bfloat16=False),
        flow=FlowTraining(steps=60, batch=8, warmup=5, copies=2, bfloat16=False),
        rows=replace(of_rows(steps=20), bfloat16=False),
    )


#: most steps of a stage within a privacy budget
PRIVATE_STEPS = 2000
#: the name of the recipe that :func:`table` makes for the cohort at hand
TABLE = "table"
#: recipes by name, of a size
RECIPES: dict[str, Callable[[str], Recipe]] = {
    "head_t1": head_t1,
    "head_t1_1mm": head_t1_1mm,
    "torso_dixon": torso_dixon,
    "torso_dixon_hd": torso_dixon_hd,
    "heart_cine": heart_cine,
    "tiny": tiny,
}
#: encoders whose features the evaluation takes distances in
ENCODERS: dict[str, Callable[[], FeatureRecipe]] = {
    "features_head": head_features,
    "features_torso": torso_features,
    "features_heart": heart_features,
}


@runtime_checkable
class RulerTraining(Protocol):
    """Trains a ruler on a labelled store; yields progress and leaves ``run_dir/checkpoint``.

    Raises :class:`engine.training.run.RunError` at once for a store that cannot be learned from.
    """

    def __call__(self, store: CohortStore, run_dir: Path, *, minutes: float | None = None) -> Iterator[Progress]: ...


@runtime_checkable
class PatientTraining(Protocol):
    """Trains a ruler as :class:`RulerTraining` does, and on a folder of ``patients`` where there is one."""

    def __call__(
        self, store: CohortStore, run_dir: Path, *, minutes: float | None = None, patients: Path | None = None
    ) -> Iterator[Progress]: ...


def measure_head(store: CohortStore, run_dir: Path, *, minutes: float | None = None) -> Iterator[Progress]:
    """The ruler of T1-weighted heads, from a store with DLMUSE labels."""
    recipe = MeasureRecipe()
    labelled_rows(recipe, store)
    return train_measure(recipe, store, run_dir, minutes=minutes)


def measure_torso(store: CohortStore, run_dir: Path, *, minutes: float | None = None) -> Iterator[Progress]:
    """The ruler of torsos, from an in-silico store with label maps."""
    return train_body_on(BodyRecipe(), store, run_dir, minutes=minutes)


def measure_heart(
    store: CohortStore, run_dir: Path, *, minutes: float | None = None, patients: Path | None = None
) -> Iterator[Progress]:
    """The ruler of hearts, from an in-silico store with label maps and, where given, a folder of patients with contours."""
    return train_heart(HeartRecipe(), store, run_dir, minutes=minutes, patients=patients)


#: rulers that learn from patients, too
PATIENTS: dict[str, PatientTraining] = {"measure_heart": measure_heart}
#: rulers, whose trainers know their recipe
RULERS: dict[str, RulerTraining] = {"measure_head": measure_head, "measure_torso": measure_torso, **PATIENTS}


@runtime_checkable
class ShapeTraining(Protocol):
    """Trains shapes on a folder of real geometry; yields progress and leaves ``run_dir/checkpoint``.

    Raises :class:`engine.vocabulary.refusal.Refusal` at once for a folder that cannot be learned from.
    """

    def __call__(self, folder: Path, run_dir: Path, *, minutes: float | None = None) -> Iterator[Progress]: ...


def anatomy(folder: Path, run_dir: Path, *, minutes: float | None = None) -> Iterator[Progress]:
    """The learned anatomy of the torso."""
    return train_anatomy(
        AnatomyRecipe(), volumes(folder), run_dir, minutes=minutes, extras=build_skin(folder / "skin_basis")
    )


#: learned shapes that the phantom is built of
SHAPES: dict[str, ShapeTraining] = {"anatomy": anatomy}
