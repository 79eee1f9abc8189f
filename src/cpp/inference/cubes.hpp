// SPDX-License-Identifier: BSD-3-Clause
// tr(W^3) of symmetric matrices, for the third moment under permutation: the only quantity of a layer that needs a product
// of n x n matrices.
#pragma once

#include "layers/representation.hpp"

namespace fastcka {

// tr(M M M) of a symmetric matrix of `size` rows, `stride` values apart: size^3 / 2 multiply-adds.
template <class T> double trace_of_cube(const T* matrix, index size, index stride, const Engine& engine);
template <class T> Bytes trace_of_cube_bytes(index size, index panel_width);

// tr((X'X)^3) of centred features; `row_scaling`: what is done to samples first, or null. n p^2 / 2 + p^3 / 2
// multiply-adds.
template <class T>
double trace_of_cube_of_features(const Source& source, const Centring& centring,
                                 const RowScaling* row_scaling, const Engine& engine);
template <class T> Bytes trace_of_cube_of_features_bytes(index samples, index features, index panel_width);

}  // namespace fastcka
