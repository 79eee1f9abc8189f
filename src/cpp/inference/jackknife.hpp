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
    index first(index group) const { return single() ? group : bounds_[static_cast<std::size_t>(group)]; }
    index size(index group) const { return first(group + 1) - first(group); }

  private:
    index samples_;
    std::vector<index> bounds_;
};

// How far CKA without each group is from that of all samples, summed over groups.
class Deviations {
  public:
    // `pairs` and `selves`: <W, V> over all samples of the wanted pairs and of each layer with itself.
    Deviations(const LayerSet& set, const Eigen::MatrixXd& pairs, const Eigen::VectorXd& selves);

    double pair(index i, index j) const { return pairs_(i, j - set_.first_column()); }
    double self(index layer) const { return selves_(layer); }

    // <W, V> of a pair and 1 / |W|, 1 / |V| without a group; `factor`: all samples / those of the group. Any thread may add
    // to any pair, one at a time.
    void add(index i, index j, double product, double root_i, double root_j, double factor);
    // Once for each group.
    void add_group(double factor) { weights_ += 1 / (factor - 1); }

    // Rows x columns, of <W, V> / (|W| |V|).
    Eigen::MatrixXd standard_errors(index groups) const;

  private:
    const LayerSet& set_;
    const Eigen::MatrixXd& pairs_;
    const Eigen::VectorXd& selves_;
    Eigen::VectorXd roots_;                           // 1 / |W| of each layer
    Eigen::MatrixXd sums_, squares_, weighted_sums_;  // of deviations, rows x columns
    double weights_ = 0;                              // sum of 1 / (h - 1)
};

// Each sample deleted, of Ku, from the sums of its row: entries x samples.
Eigen::MatrixXd standard_errors(const LayerSet& set, Deviations deviations, const Eigen::MatrixXd& rows,
                                const Engine& engine);

template <class T> class Jackknife {
  public:
    Jackknife(const LayerSet& set, Deviations deviations, const GramRows<T>& rows, Centred centred,
              Deletions deletions, const Engine& engine);

    // A strip of rows of all layers, from sample `first` on; strips come in order.
    void add(index first, const std::vector<const T*>& strips);

    Eigen::MatrixXd standard_errors() const { return deviations_.standard_errors(deletions_.count()); }

  private:
    struct Task {
        index first, last;           // layers of the rows
        index first_other, columns;  // layers of the columns
    };

    template <class Use> void for_each_task(Use&& use);
    void add_singles(index first, index rows, const std::vector<const T*>& strips);
    void add_group_rows(index first, index begin, index end, const std::vector<const T*>& strips);
    void finish_group();
    Eigen::Map<Eigen::MatrixXd> columns() const { return {columns_.data(), stride_, set_.count()}; }

    const LayerSet& set_;
    Deviations deviations_;
    const Engine& engine_;
    Deletions deletions_;
    double n_;
    Centred centred_;
    index stride_, height_;
    std::vector<Task> tasks_;
    // Of the group whose rows are coming:
    index group_ = 0;
    Eigen::MatrixXd products_,
        within_;  // sum over its rows of W.V, and of what lies within the group; rows x columns
    Eigen::VectorXd self_products_, self_within_;
    Buffer<double> columns_;  // sums of its rows, layer by layer, `stride` apart
};

}  // namespace fastcka
