// SPDX-License-Identifier: BSD-3-Clause
// What the fuzzed programs share: choices, kernels and layers made from whatever bytes come.
#pragma once

#include "support.hpp"

#include <cstdint>
#include <cstdlib>
#include <random>

namespace fastcka::test {

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

inline void require(bool condition) {
    if (!condition) std::abort();
}

inline Kernel any_kernel(Bytes& bytes) {
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

// run(bytes) on bytes drawn at random, as many times.
template <class Run> void on_random_bytes(int times, Run&& run) {
    std::mt19937 random(111);
    std::vector<std::uint8_t> bytes(4000);
    for (int repeat = 0; repeat < times; ++repeat) {
        std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::uint8_t>(random()); });
        run(Bytes(bytes.data(), bytes.size()));
    }
}

}  // namespace fastcka::test
