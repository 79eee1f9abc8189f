# SPDX-License-Identifier: BSD-3-Clause
"""The stages of a comparison: blocks become partials, and a complete partial is given to the next stage."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import NamedTuple, cast

from . import _core
from ._budget import within_memory
from ._networks import Networks
from ._pair_inference import check_room, work
from ._pairwise import Pairs, all_pairs, inferring, naming, pairs_of
from ._partial import Partial, blocks_in_words, check_partial, check_same
from ._problem import Problem
from ._progress import Report
from ._settings import Settings
from ._stages import MEDIANS, ORDER, Stage, stages
from .kernels import core_kernel, follows_median


class Known(NamedTuple):
    """What is known of all layers before the products."""

    statistics: _core.Statistics  # with the medians, as far as they are found
    digest: str  # of the partial of the statistics, which all later stages follow from
    rounds: int = 0  # that were made to find medians


class Pieces(Problem):
    """The blocks of all stages of one comparison."""

    def __init__(self, networks: Networks, settings: Settings) -> None:
        super().__init__(networks, settings)
        self._kernel, self._layers = core_kernel(settings.kernel), len(networks.all)
        # Complete, once they were made here:
        self._statistics: Partial | None = None
        self._medians: Known | None = None
        self._products: Partial | None = None

    # ---------------------------------------------------------------------- stages and blocks

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """As far as the arguments tell."""
        rounds = (
            (4 if self._plan_as_asked.double_precision else 2) if follows_median(self.settings.kernel) else 0
        )
        return stages(rounds=rounds, inference=self._further(self.settings)[0] != "nothing")

    def next_stage(self, given: Partial) -> Stage | None:
        """Return the stage after that of a complete partial."""
        self.check_given(given, None)
        if given.stage in (self.stages[-1], ORDER[-1]):
            return None
        if given.stage == "products":
            return "inference"
        known = self._handed_on(given)
        return MEDIANS[known.rounds] if self._open(known) else "products"

    def blocks(self, stage: Stage, given: Partial | None) -> range:
        """Return all blocks of a stage."""
        if stage == "statistics":
            return range(self._layers)
        if stage in MEDIANS:
            return range(self._layers * self._plan_as_asked.blocks)
        if stage == "products":
            return range(self._plan(self._exact(self._known(given))).blocks)
        return range(self._further_blocks(self._exact_as(self._all_products(given))))

    def counts(self, stage: Stage) -> list[int]:
        """Return how many blocks a stage may have; more than one number: that follows from the values."""
        if stage not in ("products", "inference"):
            return [len(self.blocks(stage, None))]
        asked, wide = self.settings, replace(self.settings, dtype="float64")
        count = self._further_blocks if stage == "inference" else lambda chosen: self._plan(chosen).blocks
        return sorted({count(asked), count(wide)})

    def layers_read(self, stage: Stage, blocks: range) -> range:
        """Return which layers some blocks of a stage read."""
        if stage in ("products", "inference"):
            return range(self._layers)
        each = 1 if stage == "statistics" else self._plan_as_asked.blocks
        return range(blocks.start // each, -(-blocks.stop // each))

    # ---------------------------------------------------------------------- blocks to partials

    def make(
        self, blocks: range, stage: Stage, given: Partial | None, report: Report | None = None
    ) -> Partial:
        """Make some blocks of a stage."""
        with naming(self.networks.a, self.networks.b, self.networks.label):
            return self._make(blocks, stage, given, report)

    def _make(self, blocks: range, stage: Stage, given: Partial | None, report: Report | None) -> Partial:
        if stage == "statistics":
            found = _core.statistics(
                *self._inputs(self.settings), blocks.start, blocks.stop, medians=False, progress=report
            )
            return Partial(self._identity(stage, self._layers), found)
        if stage in MEDIANS:
            return self._make_round(blocks, stage, self._before(stage, given), report)
        if stage == "products":
            return self._make_products(blocks, self._known(given), report)
        return self._make_inference(blocks, self._all_products(given), report)

    def _make_round(self, blocks: range, stage: Stage, known: Known, report: Report | None) -> Partial:
        counts = _core.median_round(
            *self._inputs(self.settings), known.statistics, blocks.start, blocks.stop, report
        )
        identity = self._identity(stage, len(self.blocks(stage, None))) | {"statistics": known.digest}
        return Partial(identity, counts)

    def _make_products(self, blocks: range, known: Known, report: Report | None) -> Partial:
        settings = self._exact(known)
        plan = self._plan(settings)
        sums = _core.partial(*self._inputs(settings), blocks.start, blocks.stop, known.statistics, report)
        identity = self._identity("products", plan.blocks)
        identity |= {"double_precision": plan.double_precision, "statistics": known.digest}
        return Partial(identity, sums)

    def _make_inference(self, blocks: range, products: Partial, report: Report | None) -> Partial:
        settings, networks = self._exact_as(products), self.networks
        a, b = networks.a, networks.b
        identity = products.settings | {
            "stage": "inference",
            "pvalues": self._wanted.pvalue_method,
            "products": products.digest,
            "product_blocks": products.n_blocks,
            "blocks": self._further_blocks(settings),
        }
        if self._further(settings)[0] == "sweep":
            known = self._known(None)
            if known.digest != products.settings["statistics"]:
                raise ValueError("given: the products are of other data than these layers")
            core = within_memory(a, b, settings, route="gram")
            rows = _core.partial(a, b, core, blocks.start, blocks.stop, known.statistics, report)
            return Partial(identity, rows, products)
        wanted = self._wanted
        check_room(work(a, b, settings, wanted).bytes, settings, wanted)
        sums = _core.second_pass(
            a,
            b,
            settings.core(networks.all),
            cast(_core.Partial, products._sums),
            permutations=wanted.pvalue_method == "moments",
            groups=wanted.bounds,
            first=blocks.start,
            last=blocks.stop,
            progress=report,
        )
        return Partial(identity, sums, products)

    # ---------------------------------------------------------------------- what a stage is given

    def check_given(self, given: Partial, to: Stage | None) -> None:
        """Refuse a partial that is of another sweep, not of an earlier stage, or lacks blocks."""
        check_partial(given, "given")
        if to is not None and ORDER.index(given.stage) >= ORDER.index(to):
            raise ValueError(
                f"given: the stage {to!r} needs the partial of an earlier one, "
                f"this partial is of {given.stage!r}"
            )
        self.check(given, given.stage)
        if given.missing:
            missing = blocks_in_words(given.missing)
            raise ValueError(
                f"given: {missing} of the {given.n_blocks} of the stage {given.stage!r} are missing"
            )

    def _handed_to(self, stage: Stage, given: Partial | None) -> Known:
        """Return what a stage is given; the statistics are made here where nothing is."""
        if given is None:
            if self._statistics is None:
                self._statistics = self.make(range(self._layers), "statistics", None)
            given = self._statistics
        self.check_given(given, stage)
        return self._handed_on(given)

    def _handed_on(self, given: Partial) -> Known:
        if given.stage == "statistics":
            return Known(cast(_core.Statistics, given._sums), given.digest)
        found = cast(_core.MedianRound, given._sums).narrowed(self._kernel)
        return Known(found, given.settings["statistics"], MEDIANS.index(given.stage) + 1)

    def _exact(self, known: Known) -> Settings:
        """Return the settings for the products: float64 where float32 would lose digits."""
        return replace(self.settings, dtype="float64") if known.statistics.needs_float64 else self.settings

    def _open(self, known: Known) -> bool:
        """Whether medians are still to be found."""
        return known.statistics.rounds(self._kernel, self._plan_as_asked.double_precision) > 0

    def _before(self, stage: Stage, given: Partial | None) -> Known:
        """Return what a round of the medians is given; rounds that are between are made here."""
        known = self._handed_to(stage, given)
        while known.rounds < MEDIANS.index(stage):
            now = MEDIANS[known.rounds]
            known = self._handed_on(self._make_round(self.blocks(now, None), now, known, None))
        return known

    def _known(self, given: Partial | None) -> Known:
        """Return what the products are given; medians that are not found are searched here, once."""
        known = self._handed_to("products", given)
        if not self._open(known):
            return known
        if self._medians is None or self._medians.digest != known.digest:
            found = _core.with_medians(*self._inputs(self.settings), known.statistics)
            self._medians = known._replace(statistics=found)
        return self._medians

    def _all_products(self, given: Partial | None) -> Partial:
        """Return what inference is given; products that are not are made here, once."""
        if given is not None:
            self.check_given(given, "inference")
            if given.stage == "products":
                return given
        known = self._known(given)
        if self._products is None or self._products.settings["statistics"] != known.digest:
            self._products = self._make_products(self.blocks("products", given), known, None)
        return self._products

    def check(self, partial: Partial, stage: Stage) -> None:
        """Refuse a partial of another sweep; whether its data is other, only partials can tell."""
        known = stage == "statistics" or stage in MEDIANS
        expected = self._identity(stage, len(self.blocks(stage, None)) if known else partial.n_blocks)
        if stage == "inference" and self.settings.inference is not None:
            expected["pvalues"] = self._wanted.pvalue_method
        check_same(expected, {name: partial.settings.get(name) for name in expected})

    # ---------------------------------------------------------------------- the result

    def pairs(self, partial: Partial) -> Pairs:
        """Return the comparison from all blocks of the last stage; after the products, more is made here."""
        check_partial(partial, "partial")
        if partial.stage not in ("products", "inference"):
            raise ValueError(
                f"the result needs the {self.stages[-1]}, this partial holds the {partial.stage}"
            )
        self.check(partial, partial.stage)
        if partial.missing:
            raise ValueError(f"{blocks_in_words(partial.missing)} of {partial.n_blocks} are missing")
        products = partial if partial.given is None else partial.given
        further = None if partial.given is None else partial._sums
        settings, networks = self._exact_as(products), self.networks
        core = settings.core(networks.all)
        sums = cast(_core.Partial, products._sums)
        if settings.inference is None:
            result = _core.finish(networks.n_samples, *networks.widths, core, sums)
        else:
            call = inferring(networks.a, networks.b, settings, core, sums, further)
            with naming(networks.a, networks.b, networks.label):
                result = call(networks.a, networks.b)
        if result.too_coarse:  # by other sums then, as one call does
            return all_pairs(networks.a, networks.b, networks.label, self.settings)
        return pairs_of(result, self.settings, two=networks.b is not None)
