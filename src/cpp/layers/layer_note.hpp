// SPDX-License-Identifier: BSD-3-Clause
// Facts about one layer, found on the way to its sums. Python turns them into messages.
#pragma once

#include "kernels/traits.hpp"

namespace fastcka {

enum class Status { fine, constant, nonpositive, equidistant, zero_bandwidth, too_coarse };

struct LayerNote {
    Status status = Status::fine;
    double unit = 1;           // HSIC in the kernel's own units = HSIC of the sums * unit_a * unit_b
    double sigma = not_given;  // the bandwidth in the units of the data, of kernels that have one
    double rounding = 0;       // of given Gram values when they were stored, in the units of the sums
    double left_out = 0;  // the constant that all Gram values lack (see Resolved), in the units of the sums
};

}  // namespace fastcka
