// SPDX-License-Identifier: BSD-3-Clause
#include "layers/bandwidth.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>

namespace fastcka {
namespace {

index all_values(const TileGrid& grid, index width) {
    return size_product(grid.tiles(), grid.tile_values(width));
}

template <class T> class DistanceSelection {
  public:
    using Key = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

    DistanceSelection(PanelTiles<T>& tiles, const TileGrid& grid, const Engine& engine)
        : tiles_(tiles), grid_(grid), engine_(engine),
          values_(grid.tile_values(engine.operations<T>().panel_width)),
          workers_(static_cast<std::size_t>(engine.team.threads())) {}

    void keep_distances() {
        Buffer<T> kept(all_values(grid_, engine_.operations<T>().panel_width));
        engine_.team.for_each(grid_.tiles(), [&](index number, int worker) {
            tiles_.fill_distances(grid_[number], kept.data() + number * values_,
                                  scratch(worker).memory.wide.data(), engine_, worker);
        });
        tiles_.keep_distances(std::move(kept));
    }

    double median(const MedianRanks& ranks) {
        if (tiles_.kept_distances() != nullptr)
            if (const auto found = among(around_median_of_sample(ranks), ranks)) return *found;
        for (MedianSearch search;;) {
            const index inside = search.advance<T>(counts(search, {0, grid_.tiles()}), ranks);
            if (search.found()) return search.median;
            if (inside > collectable) continue;
            const auto lowest = static_cast<Key>(search.lowest);
            const Bracket digits{lowest, lowest + ((Key{1} << (search.shift<T>() + digit_bits)) - 1)};
            if (const auto found = among(digits, ranks)) return *found;
        }
    }

    DigitCounts counts(const MedianSearch& search, Span numbers) {
        const int shift = search.shift<T>();
        const auto lowest = static_cast<Key>(search.lowest);
        for (Scratch& worker : workers_) {
            worker.histogram.assign(static_cast<std::size_t>(digit_values), 0);
            worker.above = largest_key;
        }
        for_each_key(numbers, [&](Scratch& mine, Key key) {
            const Key bin = (key - lowest) >> shift;  // wraps to a large number below `lowest`
            if (bin < static_cast<Key>(digit_values))
                ++mine.histogram[static_cast<std::size_t>(bin)];
            else if (shift == 0 && key > lowest)
                mine.above = std::min(mine.above, key);
        });
        DigitCounts total{std::vector<index>(static_cast<std::size_t>(digit_values), 0)};
        Key above = largest_key;
        for (const Scratch& worker : workers_) {
            for (std::size_t bin = 0; bin < total.bins.size(); ++bin)
                total.bins[bin] += worker.histogram[bin];
            above = std::min(above, worker.above);
        }
        if (above != largest_key) total.above = above;
        return total;
    }

  private:
    struct Scratch {
        TileScratch<T> memory;
        std::vector<index> histogram;
        std::vector<Key> keys;
        Key above = 0;          // the smallest key above the counted ones
        index below = 0;        // keys below the bracket
        index rows = 0;         // of the sample
        bool left_out = false;  // some keys: there were too many
    };

    Scratch& scratch(int worker) {
        Scratch& mine = workers_[static_cast<std::size_t>(worker)];
        if (mine.memory.tile.data() == nullptr) mine.memory = TileScratch<T>(values_);
        return mine;
    }

    static constexpr Key largest_key = std::numeric_limits<Key>::max();

    // The most keys that are collected: a growing vector may take twice what is in it, and a copy once more.
    static constexpr index collectable = median_collected_bytes / 4 / static_cast<index>(sizeof(Key));

    struct Bracket {
        Key lowest, highest;  // both within
    };

    // Around the median of a sample: one row of some blocks of distances. Distances in a row depend on each other, so the
    // standard error of the rank of a quantile is at most 1 / (2 sqrt(rows)); three standard errors on either side rarely
    // miss the median of all distances.
    Bracket around_median_of_sample(const MedianRanks& ranks) {
        constexpr index wanted_rows = 4096;
        const index width = engine_.operations<T>().panel_width, blocks = values_ / (width * width);
        const index step = std::max<index>(1, grid_.tiles() * blocks / wanted_rows);
        for (Scratch& worker : workers_) worker.keys.clear(), worker.rows = 0;
        for_each_block({0, grid_.tiles()}, [&](Scratch& mine, index tile, const Block& block) {
            const index number = tile * blocks + block.number;
            if (number % step != 0) return;
            const index i = number / step % block.rows;
            for (index j = block.first_column(i); j < block.columns; ++j)
                mine.keys.push_back(block.key(i, j));
            ++mine.rows;
        });
        std::vector<Key> sample = collected();
        index rows = 0;
        for (const Scratch& worker : workers_) rows += worker.rows;
        const double n = static_cast<double>(tiles_.samples()), count = static_cast<double>(sample.size());
        const double middle = static_cast<double>(ranks.first()) / (n * (n - 1) / 2);
        const double margin = 1.5 / std::sqrt(static_cast<double>(rows));
        const auto at = [&](double part, Key beyond) {
            if (!(part > 0 && part < 1)) return beyond;
            const auto place = sample.begin() + static_cast<index>(part * count);
            std::nth_element(sample.begin(), place, sample.end());
            return *place;
        };
        return {at(middle - margin, 0), at(middle + margin, largest_key)};
    }

    // The median from the distances within the bracket; nothing if they are too many, or the median is not among them.
    std::optional<double> among(const Bracket& bracket, const MedianRanks& ranks) {
        const index most = collectable / static_cast<index>(workers_.size());
        for (Scratch& worker : workers_) worker.keys.clear(), worker.below = 0, worker.left_out = false;
        const Key span = bracket.highest - bracket.lowest;
        for_each_block({0, grid_.tiles()}, [&](Scratch& mine, index, const Block& block) {
            Key found[most_panel_width];
            for (index i = 0; i < block.rows; ++i) {
                index below = 0, count = 0;  // without branches, which would be taken at random
                for (index j = block.first_column(i); j < block.columns; ++j) {
                    const Key key = block.key(i, j);
                    found[count] = key;
                    below += key < bracket.lowest;
                    count += key - bracket.lowest <= span;  // wraps to a large number below `lowest`
                }
                mine.below += below;
                mine.left_out |= static_cast<index>(mine.keys.size()) + count > most;
                if (!mine.left_out) mine.keys.insert(mine.keys.end(), found, found + count);
            }
        });
        index below = 0;
        for (const Scratch& worker : workers_) {
            if (worker.left_out) return {};
            below += worker.below;
        }
        std::vector<Key> keys = collected();
        const index beyond = below + static_cast<index>(keys.size());
        if (ranks.first() < below || ranks.first() >= beyond) return {};
        const auto at = [&](index rank) {
            const auto place = keys.begin() + (rank - below);
            std::nth_element(keys.begin(), place, keys.end());
            return *place;
        };
        const Key first = at(ranks.first());
        const Key second = ranks.second() < beyond ? at(ranks.second()) : smallest_above(bracket.highest);
        return ranks.median(distance_of<T>(first), distance_of<T>(second));
    }

    std::vector<Key> collected() const {
        std::size_t count = 0;
        for (const Scratch& worker : workers_) count += worker.keys.size();
        std::vector<Key> all;
        all.reserve(count);
        for (const Scratch& worker : workers_) all.insert(all.end(), worker.keys.begin(), worker.keys.end());
        return all;
    }

    // A block of a tile; on the diagonal only the distances of pairs i < j count.
    struct Block {
        const T* values;
        index number, width, rows, columns;
        bool diagonal;

        index first_column(index i) const { return diagonal ? i + 1 : 0; }
        Key key(index i, index j) const { return std::bit_cast<Key>(values[i * width + j]); }
    };

    // look(scratch, key) for every pair of samples i < j of some tiles.
    template <class Look> void for_each_key(Span wanted, Look&& look) {
        for_each_block(wanted, [&](Scratch& mine, index, const Block& block) {
            for (index i = 0; i < block.rows; ++i)
                for (index j = block.first_column(i); j < block.columns; ++j) look(mine, block.key(i, j));
        });
    }

    // visit(scratch, number of the tile, block) for every block of the wanted tiles.
    template <class Visit> void for_each_block(Span wanted, Visit&& visit) {
        walk(grid_.across(), tiles_.held_alone(), [&](Span rows, Span columns) {
            std::vector<index> numbers;
            for (index row = rows.first; row < rows.last; ++row)
                for (index column = std::max(row, columns.first); column < columns.last; ++column)
                    if (const index number = grid_.number(row, column); wanted.has(number))
                        numbers.push_back(number);
            if (numbers.empty()) return;
            tiles_.hold(rows, columns, engine_);
            for_each_block_of(numbers, visit);
        });
    }
    template <class Visit> void for_each_block_of(const std::vector<index>& numbers, Visit&& visit) {
        const index width = engine_.operations<T>().panel_width, n = tiles_.samples();
        engine_.team.for_each(static_cast<index>(numbers.size()), [&](index task, int worker) {
            const index number = numbers[static_cast<std::size_t>(task)];
            Scratch& mine = scratch(worker);
            const TileRange range = grid_[number];
            const T* tile = mine.memory.tile.data();
            if (tiles_.kept_distances() != nullptr) {
                tile = tiles_.kept_distances() + number * values_;
            } else {
                tiles_.fill_distances(range, mine.memory.tile.data(), mine.memory.wide.data(), engine_,
                                      worker);
            }
            range.for_each_block(width, [&](index block, index row, index column) {
                visit(mine, number,
                      Block{tile + block * width * width, block, width, std::min(width, n - row),
                            std::min(width, n - column), row == column});
            });
        });
    }

    Key smallest_above(Key highest) {
        for (Scratch& worker : workers_) worker.above = largest_key;
        for_each_key({0, grid_.tiles()}, [&](Scratch& mine, Key key) {
            if (key > highest) mine.above = std::min(mine.above, key);
        });
        Key smallest = largest_key;
        for (const Scratch& worker : workers_) smallest = std::min(smallest, worker.above);
        return smallest;
    }

    PanelTiles<T>& tiles_;
    const TileGrid& grid_;
    const Engine& engine_;
    index values_;
    std::vector<Scratch> workers_;
};

}  // namespace

template <class T>
double median_squared_distance(PanelTiles<T>& tiles, const TileGrid& grid, bool offdiagonal, bool keep,
                               const Engine& engine) {
    if (tiles.samples() < 2) return 0;  // no pair of samples
    DistanceSelection<T> selection(tiles, grid, engine);
    if (keep) selection.keep_distances();
    return selection.median(MedianRanks(tiles.samples(), offdiagonal));
}

template <class T>
DigitCounts count_distances(PanelTiles<T>& tiles, const TileGrid& grid, Span numbers,
                            const MedianSearch& search, const Engine& engine) {
    return DistanceSelection<T>(tiles, grid, engine).counts(search, numbers);
}

template <class T> Bytes median_search_bytes(const TileGrid& grid, index width) {
    constexpr index histogram = digit_values * static_cast<index>(sizeof(index));
    const double all = static_cast<double>(grid.tiles()) * static_cast<double>(grid.tile_values(width));
    const double collected = std::min(static_cast<double>(median_collected_bytes), 3 * sizeof(T) * all);
    return {histogram + static_cast<index>(collected), histogram};
}

template <class T> index kept_distances_bytes(const TileGrid& grid, index width) {
    return Buffer<T>::bytes(all_values(grid, width));
}

template Bytes median_search_bytes<float>(const TileGrid&, index);
template Bytes median_search_bytes<double>(const TileGrid&, index);
template index kept_distances_bytes<float>(const TileGrid&, index);
template index kept_distances_bytes<double>(const TileGrid&, index);
template double median_squared_distance(PanelTiles<float>&, const TileGrid&, bool, bool, const Engine&);
template double median_squared_distance(PanelTiles<double>&, const TileGrid&, bool, bool, const Engine&);
template DigitCounts count_distances(PanelTiles<float>&, const TileGrid&, Span, const MedianSearch&,
                                     const Engine&);
template DigitCounts count_distances(PanelTiles<double>&, const TileGrid&, Span, const MedianSearch&,
                                     const Engine&);

}  // namespace fastcka
