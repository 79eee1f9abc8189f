// SPDX-License-Identifier: BSD-3-Clause
// The list of kernels, and any of them as a value.
#pragma once

#include "kernels/correlation.hpp"
#include "kernels/cosine.hpp"
#include "kernels/distance.hpp"
#include "kernels/laplacian.hpp"
#include "kernels/linear.hpp"
#include "kernels/polynomial.hpp"
#include "kernels/precomputed.hpp"
#include "kernels/rbf.hpp"

#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace fastcka {

template <class... K> struct KernelList {
    using Any = std::variant<K...>;
    using AnyMap = std::variant<typename K::Map...>;
    static std::vector<Any> defaults() { return {Any(K{})...}; }
};
using Kernels = KernelList<Linear, RBF, Laplacian, Polynomial, Cosine, Correlation, Distance, Precomputed>;

// A kernel resolved for one layer: from inner products of packed samples to Gram values, see Operations::apply.
using KernelMap = Kernels::AnyMap;

// A kernel as the user names it; linear unless another is given.
class Kernel {
    template <class Of> auto visit(Of&& of) const { return std::visit(of, kernel_); }

  public:
    Kernel() = default;
    template <class K>
        requires std::is_constructible_v<Kernels::Any, K>
    Kernel(K kernel) : kernel_(std::move(kernel)) {}
    // With default options. Throws std::invalid_argument for an unknown name.
    static Kernel named(const std::string& name) {
        for (const Kernels::Any& each : Kernels::defaults())
            if (Kernel kernel(each); kernel.name() == name) return kernel;
        throw std::invalid_argument("unknown kernel " + name);
    }

    std::string name() const {
        return visit([](const auto& k) { return k.name; });
    }
    Traits traits() const {
        return visit([](const auto& k) { return k.traits; });
    }
    // Inner products of (possibly rescaled) samples: feature space serves as well as Gram matrices.
    bool is_linear() const { return traits().form == Form::products; }
    // Gram matrices are given.
    bool is_given() const { return traits().form == Form::given; }
    // Gram matrices of centred features, or centred on input: every full row sums to zero already.
    bool is_centred() const { return is_linear() || is_given(); }

    // Gram values are functions of distances: they do not depend on an origin.
    bool of_distances() const { return traits().form == Form::distances; }

    // Null if it is another kernel.
    template <class K> const K* as() const { return std::get_if<K>(&kernel_); }
    // Null if it has none.
    const Bandwidth* bandwidth() const {
        return visit([](const auto& k) -> const Bandwidth* {
            if constexpr (requires { k.bandwidth; })
                return &k.bandwidth;
            else
                return nullptr;
        });
    }
    bool needs_median() const { return bandwidth() != nullptr && bandwidth()->needs_median(); }

    // A term of the definition for each of two samples, by its norm, which centring removes; 0 for most kernels.
    double own_term(double norm) const {
        return visit([&](const auto& k) {
            if constexpr (requires { k.own_term(norm); })
                return k.own_term(norm);
            else
                return 0.0;
        });
    }

    Resolved<KernelMap> resolve(const LayerFacts& layer) const {
        return visit([&](const auto& k) -> Resolved<KernelMap> {
            const auto [map, unit, left_out] = k.resolve(layer);
            return {KernelMap(map), unit, left_out};
        });
    }

    template <class Visit> void visit_options(Visit&& visit) {
        std::visit([&](auto& k) { k.visit_options(visit); }, kernel_);
    }

  private:
    Kernels::Any kernel_;
};

}  // namespace fastcka
