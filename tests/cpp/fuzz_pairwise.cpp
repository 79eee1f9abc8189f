// SPDX-License-Identifier: BSD-3-Clause
// pairwise(), gram() and streams on whatever bytes make: no crash, no sanitizer finding, and NaN only with a status.
// The tests run it on random bytes; `nox -s fuzz` searches, guided by coverage.
#include "base/errors.hpp"
#include "check.hpp"
#include "compare/pairwise.hpp"
#include "compare/stream.hpp"
#include "layers/gram.hpp"
#include "support.hpp"

#include <cstdlib>

namespace fastcka::test {
namespace {

// Reads choices and values off the front of a byte string; zero when it is used up.
class Bytes {
  public:
    Bytes(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
    std::uint8_t byte() { return left_ > 0 ? (--left_, *data_++) : std::uint8_t{0}; }
    index below(index limit) {
        const index high = byte();
        return (high * 256 + byte()) % limit;
    }
    // Mostly small, so that many cases are tried in a second; now and then several panels long.
    index size(index small, index large) { return 1 + below(byte() % 8 == 0 ? large : small); }
    template <class Choice, std::size_t N> Choice one_of(const Choice (&choices)[N]) {
        return choices[byte() % N];
    }

  private:
    const std::uint8_t* data_;
    std::size_t left_;
};

// A matrix whose elements are raw bytes now and then (NaN, infinity, subnormal), small integers otherwise.
struct RawLayer {
    std::vector<std::byte> memory;
    MatrixView view;

    RawLayer(Bytes& bytes, index rows, index columns) {
        const Element element = bytes.one_of(all_elements);
        const Layout layout = bytes.one_of(all_layouts);
        const bool raw = bytes.byte() % 8 == 0;
        Stored stored =
            store(Matrix::NullaryExpr(rows, columns, [&] { return static_cast<double>(bytes.byte() % 16); }),
                  element, layout);
        memory = std::move(stored.memory);
        view = stored.view;
        if (raw)
            for (std::byte& b : memory) b = static_cast<std::byte>(bytes.byte());
    }
};

void require(bool condition) {
    if (!condition) std::abort();
}

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

Kernel any_kernel(Bytes& bytes) {
    const std::vector<Kernels::Any> all = Kernels::defaults();
    Kernel kernel(all[static_cast<std::size_t>(bytes.below(static_cast<index>(all.size())))]);
    kernel.visit_options([&](const std::string& option, auto& value) {
        using Option = std::remove_reference_t<decltype(value)>;
        if (option == "degree") value = static_cast<Option>(1 + bytes.below(6));
        if (option == "offdiagonal") value = static_cast<Option>(bytes.below(2));
        if (option == "exponent") value = static_cast<Option>(0.25 * static_cast<double>(1 + bytes.below(7)));
        if (option == "bandwidth")
            value = static_cast<Option>(std::ldexp(1.0, static_cast<int>(bytes.below(16)) - 4));
        if (option == "sigma" && bytes.byte() % 4 == 0)
            value = static_cast<Option>(std::ldexp(1.0, static_cast<int>(bytes.below(16)) - 8));
    });
    return kernel;
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

TEST(random_bytes_do_no_harm) {
    std::mt19937 random(111);
    std::vector<std::uint8_t> bytes(4000);
    for (int repeat = 0; repeat < (sanitized ? 300 : 1500); ++repeat) {
        std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::uint8_t>(random()); });
        run({bytes.data(), bytes.size()});
    }
}

}  // namespace fastcka::test

#ifdef FASTCKA_FUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fastcka::test::run({data, size});
    return 0;
}
#endif
