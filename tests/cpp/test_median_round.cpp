// SPDX-License-Identifier: BSD-3-Clause
// Rounds of the search for medians: digit by digit to the median of sorting, whatever pieces a round is made of; what is
// refused, and changes nothing then.
#include "check.hpp"
#include "layers/bandwidth.hpp"
#include "sums/median_round.hpp"
#include "support.hpp"

namespace fastcka::test {
namespace {

using Range = MedianRound::Range;

// The squared distances of the pairs i < j of n samples, shared out to blocks.
struct Distances {
    index samples, blocks;
    std::vector<double> values;

    index first(index block) const { return block * static_cast<index>(values.size()) / blocks; }
};

// By the definition: of all n^2 distances, or of those with i != j, the mean of the two in the middle.
double median_of(const Distances& of, bool offdiagonal) {
    std::vector<double> all(offdiagonal ? 0 : static_cast<std::size_t>(of.samples), 0.0);
    for (double value : of.values) all.insert(all.end(), 2, value);
    std::sort(all.begin(), all.end());
    return (all[(all.size() - 1) / 2] + all[all.size() / 2]) / 2;
}

template <class T> DistanceKey key_of(T distance) {
    return std::bit_cast<std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>(distance);
}

// Digit number `place` of a key, the leading one first.
template <class T> DistanceKey digit(DistanceKey key, int place) {
    return (key >> (digit_bits * (digits_of<T> - 1 - place))) & 0xffff;
}

template <class T> DigitCounts counted(const Distances& of, const MedianSearch& search, const Range& blocks) {
    DigitCounts counts{std::vector<index>(static_cast<std::size_t>(digit_values), 0)};
    for (index at = of.first(blocks.first); at < of.first(blocks.last); ++at) {
        const auto key = key_of(static_cast<T>(of.values[static_cast<std::size_t>(at)]));
        int same = 0;  // leading digits
        while (same < search.digits && digit<T>(key, same) == digit<T>(search.lowest, same)) ++same;
        if (same == search.digits)
            ++counts.bins[digit<T>(key, search.digits)];
        else if (search.digits == digits_of<T> - 1 && key > search.lowest)
            counts.above = std::min(counts.above, key);
    }
    return counts;
}

// Statistics of layers whose bandwidths are open.
Statistics statistics_of(std::size_t layers, bool float64) {
    Statistics known(static_cast<index>(layers));
    for (auto& layer : known.layers) {
        layer.emplace();
        layer->centring.mean = {0.0, 0.0, 0.0};
        layer->centring.scale = 0.5;
        layer->centring.largest = 1;
        layer->needs_float64 = float64;
        layer->mean_distance = 0;  // any bandwidth suits float32
    }
    return known;
}

// Counts some blocks of a layer for a round.
template <class T>
void add_blocks(const std::vector<Distances>& layers, index layer, const Range& blocks, MedianRound& round) {
    DigitCounts counts;
    if (round.counts(layer)) {
        const auto at = static_cast<std::size_t>(layer);
        counts = counted<T>(layers[at], round.known().layers[at]->search, blocks);
    }
    round.add(layer, {blocks}, std::move(counts));
}

bool same(const MedianRound& x, const MedianRound& y) {
    bool all = x.covered().size() == y.covered().size();
    for (std::size_t l = 0; l < x.layers().size(); ++l)
        all &= x.known().layers[l]->search == y.known().layers[l]->search &&
               x.layers()[l].covered == y.layers()[l].covered &&
               x.layers()[l].counts.bins == y.layers()[l].counts.bins &&
               x.layers()[l].counts.above == y.layers()[l].counts.above;
    return all;
}

// One round: in one piece, and in pieces of one block each, which are merged in random order.
template <class T>
MedianRound round_of(const std::vector<Distances>& layers, bool offdiagonal, const Statistics& known,
                     std::mt19937& engine) {
    const index blocks = layers.front().blocks;
    const MedianRound empty(layers.front().samples, offdiagonal, false, blocks, known);
    MedianRound whole = empty;
    std::vector<MedianRound> pieces;
    for (index layer = 0; layer < static_cast<index>(layers.size()); ++layer) {
        add_blocks<T>(layers, layer, {0, blocks}, whole);
        for (index block = 0; block < blocks; ++block)
            add_blocks<T>(layers, layer, {block, block + 1}, pieces.emplace_back(empty));
    }
    std::shuffle(pieces.begin(), pieces.end(), engine);
    while (pieces.size() > 1) {  // two of them, wherever they are
        std::uniform_int_distribution<std::size_t> any(0, pieces.size() - 2);
        MedianRound last = std::move(pieces.back());
        pieces.pop_back();
        pieces[any(engine)].merge(last);
    }
    CHECK(same(pieces.front(), whole));
    CHECK(whole.covered() == std::vector{Range{0, blocks * static_cast<index>(layers.size())}});
    return whole;
}

template <class T> std::vector<Distances> hard_distances(index n, index blocks, Random& random) {
    const index pairs = n * (n - 1) / 2;
    const auto made = [&](auto&& value) {
        Distances all{n, blocks, {}};
        for (index i = 0; i < pairs; ++i) all.values.push_back(static_cast<double>(static_cast<T>(value(i))));
        return all;
    };
    const T one = 1, next = std::nextafter(one, T(2));
    return {
        made([&](index) { return std::abs(random.normal()); }),
        made([&](index) { return static_cast<double>(random.integer(0, 2)); }),  // ties, many of them zero
        made([&](index) { return 3.0; }),                                        // all equal
        made([&](index) { return 0.0; }),
        made([&](index i) { return static_cast<double>(i % 2 == 0 ? one : next); }),  // neighbours
        made([&](index i) { return i % 2 == 0 ? 1.0 : 1.75; }),                       // another leading digit
    };
}

template <class T> void check_medians(bool float64) {
    Random random(61);
    std::mt19937 engine(62);
    for (index n : {2, 3, 4, 7})
        for (index blocks : {index{1}, index{3}, n * (n - 1) / 2})  // then a distance in each
            for (bool offdiagonal : {false, true}) {
                const std::vector<Distances> layers = hard_distances<T>(n, blocks, random);
                const Kernel kernel = RBF{{.relative = 2, .offdiagonal = offdiagonal}};
                Statistics known = statistics_of(layers.size(), float64);
                for (int digits = 1; digits <= digits_of<T>; ++digits) {
                    known = round_of<T>(layers, offdiagonal, known, engine).narrowed(kernel);
                    CHECK(known.layers[0]->search.digits == digits);
                    CHECK(known.layers[0]->is_open(kernel) == (digits < digits_of<T>));
                }
                for (std::size_t l = 0; l < layers.size(); ++l) {
                    const double median = median_of(layers[l], offdiagonal);
                    CHECK(known.layers[l]->search.median == median);
                    CHECK(known.layers[l]->sigma == 2 * std::sqrt(median) / 0.5);
                    CHECK(known.layers[l]->needs_float64 == float64);
                }
            }
}

// Two layers of five samples, in four blocks.
std::vector<Distances> two_layers() {
    Distances first{5, 4, {}}, second{5, 4, {}};
    for (int i = 0; i < 10; ++i) first.values.push_back(1 + i), second.values.push_back(20 - i);
    return {first, second};
}

template <class Change> void refuses(const MedianRound& round, Change&& change) {
    MedianRound changed = round;
    CHECK_THROWS(std::invalid_argument, change(changed));
    CHECK(same(changed, round));
}

}  // namespace

TEST(median_rounds_of_float32_find_the_median_of_sorting) { check_medians<float>(false); }
TEST(median_rounds_of_float64_find_the_median_of_sorting) { check_medians<double>(true); }

TEST(median_round_starts_again_in_float64_where_the_bandwidth_is_too_narrow) {
    std::mt19937 engine(63);
    std::vector<Distances> layers = two_layers();
    Statistics known = statistics_of(layers.size(), false);
    known.layers[1]->mean_distance = 1e6;  // exponents of nearly all pairs are far below 0
    const Kernel kernel = RBF{};
    for (int digit = 0; digit < digits_of<float>; ++digit)
        known = round_of<float>(layers, false, known, engine).narrowed(kernel);
    CHECK(!known.layers[0]->is_open(kernel) && !known.layers[0]->needs_float64);
    CHECK(known.layers[1]->is_open(kernel) && known.layers[1]->needs_float64);
    CHECK(known.layers[1]->search == MedianSearch{});
    for (int digit = 0; digit < digits_of<double>; ++digit) {
        MedianRound round(5, false, false, 4, known);
        CHECK(!round.counts(0) && round.counts(1) && round.in_float64(1));
        round.add(0, {{0, 4}}, {});
        add_blocks<double>(layers, 1, {0, 4}, round);
        known = round.narrowed(kernel);
    }
    CHECK(!known.layers[1]->is_open(kernel) && known.layers[1]->search.median == median_of(layers[1], false));
}

TEST(median_round_counts_nothing_of_layers_that_need_no_search) {
    Statistics known = statistics_of(2, false);
    known.layers[0]->centring.largest = 0;  // all samples are equal
    known.layers[1]->sigma = 3;
    MedianRound round(5, false, false, 4, known);
    CHECK(!round.counts(0) && !round.counts(1));
    for (index layer : {0, 1}) round.add(layer, {{0, 4}}, {});
    const Statistics after = round.narrowed(RBF{});
    CHECK(after.layers[0]->search == MedianSearch{} && after.layers[1]->sigma == 3);
    const DigitCounts counts{std::vector<index>(static_cast<std::size_t>(digit_values), 1)};
    CHECK_THROWS(std::invalid_argument, MedianRound(5, false, false, 4, known).add(0, {{0, 1}}, counts));
}

TEST(median_round_is_restored_layer_by_layer) {
    const std::vector<Distances> layers = two_layers();
    const Statistics known = statistics_of(layers.size(), false);
    MedianRound round(5, true, false, 4, known);
    add_blocks<float>(layers, 0, {0, 4}, round);  // all of it, so that its counts are forgotten
    add_blocks<float>(layers, 1, {0, 1}, round);
    add_blocks<float>(layers, 1, {2, 3}, round);
    CHECK(round.layers()[0].counts.bins.empty() && !round.layers()[1].counts.bins.empty());
    MedianRound again(5, true, false, 4, round.known());
    for (index layer : {0, 1}) again.restore(layer, round.layers()[static_cast<std::size_t>(layer)]);
    CHECK(same(again, round));
    refuses(again, [&](MedianRound& r) { r.restore(1, round.layers()[1]); });
    MedianRound::Layer complete = round.layers()[0];
    complete.counts.bins.assign(static_cast<std::size_t>(digit_values), 0);
    refuses(MedianRound(5, true, false, 4, known), [&](MedianRound& r) { r.restore(0, complete); });
}

TEST(median_round_refuses_what_does_not_fit_and_stays_as_it_is) {
    const std::vector<Distances> layers = two_layers();
    const Statistics known = statistics_of(layers.size(), false);
    const MedianRound empty(5, false, false, 4, known);
    MedianRound round = empty;
    add_blocks<float>(layers, 0, {0, 2}, round);
    add_blocks<float>(layers, 1, {1, 3}, round);

    // Layer 0 would fit, layer 1 does not.
    MedianRound overlapping = empty;
    add_blocks<float>(layers, 0, {2, 4}, overlapping);
    add_blocks<float>(layers, 1, {2, 4}, overlapping);
    refuses(round, [&](MedianRound& r) { r.merge(overlapping); });
    refuses(round, [&](MedianRound& r) { r.merge(r); });

    Statistics later = known;  // one digit of layer 1 is known already
    later.layers[1]->search.advance<float>(counted<float>(layers[1], {}, {0, 4}), MedianRanks(5, false));
    MedianRound next(5, false, false, 4, later);
    add_blocks<float>(layers, 0, {2, 4}, next);
    add_blocks<float>(layers, 1, {3, 4}, next);
    refuses(round, [&](MedianRound& r) { r.merge(next); });

    Statistics alone(1);
    alone.layers[0] = known.layers[0];
    for (const MedianRound& other :
         {MedianRound(6, false, false, 4, known), MedianRound(5, true, false, 4, known),
          MedianRound(5, false, true, 4, known), MedianRound(5, false, false, 3, known),
          MedianRound(5, false, false, 4, alone)})
        refuses(round, [&](MedianRound& r) { r.merge(other); });

    const DigitCounts counts{std::vector<index>(static_cast<std::size_t>(digit_values), 0)};
    for (const Range& wrong : {Range{1, 2}, Range{3, 5}, Range{-1, 0}, Range{3, 3}})
        refuses(round, [&](MedianRound& r) { r.add(0, {wrong}, counts); });
    refuses(round, [&](MedianRound& r) { r.add(0, {{2, 3}, {2, 4}}, counts); });
    refuses(round, [&](MedianRound& r) { r.add(0, {{2, 3}}, {}); });
    refuses(round, [&](MedianRound& r) { r.add(0, {{2, 3}}, {std::vector<index>(7, 0)}); });
    refuses(round, [&](MedianRound& r) { r.narrowed(RBF{}); });

    CHECK_THROWS(std::invalid_argument, MedianRound(1, false, false, 4, known));
    CHECK_THROWS(std::invalid_argument, MedianRound(5, false, false, 0, known));
    CHECK_THROWS(std::invalid_argument, MedianRound(5, false, false, 4, Statistics(2)));
    Statistics finished = known;
    finished.layers[0]->search.digits = digits_of<float>;  // but no median
    CHECK_THROWS(std::invalid_argument, MedianRound(5, false, false, 4, finished));
}

}  // namespace fastcka::test
