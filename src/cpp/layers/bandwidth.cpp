// SPDX-License-Identifier: BSD-3-Clause
#include "layers/bandwidth.hpp"

#include "layers/distance_blocks.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>

namespace fastcka {
namespace {

// The most distances that are collected: a growing vector may take twice what is in it, and a copy once more.
template <class T>
inline constexpr index collectable = median_collected_bytes / 4 / static_cast<index>(sizeof(T));

// Bins of a histogram for so many distances.
index histogram_bins(double distances) {
    constexpr double most = 1 << 18;  // 2 MB for each thread
    return static_cast<index>(std::clamp(distances, static_cast<double>(digit_values), most));
}

// Samples whose distances to each other tell where the median is about: a 64th of all distances, or as many as are
// collected. Of fewer than the least, they tell too little.
constexpr index sampled_part = 8, least_sampled = 16;
template <class T> index sampled(index samples) {
    const auto most = static_cast<index>(std::sqrt(2.0 * collectable<T>));
    return std::min(samples / sampled_part, most);
}

// The median of distances: from those in a bracket around the median of a sample, which are looked at once.
template <class T> class MedianDistance {
  public:
    using Key = typename DistanceBlocks<T>::Key;
    using Block = typename DistanceBlocks<T>::Block;

    explicit MedianDistance(DistanceBlocks<T>& distances)
        : distances_(distances), workers_(static_cast<std::size_t>(distances.engine().team.threads())) {}

    double median(const MedianRanks& ranks) {
        Bracket bracket =
            distances_.are_kept() ? around_median_of_kept(ranks) : around_median_of_sample(ranks);
        std::optional<double> found;
        while (!found)
            found = bracket.keys <= collectable<T> ? collect(bracket, ranks) : count(bracket, ranks);
        return *found;
    }

    // The next digit of a search that is made in pieces, over some tiles.
    DigitCounts counts(const MedianSearch& search, Span numbers) {
        const int shift = search.shift<T>();
        const auto lowest = static_cast<Key>(search.lowest);
        Histogram counted = histogram(lowest, shift, digit_values, shift == 0, numbers);
        DigitCounts counts{std::move(counted.bins)};
        if (counted.above != largest_key) counts.above = counted.above;
        return counts;
    }

  private:
    struct Worker {
        std::vector<index> histogram;
        std::vector<Key> keys;
        Key above = 0;          // the smallest key above the counted ones
        index below = 0;        // keys below the bracket
        index rows = 0;         // of the sample
        bool left_out = false;  // some keys: there were too many
    };
    Worker& mine(int worker) { return workers_[static_cast<std::size_t>(worker)]; }

    static constexpr Key largest_key = std::numeric_limits<Key>::max();

    // Keys among which the median is, or is likely to be.
    struct Bracket {
        Key lowest, highest;  // both within
        index keys;           // how many there are, or about

        Key span() const { return highest - lowest; }
        bool has(Key key) const { return key - lowest <= span(); }  // wraps to a large number below `lowest`
    };
    Bracket everything() const { return {0, largest_key, distances_.pairs()}; }

    // One row of some blocks of the distances that are kept. Distances in a row depend on each other, so the standard error
    // of the rank of a quantile is at most 1 / (2 sqrt(rows)).
    Bracket around_median_of_kept(const MedianRanks& ranks) {
        constexpr index wanted_rows = 4096;
        const index blocks = distances_.blocks_in_a_tile();
        const index step = std::max<index>(1, distances_.grid().tiles() * blocks / wanted_rows);
        for (Worker& worker : workers_) worker.keys.clear(), worker.rows = 0;
        distances_.for_each_block(distances_.all(), [&](int worker, index tile, const Block& block) {
            const index number = tile * blocks + block.number;
            if (number % step != 0) return;
            const index i = number / step % block.rows;
            for (index j = block.first_column(i); j < block.columns; ++j)
                mine(worker).keys.push_back(block.key(i, j));
            ++mine(worker).rows;
        });
        index rows = 0;
        for (const Worker& worker : workers_) rows += worker.rows;
        return around_median(collected(), 3 / (2 * std::sqrt(static_cast<double>(rows))), ranks);
    }

    // All distances of some samples. Those of one sample depend on each other: where a distance is the sum of what each of
    // its two samples adds, the standard error of the rank of the median is 0.58 / sqrt(samples); of Gaussian samples it
    // is 0.4 / sqrt(samples).
    Bracket around_median_of_sample(const MedianRanks& ranks) {
        PanelTiles<T>& tiles = distances_.tiles();
        const index count = std::min(sampled<T>(tiles.samples()), tiles.most_copied());
        if (count < least_sampled) return everything();
        for (Worker& worker : workers_) worker.keys.clear();
        {
            PanelTiles<T> copies = tiles.copy(count, distances_.engine());
            DistanceBlocks<T> sample(copies, TileGrid(count, distances_.grid().side()), distances_.engine());
            sample.for_each_key(sample.all(), [&](int worker, Key key) { mine(worker).keys.push_back(key); });
        }
        if (tiles.holds_strips()) release_buffers();  // of the copies: strips have another size
        return around_median(collected(), 1.5 / std::sqrt(static_cast<double>(count)), ranks);
    }

    // From a sample of the keys; `margin`: about three standard errors of a rank, as a part of all. If the median of all
    // keys is farther away, which is rare, they are looked at once more.
    Bracket around_median(std::vector<Key> sample, double margin, const MedianRanks& ranks) {
        const double all = static_cast<double>(distances_.pairs()),
                     count = static_cast<double>(sample.size());
        const double middle = static_cast<double>(ranks.first()) / all;
        const auto at = [&](double part, Key beyond) {
            if (!(part > 0 && part < 1)) return beyond;
            const auto place = sample.begin() + static_cast<index>(part * count);
            std::nth_element(sample.begin(), place, sample.end());
            return *place;
        };
        Bracket bracket{at(middle - margin, 0), at(middle + margin, largest_key), 0};
        const auto inside =
            std::count_if(sample.begin(), sample.end(), [&](Key key) { return bracket.has(key); });
        bracket.keys = static_cast<index>(static_cast<double>(inside) / count * all);
        return bracket;
    }

    // The median from the keys within the bracket. Nothing if they are too many, which the bracket then says, or if the
    // median is not among them, and the bracket becomes the side where it is.
    std::optional<double> collect(Bracket& bracket, const MedianRanks& ranks) {
        const index most = collectable<T> / static_cast<index>(workers_.size());
        for (Worker& worker : workers_) worker.keys.clear(), worker.below = 0, worker.left_out = false;
        const Bracket within = bracket;
        distances_.for_each_block(distances_.all(), [&, within](int number, index, const Block& block) {
            Worker& worker = mine(number);
            Key found[most_panel_width];
            for (index i = 0; i < block.rows; ++i) {
                index below = 0, count = 0;  // without branches, which would be taken at random
                for (index j = block.first_column(i); j < block.columns; ++j) {
                    const Key key = block.key(i, j);
                    found[count] = key;
                    below += key < within.lowest;
                    count += within.has(key);
                }
                worker.below += below;
                worker.left_out |= static_cast<index>(worker.keys.size()) + count > most;
                if (!worker.left_out) worker.keys.insert(worker.keys.end(), found, found + count);
            }
        });
        index below = 0;
        for (const Worker& worker : workers_) {
            if (worker.left_out) {
                bracket.keys = std::max(distances_.pairs(), collectable<T> + 1);
                return {};
            }
            below += worker.below;
        }
        std::vector<Key> keys = collected();
        const index beyond = below + static_cast<index>(keys.size());
        if (turn_aside(bracket, below, beyond, ranks)) return {};
        const auto at = [&](index rank) {
            const auto place = keys.begin() + (rank - below);
            std::nth_element(keys.begin(), place, keys.end());
            return *place;
        };
        const Key first = at(ranks.first());
        const Key second = ranks.second() < beyond ? at(ranks.second()) : smallest_above(bracket.highest);
        return ranks.median(distance_of<T>(first), distance_of<T>(second));
    }

    // Counts the keys within the bracket in a histogram, and narrows the bracket to the bin that has the median. With bins
    // of one key that is the median.
    std::optional<double> count(Bracket& bracket, const MedianRanks& ranks) {
        const index most = histogram_bins(static_cast<double>(distances_.pairs()));
        int shift = 0;
        while (bracket.span() >> shift >= static_cast<Key>(most)) ++shift;
        const auto bins = static_cast<index>(bracket.span() >> shift) + 1;
        const Histogram counted = histogram(bracket.lowest, shift, bins, false, distances_.all());
        index below = counted.below;
        const index inside = std::accumulate(counted.bins.begin(), counted.bins.end(), index{0});
        if (turn_aside(bracket, below, below + inside, ranks)) return {};
        auto bin = counted.bins.begin();
        for (; below + *bin <= ranks.first(); ++bin) below += *bin;
        const auto key = [&](auto at) {
            return bracket.lowest + (static_cast<Key>(at - counted.bins.begin()) << shift);
        };
        if (shift > 0) {
            bracket = {key(bin), key(bin) + ((Key{1} << shift) - 1), *bin};
            return {};
        }
        Key second = key(bin);
        if (ranks.second() >= below + *bin) {
            const auto next = std::find_if(bin + 1, counted.bins.end(), [](index keys) { return keys > 0; });
            second = next != counted.bins.end() ? key(next) : smallest_above(bracket.highest);
        }
        return ranks.median(distance_of<T>(key(bin)), distance_of<T>(second));
    }

    // Whether the median is not within a bracket that has the ranks [below, beyond). It then becomes the side where it is.
    bool turn_aside(Bracket& bracket, index below, index beyond, const MedianRanks& ranks) const {
        if (ranks.first() < below)
            bracket = {0, bracket.lowest - 1, below};
        else if (ranks.first() >= beyond)
            bracket = {bracket.highest + 1, largest_key, distances_.pairs() - beyond};
        else
            return false;
        return true;
    }

    struct Histogram {
        std::vector<index> bins;  // of 2^shift keys each, from the lowest on
        index below = 0;          // smaller keys
        Key above = largest_key;  // the smallest key beyond the bins, if it is wanted
    };
    Histogram histogram(Key lowest, int shift, index bins, bool wants_above, Span numbers) {
        for (Worker& worker : workers_) {
            worker.histogram.assign(static_cast<std::size_t>(bins), 0);
            worker.below = 0;
            worker.above = largest_key;
        }
        distances_.for_each_block(numbers, [&, lowest, shift, bins](int number, index, const Block& block) {
            Worker& worker = mine(number);
            index* const counts = worker.histogram.data();
            index below = 0;
            Key above = largest_key;
            for (index i = 0; i < block.rows; ++i)
                for (index j = block.first_column(i); j < block.columns; ++j) {
                    const Key key = block.key(i, j);
                    below += key < lowest;
                    const Key bin = (key - lowest) >> shift;  // wraps to a large number below `lowest`
                    if (bin < static_cast<Key>(bins))
                        ++counts[bin];
                    else if (wants_above && key > lowest)
                        above = std::min(above, key);
                }
            worker.below += below;
            worker.above = std::min(worker.above, above);
        });
        Histogram total{std::vector<index>(static_cast<std::size_t>(bins), 0)};
        for (const Worker& worker : workers_) {
            std::transform(total.bins.begin(), total.bins.end(), worker.histogram.begin(), total.bins.begin(),
                           std::plus());
            total.below += worker.below;
            total.above = std::min(total.above, worker.above);
        }
        return total;
    }

    std::vector<Key> collected() const {
        std::size_t count = 0;
        for (const Worker& worker : workers_) count += worker.keys.size();
        std::vector<Key> all;
        all.reserve(count);
        for (const Worker& worker : workers_) all.insert(all.end(), worker.keys.begin(), worker.keys.end());
        return all;
    }

    Key smallest_above(Key highest) {
        for (Worker& worker : workers_) worker.above = largest_key;
        distances_.for_each_key(distances_.all(), [&](int number, Key key) {
            if (key > highest) mine(number).above = std::min(mine(number).above, key);
        });
        Key smallest = largest_key;
        for (const Worker& worker : workers_) smallest = std::min(smallest, worker.above);
        return smallest;
    }

    DistanceBlocks<T>& distances_;
    std::vector<Worker> workers_;  // per thread
};

}  // namespace

template <class T>
double median_squared_distance(PanelTiles<T>& tiles, const TileGrid& grid, bool offdiagonal, bool keep,
                               const Engine& engine) {
    if (tiles.samples() < 2) return 0;  // no pair of samples
    DistanceBlocks<T> distances(tiles, grid, engine);
    if (keep) distances.keep();
    return MedianDistance<T>(distances).median(MedianRanks(tiles.samples(), offdiagonal));
}

template <class T>
DigitCounts count_distances(PanelTiles<T>& tiles, const TileGrid& grid, Span numbers,
                            const MedianSearch& search, const Engine& engine) {
    DistanceBlocks<T> distances(tiles, grid, engine);
    return MedianDistance<T>(distances).counts(search, numbers);
}

template <class T> Bytes median_search_bytes(const TileGrid& grid, index width, index copied_features) {
    const double all = static_cast<double>(grid.tiles()) * static_cast<double>(grid.tile_values(width));
    const index histogram = histogram_bins(all) * static_cast<index>(sizeof(index));
    const double collected = std::min(static_cast<double>(median_collected_bytes), 3 * sizeof(T) * all);
    const index copies = PanelTiles<T>::copies_bytes(sampled<T>(grid.vectors()), copied_features, width);
    return {histogram + static_cast<index>(collected) + copies, histogram};
}

template <class T> index kept_distances_bytes(const TileGrid& grid, index width) {
    return DistanceBlocks<T>::kept_bytes(grid, width);
}

template Bytes median_search_bytes<float>(const TileGrid&, index, index);
template Bytes median_search_bytes<double>(const TileGrid&, index, index);
template index kept_distances_bytes<float>(const TileGrid&, index);
template index kept_distances_bytes<double>(const TileGrid&, index);
template double median_squared_distance(PanelTiles<float>&, const TileGrid&, bool, bool, const Engine&);
template double median_squared_distance(PanelTiles<double>&, const TileGrid&, bool, bool, const Engine&);
template DigitCounts count_distances(PanelTiles<float>&, const TileGrid&, Span, const MedianSearch&,
                                     const Engine&);
template DigitCounts count_distances(PanelTiles<double>&, const TileGrid&, Span, const MedianSearch&,
                                     const Engine&);

}  // namespace fastcka
