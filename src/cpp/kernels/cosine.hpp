// SPDX-License-Identifier: BSD-3-Clause
// k(x, y) = <x, y> / (|x| |y|), and 0 where x or y is 0.
#pragma once

#include "kernels/traits.hpp"

namespace fastcka {

struct CosineMap : IdentityMap {};

struct Cosine : LinearKernel<CosineMap> {
    static constexpr const char* name = "cosine";
    static constexpr Traits traits{.form = Form::products, .rows = Rows::unit};
    using Map = CosineMap;
};

}  // namespace fastcka
