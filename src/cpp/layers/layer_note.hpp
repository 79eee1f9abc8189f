// SPDX-License-Identifier: BSD-3-Clause
// What is found out about one layer on the way to its sums: facts, which become sentences in Python.
#pragma once

#include "kernels/kernel.hpp"

namespace fastcka {

enum class Status { fine, constant, nonpositive, equidistant, zero_bandwidth, too_coarse };

struct LayerNote {
    Status status = Status::fine;
    double unit = 1;  // HSIC in the kernel's own units = HSIC of the sums * unit_a * unit_b
    double sigma = not_given;
    double rounding = 0;  // of Gram values that were given, in the units of the sums
    double left_out = 0;  // of Gram values, see Resolved; in the units of the sums
};

}  // namespace fastcka
