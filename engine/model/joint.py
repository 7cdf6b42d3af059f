"""The joint model: autoencoder, fusion and velocity network over one latent for a scan and its table."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from engine.model.axes import Axes, directions_of, principal
from engine.model.calibration import Calibration
from engine.model.config import ModelConfig, table_config
from engine.model.flow import Joint, Levels
from engine.model.linear import LinearFlow
from engine.model.nn import large
from engine.model.nn.atlas_autoencoder import AtlasAutoencoder, mask_autoencoder
from engine.model.nn.autoencoder import Autoencoder
from engine.model.nn.cascade import Cascade
from engine.model.nn.detail import Detail, Refiner, Tissues
from engine.model.nn.embedding import Fusion
from engine.model.nn.mask_detail import MaskDetail
from engine.model.nn.transformer import JointTransformer
from engine.model.prior import (
    FactorPrior,
    covariance_beside_scans,
    factor_scores,
    factor_velocity,
    fit_column_factors,
    fit_image_factors,
    fit_slopes,
    row_terms,
)
from engine.model.sampler import Known, person_noise
from engine.vocabulary.schema import AttributeSchema


class JointModel(nn.Module):
    """p(scan, table): encode a person to the joint latent, the velocity field on it, decode it to a volume.

    The diffused image tokens are standardised: centred by place, rotated to the latent's principal axes, and divided by
    SD ** ``whitening`` so that large-scale channels keep more variance and are learned first.

    ``rows`` is the field where no scan is known (image level 1), the side of the square of noise levels along which a free
    person's row is drawn, before the scan is drawn for that row: p(table) p(scan | table). It is a model of tables, which
    learns from whole rows at a hundredth of the cost of a step with image tokens; None leaves that side to the joint network.

    ``correction`` is the regression on the row (:func:`engine.model.prior.row_terms`) of what the network's mean image of that row lacks,
    by which a scan drawn for a whole row is moved (:mod:`engine.training.stages.correction`).
    """

    centre: Tensor
    rotation: Tensor
    scale: Tensor
    image_loadings: Tensor
    table_loadings: Tensor
    table_centre: Tensor
    image_variance: Tensor
    table_variance: Tensor
    codes: Tensor
    correction: Tensor
    mask_centre: Tensor
    mask_rotation: Tensor
    mask_scale: Tensor
    mask_loadings: Tensor
    mask_variance: Tensor

    def __init__(self, config: ModelConfig, schema: AttributeSchema) -> None:
        super().__init__()
        self.config, self.schema, self.cascade = config, schema, Cascade.of(config.image)
        latent, tokens = config.image.latent, config.image.tokens
        codes = torch.from_numpy(schema.mask)
        columns, code = codes.shape
        if self.has_image:
            self.autoencoder = Autoencoder(config.image)
        self.rows = JointModel(table_config(config.rows, schema), schema) if config.rows else None
        self.fusion = Fusion(latent, tokens, columns, code, 64) if config.flow.fusion and self.has_image else None
        self.velocity_net = JointTransformer(
            config.flow,
            latent=latent,
            token_grid=config.image.token_grid,
            columns=columns,
            code=code,
            mask_latent=self.mask_latent,
        )
        self.register_buffer("centre", torch.zeros(tokens, latent))
        self.register_buffer("rotation", torch.eye(latent))
        self.register_buffer("scale", torch.ones(latent))
        factors = config.rank + config.table_rank
        self.register_buffer("image_loadings", torch.zeros(tokens, latent, factors))
        self.register_buffer("table_loadings", torch.zeros(columns, code, factors))
        self.register_buffer("table_centre", torch.zeros(columns, code))
        self.register_buffer("image_variance", torch.ones(tokens, latent))
        self.register_buffer("table_variance", torch.ones(columns, code))
        self.register_buffer("codes", codes, persistent=False)
        if self.has_image:
            self.register_buffer("correction", torch.zeros(2 * int(codes.sum()) + 1, tokens, latent))
        self.calibration = Calibration(config.calibrated, schema) if config.calibrated else None
        if config.mask:
            self.mask_autoencoder = mask_autoencoder(config.mask, config.image.coded, config.image.channels)
            self._register_mask(tokens, self.mask_latent, factors)
        if config.detail:
            classes = len((config.mask or config.detail).classes)
            frames, grid = config.image.channels, config.image.grid
            self.detail = Detail(config.detail, frames, classes, grid, atlas=self.atlas is not None)
            if config.mask:
                self.refiner = Refiner(config.detail, frames, classes, grid)
            elif classes:
                self.tissues = Tissues(config.detail, frames, grid, 2 * int(codes.sum()) + 1)
            if self.draws_masks:
                maps = 1 if config.mask else frames
                self.mask_detail = MaskDetail(config.detail, frames, classes, grid, maps=maps)

    def _register_mask(self, tokens: int, latent: int, factors: int) -> None:
        """The standardisation and the linear Gaussian part of the mask."""
        self.register_buffer("mask_centre", torch.zeros(tokens, latent))
        self.register_buffer("mask_rotation", torch.eye(latent))
        self.register_buffer("mask_scale", torch.ones(latent))
        self.register_buffer("mask_loadings", torch.zeros(tokens, latent, factors))
        self.register_buffer("mask_variance", torch.ones(tokens, latent))

    @property
    def has_mask(self) -> bool:
        """Whether the model knows segmentations."""
        return self.config.mask is not None

    @property
    def atlas(self) -> AtlasAutoencoder | None:
        """The mask autoencoder that decodes through an atlas; None where there is none."""
        coder = self.mask_autoencoder if self.has_mask else None
        return coder if isinstance(coder, AtlasAutoencoder) else None

    @property
    def tells_tissues(self) -> bool:
        """Whether the detail goes by classes that are told apart in the decoded scan, without a mask."""
        return self.config.detail is not None and self.config.mask is None and bool(self.config.detail.classes)

    @property
    def draws_masks(self) -> bool:
        """Whether the detail of masks, or of tissues, is drawn."""
        return self.config.detail is not None and self.config.detail.mask_steps > 0

    @property
    def mask_latent(self) -> int:
        """Channels of a mask token, 0 without."""
        return self.config.mask.latent if self.config.mask else 0

    @property
    def has_image(self) -> bool:
        """Whether the model knows scans, or tables only."""
        return self.config.image.tokens > 0

    @property
    def alone(self) -> JointModel:
        """The model of the columns where no scan is known: :attr:`rows`, or else this one."""
        return self.rows or self

    def noise(self, seeds: list[int]) -> Joint:
        """Noise of the joint state, a person a seed (:func:`engine.model.sampler.person_noise`)."""
        image = self.config.image
        return person_noise(
            seeds,
            image.tokens,
            image.latent,
            self.codes.cpu(),
            self.codes.device,
            mask_latent=self.mask_latent,
        )

    def fuse(
        self, bare: Float[Tensor, "b n c"], table: Float[Tensor, "b k d"], given: Bool[Tensor, "b k"]
    ) -> Float[Tensor, "b n c"]:
        """Bare latents with the given columns fused in; what is not given has no influence (see :class:`Fusion`)."""
        return bare if self.fusion is None else self.fusion(bare, table, given)

    def standardise(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Autoencoder latents to the diffused state."""
        return self._axes.standardise(tokens)

    def restore(self, state: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """The diffused state to autoencoder latents; inverse of :meth:`standardise`."""
        return self._axes.restore(state)

    @property
    def _axes(self) -> Axes:
        return Axes(self.centre, self.rotation, self.scale)

    @property
    def _mask_axes(self) -> Axes:
        return Axes(self.mask_centre, self.mask_rotation, self.mask_scale)

    @torch.no_grad()
    def fit_standardisation(self, tokens: Float[Tensor, "m n c"], whitening: float) -> None:
        """Set the standardisation to the moments of training latents; mean variance of the state becomes 1."""
        self._axes.fit(tokens, whitening)

    @torch.no_grad()
    def fit_mask(self, masks: Float[Tensor, "p n m"], image: Float[Tensor, "p n c"], whitening: float) -> None:
        """Set the mask's standardisation, and its slopes on the image's factors, to persons who have both: ``masks`` latents,
        ``image`` diffused states; after :meth:`fit_prior`."""
        self._mask_axes.fit(masks, whitening)
        state = self._mask_axes.standardise(masks)
        scores = factor_scores(self.prior, image)
        slopes, variance = fit_slopes(state, scores)
        self.mask_loadings.copy_(slopes)
        self.mask_variance.copy_(variance)

    @torch.no_grad()
    def fit_prior(
        self, image: Float[Tensor, "p v n c"], table: Float[Tensor, "p k d"], known: Bool[Tensor, "p k"]
    ) -> None:
        """Fit the linear Gaussian part to p persons: ``image`` their diffused states in v versions, and their columns.

        The image has as many factors as the model's rank, but at most half as many as persons
        (:func:`engine.model.prior.fit_image_factors`, :func:`engine.model.prior.fit_column_factors`).
        """
        rank = min(self.config.rank, len(image) // 2) if self.has_image else 0
        scores = image.new_zeros(len(image), 0)
        if rank:
            found = fit_image_factors(image, rank)
            self.image_loadings.zero_()[..., :rank] = found.loadings
            self.image_variance.copy_(found.variance)
            scores = found.scores
        columns = fit_column_factors(
            table, known, self.codes, scores, rank=self.config.rank, table_rank=self.config.table_rank
        )
        self.table_centre.copy_(columns.centre)
        self.table_loadings.copy_(columns.loadings)
        self.table_variance.copy_(columns.variance)

    @property
    def prior(self) -> FactorPrior:
        """The linear Gaussian part, columns about :attr:`table_centre`."""
        image_and_table = (self.image_loadings, self.table_loadings, self.image_variance, self.table_variance)
        if not self.has_mask:
            return FactorPrior(*image_and_table)
        return FactorPrior(*image_and_table, self.mask_loadings, self.mask_variance)

    def velocity(self, state: Joint, levels: Levels) -> Joint:
        """E[e - z | z_t]: the closed-form linear Gaussian part plus what the network has learned."""
        known, mean = self._closed_form(state, levels)
        found = self.velocity_net(state._replace(table=state.table * self.codes), mean, levels)
        table = (found.table + known.table - self.table_centre) * self.codes
        return Joint(found.image + known.image, table, found.mask + known.mask)

    def _closed_form(self, state: Joint, levels: Levels) -> tuple[Joint, Joint]:
        """:func:`engine.model.prior.factor_velocity` of the linear Gaussian part, columns off their centre."""
        with torch.autocast(state.image.device.type, enabled=False):
            off_centre = state.table - (1 - levels.table[..., None]) * self.table_centre
            return factor_velocity(state._replace(table=off_centre), levels, self.prior)

    def corrected(self, known: Known) -> Float[Tensor, "b n c"]:
        """By how much the mean image of a row is to be moved; 0 unless the whole row, and no mask, is given."""
        moved = torch.einsum("bf,fnc->bnc", row_terms(known.value.table, self.codes), self.correction)
        return moved * (known.table.all(1) & ~known.mask)[:, None, None]

    def calibrated(self, known: Known) -> Known:
        """For which row to draw a scan (:class:`Calibration`); as it is ``known`` unless the whole row, and no mask, is given."""
        if self.calibration is None:
            return known
        whole, table = (known.table.all(1) & ~known.mask)[:, None, None], known.value.table
        return known._replace(value=known.value._replace(table=torch.where(whole, self.calibration(table), table)))

    def linear(self, known: Known) -> LinearFlow:
        """What the sampler solves exactly: the linear Gaussian part's directions and variances, taken as independent, about
        the mean that it expects beside what is ``known``. Where all scans are known the columns are not taken as independent:
        their covariance beside a scan has directions so narrow that eight steps lost a fifth of their spread
        (engine/LOG.md 38), so it is solved whole, and as far as they are Gaussian they are exact in any number of steps."""
        directions, spread = directions_of(self.image_loadings, self.image_variance)
        expected = self._closed_form(known.value, known.levels(1.0))[1]
        table, axes = self.table_loadings.square().sum(-1) + self.table_variance, None
        if self.has_image and bool(known.image.all()):
            table, axes = covariance_beside_scans(self.prior, known.table, self.codes, mask=bool(known.mask.all()))
        flow = LinearFlow(
            directions=directions,
            spread=spread,
            image=self.image_variance,
            table=table,
            axes=axes,
            centre=expected._replace(table=expected.table + self.table_centre),
        )
        if not self.has_mask:
            return flow
        directions, spread = directions_of(principal(self.mask_loadings), self.mask_variance)
        return replace(flow, mask_directions=directions, mask_spread=spread, mask=self.mask_variance)

    def encode(
        self, volume: Float[Tensor, "b channel x y z"], table: Float[Tensor, "b k d"], given: Bool[Tensor, "b k"]
    ) -> Float[Tensor, "b n c"]:
        """Volumes (0..1) to the diffused image state, given columns fused in."""
        return self.standardise(self.fuse(large.encoded(self.autoencoder, volume, self.cascade), table, given))

    def decode(self, image: Float[Tensor, "b n c"]) -> Float[Tensor, "b channel x y z"]:
        """The diffused image state to volumes in 0..1."""
        return large.decoded(self.autoencoder, self.restore(image))

    def encode_mask(self, labels: UInt8[Tensor, "b x y z"]) -> Float[Tensor, "b n m"]:
        """Segmentations (class by class, 0 the background) to the diffused mask state."""
        return self.standardise_mask(large.encoded_mask(self.mask_autoencoder, labels, self.cascade))

    def standardise_mask(self, tokens: Float[Tensor, "b n m"]) -> Float[Tensor, "b n m"]:
        """The mask autoencoder's latents to the diffused state."""
        return self._mask_axes.standardise(tokens)

    def detailed(
        self,
        base: Float[Tensor, "b c x y z"],
        labels: UInt8[Tensor, "b *m x y z"] | None,
        seeds: list[int],
        evaluations: int,
        *,
        field: Float[Tensor, "b 3 x2 y2 z2"] | None = None,
        table: Float[Tensor, "b k d"] | None = None,
    ) -> Float[Tensor, "b c x y z"]:
        """Scans decoded from tokens with the detail that goes with their mask (None: it is unknown, or seen in them, beside whole rows of a
        ``table``, if any), each from its own seed; as they are where the model has none. The ``field`` is the one that the labels were
        seen through, if they were (:meth:`seen_mask`); an atlas is laid by it, else by that of what the labels are encoded to."""
        if self.config.detail is None:
            return base
        template, coder = None, self.atlas
        if labels is not None and coder is not None:
            if field is None:
                field = large.field(coder, large.encoded_mask(coder, labels, self.cascade))
            base, template = large.on_atlas(coder, field, base, self.cascade)
        if labels is None and self.tells_tissues:
            labels = self.drawn_tissues(base, seeds, None if table is None else row_terms(table, self.codes))
        if labels is None:
            labels = torch.full_like(base[:, 0], self.detail.unknown, dtype=torch.uint8)
        # another stream than that of the tokens' noise
        noise = [torch.randn(base.shape[1:], generator=torch.Generator().manual_seed(~seed)) for seed in seeds]
        return large.drawn(self.detail, base, labels, torch.stack(noise).to(base.device), evaluations, template)

    def mask_scores(self, mask: Float[Tensor, "b n m"]) -> Float[Tensor, "b k x y z"]:
        """The diffused mask state to class scores (logits)."""
        return self.cascade.finer(self.mask_autoencoder.decode(self._mask_axes.restore(mask)))

    def seen_mask(
        self, mask: Float[Tensor, "b n m"]
    ) -> tuple[UInt8[Tensor, "b x y z"], Float[Tensor, "b 3 x2 y2 z2"] | None]:
        """The diffused mask state to segmentations, of each voxel the likeliest class, and the field through which the atlas was seen,
        where there is one."""
        return large.decoded_mask(self.mask_autoencoder, self._mask_axes.restore(mask), self.cascade)

    def drawn_mask(
        self, mask: Float[Tensor, "b n m"], base: Float[Tensor, "b c x y z"], seeds: list[int]
    ) -> tuple[UInt8[Tensor, "b x y z"], Float[Tensor, "b 3 x2 y2 z2"] | None]:
        """As :meth:`seen_mask`, with its detail beside the decoded scan ``base``, where the model draws it, or with what tokens do not
        tell of an atlas' field, each from its own seed."""
        if (coder := self.atlas) is not None:
            told = large.field(coder, self._mask_axes.restore(mask))
            field = coder.drawn_field(told, coder.noise_of(seeds).to(told))
            return large.seen(coder, field, self.cascade), field
        if not self.draws_masks:
            return self.seen_mask(mask)
        tokens = self._mask_axes.restore(mask)
        how = (*self._drawing(base, seeds), self.cascade)
        return large.drawn_mask(self.mask_detail, base, self.mask_autoencoder, tokens, *how), None

    def drawn_tissues(
        self, base: Float[Tensor, "b f x y z"], seeds: list[int], row: Float[Tensor, "b t"] | None
    ) -> UInt8[Tensor, "b f x y z"]:
        """What is seen in every frame of decoded scans; drawn from a seed, all frames together, or of each voxel the likeliest."""
        if not self.draws_masks:
            return self.tissues.labels(base, row)
        scores = self.tissues(base, [(0, 0, 0)] * len(base), row)
        return self.mask_detail.draw(base, scores, *self._drawing(base, seeds))

    def _drawing(
        self, base: Float[Tensor, "b c x y z"], seeds: list[int]
    ) -> tuple[Float[Tensor, "b d m x2 y2 z2"], int]:
        """The noise of each seed for the detail of a mask, and the evaluations of a draw."""
        assert self.config.detail is not None
        return self.mask_detail.noise_of(seeds, base.shape[2:]).to(base.device), self.config.detail.mask_steps

    def mask_mean(self, scan: Float[Tensor, "b c x y z"], known: Known | None = None) -> Float[Tensor, "b n m"]:
        """E[mask | scan] of the diffused mask state, beside the columns that are ``known``, if any; by one evaluation, at t = 1,
        where the velocity is e - E[z | ...] and the state of what is unknown tells nothing."""
        b, columns = len(scan), self.codes.shape[0]
        table = scan.new_zeros(b, *self.codes.shape) if known is None else known.value.table
        given = torch.zeros(b, columns, dtype=torch.bool, device=scan.device) if known is None else known.table
        state = Joint(
            self.encode(scan, table, given),
            torch.where(given[..., None], table, self.noise([0] * b).table),
            scan.new_zeros(b, self.config.image.tokens, self.mask_latent),
        )
        levels = Levels(scan.new_zeros(b), (~given).to(scan.dtype), scan.new_ones(b))
        return -self.velocity(state, levels).mask

    def segment_scores(
        self, scan: Float[Tensor, "b c x y z"], known: Known | None = None
    ) -> Float[Tensor, "b k x y z"]:
        """Class scores (logits) of scans, by :meth:`mask_mean` and, where there is one, the refiner."""
        scores = self.mask_scores(self.mask_mean(scan, known))
        if self.config.detail:
            scores = self.refiner(scan, scores, [(0, 0, 0)] * len(scan))
        return scores

    def segment(self, scan: Float[Tensor, "b c x y z"], known: Known | None = None) -> UInt8[Tensor, "b x y z"]:
        """Scans to segmentations: of each voxel the likeliest class of :meth:`segment_scores`."""
        return self.segment_scores(scan, known).argmax(1).to(torch.uint8)
