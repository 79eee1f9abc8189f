// SPDX-License-Identifier: BSD-3-Clause
// No kernel: the Gram matrices are given. Their tiles come from layers/given_tiles instead of panels.
#pragma once

#include "kernels/traits.hpp"

namespace fastcka {

struct PrecomputedMap : IdentityMap {};

struct Precomputed : LinearKernel<PrecomputedMap> {
    static constexpr const char* name = "precomputed";
    static constexpr Traits traits{.form = Form::given};
    using Map = PrecomputedMap;
};

}  // namespace fastcka
