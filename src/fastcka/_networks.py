# SPDX-License-Identifier: BSD-3-Clause
"""The layers of one or two networks, checked on input; and the result for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ._arrays import ArrayLike, Layers, labelled, layer_label, named_layers, same_samples
from ._groups import Groups, Inference, Wanted
from ._pairwise import Pairs, Reasons, warn
from ._provenance import Side, provenance
from ._samples import check_same_samples
from ._settings import Settings
from ._sources import Layer, as_layer, row_bytes
from .kernels import Kernel
from .results import CKAMatrix

_ARGUMENTS = ("layers_a", "layers_b")


@dataclass(frozen=True)
class Networks:
    """One network, whose layers are compared with each other, or two; or many, all layers with each other."""

    arguments: tuple[str, ...]  # the words for each network
    given: tuple[object, ...]  # as they came
    names: tuple[tuple[str, ...], ...]
    arrays: tuple[list[Layer], ...]
    samples: Iterable[object] | None  # their ids, where they have any

    @classmethod
    def read(cls, layers_a: Layers, layers_b: Layers | None) -> Networks:
        """Return the networks of two arguments; the same object twice is one network."""
        given = (layers_a,) if layers_b is None or layers_b is layers_a else (layers_a, layers_b)
        return cls.called(dict(zip(_ARGUMENTS, given, strict=False)))

    @classmethod
    def called(cls, given: Mapping[str, Layers]) -> Networks:
        """Return networks by the words that messages have for them."""
        names, arrays = [], []
        inputs: list[tuple[str, object]] = []
        for argument, layers in given.items():
            named = named_layers(layers, argument)
            names.append(tuple(named))
            arrays.append([as_layer(X, layer_label(argument, name)) for name, X in named.items()])
            inputs += labelled(argument, layers, named)
        samples = check_same_samples(inputs)
        return cls(tuple(given), tuple(given.values()), tuple(names), tuple(arrays), samples)

    @property
    def a(self) -> list[Layer]:
        """The layers of the rows."""
        return self.arrays[0]

    @property
    def b(self) -> list[Layer] | None:
        """The layers of the columns; None where those are the rows."""
        return self.arrays[1] if len(self.arrays) > 1 else None

    @property
    def all(self) -> list[Layer]:
        """All layers."""
        return [X for arrays in self.arrays for X in arrays]

    @property
    def widths(self) -> tuple[list[int], list[int] | None]:
        """The numbers of features, as the core takes them."""
        return [X.shape[1] for X in self.a], None if self.b is None else [Y.shape[1] for Y in self.b]

    @property
    def row_bytes(self) -> list[int]:
        """The bytes of a sample of each layer that is read, as the core takes them."""
        return row_bytes(self.all)

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return len(self.a[0])

    def label(self, network: int, layer: int) -> str:
        """Return the words for a layer, as the arguments are called."""
        argument, name = self.arguments[network], self.names[network][layer]
        return layer_label(argument, name) if argument else name

    def sides(self, sigma: Iterable[Sequence[float]]) -> list[Side]:
        """Return what is known of each network; `sigma` are the bandwidths of its layers."""
        return [
            Side(given, names, [X.shape[1] for X in arrays], bandwidths)
            for given, names, arrays, bandwidths in zip(
                self.given, self.names, self.arrays, sigma, strict=True
            )
        ]

    def label_of(self, layer: int) -> str:
        """Return the words for a layer counted through both networks."""
        first = len(self.a)
        return self.label(0, layer) if layer < first else self.label(1, layer - first)

    def joined(self, names: tuple[str, ...]) -> Networks:
        """Return all layers as those of one network, under these names, which say whose they are."""
        return replace(self, arguments=("",), given=(None,), names=(names,), arrays=(self.all,))

    def grouped(self, groups: Groups, kernel: Kernel) -> Networks:
        """Return the same with the samples of each group side by side."""
        return replace(self, arrays=tuple(groups.sorted(arrays, kernel) for arrays in self.arrays))

    def matrix(self, pairs: Pairs, settings: Settings) -> tuple[CKAMatrix, Reasons]:
        """Return the result for all pairs, and why layers have no CKA."""
        sides = self.sides(pairs.sigma)
        wanted = settings.inference
        matrix = CKAMatrix(
            values=pairs.cka,
            chance=pairs.chance,
            row_dimensions=pairs.dimensions[0],
            column_dimensions=pairs.dimensions[-1],
            measure=settings.measure,
            **({} if pairs.inference is None else pairs.inference._asdict()),
            pvalue_method=None if wanted is None else wanted.pvalue_method,
            n_groups=None if wanted is None or wanted.groups is None else len(wanted.bounds) - 1,
            rows=self.names[0],
            columns=self.names[-1],
            kernel=str(settings.kernel),
            estimator=settings.estimator,
            n_samples=self.n_samples,
            models=("A", "A") if self.b is None else ("A", "B"),
            provenance=provenance({"rows": sides[0], "columns": sides[-1]}, pairs.dtype, self.samples),
        )
        return matrix, {
            (network, self.names[network][layer]): why
            for network, whys in enumerate(pairs.reasons)
            for layer, why in enumerate(whys)
            if why
        }


def with_inference(
    networks: Networks, settings: Settings, inference: Inference, groups: ArrayLike | None
) -> tuple[Networks, Settings]:
    """Return the same with what `inference` and `groups` ask for: samples of a group lie side by side."""
    settings = asking(networks, settings, inference, groups)
    return side_by_side(networks, settings), settings


def asking(
    networks: Networks, settings: Settings, inference: Inference, groups: ArrayLike | None
) -> Settings:
    """Return the settings with what `inference` and `groups` ask for."""
    wanted = Wanted.of(inference, groups, settings.kernel, networks.n_samples)
    if wanted is not None and settings.measure != "cka":
        raise ValueError(f"inference={inference!r} is for measure='cka', got measure={settings.measure!r}")
    return replace(settings, inference=wanted)


def side_by_side(networks: Networks, settings: Settings) -> Networks:
    """Return the networks with the samples of each group side by side."""
    wanted = settings.inference
    if wanted is None or wanted.groups is None:
        return networks
    same_samples(networks.all, networks.label_of)
    return networks.grouped(wanted.groups, settings.kernel)


def warned(matrix: CKAMatrix, reasons: Reasons, arguments: Sequence[str] = _ARGUMENTS) -> CKAMatrix:
    """Return the result with the words of the warning, which is given here for a public function."""
    degenerate = [f"{layer_label(arguments[network], x)}: {why}" for (network, x), why in reasons.items()]
    if degenerate:
        warn(degenerate, stacklevel=4)
    return replace(matrix, warnings=tuple(degenerate))
