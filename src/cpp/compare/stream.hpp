// SPDX-License-Identifier: BSD-3-Clause
// Linear CKA of a stream of batches, exactly: the moments of all pairs of layers, from which the sums of sums/sums.hpp
// follow at any time. Samples are gathered into blocks of a fixed size first, so that no bit depends on the sizes of
// batches.
#pragma once

#include "measures/cka.hpp"
#include "sums/linear_sums.hpp"
#include "sums/massive_rows.hpp"

#include <optional>
#include <string>
#include <vector>

namespace fastcka {

// One thread may use it at a time.
class Stream {
  public:
    // Samples in the moments; massive samples, kept apart; and samples waiting for a full block.
    struct Counts {
        index folded, massive, pending;
    };

    Stream(const LayerSet& set, Precision precision);

    // The bytes of a state and of the packed copy of a block, known before the first sample.
    static index state_bytes(const LayerSet& set, Precision precision);

    index samples() const { return counts().folded + counts().massive + counts().pending; }
    // Throws NonFinite or UnusableLayer, or std::invalid_argument for other layers.
    void check(const Layers& batch, int threads, const Observer& observer = {}) const;
    // Throws the same before anything is changed. When the observer throws, a prefix of the batch has been absorbed (see
    // samples()); the state stays valid.
    void update(const Layers& batch, int threads, const Observer& observer = {});
    // Adds the samples of another stream, which keeps them. Not interruptible: a half-merged state would be invalid. Throws
    // std::invalid_argument unless it has the same layers and precision.
    void merge(Stream& other, int threads);
    Alignment result(Estimator estimator, int threads, const Observer& observer = {});
    // Completes an update that the observer stopped; does nothing otherwise.
    void settle(int threads, const Observer& observer);

    // For saving and loading a settled stream: its counts, then visit(name, first element, number of elements) for every
    // array.
    Counts counts() const;
    void set_counts(Counts counts);
    template <class Visit> void visit_arrays(Visit&& visit) {
        const auto vector = [&](const std::string& name, auto& values) {
            visit(name, values.data(), static_cast<index>(values.size()));
        };
        const auto rows = [&](const std::string& name, const SampleRows& samples, index layer) {
            const index elements = samples.count() * set_.width(layer);
            if (precision_ == Precision::float64)
                visit(name, reinterpret_cast<double*>(samples.at(layer, 0)), elements);
            else
                visit(name, reinterpret_cast<float*>(samples.at(layer, 0)), elements);
        };
        vector("scale", moments_.scale);
        vector("ss", moments_.ss);
        vector("shares", massive_.shares);
        for (std::size_t l = 0; l < moments_.zs.size(); ++l) {
            const std::string layer = std::to_string(l);
            vector("origin_" + layer, moments_.origin[l]);
            vector("zs_" + layer, moments_.zs[l]);
            rows("massive_" + layer, massive_.rows, static_cast<index>(l));
            rows("pending_" + layer, pending_, static_cast<index>(l));
        }
        for (index pair = 0; pair < zz_.pairs(); ++pair) {
            auto products = zz_.of_pair(pair);
            visit("zz_" + std::to_string(pair), products.data(), zz_.empty ? 0 : products.size());
        }
    }

  private:
    // A block on its way into the moments: what they will be with it, and the massive samples that stay apart.
    struct Fold {
        Addition added;
        MassiveRows massive;
        std::vector<unsigned char> done;  // per tile: whether its cross products contain the block
    };
    Fold begin(Moments moments, const SampleRows& block, const std::vector<double>& shares,
               Precision products, const Engine& engine) const;
    Fold begin_pending(Precision products, const Engine& engine) const;
    Fold begin_few(const Engine& engine) const;
    void finish(Fold& fold, const Engine& engine);

    void check(const Layers& batch, const Engine& engine) const;
    void absorb(const std::vector<MatrixView>& batch, const Engine& engine);
    void settle(const Engine& engine);
    void merge_moments(const Stream& other, const Engine& engine);
    void copy_moments(const Stream& other);

    LayerSet set_;
    Precision precision_;
    CrossProducts zz_;
    Moments moments_;
    MassiveRows massive_;
    SampleRows pending_;
    std::optional<Fold> unfinished_;  // begun, but stopped by the observer
};

}  // namespace fastcka
