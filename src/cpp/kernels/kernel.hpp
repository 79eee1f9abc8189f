// SPDX-License-Identifier: BSD-3-Clause
// A kernel as the user names it; what it means for one representation is resolved in layers/gram_layer.
#pragma once

#include "simd/operations.hpp"

#include <limits>

namespace fastcka {

inline constexpr double not_given = std::numeric_limits<double>::quiet_NaN();

struct Kernel {
    KernelKind kind = KernelKind::linear;
    double bandwidth = 1;      // rbf, laplacian: sigma = bandwidth * sqrt(median of squared distances)
    double sigma = not_given;  // rbf, laplacian: this instead
    bool offdiagonal = false;  // the median leaves the n zero distances of samples to themselves out
    int degree = 2;            // polynomial: (gamma <x, y> + coef0)^degree
    double coef0 = 1;
    double gamma = not_given;  // not given: 1 / features
    double exponent = 1;       // distance: 1/2 (|x|^e + |y|^e - |x - y|^e)

    // Inner products of (possibly rescaled) samples: feature space serves as well as Gram matrices.
    bool is_linear() const { return kind == KernelKind::linear || kind == KernelKind::cosine; }
    // Gram matrices of centred features, or centred at the door: every full row sums to zero already.
    bool is_centred() const { return is_linear() || kind == KernelKind::precomputed; }
    bool has_sigma() const { return kind == KernelKind::rbf || kind == KernelKind::laplacian; }
    bool needs_median() const { return has_sigma() && !(sigma == sigma); }
};

}  // namespace fastcka
