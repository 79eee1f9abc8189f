// SPDX-License-Identifier: BSD-3-Clause
// A matrix that somebody else owns: pointer, shape, strides in bytes and element type. Read by simd/statistics and
// simd/panels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fastcka {

using index = std::ptrdiff_t;
// Of a >= 0 and b > 0: a / b rounded up, and the smallest multiple of b that is not below a.
constexpr index ceil_divide(index a, index b) { return (a + b - 1) / b; }
constexpr index round_up(index a, index b) { return ceil_divide(a, b) * b; }

enum class Element { f64, f32, f16, bf16, i8, i16, i32, i64, u8, u16, u32, u64, boolean };

constexpr index size_of(Element element) {
    switch (element) {
        case Element::i8:
        case Element::u8:
        case Element::boolean: return 1;
        case Element::f16:
        case Element::bf16:
        case Element::i16:
        case Element::u16: return 2;
        case Element::f32:
        case Element::i32:
        case Element::u32: return 4;
        default: return 8;
    }
}

// (rows, columns) = (samples, features) for a representation, (samples, samples) for a precomputed Gram matrix.
struct MatrixView {
    const std::byte* data;
    index rows;
    index columns;
    index row_stride;     // bytes from one row to the next, may be negative or zero
    index column_stride;  // bytes from one column to the next
    Element element;

    const std::byte* at(index row, index column) const {
        return data + row * row_stride + column * column_stride;
    }
    MatrixView part(index first_row, index of_rows, index first_column, index of_columns) const {
        return {at(first_row, first_column), of_rows, of_columns, row_stride, column_stride, element};
    }
    // Which axis is closer together in memory: lines along it are read without jumping.
    bool columns_are_contiguous() const {
        const auto magnitude = [](index stride) { return stride < 0 ? -stride : stride; };
        return columns > 1 && (rows == 1 || magnitude(column_stride) <= magnitude(row_stride));
    }
};

}  // namespace fastcka
