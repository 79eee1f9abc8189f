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

// The samples are packed about their own mean and in their own scale, so that packed values are about 1 whatever came
// before: z = factor * packed + offset.
template <class T> class MomentBlock {
  public:
    MomentBlock() = default;
    // One view per layer, all with the same number of samples; may be none.
    MomentBlock(std::vector<MatrixView> rows, const Engine& engine);

    index samples() const { return rows_.empty() ? 0 : rows_.front().rows; }
    // Makes room for the samples in `moments`; the first samples of all also give them their origin.
    void make_room(Moments& moments, bool first) const;
    // Packs the samples; nothing more is read from them afterwards.
    void pack(const Moments& moments, const Engine& engine);
    // |x - mean|^2 of each sample of a layer, in some unit.
    const std::vector<double>& squared_norms(index layer) const {
        return squared_[static_cast<std::size_t>(layer)];
    }
    void add_to(Moments& moments, const Engine& engine) const;

    // Products of packed features for one tile, block by block. Throws what the observer throws.
    const double* form(const FeatureTile& tile, const TileMemory<T>& memory, const Engine& engine,
                       int worker) const;
    // Adds sum z_i z_j' to the rows of a tile, `stride` apart, or puts it there with `overwrite`; of a layer with itself on
    // and above the diagonal.
    void add_products(const FeatureTile& tile, const double* formed, bool overwrite, double* target,
                      index stride) const;

  private:
    std::vector<MatrixView> rows_;
    std::vector<Centring> centring_;
    std::vector<Panels<T>> panels_;  // a vector is a feature
    std::vector<std::vector<double>> squared_;
    std::vector<double> factor_;
    std::vector<Eigen::VectorXd> offset_;
    Eigen::MatrixXd s_;  // of each sample: samples x (layers + 1)
};

// Samples that are being added to moments: `moments` have them, cross products get them tile by tile.
struct Addition {
    Moments moments;
    MomentBlock<float> narrow;
    MomentBlock<double> wide;

    struct Memory {
        TileMemory<float> narrow;
        TileMemory<double> wide;
    };
    struct Formed {
        const double *narrow, *wide;  // null where there are no samples
    };
    void make_room(bool first);
    void pack(const Engine& engine);  // and adds the samples to the moments
    bool may_have_massive_rows() const;
    std::vector<Memory> memory(index side, const Engine& engine) const;  // for each worker
    // Everything that may fail.
    Formed form(const FeatureTile& tile, const Memory& memory, const Engine& engine, int worker) const;
    // The cross products of a tile, with the samples: `zz`, which are in the scale of `before`, brought to that of `moments`.
    // The target may be their own place.
    void write(const FeatureTile& tile, const Formed& formed, const CrossProducts& zz, const Moments& before,
               double* target, index stride) const noexcept;
};

}  // namespace fastcka
