// SPDX-License-Identifier: BSD-3-Clause
// What a SIMD level offers to the rest of the core: a table of functions on plain pointers. Filled by simd/level.cpp.
#pragma once

#include "base/matrix_view.hpp"
#include "base/precision.hpp"
#include "kernels/kernel.hpp"

namespace fastcka {

// A few vectors within one coordinate block: panels of `panel_width` vectors, one after the other, each holding for
// every coordinate the values of its vectors side by side. Lanes past the last vector are zero.
template <class T> struct Operand {
    const T* panels;
    index vectors;
    // From a panel to the same one of the next coordinate block, to be fetched early; 0 in the last block.
    index to_next;
};

// A tile is stored block by block, panel_width x panel_width values each: block (a, b) holds the inner products of left
// panel a with right panel b, row by row. A triangle (left and right are the same vectors) keeps only the blocks a <= b.
constexpr index block_number(index a, index b, index right_panels, bool triangle) {
    return triangle ? a * right_panels - a * (a - 1) / 2 + (b - a) : a * right_panels + b;
}

// What is done to each sample first: (x - shift) * scale, one value of each for every sample; null: nothing. A shift
// comes with a scale.
struct RowFactors {
    const double* shift = nullptr;
    const double* scale = nullptr;
    const double* shift_low = nullptr;  // the part of the shift that rounding has removed
};

// How the elements x of a representation become panel values: (x' - mean) * scale, where `rows` turn x into x'.
template <class T> struct Packing {
    MatrixView view;           // (samples, features)
    bool vectors_are_samples;  // Gram route: a vector is a sample; feature route: a vector is a feature
    bool through_double;  // centre in float64 even when T is float (64-bit input, or a range beyond float)
    RowFactors rows;
    const double* mean;       // per feature, or null for 0
    const double* mean_low;   // the part of the mean that rounding has removed, or null for 0
    double scale;             // a power of two, so that it costs no digits
    T* panels;                // coordinate block by coordinate block, see Panels
    double* squared_norms;    // per sample: += sum over the packed coordinates of value^2; null: not wanted
    const double* direction;  // per feature, zero up to a whole panel; null: no projections
    double* projections;      // per sample: += sum of value * direction
};

// Panels, blocks and rows of T begin at a multiple of a SIMD vector, as they do in a Buffer; views and arrays of other
// types need no alignment. No function throws or allocates, and any number of threads may call it.
template <class T> struct Operations {
    index panel_width;

    // sum[j] += sum_i (x'_ij - origin_j), *largest = max(*largest, |...|), over the given samples and features, sample by
    // sample: the same bits in one call or in several; x' as in Packing.
    void (*feature_statistics)(const MatrixView& view, RowFactors factors, index first_row, index rows,
                               index first_column, index columns, const double* origin, double* sum,
                               double* largest);
    // norm[i] = sqrt(sum_j (x_ij - mean_i)^2), without overflow, for samples first .. first + rows - 1, after setting
    // mean[i] = sum_j x_ij / columns; `mean` null: 0.
    void (*row_norms)(const MatrixView& view, index first_row, index rows, double* mean, double* mean_low,
                      double* norm);
    // Copies the samples row by row to `out` (nowhere if null); false when a value is not finite, or so large (2^1008 in
    // float64) that a sum of thousands might not be.
    bool (*copy_rows)(const MatrixView& view, T* out);
    // Packs coordinates [first, first + coordinates) of one panel into its place, `coordinate_block` at most.
    void (*pack)(const Packing<T>& packing, index panel, index first_coordinate, index coordinates);
    // out[l * out_stride + lane] += sum_k weights[l * stride + k] * value of `lane` at coordinate k of the panel.
    void (*weighted_sums)(const T* panel, index coordinates, const double* weights, index stride, index count,
                          double* out, index out_stride);
    // tile (=, or += unless `overwrite`) left' right over `coordinates`; a triangle leaves out blocks below the diagonal.
    void (*accumulate)(const Operand<T>& left, const Operand<T>& right, index coordinates, bool overwrite,
                       bool triangle, T* tile);
    // A block of a Gram matrix that was given, double-centred and scaled: (K_ij - mean_j - offset_i) * scale, the offset
    // being mean_i less the mean of all.
    void (*centred_block)(const MatrixView& gram, const double* mean, const double* mean_low,
                          const double* offset, double scale, index first_row, index rows, index first_column,
                          index columns, T* block);
    // Self products of one panel, added up in the order of `accumulate`, so that equal vectors give equal bits.
    void (*self_products)(const T* panel, index coordinates, bool overwrite, T* out);
    // wide += tile, or wide = tile with `overwrite`; and back.
    void (*carry)(const T* tile, index length, bool overwrite, double* wide);
    void (*narrow)(const double* wide, index length, T* tile);
    // A block on the diagonal of a triangle: moves its diagonal to `diagonal`, and sets what is on and below it to zero.
    void (*take_diagonal)(T* block, T* diagonal);
    // Replaces inner products by Gram values, in the first `rows` x `columns` of a block; zero elsewhere. The term of a
    // sample is its squared norm (Form::distances) or its product with the origin (Form::about_the_origin). Inner products
    // that are Gram values are left as they are. Pairs so near (`near_distance`) that their distance has lost digits get
    // NaN; returns true if there are any.
    bool (*apply)(const KernelMap& map, const T* row_terms, const T* column_terms, index rows, index columns,
                  T* block);
    // The same with squared distances, which are never negative, instead of Gram values.
    bool (*squared_distances)(const T* row_norms, const T* column_norms, index rows, index columns, T* block);
    // Replaces squared distances by Gram values.
    void (*apply_to_distances)(const KernelMap& map, index rows, index columns, T* block);
    // out[j] += sum_k (left_k,lane - right_k,j)^2: squared distances of one sample of a panel to those of another.
    void (*squared_differences)(const T* left, index lane, const T* right, index coordinates, double* out);
    // row[i] += sum_j block[i][j], column[j] += sum_i block[i][j].
    void (*block_sums)(const T* block, double* row, double* column);
    // out[i * stride + j] += sum_t left[i][t] * right[j][t]; `length` is a multiple of panel_width.
    void (*products)(const T* const* left, index left_count, const T* const* right, index right_count,
                     index length, double* out, index stride);
    // The sum of values[t]^2; `length` is a multiple of panel_width.
    double (*sum_of_squares)(const T* values, index length);
};

struct Level {
    const char* name;
    Operations<float> float32;
    Operations<double> float64;
};

inline index panel_width_of(const Level& level, Precision precision) {
    return precision == Precision::float64 ? level.float64.panel_width : level.float32.panel_width;
}

template <class T> const Operations<T>& operations_of(const Level& level) {
    if constexpr (sizeof(T) == sizeof(float))
        return level.float32;
    else
        return level.float64;
}

}  // namespace fastcka
