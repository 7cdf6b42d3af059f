"""Named, typed functions that return a complete, frozen configuration: one for each shipped checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from engine.attributes import AttributeSchema, Category, Derived, Number
from engine.cohort.preprocess import PreprocessConfig
from engine.model import ModelConfig
from engine.nn.autoencoder import AutoencoderConfig
from engine.nn.transformer import TransformerConfig
from engine.training.autoencoder import AutoencoderTraining
from engine.training.flow import FlowTraining
from engine.training.pipeline import Recipe

WEIGHT = Derived(
    name="weight",
    unit="kg",
    low=20,
    high=350,
    scale=1e-4,
    powers=(("bmi", 1.0), ("height", 2.0)),
    description="body weight, computed from height and BMI",
)
PERSON = (
    Number(name="age", unit="years", low=18, high=100, description="age at scan"),
    Category(name="sex", levels=("F", "M"), description="sex"),
    Number(name="height", unit="cm", low=120, high=220, description="body height"),
    Number(name="bmi", unit="kg/m²", low=12, high=70, description="body mass index"),
)
ETHNICITIES = ("White", "Asian or Asian British", "Black or Black British", "Chinese", "Other")


def head_t1(size: str = "cpu") -> Recipe:
    """T1-weighted heads at 2 mm with age, sex, height, BMI and ethnicity; ``size`` cpu or gpu."""
    ethnicity = Category(name="ethnicity", levels=ETHNICITIES, description="self-reported ethnicity")
    grid = PreprocessConfig().grid
    image = AutoencoderConfig(grid=grid, latent=64, widths=(16, 48, 128, 160))
    recipe = Recipe(
        name="head_t1",
        title="Head, T1-weighted MRI",
        schema=AttributeSchema(columns=(*PERSON, ethnicity), derived=(WEIGHT,)),
        preprocess=PreprocessConfig(),
        model=ModelConfig(image=image, flow=TransformerConfig(width=192, depth=6, heads=4)),
        guidance=2.5,
    )
    if size == "cpu":
        return recipe
    return replace(
        recipe,
        model=ModelConfig(image=image, flow=TransformerConfig(width=320, depth=8, heads=8)),
        autoencoder=replace(recipe.autoencoder, steps=20000, batch=8),
        flow=replace(recipe.flow, steps=60000, batch=128, copies=64),
    )


def tiny(size: str = "cpu") -> Recipe:
    """A recipe of seconds for tests and first tries: 32 x 32 x 32 voxels, the columns of :func:`head_t1`."""
    del size
    grid = (32, 32, 32)
    return replace(
        head_t1(),
        name="tiny",
        title="Tiny test model",
        preprocess=replace(PreprocessConfig(), grid=grid, spacing=6.0),
        model=ModelConfig(
            image=AutoencoderConfig(grid=grid, latent=8, widths=(4, 8, 8, 16), blocks=1),
            flow=TransformerConfig(width=48, depth=2, heads=4),
        ),
        autoencoder=AutoencoderTraining(steps=40, batch=2, warmup=5, bfloat16=False),
        flow=FlowTraining(steps=60, batch=8, warmup=5, copies=2, bfloat16=False),
    )


RECIPES: dict[str, Callable[[str], Recipe]] = {"head_t1": head_t1, "tiny": tiny}
