// SPDX-License-Identifier: BSD-3-Clause
// Standard errors of all pairs by the jackknife, in closed form: <W, V> without some samples follows from
// the rows of W and V that belong to them.
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

// How far CKA without a group is from that of all samples, summed over some groups.
struct Deviations {
    Eigen::MatrixXd sums, squares, weighted_sums;  // of deviations, rows x columns
    double weights = 0;                            // sum of 1 / (h - 1)

    Deviations() = default;
    explicit Deviations(const LayerSet& set)
        : sums(Eigen::MatrixXd::Zero(set.rows(), set.columns())), squares(sums), weighted_sums(sums) {}
    static index bytes(const LayerSet& set) { return 3 * 8 * set.rows() * set.columns(); }

    // Throws std::invalid_argument where shapes differ.
    void merge(const Deviations& other);
};

// <W, V> over all samples of the wanted pairs and of each layer with itself, which deviations are from.
class FullProducts {
  public:
    FullProducts(const LayerSet& set, Eigen::MatrixXd pairs, Eigen::VectorXd selves);

    static index bytes(const LayerSet& set) { return 8 * (set.rows() * set.columns() + 2 * set.count()); }

    double pair(index i, index j) const { return pairs_(i, j - set_.first_column()); }
    double self(index layer) const { return selves_(layer); }

    // <W, V> of a pair and 1 / |W|, 1 / |V| without a group; `factor`: all samples / those of the group. Any thread may add
    // to any pair, one at a time.
    void add(Deviations& to, index i, index j, double product, double root_i, double root_j,
             double factor) const;
    // Once for each group.
    static void add_group(Deviations& to, double factor) { to.weights += 1 / (factor - 1); }

    // Rows x columns, of <W, V> / (|W| |V|).
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

    // Some rows of all layers out of strips that begin with sample `first`; rows come in order.
    void add(Span rows, index first, const std::vector<const T*>& strips);

    // Of the deletions all of whose rows have come.
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
    Eigen::MatrixXd products_,
        within_;  // sum over its rows of W.V, and of what lies within the group; rows x columns
    Eigen::VectorXd self_products_, self_within_;
    Buffer<double> columns_;  // sums of its rows, layer by layer, `stride` apart
    Buffer<T> inside_;        // what lies within the group of some rows of all layers, side by side
};

}  // namespace fastcka
