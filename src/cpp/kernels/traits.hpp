// SPDX-License-Identifier: BSD-3-Clause
// The interface of kernels, and the facts about a layer that they may use. A kernel is a struct with
//   name, traits          its name, and how the core computes it
//   visit_options(visit)  calls visit("option", member) for each option
//   Map                   its constants for one layer, and its values as a template on the SIMD level
//   resolve(layer)        returns those constants
// and one of the list in kernels/kernel.hpp.
#pragma once

#include "base/matrix_view.hpp"
#include "base/precision.hpp"

#include <limits>
#include <span>

namespace fastcka {

inline constexpr double not_given = std::numeric_limits<double>::quiet_NaN();

// How a sample is read: as it is; divided by its norm; or less its own mean, and then divided by its norm.
enum class Rows { as_given, unit, standardised };

// What Gram values are computed from. products: they are the inner products of centred samples, and the map is the
// identity. distances: the squared distance of two samples. about_the_origin: the inner product of two samples less an
// origin, and the inner products of each with the origin. given: the caller has computed them.
enum class Form { products, distances, about_the_origin, given };

struct Traits {
    Form form = Form::products;
    Rows rows = Rows::as_given;
};

// One layer, packed: (x - origin) * scale. The origin is the mean of the features where Gram values are inner products,
// otherwise one that massive samples do not move.
struct LayerFacts {
    bool as_defined;  // the kernel itself, for gram(); otherwise terms that centring removes may be left out
    Precision precision;
    index features;
    double scale;
    double mean_distance;                   // mean squared distance of two samples, packed
    std::span<const double> squared_norms;  // |x|^2 of each sample, packed; none in a round of medians
    double largest_projection;              // largest |<x, origin>|, both packed
    double origin_norm;                     // |origin|^2, in the units of the data
    double sigma;  // the bandwidth, in the units of the data, for kernels that have one
};

// A kernel for one layer. Gram values in the kernel's own units are values of the map * unit. For a kernel of distances
// the map leaves out a constant. With it, the values of different samples are those that the condition (docs/numerics.md)
// is about: the kernel, or the kernel less 1 if it is above 1/2 at the mean squared distance.
template <class Map> struct Resolved {
    Map map;
    double unit;
    double left_out = 0;  // in the units of the map
};

// Inner products are Gram values.
struct IdentityMap {
    template <class Simd, class Use> void with_values(Use&&) const {}
};

// The base of kernels whose map is the identity.
template <class Map> struct LinearKernel {
    template <class Visit> void visit_options(Visit&&) {}
    Resolved<Map> resolve(const LayerFacts& layer) const { return {{}, 1 / (layer.scale * layer.scale)}; }
};

}  // namespace fastcka
