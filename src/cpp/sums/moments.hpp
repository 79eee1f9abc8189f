// SPDX-License-Identifier: BSD-3-Clause
// Linear HSIC of a stream, exactly: moments of all pairs of layers, from which the sums of sums/sums follow at any
// time. Samples are gathered into blocks of a fixed size first, so that batch sizes do not matter, not even for one bit.
#pragma once

#include "layers/layer_note.hpp"
#include "sums/small_moments.hpp"
#include "sums/sums.hpp"

#include <optional>
#include <string>
#include <vector>

namespace fastcka {

struct LinearSums {
    Sums sums;
    std::vector<LayerNote> layers;
};

template <class T> class Moments {
  public:
    explicit Moments(LayerSet set);

    // Bytes of a state, known before the first sample.
    static index state_bytes(const LayerSet& set);

    index samples() const { return folded_samples() + pending_samples_; }

    // A batch: one view per layer, all with the same number of samples. Throws NonFinite before anything is changed; its
    // layer counts from the first of the first network on. When the observer of the team throws, the first samples of the batch have
    // been taken in, as many as samples() says, and the moments are as good as ever.
    void update(const std::vector<MatrixView>& batch, Team& team);
    // Takes in what another stream over the same layers has seen; both must be settled.
    void merge(const Moments& other, Team& team);
    LinearSums result(Team& team) const;  // of settled moments
    // Finishes what an update that was stopped left undone; does nothing otherwise.
    void settle(Team& team);

    // For saving and loading: how many samples are folded and pending, then every array as visit(name, first, elements).
    index folded_samples() const { return static_cast<index>(small_.samples); }
    index pending_samples() const { return pending_samples_; }
    void set_counts(index folded, index pending);
    template <class Visit> void visit_arrays(Visit&& visit) {
        visit("scale", scale_.data(), static_cast<index>(scale_.size()));
        visit("r", small_.r.data(), small_.r.size());
        visit("rr", small_.rr.data(), small_.rr.size());
        for (std::size_t l = 0; l < scale_.size(); ++l) {
            const std::string layer = std::to_string(l);
            visit("shift_" + layer, shift_[l].data(), shift_[l].size());
            visit("z_" + layer, small_.z[l].data(), small_.z[l].size());
            visit("zr_" + layer, small_.zr[l].data(), small_.zr[l].size());
            visit("pending_" + layer, pending_[l].data(), pending_samples_ * set_.widths()[l]);
        }
        for (std::size_t k = 0; k < products_.size(); ++k)
            visit("products_" + std::to_string(k), products_[k].values.data(),
                  has_products_ ? products_[k].size() : 0);
    }

  private:
    // Large, so from a Buffer: huge pages, and no writing of zeros before the first block.
    struct Products {
        index rows, columns;
        Buffer<double> values;
        using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

        index size() const { return rows * columns; }
        Eigen::Map<Matrix> matrix() const { return {values.data(), rows, columns}; }
    };

    // A block of samples, packed about its own mean, which lies at `offset` from the shift, and in its own scale, so that
    // values are about 1 whatever came before: z = factor * packed + offset.
    struct Block {
        double samples = 0;
        std::vector<Panels<T>> panels;
        std::vector<double> factor;
        std::vector<Eigen::VectorXd> offset;
    };

    void append(const std::vector<MatrixView>& batch, index first, index count, const Engine& engine);
    Block pack_pending(std::vector<double>& scale, std::vector<Eigen::VectorXd>& shift, SmallMoments& small,
                       const Engine& engine) const;
    // A full block on its way into the moments.
    struct Fold {
        std::vector<double> scale;  // as they will be
        std::vector<Eigen::VectorXd> shift;
        SmallMoments small;
        Block block;
        std::vector<unsigned char> done;  // per tile: its products are in
    };
    void fold(const Engine& engine);
    template <class Use>
    void for_each_row(const Block& block, const Engine& engine, std::vector<unsigned char>& done,
                      Use&& use) const;

    LayerSet set_;
    Eigen::MatrixXi pair_number_;  // where the products of a wanted pair are
    index side_;                   // of a tile, in features
    std::vector<FeatureTile> tiles_;
    std::vector<double> scale_;           // per layer, a power of two: z = scale * (x - shift)
    std::vector<Eigen::VectorXd> shift_;  // per layer, the mean of the first block
    SmallMoments small_;
    std::vector<Products> products_;  // sum z z' per wanted pair; of a layer with itself the upper half
    bool has_products_ = false;       // nothing is in them before the first block
    std::vector<Buffer<T>> pending_;  // per layer, row by row
    index pending_samples_ = 0;
    std::optional<Fold> unfinished_;  // begun, but stopped by the observer
};

}  // namespace fastcka
