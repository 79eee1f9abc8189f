// SPDX-License-Identifier: BSD-3-Clause
// Samples on their way into moments: multiplied by the engine, in T, and added in float64.
#pragma once

#include "sums/moments.hpp"

#include <vector>

namespace fastcka {

// Memory of one worker for a tile.
template <class T> struct TileMemory {
    Buffer<T> values;
    Buffer<double> wide;
    TileMemory() = default;
    explicit TileMemory(index side) : values(side * side), wide(side * side) {}
};

// The samples are packed about their own mean and in their own scale, so that packed values are about 1 whatever samples
// came before: z = factor * packed + offset.
template <class T> class MomentBlock {
  public:
    MomentBlock() = default;
    // One view per layer, all with the same number of samples, which may be 0. They are read until pack() returns.
    MomentBlock(std::vector<MatrixView> rows, const Engine& engine);

    index samples() const { return rows_.empty() ? 0 : rows_.front().rows; }
    // Lowers the scale of `moments` for these samples. `first`: these are the first of a stream, and set its origin.
    void make_room(Moments& moments, bool first) const;
    // Packs the samples; nothing more is read from them afterwards.
    void pack(const Moments& moments, const Engine& engine);
    // |x - mean|^2 of each sample of a layer, in some unit.
    const std::vector<double>& squared_norms(index layer) const {
        return squared_[static_cast<std::size_t>(layer)];
    }
    // Adds the packed samples to everything in the moments; cross products follow tile by tile.
    void add_to(Moments& moments, const Engine& engine) const;

    // Products of packed features for one tile, block by block, in `memory`. Throws what the observer throws.
    const double* form(const FeatureTile& tile, const TileMemory<T>& memory, const Engine& engine,
                       int worker) const;
    // Adds sum z_i z_j' to the rows of a tile, `stride` apart, or writes it there with `overwrite`; for a layer with
    // itself only on and above the diagonal. `formed`: from form().
    void add_products(const FeatureTile& tile, const double* formed, bool overwrite, double* target,
                      index stride) const;

  private:
    std::vector<MatrixView> rows_;
    std::vector<Centring> centring_;
    std::vector<Panels<T>> panels_;             // a vector is a feature
    std::vector<std::vector<double>> squared_;  // |packed|^2 of each sample, per layer
    std::vector<double> factor_;
    std::vector<Eigen::VectorXd> offset_;
    Eigen::MatrixXd s_;  // s of each sample: samples x (layers + 1)
};

// Samples on their way into moments: `moments` contain them already, cross products get them tile by tile.
struct Addition {
    Moments moments;
    MomentBlock<float> narrow;  // samples whose products are float32
    MomentBlock<double> wide;   // and float64

    struct Memory {
        TileMemory<float> narrow;
        TileMemory<double> wide;
    };
    struct Formed {
        const double *narrow, *wide;  // null if there are no samples
    };
    void make_room(bool first);
    void pack(const Engine& engine);  // packs the samples and adds them to the moments
    bool may_have_massive_rows() const;
    std::vector<Memory> memory(index side, const Engine& engine) const;  // for each worker
    // The products of a tile: everything that may throw. write() then cannot fail halfway.
    Formed form(const FeatureTile& tile, const Memory& memory, const Engine& engine, int worker) const;
    // Writes the cross products of a tile: those in `zz`, brought from the scale of `before` to the scale of `moments`,
    // plus those of the samples. The target may be their place in `zz`.
    void write(const FeatureTile& tile, const Formed& formed, const CrossProducts& zz, const Moments& before,
               double* target, index stride) const noexcept;
};

}  // namespace fastcka
