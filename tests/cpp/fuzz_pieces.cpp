// SPDX-License-Identifier: BSD-3-Clause
// A comparison and its inference in pieces, cut and merged as whatever bytes say: the bits of the whole, or the same refusal.
// The tests run it on random bytes; `nox -s fuzz` searches, guided by coverage.
#include "check.hpp"
#include "compare/pairwise.hpp"
#include "fuzzed.hpp"
#include "inference/second_pass.hpp"

#include <optional>

namespace fastcka::test {
namespace {

// piece(first, last) for [0, count) cut where the bytes say; the pieces are merged in any order into `whole`.
template <class Whole, class Piece> void in_pieces(Bytes& bytes, index count, Whole& whole, Piece&& piece) {
    std::vector<Span> cut;
    for (index first = 0; first < count; first = cut.back().last)
        cut.push_back({first, std::min(count, first + 1 + bytes.below(count))});
    while (!cut.empty()) {
        const auto place = cut.begin() + bytes.below(static_cast<index>(cut.size()));
        whole.merge(piece(place->first, place->last));
        cut.erase(place);
    }
}

// The statistics of all layers: those of some at a time, and medians round by round.
Statistics statistics_in_pieces(Bytes& bytes, const Layers& layers, const Settings& options) {
    Statistics known(layers.count());
    in_pieces(bytes, layers.count(), known, [&](index first, index last) {
        return statistics(layers, options, first, last, Medians::left_to_rounds);
    });
    const bool wide = plan_of(problem_of(layers, options)).precision == Precision::float64;
    const auto open = [&] {
        return std::ranges::any_of(known.layers, [&](const auto& each) {
            return each->is_open(options.kernel) && (wide || !each->needs_float64);
        });
    };
    while (open()) {
        const index blocks = plan_of(problem_of(layers, options)).blocks;
        MedianRound round(layers.samples(), options.kernel.bandwidth()->offdiagonal, wide, blocks, known);
        in_pieces(bytes, blocks * layers.count(), round,
                  [&](index first, index last) { return median_round(layers, options, known, first, last); });
        known = round.narrowed(options.kernel);
    }
    return known;
}

// As pairwise() does it: in float64, and by the Gram route, where sums are too coarse.
Swept swept_in_pieces(Bytes& bytes, const Layers& layers, Settings options) {
    for (;;) {
        const Statistics known = statistics_in_pieces(bytes, layers, options);
        const Problem problem = problem_of(layers, options);
        const Plan plan = plan_of(problem);
        const bool wide = plan.precision == Precision::float64;
        if (wide || !known.needs_float64()) {
            Partial sums = partial(layers, options, 0, 0, known);
            in_pieces(bytes, plan.blocks, sums,
                      [&](index first, index last) { return partial(layers, options, first, last, known); });
            if (!finish(problem, plan, sums).too_coarse) return {problem, plan, std::move(sums)};
            if (wide) options.route = Route::gram;
        }
        options.precision = Precision::float64;
    }
}

// What `make` returns, or nothing where it refuses.
template <class Make> auto unless_refused(Make&& make) -> std::optional<decltype(make())> {
    try {
        return make();
    } catch (const std::invalid_argument&) {  // NonFinite among them
        return {};
    }
}

bool same(const Eigen::MatrixXd& x, const Eigen::MatrixXd& y) {
    return x.rows() == y.rows() && x.cols() == y.cols() &&
           (x.array() == y.array() || (x.array().isNaN() && y.array().isNaN())).all();
}

Questions any_questions(Bytes& bytes, index samples) {
    Questions questions{.standard_errors = true, .permutations = bytes.byte() % 2 == 0};
    if (bytes.byte() % 2 == 0) return questions;
    questions.groups.push_back(0);
    while (questions.groups.back() < samples)
        questions.groups.push_back(std::min(samples, questions.groups.back() + 1 + bytes.below(samples)));
    return questions;
}

void run(Bytes bytes) {
    const Kernel kernel = any_kernel(bytes);
    if (kernel.is_given()) return;  // has no statistics
    const Settings options =
        settings(kernel, bytes.byte() % 2 == 0, bytes.byte() % 2 == 0, bytes.byte() % 8 == 0 ? 3 : 1);
    const index n = bytes.size(40, 700);  // several blocks, now and then
    const index a = 1 + bytes.byte() % 2, b = bytes.byte() % 2;
    Random random(bytes.byte());
    std::vector<Stored> stored;
    std::vector<MatrixView> views;
    stored.reserve(static_cast<std::size_t>(a + b));
    for (index l = 0; l < a + b; ++l) {
        const index p = bytes.size(5, 300);
        Matrix values = bytes.byte() % 4 == 0 ? random.integers(n, p, 0, 1) : random.normal(n, p);
        if (bytes.byte() % 4 == 0) values.row(bytes.below(n)) *= std::ldexp(1.0, 2 * bytes.byte());
        if (bytes.byte() % 4 == 0) values.array() += std::ldexp(1.0, bytes.byte() / 8);
        stored.push_back(store(values, bytes.byte() % 2 == 0 ? Element::f32 : Element::f64));
        views.push_back(stored.back().view);
    }
    Layers layers(views);
    layers.split = a;

    const auto whole = unless_refused([&] { return pairwise(layers, options); });
    const auto pieces = unless_refused([&] { return swept_in_pieces(bytes, layers, options); });
    require(whole.has_value() == pieces.has_value());
    if (!whole) return;
    require(same(whole->cka, finish(pieces->problem, pieces->plan, pieces->partial).cka));

    const Questions questions = any_questions(bytes, n);
    const auto inferred = unless_refused([&] { return infer(layers, options, questions); });
    const auto in_parts = unless_refused([&] {
        Settings exact = pieces->problem.settings;
        std::optional<SumTree<PassSums>> pass;
        if (further_work(pieces->problem, questions) == Further::pass) {
            const index blocks = pass_blocks(pieces->problem, questions);
            pass.emplace(blocks);
            in_pieces(bytes, blocks, *pass, [&](index first, index last) {
                return pass_over(layers, *pieces, questions, first, last);
            });
        }
        return infer(layers, exact, *pieces, questions, {nullptr, pass ? &*pass : nullptr});
    });
    require(inferred.has_value() == in_parts.has_value());
    require(!inferred || same(inferred->standard_errors, in_parts->standard_errors));
}

}  // namespace

TEST(random_pieces_have_the_bits_of_the_whole) { on_random_bytes(sanitized ? 60 : 300, run); }

}  // namespace fastcka::test

#ifdef FASTCKA_FUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fastcka::test::run({data, size});
    return 0;
}
#endif
