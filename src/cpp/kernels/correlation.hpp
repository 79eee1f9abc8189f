// SPDX-License-Identifier: BSD-3-Clause
// k(x, y) = Pearson's correlation of x and y across features: the cosine of x - mean(x) and y - mean(y); 0 where the
// values of x or of y are all equal.
#pragma once

#include "kernels/traits.hpp"

namespace fastcka {

struct CorrelationMap : IdentityMap {};

struct Correlation : LinearKernel<CorrelationMap> {
    static constexpr const char* name = "correlation";
    static constexpr Traits traits{.form = Form::products, .rows = Rows::standardised};
    using Map = CorrelationMap;
};

}  // namespace fastcka
