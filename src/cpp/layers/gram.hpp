// SPDX-License-Identifier: BSD-3-Clause
// Whole Gram matrices, for gram() and center(): the kernel as defined, and double centring.
#pragma once

#include "layers/gram_layer.hpp"

namespace fastcka {

// Writes the n x n Gram matrix, row by row, to `out`.
template <class T>
void gram(const MatrixView& samples, const Kernel& kernel, int threads, const Observer& observer, T* out);

// Writes H K H with H = I - 11'/n, row by row, to `out`; K need not be symmetric.
template <class T> void center(const MatrixView& gram, int threads, const Observer& observer, T* out);

}  // namespace fastcka
