// SPDX-License-Identifier: BSD-3-Clause
#include "sums/gram_layers.hpp"

#include "sums/median_round.hpp"

namespace fastcka {

template <class T>
LayerStatistics gram_statistics(const Sweep& sweep, index layer, const LayerStatistics* known,
                                Medians medians) {
    LayerStatistics statistics;
    sweep.layers.at(layer, [&](index, const Source& source) {
        const bool search = medians == Medians::searched && sweep.kernel.needs_median();
        GramLayer<T> made = search
                                ? make_layer<T>(source, sweep.kernel, known, false, sweep.plan, sweep.engine)
                                : packed_layer<T>(source, sweep.kernel, known, sweep.plan, sweep.engine);
        statistics.centring = made.centring();
        if (search) statistics.sigma = made.note.sigma;
        if (sweep.kernel.needs_median()) statistics.mean_distance = made.mean_distance();
        source.forget();
    });
    return statistics;
}

template <class T>
DigitCounts gram_counts(const Sweep& sweep, index layer, const LayerStatistics& known, Span blocks) {
    const TileGrid grid(sweep.layers.samples(), sweep.plan.tile);
    const TileRuns runs(grid, sweep.plan.run);
    const auto first_tile = [&](index block) {
        return block == runs.count() ? grid.tiles() : grid.number(runs[block].row, runs[block].columns.first);
    };
    DigitCounts counts;
    sweep.layers.at(layer, [&](index, const Source& source) {
        GramLayer<T> made = packed_layer<T>(source, sweep.kernel, &known, sweep.plan, sweep.engine);
        const Span tiles{first_tile(blocks.first), first_tile(blocks.last)};
        counts = count_distances(made.panel_tiles(), grid, tiles, known.search, sweep.engine);
        source.forget();
    });
    return counts;
}

template LayerStatistics gram_statistics<float>(const Sweep&, index, const LayerStatistics*, Medians);
template LayerStatistics gram_statistics<double>(const Sweep&, index, const LayerStatistics*, Medians);
template DigitCounts gram_counts<float>(const Sweep&, index, const LayerStatistics&, Span);
template DigitCounts gram_counts<double>(const Sweep&, index, const LayerStatistics&, Span);

}  // namespace fastcka
