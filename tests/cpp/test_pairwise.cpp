// SPDX-License-Identifier: BSD-3-Clause
// The whole method: every kernel, estimator, route, precision and SIMD level against the formulas; the same bits for any
// number of threads; bad input.
#include "base/errors.hpp"
#include "check.hpp"
#include "compare/pairwise.hpp"
#include "support.hpp"

#include <atomic>
#include <thread>

namespace fastcka::test {
namespace {

struct Case {
    const char* name;
    Kernel kernel;
    double single;  // tolerance of CKA in float32 arithmetic; 1e-12 in float64
};

std::vector<Case> cases() {
    return {{"linear", Linear{}, 1e-6},
            {"cosine", Cosine{}, 1e-6},
            {"correlation", Correlation{}, 1e-6},
            {"rbf", RBF{}, 1e-6},
            {"wide rbf", RBF{{.relative = 100}}, 1e-6},
            {"narrow rbf", RBF{{.relative = 0.3}}, 1e-5},
            {"rbf off the diagonal", RBF{{.relative = 0.5, .offdiagonal = true}}, 1e-6},
            {"laplacian", Laplacian{}, 1e-6},
            {"polynomial", Polynomial{.degree = 3}, 1e-6},
            {"distance", Distance{}, 1e-6},
            {"power of distance", Distance{.exponent = 0.5}, 1e-6}};
}

// As pairwise(), at any SIMD level.
Alignment aligned(const Level& level, const Layers& layers, const Settings& options) {
    const Problem problem = problem_of(layers, options);
    const Plan plan = make_plan(problem, panel_width_of(level, problem.settings.precision));
    Team team(plan.threads);
    const Engine engine{level, team};
    const Sweep sweep{layers, options.kernel, plan, engine};
    const auto sums = [&](auto gram, auto feature) {
        return (plan.route == Route::gram ? gram : feature)(sweep, 0, plan.blocks, nullptr);
    };
    return finish(problem, plan,
                  plan.precision == Precision::float64 ? sums(gram_blocks<double>, feature_blocks<double>)
                                                       : sums(gram_blocks<float>, feature_blocks<float>));
}

std::vector<MatrixView> views_of(const std::vector<Stored>& stored) {
    std::vector<MatrixView> views;
    for (const Stored& one : stored) views.push_back(one.view);
    return views;
}

// HSIC of all pairs of layers of two networks, and of each layer with itself, by the formulas.
struct Expected {
    LongMatrix hsic;
    std::vector<long double> self_a, self_b;

    Expected(const std::vector<Stored>& a, const std::vector<Stored>& b, const Kernel& kernel, bool unbiased)
        : hsic(static_cast<index>(a.size()), static_cast<index>(b.size())) {
        const std::vector<LongMatrix> k = grams_of(a, kernel), l = grams_of(b, kernel);
        for (const LongMatrix& gram : k) self_a.push_back(hsic_of(gram, gram, unbiased));
        for (const LongMatrix& gram : l) self_b.push_back(hsic_of(gram, gram, unbiased));
        for (std::size_t i = 0; i < k.size(); ++i)
            for (std::size_t j = 0; j < l.size(); ++j)
                hsic(static_cast<index>(i), static_cast<index>(j)) = hsic_of(k[i], l[j], unbiased);
    }
    static std::vector<LongMatrix> grams_of(const std::vector<Stored>& stored, const Kernel& kernel) {
        std::vector<LongMatrix> grams;
        for (const Stored& one : stored) grams.push_back(gram_matrix(one.values, kernel));
        return grams;
    }
};

// `tolerance` is absolute for CKA; for HSIC it is twice that, relative to the root of the self-HSICs.
void check_alignment(const std::string& name, const Alignment& out, const Expected& expected,
                     double tolerance) {
    const int before = check::failures;
    for (index i = 0; i < expected.hsic.rows(); ++i)
        for (index j = 0; j < expected.hsic.cols(); ++j) {
            const long double root = std::sqrt(expected.self_a[static_cast<std::size_t>(i)] *
                                               expected.self_b[static_cast<std::size_t>(j)]);
            CHECK_CLOSE(out.cka(i, j), expected.hsic(i, j) / root, tolerance);
            CHECK_CLOSE(out.hsic(i, j), expected.hsic(i, j), 2 * tolerance * static_cast<double>(root));
        }
    for (const LayerNote& report : out.layers) CHECK(report.status == Status::fine);
    if (check::failures > before && check::failures <= 20) std::printf("        in: %s\n", name.c_str());
}

bool same_bits(const Alignment& x, const Alignment& y) {
    return x.cka == y.cka && x.hsic == y.hsic && x.self == y.self;
}

// Layers that resemble one another, with means far from zero and of several types and layouts.
std::vector<Stored> layers_of(index n, const std::vector<index>& widths, double offset, Random& random) {
    const Matrix common = random.normal(n, 6);
    std::vector<Stored> layers;
    for (std::size_t l = 0; l < widths.size(); ++l) {
        const Matrix values = common * random.normal(6, widths[l]) + 2 * random.normal(n, widths[l]);
        layers.push_back(store((values.array() + offset).matrix(), Element::f32, all_layouts[l % 4]));
    }
    return layers;
}

}  // namespace

TEST(pairwise_is_the_formula) {
    Random random(71);
    for (index n : {5, 49, sanitized ? 60 : 170})
        for (double offset : {0.0, 3.0}) {
            if (sanitized && offset == 0) continue;  // other numbers, the same places in memory
            const std::vector<Stored> a = layers_of(n, {3, 60}, offset, random),
                                      b = layers_of(n, {4, 25, 140}, -offset, random);
            const Layers two{views_of(a), views_of(b)}, one{views_of(b), {}};
            for (const Case& one_case : cases())
                for (bool unbiased : {false, true}) {
                    const Expected two_sided(a, b, one_case.kernel, unbiased),
                        one_sided(b, b, one_case.kernel, unbiased);
                    for (bool double_precision : {true, false})
                        for (Route route : {Route::gram, Route::feature}) {
                            if (route == Route::feature && !one_case.kernel.is_linear()) continue;
                            // Unbiased self-HSICs of a few samples are small differences; their CKA has fewer digits.
                            const double few = n < 10 ? 30 : 1,
                                         tolerance = few * (double_precision ? 1e-12 : one_case.single);
                            const Settings options =
                                settings(one_case.kernel, unbiased, double_precision, 2, route);
                            for (const Level* level : levels()) {
                                const std::string name = std::string(one_case.name) + " at " + level->name +
                                                         (double_precision ? ", float64" : ", float32");
                                check_alignment(name, aligned(*level, two, options), two_sided, tolerance);
                                check_alignment(name, aligned(*level, one, options), one_sided, tolerance);
                            }
                        }
                }
        }
}

TEST(pairwise_of_the_fewest_samples) {
    Random random(72);
    for (const Case& one_case : cases())
        for (bool unbiased : {false, true})
            for (bool double_precision : {false, true}) {
                const std::vector<Stored> layers = layers_of(unbiased ? 4 : 2, {3, 20}, 1, random);
                const Pairwise out =
                    pairwise({views_of(layers), {}},
                             settings(one_case.kernel, unbiased, double_precision, 2, Route::automatic));
                for (index i = 0; i < 2; ++i)
                    for (index j = 0; j < 2; ++j) {
                        const bool fine =
                            out.layers[static_cast<std::size_t>(i)].status == Status::fine &&
                            out.layers[static_cast<std::size_t>(out.set.first_column() + j)].status ==
                                Status::fine;
                        CHECK(std::isfinite(out.cka(i, j)) == fine);
                        if (fine && !unbiased)
                            CHECK_CLOSE(out.cka(i, j), 1, 1e-6);  // two samples: one direction
                    }
            }
}

TEST(pairwise_of_precomputed_gram_matrices) {
    Random random(73);
    const std::vector<Stored> samples = layers_of(90, {5, 30}, 1, random);
    std::vector<Stored> grams;
    for (const Stored& layer : samples)
        for (const Kernel& kernel : std::vector<Kernel>{Linear{}, RBF{}})
            grams.push_back(store(gram_matrix(layer.values, kernel).cast<double>(), Element::f64));
    const Kernel kernel = Precomputed{};
    for (bool unbiased : {false, true}) {
        const Expected expected(grams, grams, kernel, unbiased);
        for (const Level* level : levels())
            for (bool double_precision : {false, true})
                check_alignment("precomputed",
                                aligned(*level, {views_of(grams), {}},
                                        settings(kernel, unbiased, double_precision, 2, Route::automatic)),
                                expected, double_precision ? 1e-12 : 1e-6);
    }
}

TEST(pairwise_of_long_vectors) {
    Random random(74);
    const std::vector<Stored> wide = layers_of(30, {2300, 5000}, 0, random),
                              tall = layers_of(5000, {3, 40}, 100, random);
    const Expected expected(wide, wide, {}, true);
    // Many samples by the formula of features, ||X'Y||^2 / sqrt(||X'X||^2 ||Y'Y||^2), of centred ones.
    std::vector<LongMatrix> centred;
    for (const Stored& layer : tall) {
        centred.push_back(layer.values.cast<long double>());
        centred.back().rowwise() -= centred.back().colwise().mean().eval();
    }
    const auto cross = [&](std::size_t i, std::size_t j) {
        return (centred[i].transpose() * centred[j]).squaredNorm();
    };
    const long double tall_cka = cross(0, 1) / std::sqrt(cross(0, 0) * cross(1, 1));
    for (bool double_precision : {false, true})
        for (Route route : {Route::gram, Route::feature})
            for (const Level* level : levels()) {
                const double tolerance = double_precision ? 1e-12 : 1e-6;
                check_alignment(
                    "wide",
                    aligned(*level, {views_of(wide), {}}, settings({}, true, double_precision, 2, route)),
                    expected, tolerance);
                CHECK_CLOSE(
                    aligned(*level, {views_of(tall), {}}, settings({}, false, double_precision, 2, route))
                        .cka(0, 1),
                    tall_cka, tolerance);
            }
}

TEST(pairwise_has_the_same_bits_for_any_threads) {
    Random random(74);
    const std::vector<Stored> a = layers_of(700, {20, 150, 33}, 5, random),
                              b = layers_of(700, {64, 10}, 0, random);
    for (const Case& one_case : cases())
        for (bool double_precision : {false, true})
            for (Route route : {Route::gram, Route::feature}) {
                if (route == Route::feature && !one_case.kernel.is_linear()) continue;
                for (const Layers& layers : {Layers{views_of(a), views_of(b)}, Layers{views_of(a), {}},
                                             Layers{{a[0].view}, std::vector{b[0].view}}}) {
                    Settings options = settings(one_case.kernel, false, double_precision, 1, route);
                    const Pairwise first = pairwise(layers, options);
                    CHECK(first.cka.allFinite());
                    for (int threads : {2, 3, 8}) {
                        if (sanitized && threads != 3) continue;
                        options.threads = threads;
                        const Pairwise again = pairwise(layers, options);
                        CHECK(again.plan.threads > 1 || route == Route::feature);
                        CHECK(same_bits(first, again));
                    }
                }
            }
}

TEST(pairwise_has_the_same_bits_for_any_layout_and_company) {
    Random random(75);
    std::vector<Stored> rows, columns;
    for (index p : {20, 150, 33}) {
        const Matrix values = random.normal(400, p);
        rows.push_back(store(values, Element::f32));
        columns.push_back(store(values, Element::f32, Layout::columns));
    }
    for (const Case& one_case : cases()) {
        const Settings options = settings(one_case.kernel, true, false, 2, Route::automatic);
        const Pairwise first = pairwise({views_of(rows), {}}, options);
        CHECK(same_bits(first, pairwise({views_of(columns), {}}, options)));
        CHECK(first.cka == first.cka.transpose());
        const Pairwise two_sided = pairwise({views_of(rows), views_of(rows)}, options);
        for (index i = 0; i < 3; ++i) {
            CHECK_CLOSE(first.cka(i, i), 1, 1e-14);
            for (index j = 0; j < 3; ++j) CHECK_CLOSE(two_sided.cka(i, j), first.cka(i, j), 1e-6);
        }
    }
}

TEST(pairwise_from_several_threads_at_once) {
    Random random(76);
    const std::vector<Stored> layers = layers_of(300, {40, 90}, 0, random);
    const Settings options = settings(RBF{}, false, false, 2, Route::automatic);
    const Pairwise first = pairwise({views_of(layers), {}}, options);
    std::atomic<int> same{0};
    std::vector<std::thread> callers;
    for (int t = 0; t < 3; ++t)
        callers.emplace_back([&] {
            for (int i = 0; i < 3; ++i)
                same += same_bits(first, pairwise({views_of(layers), {}}, options)) ? 1 : 0;
        });
    for (std::thread& caller : callers) caller.join();
    CHECK(same == 9);
}

TEST(pairwise_keeps_its_digits_under_a_large_mean) {
    Random random(77);
    const std::vector<Stored> layers = layers_of(120, {30, 80}, 3e4, random);  // 1e4 spreads
    for (const Case& one_case : cases()) {
        if (one_case.kernel.as<Cosine>() || one_case.kernel.as<Polynomial>()) continue;  // the mean counts
        const Expected expected(layers, layers, one_case.kernel, false);
        for (const Level* level : levels())
            check_alignment(one_case.name,
                            aligned(*level, {views_of(layers), {}},
                                    settings(one_case.kernel, false, false, 1, Route::automatic)),
                            expected, one_case.single);
    }
}

TEST(pairwise_in_any_units) {
    Random random(78);
    const Matrix x = random.normal(60, 10), y = x.leftCols(4) + random.normal(60, 4);
    for (const Case& one_case : cases()) {
        if (one_case.kernel.as<Polynomial>()) continue;  // has units of its own
        const Stored unit_x = store(x, Element::f64), unit_y = store(y, Element::f64);
        const Settings options = settings(one_case.kernel, true, true, 1, Route::automatic);
        const double expected = pairwise({{unit_x.view}, std::vector{unit_y.view}}, options).cka(0, 0);
        for (double size : {1e-290, 1e-100, 1e-20, 1e20, 1e100, 1e290}) {
            const Stored scaled = store(x * size, Element::f64);
            CHECK_CLOSE(pairwise({{scaled.view}, std::vector{unit_y.view}}, options).cka(0, 0), expected,
                        1e-12);
            Settings single = options;
            single.precision = Precision::float32;
            CHECK_CLOSE(pairwise({{scaled.view}, std::vector{unit_y.view}}, single).cka(0, 0), expected,
                        1e-5);
        }
    }
}

TEST(pairwise_of_any_sigma) {
    Random random(85);
    Matrix x = random.normal(40, 3), y = random.normal(40, 2);
    x.row(7) = x.row(5);
    const Stored a = store(x, Element::f64), b = store(y, Element::f64);
    for (bool double_precision : {false, true})
        for (double sigma : {1e-310, 1e-200, 1e-30, 1e-20, 1e-3, 0.1, 1e3, 1e5})
            for (const Kernel& kernel :
                 std::vector<Kernel>{RBF{{.sigma = sigma}}, Laplacian{{.sigma = sigma}}}) {
                const Pairwise out = pairwise({{a.view}, std::vector{b.view}},
                                              settings(kernel, false, double_precision, 1, Route::automatic));
                CHECK(out.layers[0].status == Status::fine && out.layers[0].sigma == sigma);
                const Expected expected({a}, {b}, kernel, false);
                CHECK_CLOSE(out.cka(0, 0),
                            expected.hsic(0, 0) / std::sqrt(expected.self_a[0] * expected.self_b[0]),
                            double_precision ? 1e-11 : 1e-5);
            }
}

TEST(degenerate_layers_harm_nobody_else) {
    Random random(79);
    const Stored x = store(random.normal(50, 6), Element::f32), y = store(random.normal(50, 3), Element::f32);
    const Stored constant = store(Matrix::Constant(50, 7, 0.1), Element::f32);
    Matrix mostly = Matrix::Zero(50, 3);
    mostly.topRows(9) = random.normal(9, 3);  // the median distance is zero
    const Stored coincident = store(mostly, Element::f32);
    for (const Case& one_case : cases())
        for (bool unbiased : {false, true})
            for (bool double_precision : {false, true}) {
                const Settings options =
                    settings(one_case.kernel, unbiased, double_precision, 2, Route::automatic);
                const Pairwise alone = pairwise({{x.view, y.view}, {}}, options);
                const Pairwise out =
                    pairwise({{x.view, constant.view, y.view, coincident.view}, {}}, options);
                CHECK(out.layers[1].status == Status::constant);
                CHECK(out.cka(0, 2) == alone.cka(0, 1) || std::abs(out.cka(0, 2) - alone.cka(0, 1)) < 1e-6);
                for (index i = 0; i < 4; ++i) {
                    CHECK(std::isnan(out.cka(1, i)) && std::isnan(out.cka(i, 1)));
                    if (i != 3 || !one_case.kernel.needs_median()) CHECK(out.hsic(1, i) == 0);
                }
                if (one_case.kernel.needs_median()) {
                    CHECK(out.layers[3].status == Status::zero_bandwidth && out.layers[3].sigma == 0);
                    CHECK(std::isnan(out.cka(3, 0)) && std::isnan(out.hsic(3, 0)));
                } else {
                    CHECK(out.layers[3].status == Status::fine);
                }
            }
}

TEST(gram_matrices_without_variation_are_degenerate) {
    Random random(80);
    const Matrix u = random.normal(40, 1);  // K_ij = u_i + u_j: nothing but what centring removes
    const Matrix gram = u.replicate(1, 40) + u.transpose().replicate(40, 1);
    const Stored sum = store(gram, Element::f64), other = store(random.normal(40, 40), Element::f64);
    Matrix symmetric = other.values * other.values.transpose();
    const Stored fine = store(symmetric, Element::f64);
    for (bool double_precision : {false, true}) {
        const Pairwise out = pairwise({{sum.view, fine.view}, {}},
                                      settings(Precomputed{}, false, double_precision, 1, Route::automatic));
        CHECK(out.layers[0].status == Status::constant && std::isnan(out.cka(0, 1)) &&
              out.layers[1].status == Status::fine);
    }
    // Samples on one ray: the cosine kernel sees the same direction everywhere.
    Matrix ray = (random.normal(40, 1).cwiseAbs() * random.normal(1, 5)).eval();
    const Pairwise cosine = pairwise({{store(ray, Element::f64).view, fine.view}, {}},
                                     settings(Cosine{}, false, true, 1, Route::automatic));
    CHECK(cosine.layers[0].status == Status::constant);
}

TEST(polynomial_that_overflows_is_refused) {
    Random random(81);
    const Kernel kernel = Polynomial{.degree = 10};
    const Stored fine = store(random.normal(20, 3), Element::f64),
                 large = store(random.normal(20, 3) * 1e10, Element::f64);
    for (bool double_precision : {false, true}) {
        bool refused = false;
        try {
            const Pairwise out = pairwise({{fine.view}, std::vector{large.view}},
                                          settings(kernel, false, double_precision, 1, Route::automatic));
            CHECK(std::isfinite(out.cka(0, 0)) && out.layers[1].status == Status::fine);  // or a right answer
        } catch (const UnusableLayer& e) {
            refused = e.network == 1 && e.layer == 0;
        }
        CHECK(refused || double_precision);
    }
}

TEST(polynomial_that_overflows_far_from_zero_alone_is_refused) {
    // coef0 takes off the value at the origin, which is the median; the inner products with it are what is large.
    Random random(83);
    Matrix samples = 1e21 + 1e18 * random.normal(21, 1).array();
    std::vector<double> sorted(samples.data(), samples.data() + samples.size());
    std::sort(sorted.begin(), sorted.end());
    const Polynomial kernel{.degree = 4, .coef0 = -sorted[10] * sorted[10], .gamma = 1};
    bool refused = false;
    try {
        pairwise({{store(samples, Element::f64).view}, {}},
                 settings(kernel, false, true, 1, Route::automatic));
    } catch (const UnusableLayer&) {
        refused = true;
    }
    CHECK(refused);
}

TEST(non_finite_values_are_placed) {
    Random random(82);
    Matrix bad = random.normal(60, 9);
    bad(41, 7) = std::numeric_limits<double>::infinity();
    const Stored fine = store(random.normal(60, 5), Element::f32),
                 broken = store(bad, Element::f32, Layout::columns);
    for (const Case& one_case : cases())
        for (const Layers& layers : {Layers{{fine.view, fine.view, broken.view}, std::vector{fine.view}},
                                     Layers{{fine.view}, std::vector{fine.view, broken.view}}}) {
            const bool second = layers.split == 1;
            bool placed = false;
            try {
                pairwise(layers, settings(one_case.kernel, false, false, 2, Route::automatic));
            } catch (const NonFinite& e) {
                placed = e.network == (second ? 1 : 0) && e.layer == (second ? 1 : 2) && e.row == 41 &&
                         e.column == 7;
            }
            CHECK(placed);
        }
}

// With many layers the threads share blocks of the grid: one for few samples, several for more. Pair by pair the values
// agree, and the bits do not depend on threads.
TEST(many_layers_agree_with_each_pair_alone) {
    Random random(84);
    const index count = 31;
    for (index n : {70, 600}) {
        std::vector<index> widths;
        for (index l = 0; l < count; ++l) widths.push_back(3 + 7 * l % 40);
        const std::vector<Stored> all = layers_of(n, widths, 10, random);
        const std::vector<MatrixView> views = views_of(all);
        for (const Case& one_case : cases()) {
            if (n == 600 && !one_case.kernel.as<Linear>() && !one_case.kernel.as<RBF>())
                continue;                               // the slow ones
            for (index rows : {index{0}, index{12}}) {  // of one network, or of two
                Layers layers{views, {}};
                if (rows > 0)
                    layers = {{views.begin(), views.begin() + rows}, {{views.begin() + rows, views.end()}}};
                Settings options = settings(one_case.kernel, true, false, 1, Route::gram);
                const Pairwise one = pairwise(layers, options);
                CHECK(one.plan.shared_block && one.plan.layer_by_layer && (one.plan.tiles == 1) == (n == 70));
                options.threads = 3;
                CHECK(same_bits(one, pairwise(layers, options)));
                if (n == 600) {  // block by block, with the panels of all layers in memory
                    Settings tight = options;
                    index sixteenths = 16;
                    do tight.max_bytes = one.plan.bytes * --sixteenths / 16;
                    while (plan_of(problem_of(layers, tight)).layer_by_layer);
                    const Pairwise other = pairwise(layers, tight);
                    CHECK(other.plan.shared_block && !other.plan.layer_by_layer);
                    CHECK(same_bits(one, other));
                }
                for (const auto& [i, j] : {std::pair<index, index>{0, 0}, {1, 17}, {11, 3}}) {
                    const auto at = [&](index l) { return std::vector{views[static_cast<std::size_t>(l)]}; };
                    const Pairwise alone = pairwise({at(i), {at(rows + j)}}, options);
                    CHECK_CLOSE(one.cka(i, j), alone.cka(0, 0), 1e-6);
                    CHECK_CLOSE(one.hsic(i, j), alone.hsic(0, 0),
                                1e-5 * std::sqrt(alone.self(0) * alone.self(1)));
                }
            }
        }
    }
}

// Products add up in float32; what is on the diagonal of a linear Gram matrix is known better than that.
TEST(diagonals_of_linear_kernels_are_norms_in_float64) {
    Random random(87);
    Matrix values(100, 600);  // the mean is zero, squares of a sample add up to more than 24 bits
    values.topRows(50) = random.integers(50, 600, -1000, 1000);
    values.bottomRows(50) = -values.topRows(50);
    const Stored stored = store(values, Element::f32);
    const Layers layers{{stored.view}, {}};
    const Settings options = settings({}, true, false, 1, Route::gram);
    const Plan plan = plan_of(problem_of(layers, options));
    Team team(1);
    const Engine engine{current_level(), team};
    const Partial sums = gram_blocks<float>({layers, options.kernel, plan, engine}, 0, plan.blocks, nullptr);
    for (index i = 0; i < 100; ++i)
        CHECK(sums.diagonals(i, 0) * sums.layers[0].unit == values.row(i).squaredNorm());
}

TEST(feature_route_of_two_networks_of_many_layers) {
    Random random(88);
    for (std::size_t count :
         {8, 9, 13}) {  // as many layers in one as in the other, which none of them is like
        std::vector<index> widths;
        for (std::size_t l = 0; l < count; ++l) widths.push_back(static_cast<index>(2 + 3 * l));
        const std::vector<Stored> a = layers_of(70, widths, 5, random);
        std::reverse(widths.begin(), widths.end());
        const std::vector<Stored> b = layers_of(70, widths, -5, random);
        for (bool unbiased : {false, true})
            check_alignment(
                "many layers by features",
                pairwise({views_of(a), views_of(b)}, settings({}, unbiased, true, 2, Route::feature)),
                Expected(a, b, {}, unbiased), 1e-12);
    }
}

// The product of a layer with itself has tiles off its diagonal then, which count twice.
TEST(feature_route_of_layers_wider_than_a_tile) {
    Random random(90);
    const std::vector<Stored> a = layers_of(60, {2 * largest_tile + 50, 5}, 1, random);
    const std::vector<Stored> b = layers_of(60, {largest_tile + 1}, 1, random);
    for (bool unbiased : {false, true}) {
        const Settings options = settings({}, unbiased, true, 2, Route::feature);
        check_alignment("two networks", pairwise({views_of(a), views_of(b)}, options),
                        Expected(a, b, {}, unbiased), 1e-12);
        check_alignment("one network", pairwise({views_of(a), {}}, options), Expected(a, a, {}, unbiased),
                        1e-12);
    }
}

// Distances of samples that are near one another, repeated, or beside a massive one.
TEST(pairwise_of_samples_that_are_hard_on_distances) {
    Random random(89);
    const Matrix x = random.normal(100, 6), y = x.leftCols(4) + random.normal(100, 4);
    Matrix near = x, massive = x, repeated = x;
    near.bottomRows(50) = x.topRows(50) + 1e-9 * random.normal(50, 6);
    massive(11, 2) = 1e5;
    for (index i = 0; i < 100; i += 3) repeated.row(i) = x.row(0);
    for (const Matrix& hard : {near, massive, repeated})
        for (const Kernel& kernel : std::vector<Kernel>{RBF{}, Laplacian{}, Laplacian{{.relative = 0.3}},
                                                        Distance{}, Distance{.exponent = 0.5}})
            for (bool unbiased : {false, true})
                for (bool double_precision : {false, true}) {
                    if (unbiased && hard(11, 2) == 1e5)
                        continue;  // a condition of 1e9: the bound is no 1e-12
                    const Element element = double_precision ? Element::f64 : Element::f32;
                    const Stored a = store(hard, element), b = store(y, element);
                    const Alignment out =
                        pairwise({{a.view}, {{b.view}}}, settings(kernel, unbiased, double_precision, 2));
                    const Expected expected({a}, {b}, kernel, unbiased);
                    CHECK_CLOSE(out.cka(0, 0),
                                expected.hsic(0, 0) / std::sqrt(expected.self_a[0] * expected.self_b[0]),
                                double_precision ? 1e-12 : 1e-6);
                }
}

TEST(a_massive_sample_or_a_narrow_bandwidth_is_computed_in_float64) {
    Random random(86);
    Matrix x = random.normal(257, 70);
    const Matrix y = x.leftCols(40) + random.normal(257, 40);
    const auto cka_of = [&](const Matrix& left, const Kernel& kernel, bool double_precision) {
        const Stored a = store(left, Element::f32), b = store(y, Element::f32);
        return pairwise({{a.view}, {{b.view}}},
                        settings(kernel, true, double_precision, 2, Route::automatic));
    };
    const Kernel narrow = RBF{{.relative = 0.1}};  // exponents of about 50: exp(-50)^2 is no float32
    const Pairwise ordinary = cka_of(x, {}, false), far_apart = cka_of(x, narrow, false);
    CHECK(ordinary.plan.precision == Precision::float32 && far_apart.plan.precision == Precision::float64);
    CHECK(same_bits(far_apart, cka_of(x, narrow, true)));  // so are both layers
    x(11, 2) = 3000;
    for (const Kernel& kernel : std::vector<Kernel>{Linear{}, RBF{}, Distance{}}) {
        const Pairwise massive = cka_of(x, kernel, false), exact = cka_of(x, kernel, true);
        CHECK(massive.plan.precision == Precision::float64);
        // The layer that float32 suits keeps the median that was found in float32.
        if (kernel.needs_median())
            CHECK((massive.cka - exact.cka).cwiseAbs().maxCoeff() < 1e-7);
        else
            CHECK(same_bits(massive, exact));
    }
}

// A feature that is active in one sample has an unbiased HSIC of zero with itself: never noise over noise.
TEST(one_active_sample_has_no_unbiased_cka) {
    for (index n : {20, 70, 170, 200, 333})
        for (Element element : {Element::f32, Element::f64}) {
            Matrix x = Matrix::Zero(n, 1);
            x(n / 3, 0) = 1;
            const Stored a = store(x, element);
            for (Route route : {Route::gram, Route::feature}) {
                const Pairwise out =
                    pairwise({{a.view}, {}}, settings({}, true, element == Element::f64, 2, route));
                CHECK(std::isnan(out.cka(0, 0)) && out.layers[0].status == Status::nonpositive);
            }
        }
}

TEST(layer_by_layer_names_the_first_layer_that_is_not_finite) {
    Random random(85);
    std::vector<Stored> layers;
    for (index p : {9, 40000, 5, 6, 7}) {  // the second takes longer than those after it
        Matrix values = random.normal(30, p);
        if (p != 9) values(p % 7, 1) = std::numeric_limits<double>::quiet_NaN();
        layers.push_back(store(values, Element::f32));
    }
    for (int threads : {1, 2, 5}) {
        index layer = -1, row = -1;
        try {
            pairwise({views_of(layers), {}}, settings({}, false, false, threads, Route::gram));
        } catch (const NonFinite& e) {
            layer = e.layer, row = e.row;
        }
        CHECK(layer == 1 && row == 40000 % 7);
    }
}

TEST(pairwise_refuses_inconsistent_input) {
    Random random(83);
    const Stored x = store(random.normal(10, 3), Element::f64),
                 shorter = store(random.normal(9, 3), Element::f64);
    const Stored three = store(random.normal(3, 3), Element::f64),
                 one = store(random.normal(1, 3), Element::f64);
    const auto refuses = [](const Layers& layers, Settings options) {
        CHECK_THROWS(std::invalid_argument, pairwise(layers, options));
    };
    const Settings plain = settings({}, false, true, 1, Route::automatic);
    refuses({{}, {}}, plain);
    CHECK_THROWS(std::invalid_argument, (Layers{{x.view}, std::vector<MatrixView>{}}));
    refuses({{x.view, shorter.view}, {}}, plain);
    refuses({{x.view}, std::vector{shorter.view}}, plain);
    refuses({{store(Matrix(10, 0), Element::f64).view}, {}}, plain);
    refuses({{one.view}, {}}, plain);
    refuses({{three.view}, {}}, settings({}, true, true, 1, Route::automatic));
    refuses({{x.view}, {}}, settings({}, false, true, 0, Route::automatic));
    refuses({{x.view}, {}}, settings(RBF{}, false, true, 1, Route::feature));
    refuses({{x.view}, {}}, settings(Precomputed{}, false, true, 1, Route::automatic));
    CHECK_THROWS(OverBudget, pairwise({{x.view}, {}},
                                      {{}, Estimator::biased, Precision::float64, 1, 100, Route::automatic}));
}

TEST(pairwise_tells_its_observer) {
    Random random(84);
    const std::vector<Stored> layers = layers_of(400, {40, 90}, 0, random);
    for (Route route : {Route::gram, Route::feature}) {
        std::vector<std::pair<index, index>> seen;
        pairwise({views_of(layers), {}}, settings({}, false, false, 2, route),
                 [&](index done, index total) { seen.emplace_back(done, total); });
        CHECK(!seen.empty() && seen.back().first == seen.back().second && seen.back().second > 0);
        for (std::size_t i = 0; i < seen.size(); ++i)
            CHECK(seen[i].first <= seen[i].second && (i == 0 || seen[i - 1].first <= seen[i].first));
        struct Stop {};
        CHECK_THROWS(Stop, pairwise({views_of(layers), {}}, settings({}, false, false, 2, route),
                                    [](index, index) { throw Stop(); }));
    }
}

}  // namespace fastcka::test
