// SPDX-License-Identifier: BSD-3-Clause
// The layers of the feature route, packed: a vector is a feature. Features are packed in strips, one for each row of tiles;
// with little memory only some strips, and of these only some samples, are in memory at a time.
#pragma once

#include "layers/layer_note.hpp"
#include "layers/layer_set.hpp"
#include "layers/tiles.hpp"
#include "sums/plan.hpp"

#include <optional>
#include <vector>

namespace fastcka {

template <class T> class FeatureStrips {
  public:
    FeatureStrips(const LayerSet& layers, const Plan& plan, const Engine& engine);

    // Computes the norms of a layer, and its centring unless that is `known`. If the plan holds only some strips, nothing
    // stays packed; otherwise the whole layer does. Throws NeedsDouble in float32.
    const Centring& add(index layer, const Source& source, const Kernel& kernel, const Centring* known);

    index count() const { return static_cast<index>(strips_.size()); }
    index number(index layer, index feature) const { return first_of(layer) + feature / side_; }
    const LayerNote& note(index layer) const { return this->layer(layer).note; }
    const std::vector<double>& squared_norms(index layer) const { return this->layer(layer).norms.squared; }

    // Packs these samples of the wanted strips, unless they are packed already, and frees all other strips. `wanted`: one
    // entry for each strip.
    void hold(const std::vector<bool>& wanted, Span samples);
    // Of a strip that is held. Coordinate 0 is the first of its samples.
    const Panels<T>& panels(index strip) const { return strips_[static_cast<std::size_t>(strip)].panels; }

    static index bytes(const Problem& problem, const Plan& plan);

  private:
    struct Layer {
        Source source;
        std::optional<RowScaling> rows;
        Centring centring;
        SampleSums norms;
        LayerNote note;
        index first_strip = 0, strips = 0;
    };
    struct Strip {
        index layer, first, features;
        Panels<T> panels;
        Span samples{0, 0};  // packed ones
    };

    Layer& layer(index number) { return layers_[static_cast<std::size_t>(number)]; }
    const Layer& layer(index number) const { return layers_[static_cast<std::size_t>(number)]; }
    Strip& strip(index number) { return strips_[static_cast<std::size_t>(number)]; }
    index first_of(index layer) const { return this->layer(layer).first_strip; }
    void make_room(Strip& strip, Span samples);
    void forget(Strip& strip);
    // Packs consecutive strips of one layer, after make_room(). `sums`: of the layer, or null.
    void pack(Span strips, Span samples, SampleSums* sums);

    const Engine& engine_;
    index side_, width_, at_once_;  // features in a strip; panel width; samples packed at a time, 0: all
    std::vector<Layer> layers_;
    std::vector<Strip> strips_;
    std::vector<Panels<T>> spare_;  // memory of freed strips
};

}  // namespace fastcka
