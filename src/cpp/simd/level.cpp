// SPDX-License-Identifier: BSD-3-Clause
// One SIMD level: this file is compiled once per level, with the level's flags and FASTCKA_LEVEL as its namespace.
#include "simd/maps.hpp"
#include "simd/panels.hpp"
#include "simd/reductions.hpp"
#include "simd/statistics.hpp"
#include "simd/tile.hpp"

#define FASTCKA_TEXT_OF(name) #name
#define FASTCKA_TEXT(name) FASTCKA_TEXT_OF(name)

namespace fastcka::FASTCKA_LEVEL {

namespace {
template <class T> constexpr Operations<T> operations() {
    return {
        .panel_width = panel_width<T>,
        .feature_statistics = feature_statistics,
        .row_norms = row_norms,
        .copy_rows = copy_rows<T>,
        .pack = pack<T>,
        .weighted_sums = weighted_sums<T>,
        .accumulate = accumulate<T>,
        .centred_block = centred_block<T>,
        .self_products = self_products<T>,
        .carry = carry<T>,
        .narrow = narrow<T>,
        .take_diagonal = take_diagonal<T>,
        .apply = apply<T>,
        .squared_distances = squared_distances<T>,
        .apply_to_distances = apply_to_distances<T>,
        .squared_differences = squared_differences<T>,
        .block_sums = block_sums<T>,
        .products = products<T>,
        .sum_of_squares = sum_of_squares<T>,
    };
}
constexpr Level this_level{FASTCKA_TEXT(FASTCKA_LEVEL), operations<float>(), operations<double>()};
}  // namespace

const Level& level() { return this_level; }

}  // namespace fastcka::FASTCKA_LEVEL
