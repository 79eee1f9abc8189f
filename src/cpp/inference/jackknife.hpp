// SPDX-License-Identifier: BSD-3-Clause
// Standard errors of all pairs by the jackknife, in closed form: <W, V> without some samples follows from the rows of W
// and V that belong to them.
#pragma once

#include "inference/gram_rows.hpp"
#include "sums/row_products.hpp"

namespace fastcka {

// Deletions: each sample, or each of some groups of samples that lie side by side.
class Deletions {
  public:
    // `bounds`: the first sample of each group, and the number of samples at the end; empty: each sample alone.
    Deletions(index samples, std::vector<index> bounds) : samples_(samples), bounds_(std::move(bounds)) {}

    bool single() const { return bounds_.empty(); }
    index count() const { return single() ? samples_ : static_cast<index>(bounds_.size()) - 1; }
    index largest() const {
        index most = 0;
        for (index group = 0; group < count(); ++group) most = std::max(most, size(group));
        return most;
    }
    index first(index group) const { return single() ? group : bounds_[static_cast<std::size_t>(group)]; }
    index size(index group) const { return first(group + 1) - first(group); }

  private:
    index samples_;
    std::vector<index> bounds_;
};

// CKA without a group less CKA of all samples, summed over some groups.
struct Deviations {
    // With d the deviation without a group and h = all samples / samples of the group, the sums over groups of d,
    // (h - 1) d^2, (1 - 1/h) d and 1 / (h - 1); rows x columns.
    Eigen::MatrixXd sums, squares, weighted_sums;
    double weights = 0;

    Deviations() = default;
    explicit Deviations(const LayerSet& set)
        : sums(Eigen::MatrixXd::Zero(set.rows(), set.columns())), squares(sums), weighted_sums(sums) {}
    static index bytes(const LayerSet& set) { return 3 * 8 * set.rows() * set.columns(); }

    // Throws std::invalid_argument where shapes differ.
    void merge(const Deviations& other);
};

// <W, V> over all samples, of the wanted pairs and of each layer with itself: what deviations are measured from.
class FullProducts {
  public:
    FullProducts(const LayerSet& set, Eigen::MatrixXd pairs, Eigen::VectorXd selves);

    static index bytes(const LayerSet& set) { return 8 * (set.rows() * set.columns() + 2 * set.count()); }

    double pair(index i, index j) const { return pairs_(i, j - set_.first_column()); }
    double self(index layer) const { return selves_(layer); }

    // Adds the deviation of a pair without a group: `product` is <W, V>, the roots are 1 / |W| and 1 / |V| without it, and
    // `factor` is h, all samples / samples of the group. Threads may add to different pairs at the same time.
    void add(Deviations& to, index i, index j, double product, double root_i, double root_j,
             double factor) const;
    // To be called once for each group.
    static void add_group(Deviations& to, double factor) { to.weights += 1 / (factor - 1); }

    // Of <W, V> / (|W| |V|), rows x columns.
    Eigen::MatrixXd standard_errors(const Deviations& deviations, index groups) const;

  private:
    const LayerSet& set_;
    Eigen::MatrixXd pairs_;
    Eigen::VectorXd selves_;
    Eigen::VectorXd roots_;  // 1 / |W| of each layer
};

// Each sample deleted, of Ku, from the sums of its row: entries x samples.
Eigen::MatrixXd standard_errors(const LayerSet& set, const FullProducts& full, const Eigen::MatrixXd& rows,
                                const Engine& engine);

template <class T> class Jackknife {
  public:
    // `group`: the first deletion whose rows will come.
    Jackknife(const LayerSet& set, const FullProducts& full, const GramRows<T>& rows, Centred centred,
              const Deletions& deletions, index group, const Engine& engine);
    static Bytes bytes(const LayerSet& set, const Deletions& deletions, index samples, index panel_width);

    // Adds some rows of all layers, out of strips that begin with sample `first`. Rows come in order.
    void add(Span rows, index first, const std::vector<const T*>& strips);

    // Over the deletions all of whose rows have been added.
    Deviations deviations() && { return std::move(deviations_); }

  private:
    struct Task {
        index first, last;           // layers of the rows
        index first_other, columns;  // layers of the columns
    };

    template <class Use> void for_each_task(Use&& use);
    void add_singles(Span rows, index first, const std::vector<const T*>& strips);
    void add_group_rows(index first, index begin, index end, const std::vector<const T*>& strips);
    void finish_group();
    Eigen::Map<Eigen::MatrixXd> columns() const { return {columns_.data(), stride_, set_.count()}; }

    const LayerSet& set_;
    const FullProducts& full_;
    Deviations deviations_;
    const Engine& engine_;
    const Deletions& deletions_;
    double n_;
    Centred centred_;
    index stride_, height_;
    std::vector<Task> tasks_;
    // Of the group whose rows are coming:
    index group_;
    // Over its rows, the sum of W_ij V_ij for all j, and for j in the group; rows x columns.
    Eigen::MatrixXd products_, within_;
    Eigen::VectorXd self_products_, self_within_;
    Buffer<double> columns_;  // the sum of its rows, layer by layer, `stride` apart
    Buffer<T> inside_;        // of some rows of all layers the values for j in the group, side by side
};

}  // namespace fastcka
