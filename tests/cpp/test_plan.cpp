// SPDX-License-Identifier: BSD-3-Clause
// The plan: the faster route by its own model, limits kept, and bytes that grow with the problem.
#include "base/errors.hpp"
#include "check.hpp"
#include "simd/tuning.hpp"
#include "sums/feature_tiles.hpp"
#include "sums/plan.hpp"
#include "support.hpp"

#include <array>

namespace fastcka::test {
namespace {

constexpr index panel_widths[] = {6, 12, 24, 48};

Problem problem_for(index samples, std::vector<index> a, std::vector<index> b,
                    Route wanted = Route::automatic) {
    const auto split = static_cast<index>(a.size());
    a.insert(a.end(), b.begin(), b.end());
    Problem problem{samples, {std::move(a), split}, {}};
    problem.settings.threads = 8;
    problem.settings.route = wanted;
    return problem;
}

// Visits problems over many shapes: one pair, unequal pairs, one network and two.
template <class Visit> void for_each_problem(Visit&& visit) {
    for (index n : {4, 100, 1000, 5000, 40000})
        for (index p : {1, 10, 300, 3000, 20000}) {
            visit(problem_for(n, {p}, {p}));
            visit(problem_for(n, {p}, {3 * p + 1}));
            visit(problem_for(n, std::vector<index>(12, p), {}));
            visit(problem_for(n, std::vector<index>(3, p), std::vector<index>(20, 64)));
        }
}

Problem with_route(Problem problem, Route route) {
    problem.settings.route = route;
    return problem;
}

}  // namespace

TEST(plan_takes_the_route_of_fewer_operations) {
    int gram_routes = 0, feature_routes = 0;
    for (index width : panel_widths)
        for_each_problem([&](const Problem& problem) {
            const Plan chosen = make_plan(problem, width);
            const Plan gram = make_plan(with_route(problem, Route::gram), width);
            const Plan feature = make_plan(with_route(problem, Route::feature), width);
            CHECK(gram.route == Route::gram && feature.route == Route::feature);
            CHECK(chosen.flops == std::min(gram.flops, feature.flops));
            ++(chosen.route == Route::gram ? gram_routes : feature_routes);
        });
    CHECK(gram_routes > 20 && feature_routes > 20);  // the shapes exercise both
}

TEST(plan_counts_operations_as_the_theory_does) {
    // One pair: n^2 (p + q) / 2 multiply-adds for two symmetric Gram matrices, and those of three products of them; or
    // n (p^2 / 2 + q^2 / 2 + p q) for three products of features. Symmetric halves include the diagonal.
    const double n = 1000, p = 300, q = 70;
    const Problem problem = problem_for(1000, {300}, {70});
    CHECK_CLOSE(make_plan(with_route(problem, Route::gram), 24).flops, n * (n + 1) * (p + q + 3), 1e-6);
    CHECK_CLOSE(make_plan(with_route(problem, Route::feature), 24).flops,
                2 * n * (p * (p + 1) / 2 + q * (q + 1) / 2 + p * q), 1e-6);
}

TEST(plan_of_other_kernels_is_the_gram_route) {
    for (const Kernel& kernel :
         std::vector<Kernel>{RBF{}, Laplacian{}, Polynomial{}, Distance{}, Precomputed{}})
        for_each_problem([&](Problem problem) {
            problem.settings.kernel = kernel;
            CHECK(make_plan(problem, 24).route == Route::gram);
        });
    for (const Kernel& kernel : std::vector<Kernel>{Linear{}, Cosine{}, Correlation{}}) {
        Problem problem = problem_for(40000, {10}, {10});
        problem.settings.kernel = kernel;
        CHECK(make_plan(problem, 24).route == Route::feature);
    }
}

TEST(plan_stays_within_its_limits) {
    for (index width : panel_widths)
        for_each_problem([&](const Problem& problem) {
            for (Route route : {Route::gram, Route::feature}) {
                const Plan plan = make_plan(with_route(problem, route), width);
                CHECK(plan.tile % width == 0 && plan.tile >= width &&
                      plan.tile <= std::max(largest_tile, width));
                CHECK(plan.threads >= 1 && plan.threads <= problem.settings.threads);
                CHECK(plan.blocks >= 1 && plan.segments >= 1 && plan.bytes > 0 && plan.panel_width == width);
                if (route == Route::gram)
                    CHECK(plan.tiles == TileGrid(problem.samples, plan.tile).tiles() &&
                          plan.blocks <= plan.tiles);
                else
                    CHECK(plan.tiles == feature_tile_count(problem.layers, plan.tile));
            }
        });
}

TEST(plan_does_not_start_threads_for_little_work) {
    CHECK(make_plan(problem_for(200, {50}, {50}), 24).threads == 1);
    CHECK(make_plan(problem_for(4000, {4000}, {4000}), 24).threads == 8);
}

TEST(plan_does_not_depend_on_threads) {  // so results do not
    for_each_problem([&](Problem problem) {
        problem.settings.threads = 1;
        const Plan one = make_plan(problem, 24);
        problem.settings.threads = 7;
        const Plan seven = make_plan(problem, 24);
        CHECK(one.route == seven.route && one.tile == seven.tile && one.blocks == seven.blocks &&
              one.segments == seven.segments);
        CHECK(one.bytes <= seven.bytes);
    });
}

TEST(plan_bytes_grow_with_samples_and_features) {  // in one way of sharing out the work
    for (Route route : {Route::gram, Route::feature})
        for (const Kernel& kernel : std::vector<Kernel>{Linear{}, RBF{{.sigma = 1}}}) {
            if (route == Route::feature && !kernel.is_linear()) continue;
            const auto plan = [&](index n, index p) {
                Problem problem = problem_for(n, {p, p}, {}, route);
                problem.settings.kernel = kernel;
                problem.settings.threads = 1;
                return make_plan(problem, 24);
            };
            const auto check = [&](const Plan& larger, Plan& last) {
                CHECK(larger.bytes >= last.bytes || larger.shared_block != last.shared_block);
                last = larger;
            };
            for (index p : {10, 1000}) {
                Plan last{};
                for (index n = 2; n < 3000000; n = n * 3 / 2 + 1) check(plan(n, p), last);
            }
            for (index n : {100, 10000}) {
                Plan last{};
                for (index p = 1; p < 100000; p = p * 3 / 2 + 1) check(plan(n, p), last);
            }
        }
}

TEST(plan_fits_into_max_bytes_or_is_refused) {
    for (const Kernel& kernel : std::vector<Kernel>{Linear{}, RBF{}})
        for_each_problem([&](Problem problem) {
            problem.settings.kernel = kernel;
            const index wanted = make_plan(problem, 24).bytes;
            for (index limit : {wanted + 1, wanted, wanted - 1, wanted / 2, wanted / 10, index{1}}) {
                problem.settings.max_bytes = limit;
                try {
                    const Plan plan = make_plan(problem, 24);
                    CHECK(plan.bytes <= limit);
                } catch (const OverBudget& e) {
                    CHECK(limit < wanted);
                    const std::string text = e.what();
                    CHECK(text.find(std::to_string(limit)) != std::string::npos);
                }
            }
        });
    Problem problem = problem_for(4000, {4000}, {4000}, Route::gram);
    problem.settings.max_bytes = 1000;
    CHECK_THROWS(OverBudget, make_plan(problem, 24));
    CHECK_THROWS(std::bad_alloc, make_plan(problem, 24));  // a MemoryError for those who know no better
}

// Four strips. One thread packs least with three of them in a row; two threads would wait for the last of three tiles.
TEST(plan_shares_out_strips_so_that_threads_do_not_wait) {
    for (const auto& [threads, rows, columns] : {std::array<index, 3>{1, 3, 1}, {2, 2, 2}}) {
        Problem problem = problem_for(4096, std::vector<index>(12, 2048), {}, Route::gram);
        problem.settings.threads = static_cast<int>(threads);
        Plan plan = make_plan(problem, 24);
        for (problem.settings.max_bytes = plan.bytes / 2;
             plan.held.rows != rows || plan.held.columns != columns; problem.settings.max_bytes -= 1 << 20) {
            plan = make_plan(problem, 24);
            CHECK(plan.held.rows + plan.held.columns >= rows + columns);
        }
    }
}

TEST(plan_keeps_its_route_whatever_max_bytes) {
    // Bits follow the route, so a limit between the two plans refuses the faster one rather than taking the other.
    for_each_problem([&](const Problem& problem) {
        const Plan free = make_plan(problem, 24);
        for (const Route route : {Route::gram, Route::feature}) {
            Problem limited = problem;
            limited.settings.max_bytes = make_plan(with_route(problem, route), 24).bytes;
            try {
                CHECK(make_plan(limited, 24).route == free.route);
            } catch (const OverBudget&) {
                CHECK(route != free.route);
            }
        }
    });
}

TEST(plan_shares_out_many_layers_of_few_samples) {
    for (index width : {12, 24, 48})
        for (index layers : {12, 24}) {
            const std::vector<index> widths(static_cast<std::size_t>(layers), 192);
            Problem problem = problem_for(128, widths, {});
            problem.settings.threads = 2;
            const Plan plan = make_plan(with_route(problem, Route::gram), width);
            CHECK(plan.threads == (layers == 24 ? 2 : 1));
            CHECK(plan.shared_block == (layers == 24));
        }
}

TEST(plan_keeps_distances_only_within_its_room) {
    Problem problem = problem_for(3000, {100, 100, 100}, {});
    problem.settings.kernel = RBF{};
    CHECK(make_plan(problem, 24).kept_layers == 3);
    problem.samples = 11000;  // 242 MB or more a layer: one stays, one is searched at a time
    CHECK(make_plan(problem, 24).keeps_distances && make_plan(problem, 24).kept_layers == 1);
    problem.samples = 20000;  // 0.8 GB or more a layer
    CHECK(!make_plan(problem, 24).keeps_distances && make_plan(problem, 24).kept_layers == 0);
    problem.settings.kernel = RBF{{.sigma = 1}};  // no search for a median
    problem.samples = 3000;
    CHECK(make_plan(problem, 24).kept_layers == 0);
}

TEST(plan_of_no_layers_is_refused) {
    CHECK_THROWS(std::invalid_argument, make_plan(problem_for(100, {}, {}), 24));
}

TEST(plan_of_absurd_sizes_is_refused) {
    // More bytes than 64 bits can count must not wrap around to a few.
    Problem problem = problem_for(index{1} << 40, {index{1} << 30}, {index{1} << 30});
    problem.settings.max_bytes = index{1} << 40;
    CHECK_THROWS(std::bad_alloc, make_plan(problem, 24));
    problem.settings.max_bytes = 0;
    try {
        CHECK(make_plan(problem, 24).bytes > index{1} << 60);  // as good as refused
    } catch (const std::bad_alloc&) {
    }
    // So must the tiles of X'X: it had counted 2^41 strips of features one by one, and more tiles than 64 bits can count.
    CHECK_THROWS(OverBudget, make_plan(problem_for(4, {index{1} << 49}, {}), 24));
    const Plan wide = make_plan(problem_for(4, {index{1} << 35}, {}, Route::feature), 24);
    CHECK(wide.tiles > index{1} << 50 && wide.bytes > index{1} << 37);
}

}  // namespace fastcka::test
