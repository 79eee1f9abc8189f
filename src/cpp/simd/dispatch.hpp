// SPDX-License-Identifier: BSD-3-Clause
// Which SIMD level runs: the best that was built and that the processor has, or a lower one on request.
#pragma once

#include "simd/operations.hpp"

#include <string>
#include <vector>

namespace fastcka {

// The level in use. FASTCKA_SIMD_LEVEL (v2, v3, v4) can lower it; anything else there is std::invalid_argument.
const Level& current_level();

// Levels that run on this processor, lowest first.
std::vector<std::string> supported_levels();

}  // namespace fastcka
