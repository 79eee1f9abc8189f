// SPDX-License-Identifier: BSD-3-Clause
// k(x, y) = <x, y>.
#pragma once

#include "kernels/traits.hpp"

namespace fastcka {

struct LinearMap : IdentityMap {};

struct Linear : LinearKernel<LinearMap> {
    static constexpr const char* name = "linear";
    static constexpr Traits traits{.form = Form::products};
    using Map = LinearMap;
};

}  // namespace fastcka
