// SPDX-License-Identifier: BSD-3-Clause
// The memory that a computation takes, measured in a child process, stays below what its plan says.
#include "base/buffer.hpp"
#include "check.hpp"
#include "compare/pairwise.hpp"
#include "support.hpp"

#include <cstdio>

#ifdef __linux__
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fastcka::test {
namespace {

// Kilobytes from a line of /proc/self/status: VmRSS is now, VmHWM the most so far.
index kilobytes(const char* name) {
    std::FILE* file = std::fopen("/proc/self/status", "r");
    char line[256];
    long long value = -1;
    while (value < 0 && std::fgets(line, sizeof(line), file) != nullptr)
        if (std::strncmp(line, name, std::strlen(name)) == 0)
            value = std::atoll(line + std::strlen(name) + 1);
    std::fclose(file);
    return static_cast<index>(value);
}

// Bytes that `run` adds to a fresh process at its peak.
template <class Run> index peak_of(Run&& run) {
    release_buffers();
    malloc_trim(0);
    std::fflush(stdout);
    int ends[2];
    if (pipe(ends) != 0) return -1;
    if (fork() == 0) {
        const index before = kilobytes("VmRSS");
        run();
        const index added = (kilobytes("VmHWM") - before) * 1024;
        _exit(write(ends[1], &added, sizeof(added)) == sizeof(added) ? 0 : 1);
    }
    index added = -1;
    close(ends[1]);
    if (read(ends[0], &added, sizeof(added)) != sizeof(added)) added = -1;
    close(ends[0]);
    wait(nullptr);
    return added;
}

// Pages of code, stacks of threads, and the arenas that malloc has for each thread: 2.2 to 3.2 MB by measurement.
constexpr index stacks_and_code = 4 << 20;

struct Case {
    const char* name;
    index samples;
    std::vector<index> a, b;
    Kernel kernel;
    bool double_precision;
    Route route;
};

}  // namespace

TEST(memory_stays_below_the_plan) {
    if (sanitized) return;  // a sanitizer's memory is not the plan's
    const Case cases[] = {
        {"a pair", 1500, {1000}, {700}, Linear{}, false, Route::gram},
        {"a pair, features", 6000, {300}, {200}, Linear{}, false, Route::feature},
        {"panels of 2 MiB", 1024, std::vector<index>(20, 512), {}, Linear{}, false, Route::gram},
        {"panels just over 2 MiB", 1030, std::vector<index>(12, 260), {}, Linear{}, true, Route::gram},
        {"many layers", 300, std::vector<index>(150, 8), {}, Linear{}, false, Route::gram},
        {"many layers of two networks", 200, std::vector<index>(60, 8), std::vector<index>(60, 8), Linear{},
         false, Route::gram},
        {"many tiles of features", 64, std::vector<index>(25, 1500), {}, Linear{}, false, Route::feature},
        {"many samples", 30000, {2, 2, 2, 2}, {}, Linear{}, false, Route::feature},
        {"many samples, rbf", 9000, {2, 2, 2}, {}, RBF{}, false, Route::gram},
        {"many samples and layers",
         8000,
         std::vector<index>(40, 1),
         {},
         Laplacian{{.sigma = 1}},  // without the memory of a search for the median
         false,
         Route::gram},
        {"rbf, distances kept", 3000, {50, 50}, {}, RBF{}, false, Route::gram},
        {"rbf, none kept", 12000, {3}, {}, RBF{}, false, Route::gram},
        {"polynomial", 2500, {30, 30, 30}, {}, Polynomial{}, true, Route::gram},
    };
    Random random(91);
    for (const Case& one : cases) {
        std::vector<Stored> stored;
        std::vector<MatrixView> first, second;
        const auto add = [&](const std::vector<index>& widths, std::vector<MatrixView>& views) {
            for (index p : widths) {
                if (stored.empty() || stored.back().view.columns != p)
                    stored.push_back(store(random.normal(one.samples, p), Element::f32));
                views.push_back(stored.back().view);
            }
        };
        stored.reserve(one.a.size() + one.b.size());
        add(one.a, first);
        add(one.b, second);
        const Layers layers = second.empty() ? Layers(first) : Layers(first, second);
        const Settings options = settings(one.kernel, false, one.double_precision, 2, one.route);
        const Plan plan = plan_of(problem_of(layers, options));
        const index peak = peak_of([&] { pairwise(layers, options); });
        CHECK(peak > 0 && peak <= plan.bytes + stacks_and_code);
        if (peak > plan.bytes + stacks_and_code)
            std::printf("        %s: %.1f MB measured, %.1f MB planned\n", one.name,
                        1e-6 * static_cast<double>(peak), 1e-6 * static_cast<double>(plan.bytes));
    }
}

}  // namespace fastcka::test
#endif
