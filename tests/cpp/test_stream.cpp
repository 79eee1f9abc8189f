// SPDX-License-Identifier: BSD-3-Clause
// Exact streams: the values of pairwise(), whatever the batches, merges and interruptions.
#include "base/errors.hpp"
#include "check.hpp"
#include "compare/pairwise.hpp"
#include "compare/stream.hpp"
#include "sums/massive_rows.hpp"
#include "support.hpp"

#include <map>

namespace fastcka::test {
namespace {

constexpr index samples = 9000;  // two blocks and a rest

struct Data {
    Stored x, y, z;

    explicit Data(double offset = 0) {
        Random random(101);
        const auto layer = [&](index p) {
            return store((random.normal(samples, p).array() + offset).matrix(), Element::f32);
        };
        x = layer(5), y = layer(30), z = layer(1);
        for (Stored* other : {&y, &z})
            *other = store(
                (other->values.array() + x.values.col(0).replicate(1, other->view.columns).array()).matrix(),
                Element::f32);
    }
    static Stored rows(const Stored& layer, index first, index count) {
        return store(layer.values.middleRows(first, count), Element::f32,
                     first % 2 == 0 ? Layout::rows : Layout::columns);
    }
    void feed(Stream& stream, index first, index count, int threads = 1) const {
        const Stored a = rows(x, first, count), b = rows(y, first, count), c = rows(z, first, count);
        stream.update({{a.view, b.view}, std::vector{c.view}}, threads);
    }
    Pairwise at_once(bool unbiased, bool double_precision) const {
        return pairwise({{x.view, y.view}, std::vector{z.view}}, settings({}, unbiased, double_precision));
    }
};

Stream new_stream(bool double_precision) { return {LayerSet({5, 30, 1}, 2), precision(double_precision)}; }

bool same_bits(const Alignment& a, const Alignment& b) {
    return a.cka == b.cka && a.hsic == b.hsic && a.self == b.self;
}

void check_close(const Alignment& a, const Alignment& b, double tolerance) {
    for (index i = 0; i < 2; ++i) {
        CHECK_CLOSE(a.cka(i, 0), b.cka(i, 0), tolerance);
        CHECK_CLOSE(a.hsic(i, 0), b.hsic(i, 0), 2 * tolerance * std::sqrt(b.self(i) * b.self(2)));
        CHECK_CLOSE(a.self(i), b.self(i), 2 * tolerance * b.self(i));
    }
}

}  // namespace

TEST(stream_is_pairwise) {
    for (double offset : {0.0, 1e4}) {
        const Data data(offset);
        for (bool double_precision : {false, true}) {
            Stream stream = new_stream(double_precision);
            data.feed(stream, 0, 100);
            const auto check = [&](bool unbiased) {
                check_close(stream.result(unbiased ? Estimator::unbiased : Estimator::biased, 2),
                            data.at_once(unbiased, double_precision), double_precision ? 1e-12 : 1e-6);
            };
            data.feed(stream, 100, samples - 100, 3);
            CHECK(stream.samples() == samples);
            check(false), check(true);
        }
    }
}

TEST(stream_has_the_same_bits_for_any_batches_and_threads) {
    const Data data;
    Stream at_once = new_stream(false);
    data.feed(at_once, 0, samples);
    const Alignment expected = at_once.result(Estimator::unbiased, 1);
    for (index batch : {index{64}, index{1000}, index{4096}, index{5000}}) {
        Stream stream = new_stream(false);
        for (index first = 0; first < samples; first += batch) {
            data.feed(stream, first, std::min(batch, samples - first), 1 + static_cast<int>(first % 3));
            if (batch == 1000) stream.result(Estimator::unbiased, 1);  // a look in between changes nothing
        }
        CHECK(same_bits(stream.result(Estimator::unbiased, 3), expected));
    }
}

TEST(streams_merge) {
    const Data data(100);
    for (bool double_precision : {false, true})
        for (auto [first, second] : {std::pair<index, index>{4500, 4500},
                                     {100, 8900},
                                     {8900, 100},
                                     {50, 60},
                                     {0, 5000},
                                     {5000, 0},
                                     {1, 100},
                                     {100, 1},
                                     {4096, 4097}}) {  // one sample waits beside a full block
            Stream whole = new_stream(double_precision), a = new_stream(double_precision),
                   b = new_stream(double_precision);
            const auto feed = [&](Stream& stream, index from, index count) {
                if (count > 0) data.feed(stream, from, count);
            };
            feed(whole, 0, first + second);
            feed(a, 0, first), feed(b, first, second);
            a.merge(b, 2);
            CHECK(a.samples() == first + second);
            check_close(a.result(Estimator::unbiased, 1), whole.result(Estimator::unbiased, 1),
                        double_precision ? 1e-12 : 1e-6);
        }
}

TEST(streams_of_other_layers_or_precision_do_not_merge) {
    Stream stream = new_stream(true), single = new_stream(false);
    Stream other({{5, 31, 1}, 2}, Precision::float64), split({{5, 30, 1}, 1}, Precision::float64);
    for (Stream* each : {&single, &other, &split})
        CHECK_THROWS(std::invalid_argument, stream.merge(*each, 1));
}

TEST(stream_is_saved_and_loaded) {
    Data data;
    data.x.values(17, 3) = 1e4;  // a massive sample, which is kept apart
    data.x = store(data.x.values, Element::f32);
    for (bool double_precision : {false, true})
        for (index count : {index{10}, index{5000}}) {
            Stream stream = new_stream(double_precision);
            data.feed(stream, 0, count);
            std::map<std::string, std::vector<double>> saved;
            stream.visit_arrays([&](const std::string& name, const auto* values, index size) {
                saved[name].assign(values, values + size);
            });
            Stream copy = new_stream(double_precision);
            copy.set_counts(stream.counts());
            copy.visit_arrays([&](const std::string& name, auto* values, index size) {
                CHECK(static_cast<index>(saved[name].size()) == size);
                for (index i = 0; i < size; ++i)
                    values[i] = static_cast<std::decay_t<decltype(*values)>>(
                        saved[name][static_cast<std::size_t>(i)]);
            });
            CHECK(same_bits(stream.result(Estimator::biased, 1), copy.result(Estimator::biased, 1)));
            data.feed(stream, count, 4000), data.feed(copy, count, 4000);
            CHECK(same_bits(stream.result(Estimator::biased, 1), copy.result(Estimator::biased, 1)));
        }
}

TEST(stream_goes_on_after_every_interruption) {
    struct Interruption {};
    Random random(103);
    constexpr index rows = 4096 + 300,
                    p = sanitized ? 600 : 2400;  // a block takes several looks of the observer
    Matrix values = random.normal(rows, p);
    values(17, 3) = 1e4;  // a massive sample, which is kept apart
    const Stored layer = store(values, Element::f32);
    const auto rest_from = [&](index first) {
        return Layers{{{layer.view.at(first, 0), rows - first, p, layer.view.row_stride,
                        layer.view.column_stride, Element::f32}},
                      {}};
    };
    Stream expected(LayerSet({p}, 1), Precision::float32), stream(LayerSet({p}, 1), Precision::float32);
    expected.update(rest_from(0), 1);
    index interruptions = 0;
    const auto attempt = [&](auto&& call) {  // stopped at the first look, until it has been a few times
        try {
            call([&](index, index) {
                if (interruptions < 3) throw Interruption{};
            });
        } catch (const Interruption&) {
            ++interruptions;
        }
    };
    while (stream.samples() < rows) {
        attempt([&](const Observer& observer) { stream.update(rest_from(stream.samples()), 1, observer); });
        if (stream.samples() >= 4)  // a slow machine may have been stopped before
            attempt([&](const Observer& observer) { stream.result(Estimator::unbiased, 1, observer); });
    }
    CHECK(interruptions == 3);
    CHECK(same_bits(stream.result(Estimator::unbiased, 1), expected.result(Estimator::unbiased, 1)));
}

TEST(stream_refuses_bad_batches_unchanged) {
    const Data data;
    Stream stream = new_stream(false);
    data.feed(stream, 0, 4000);
    const Alignment before = stream.result(Estimator::biased, 1);
    const Stored a = Data::rows(data.x, 0, 300), b = Data::rows(data.y, 0, 300);
    Matrix bad = data.z.values.topRows(300);
    bad(200, 0) = std::numeric_limits<double>::quiet_NaN();
    const Stored c = store(bad, Element::f32);
    bool placed = false;
    try {
        stream.update({{a.view, b.view}, std::vector{c.view}}, 2);
    } catch (const NonFinite& e) {
        placed = e.network == 1 && e.layer == 0 && e.row == 200 && e.column == 0;
    }
    CHECK(placed);
    Matrix too_large = data.y.values.topRows(300);
    too_large(3, 1) = 1e39;
    const Stored large = store(too_large, Element::f64);
    const Stored z = Data::rows(data.z, 0, 300);
    bool named = false;
    try {
        stream.update({{a.view, large.view}, std::vector{z.view}}, 2);
    } catch (const UnusableLayer& e) {
        named = e.network == 0 && e.layer == 1;
    }
    CHECK(named);
    CHECK_THROWS(std::invalid_argument, stream.update({{a.view, b.view}, {}}, 1));
    CHECK_THROWS(std::invalid_argument, stream.update({{b.view, a.view}, std::vector{c.view}}, 1));
    CHECK(stream.samples() == 4000 && same_bits(stream.result(Estimator::biased, 1), before));
}

TEST(the_largest_massive_samples_are_kept_and_the_rest_is_handed_on) {
    const LayerSet set({1}, 1);
    const index count = most_massive_rows + 10;
    SampleRows block(set, Precision::float64, count);
    std::vector<double> shares;
    for (index i = 0; i < count; ++i) {
        *reinterpret_cast<double*>(block.at(0, i)) = static_cast<double>(i);
        shares.push_back(static_cast<double>(i) / 100);  // the first is not massive
    }
    block.set_count(count);
    SampleRows others(set, Precision::float64, count);
    const MassiveRows none(set, Precision::float64);
    const MassiveRows kept = none.with(block, shares, set, Precision::float64, others);
    CHECK(kept.rows.count() == most_massive_rows);
    CHECK(others.count() == count - 1 - most_massive_rows);
    for (index i = 0; i < kept.rows.count(); ++i)
        CHECK(kept.rows.value(0, i, 0) == static_cast<double>(count - 1 - i));
    for (index i = 0; i < others.count(); ++i) CHECK(others.value(0, i, 0) <= 9);
}

TEST(stream_keeps_massive_samples_apart) {
    Random random(104);
    for (index massive : {1, 5, 80})
        for (index n : {index{50}, index{300}, index{4100}, samples})
            for (bool unbiased : {false, true}) {
                Matrix x = random.normal(n, 7), y = x.leftCols(4) + random.normal(n, 4);
                for (index i = 0; i < massive; ++i)
                    x(random.integer(0, n - 1), 2) = 3e3 + static_cast<double>(i);
                const Stored a = store(x, Element::f32), b = store(y, Element::f32);
                Stream stream(LayerSet({7, 4}, 1), Precision::float32);
                stream.update({{a.view}, std::vector{b.view}}, 2);
                const Settings options = settings({}, unbiased, true, 1, Route::gram);
                CHECK_CLOSE(stream.result(options.estimator, 1).cka(0, 0),
                            pairwise({{a.view}, std::vector{b.view}}, options).cka(0, 0), 1e-6);
            }
}

// The first block decides the scale of a layer: what follows may be far larger or smaller.
TEST(stream_follows_a_change_of_scale) {
    Random random(102);
    for (double later : {1e-12, 1e12, 1e25})
        for (bool constant : {false, true}) {
            Matrix x = random.normal(samples, 3), y = x.leftCols(2) + random.normal(samples, 2);
            x.bottomRows(samples - 4096) *= later;
            if (constant) x.topRows(4096).setZero();
            const Stored a = store(x, Element::f64), b = store(y, Element::f64);
            Stream stream(LayerSet({3, 2}, 1), Precision::float32);
            stream.update({{a.view}, std::vector{b.view}}, 1);
            const Settings options = settings({}, false, true, 1, Route::feature);
            const double expected = pairwise({{a.view}, std::vector{b.view}}, options).cka(0, 0);
            CHECK_CLOSE(stream.result(Estimator::biased, 1).cka(0, 0), expected, 1e-6);
        }
}

}  // namespace fastcka::test
