// SPDX-License-Identifier: BSD-3-Clause
// Failures with facts, which Python puts into words; all others are standard exceptions.
#pragma once

#include "base/matrix_view.hpp"

#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace fastcka {

// A NaN or an infinity: in which layer of which network (0 or 1), and where.
struct NonFinite : std::invalid_argument {
    index network, layer, row, column;
    NonFinite(index of_network, index of_layer, index at_row, index at_column)
        : std::invalid_argument("NaN or infinity at row " + std::to_string(at_row) + ", column " +
                                std::to_string(at_column)),
          network(of_network), layer(of_layer), row(at_row), column(at_column) {}
};

// A layer that cannot be computed, for the reason in `what()`.
struct UnusableLayer : std::invalid_argument {
    index network, layer;
    UnusableLayer(index of_network, index of_layer, const std::string& reason)
        : std::invalid_argument(reason), network(of_network), layer(of_layer) {}
};

// float32 would lose digits on these values: a massive sample, or a very narrow bandwidth. Caught where the computation can
// start again in float64; Python never sees it.
struct NeedsDouble {};

// Throws std::invalid_argument unless the condition holds.
inline void check(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

// The plan does not fit into the memory allowed.
struct OverBudget : std::bad_alloc {
    std::string text;
    index least;  // bytes that would be enough; 0: no number would
    explicit OverBudget(std::string words, index bytes = 0) : text(std::move(words)), least(bytes) {}
    const char* what() const noexcept override { return text.c_str(); }
};

}  // namespace fastcka
