// SPDX-License-Identifier: BSD-3-Clause
#include "layers/bandwidth.hpp"

#include <algorithm>
#include <bit>
#include <limits>

namespace fastcka {
namespace {

constexpr int digit_bits = 16;
constexpr index bins = index{1} << digit_bits;
static_assert(bins * static_cast<index>(sizeof(index)) == median_histogram_bytes);

// Numbers that are not negative are ordered like their bits, which makes selection a search by digits.
template <class T> struct KeyOf;
template <> struct KeyOf<float> {
    using type = std::uint32_t;
};
template <> struct KeyOf<double> {
    using type = std::uint64_t;
};

template <class T> class DistanceSelection {
  public:
    using Key = typename KeyOf<T>::type;

    DistanceSelection(PanelTiles<T>& tiles, const TileGrid& grid, const Engine& engine)
        : tiles_(tiles), grid_(grid), engine_(engine),
          values_(grid.tile_values(engine.operations<T>().panel_width)),
          workers_(static_cast<std::size_t>(engine.team.threads())) {}

    void keep_distances() {
        Buffer<T> kept(grid_.tiles() * values_);
        engine_.team.for_each(grid_.tiles(), [&](index number, int worker) {
            tiles_.fill_distances(grid_[number], kept.data() + number * values_, scratch(worker).wide.data(),
                                  engine_, worker);
        });
        tiles_.keep_distances(std::move(kept));
    }

    // The distances of ranks `rank` and `next` (rank or rank + 1) among the n (n - 1) / 2 of pairs i < j.
    std::pair<double, double> of_ranks(index rank, index next) {
        Key lowest = 0;
        int shift = 8 * static_cast<int>(sizeof(Key)) - digit_bits;
        index below = 0;  // distances with a key under `lowest`
        for (;;) {
            const std::vector<index> histogram = histogram_from(lowest, shift);
            index bin = 0, before = below;
            while (before + histogram[static_cast<std::size_t>(bin)] <= rank)
                before += histogram[static_cast<std::size_t>(bin++)];
            below = before;
            lowest += static_cast<Key>(bin) << shift;
            const index inside = histogram[static_cast<std::size_t>(bin)];
            const Key highest = lowest + ((Key{1} << shift) - 1);
            if (shift == 0)
                return {value(lowest),
                        next < below + inside ? value(lowest) : value(smallest_above(highest))};
            // Another histogram of kept distances costs less than sorting many; without them it costs their products.
            const index collectable = tiles_.kept_distances() != nullptr
                                          ? bins
                                          : median_collected_bytes / 4 / static_cast<index>(sizeof(Key));
            if (inside <= collectable) {
                std::vector<Key> keys = keys_between(lowest, highest);
                const auto at = [&](index r) {
                    const auto place = keys.begin() + (r - below);
                    std::nth_element(keys.begin(), place, keys.end());
                    return *place;
                };
                const Key first = at(rank);
                return {value(first), value(next < below + inside ? at(next) : smallest_above(highest))};
            }
            shift -= digit_bits;
        }
    }

  private:
    struct Scratch {
        Buffer<T> tile;
        Buffer<double> wide;
        std::vector<index> histogram;
        std::vector<Key> keys;
        Key above = 0;
    };

    Scratch& scratch(int worker) {
        Scratch& mine = workers_[static_cast<std::size_t>(worker)];
        if (mine.wide.data() == nullptr) {
            mine.tile = Buffer<T>(values_);
            mine.wide = Buffer<double>(sizeof(T) == 4 ? values_ : 1);
        }
        return mine;
    }

    static double value(Key key) { return static_cast<double>(std::bit_cast<T>(key)); }

    // look(scratch, key) for every pair of samples i < j.
    template <class Look> void for_each_key(Look&& look) {
        walk(grid_.across(), tiles_.held_alone(), [&](Span rows, Span columns) {
            tiles_.hold(rows, columns, engine_);
            std::vector<index> numbers;
            for (index row = rows.first; row < rows.last; ++row)
                for (index column = std::max(row, columns.first); column < columns.last; ++column)
                    numbers.push_back(grid_.number(row, column));
            for_each_key_of(numbers, look);
        });
    }
    template <class Look> void for_each_key_of(const std::vector<index>& numbers, Look&& look) {
        const index width = engine_.operations<T>().panel_width, n = tiles_.samples();
        engine_.team.for_each(static_cast<index>(numbers.size()), [&](index task, int worker) {
            const index number = numbers[static_cast<std::size_t>(task)];
            Scratch& mine = scratch(worker);
            const TileRange range = grid_[number];
            const T* tile = mine.tile.data();
            if (tiles_.kept_distances() != nullptr) {
                tile = tiles_.kept_distances() + number * values_;
            } else {
                tiles_.fill_distances(range, mine.tile.data(), mine.wide.data(), engine_, worker);
            }
            range.for_each_block(width, [&](index block, index row, index column) {
                const T* values = tile + block * width * width;
                for (index i = 0; i < std::min(width, n - row); ++i)
                    for (index j = row == column ? i + 1 : 0; j < std::min(width, n - column); ++j)
                        look(mine, std::bit_cast<Key>(values[i * width + j]));
            });
        });
    }

    std::vector<index> histogram_from(Key lowest, int shift) {
        for (Scratch& worker : workers_) worker.histogram.assign(static_cast<std::size_t>(bins), 0);
        for_each_key([&](Scratch& mine, Key key) {
            const Key bin = (key - lowest) >> shift;  // wraps to a large number below `lowest`
            if (bin < static_cast<Key>(bins)) ++mine.histogram[static_cast<std::size_t>(bin)];
        });
        std::vector<index> total(static_cast<std::size_t>(bins), 0);
        for (const Scratch& worker : workers_)
            for (std::size_t bin = 0; bin < total.size(); ++bin) total[bin] += worker.histogram[bin];
        return total;
    }

    std::vector<Key> keys_between(Key lowest, Key highest) {
        for (Scratch& worker : workers_) worker.keys.clear();
        for_each_key([&](Scratch& mine, Key key) {
            if (key >= lowest && key <= highest) mine.keys.push_back(key);
        });
        std::size_t count = 0;
        for (const Scratch& worker : workers_) count += worker.keys.size();
        std::vector<Key> all;
        all.reserve(count);
        for (const Scratch& worker : workers_) all.insert(all.end(), worker.keys.begin(), worker.keys.end());
        return all;
    }

    Key smallest_above(Key highest) {
        for (Scratch& worker : workers_) worker.above = std::numeric_limits<Key>::max();
        for_each_key([&](Scratch& mine, Key key) {
            if (key > highest) mine.above = std::min(mine.above, key);
        });
        Key smallest = std::numeric_limits<Key>::max();
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
    const index n = tiles.samples();
    if (n < 2) return 0;  // no pair of samples
    const index zeros =
        offdiagonal ? 0 : n;  // distances of samples to themselves; every other one comes twice
    const index count = n * n - n + zeros;
    const index lower = (count - 1) / 2, upper = count / 2;

    DistanceSelection<T> selection(tiles, grid, engine);
    if (keep) selection.keep_distances();
    if (upper < zeros) return 0;
    const index next = (upper - zeros) / 2;
    if (lower < zeros) return selection.of_ranks(next, next).first / 2;  // the mean of zero and the smallest
    const auto [first, second] = selection.of_ranks((lower - zeros) / 2, next);
    return (first + second) / 2;
}

template double median_squared_distance(PanelTiles<float>&, const TileGrid&, bool, bool, const Engine&);
template double median_squared_distance(PanelTiles<double>&, const TileGrid&, bool, bool, const Engine&);

}  // namespace fastcka
