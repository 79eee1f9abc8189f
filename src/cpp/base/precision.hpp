// SPDX-License-Identifier: BSD-3-Clause
// The type that products are made in; sums over many of them are always float64.
#pragma once

namespace fastcka {

enum class Precision { float32, float64 };

template <class T>
constexpr Precision precision_of = sizeof(T) == 4 ? Precision::float32 : Precision::float64;

}  // namespace fastcka
