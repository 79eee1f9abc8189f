// SPDX-License-Identifier: BSD-3-Clause
// pairwise(), gram() and streams on whatever bytes make: no crash, no sanitizer finding, and NaN only with a status.
// The tests run it on random bytes; `nox -s fuzz` searches, guided by coverage.
#include "base/errors.hpp"
#include "check.hpp"
#include "compare/pairwise.hpp"
#include "compare/stream.hpp"
#include "fuzzed.hpp"
#include "layers/gram.hpp"

namespace fastcka::test {
namespace {

void check_alignment(const Alignment& out) {
    for (index i = 0; i < out.cka.rows(); ++i)
        for (index j = 0; j < out.cka.cols(); ++j) {
            const bool fine =
                out.layers[static_cast<std::size_t>(i)].status == Status::fine &&
                out.layers[static_cast<std::size_t>(out.set.first_column() + j)].status == Status::fine;
            require(fine || std::isnan(out.cka(i, j)));
            require(!fine || std::isfinite(out.cka(i, j)));
        }
}

void run(Bytes bytes) {
    constexpr Route routes[] = {Route::automatic, Route::gram, Route::feature};
    const Kernel kernel = any_kernel(bytes);
    const bool unbiased = bytes.byte() % 2 == 0, float64 = bytes.byte() % 2 == 0;
    const int threads = bytes.byte() % 8 == 0 ? 3 : 1;
    const Settings options = settings(kernel, unbiased, float64, threads, bytes.one_of(routes));
    const index n = bytes.size(12, 80);
    std::vector<RawLayer> layers;
    std::vector<MatrixView> views;
    const index a = 1 + bytes.byte() % 3, b = bytes.byte() % 3;
    layers.reserve(static_cast<std::size_t>(a + b));
    for (index l = 0; l < a + b; ++l) {
        layers.emplace_back(bytes, n, kernel.is_given() ? n : bytes.size(12, 150));
        views.push_back(layers.back().view);
    }
    Layers all(views);
    all.split = a;
    try {
        check_alignment(pairwise(all, options));
    } catch (const std::invalid_argument&) {  // NonFinite among them
    }
    try {
        std::vector<double> out(static_cast<std::size_t>(n * n));
        gram<double>(views.front(), kernel, threads, {}, out.data());
    } catch (const std::invalid_argument&) {
    }
    Stream stream(all.set(), options.precision);
    try {
        for (int batch = 0; batch < 2; ++batch) stream.update(all, options.threads);
        if (stream.samples() >= 4) check_alignment(stream.result(options.estimator, options.threads));
    } catch (const std::invalid_argument&) {
    }
}

}  // namespace

TEST(random_bytes_do_no_harm) { on_random_bytes(sanitized ? 300 : 1500, run); }

}  // namespace fastcka::test

#ifdef FASTCKA_FUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fastcka::test::run({data, size});
    return 0;
}
#endif
