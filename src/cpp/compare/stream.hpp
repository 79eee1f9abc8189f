// SPDX-License-Identifier: BSD-3-Clause
// A stream of batches, of either precision, and its alignment at any time: sums/moments for callers.
#pragma once

#include "measures/cka.hpp"
#include "sums/moments.hpp"

#include <utility>
#include <variant>

namespace fastcka {

class Stream {
  public:
    struct Counts {
        index folded, pending;  // samples
    };

    Stream(const LayerSet& set, Precision precision)
        : moments_(precision == Precision::float64 ? Either(std::in_place_type<Moments<double>>, set)
                                                   : Either(std::in_place_type<Moments<float>>, set)),
          set_(set), precision_(precision) {}
    Stream(Stream&&) = default;
    Stream& operator=(Stream&&) = default;
    Stream(const Stream&) = delete;  // a state may be gigabytes
    Stream& operator=(const Stream&) = delete;
    ~Stream() = default;

    static index state_bytes(const LayerSet& set, Precision precision);

    index samples() const { return counts().folded + counts().pending; }
    // Throws NonFinite, or std::invalid_argument for other layers, before anything is changed; for what the observer
    // throws see Moments.
    void update(const Layers& batch, int threads, const Observer& observer = {});
    // `other` must have the same layers and precision.
    void merge(Stream& other, int threads);
    Alignment result(Estimator estimator, int threads, const Observer& observer = {});

    // For saving and loading, see Moments.
    void settle(int threads, const Observer& observer);
    Counts counts() const;
    void set_counts(Counts counts);
    template <class Visit> void visit_arrays(Visit&& visit) {
        std::visit([&](auto& moments) { moments.visit_arrays(visit); }, moments_);
    }

  private:
    using Either = std::variant<Moments<float>, Moments<double>>;

    Either moments_;
    LayerSet set_;
    Precision precision_;
};

}  // namespace fastcka
