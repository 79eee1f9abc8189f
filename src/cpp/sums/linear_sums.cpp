// SPDX-License-Identifier: BSD-3-Clause
#include "sums/linear_sums.hpp"

namespace fastcka {
namespace {

using Eigen::ArrayXXd;
using Eigen::MatrixXd;
using Eigen::VectorXd;

// Let c be the mean of the n ordinary samples, and y = z - d with d = sum z / n. A Gram matrix about c has for a sample y
//     on its diagonal   |y|^2              = u'w with w = (-2 d,     1,  |d|^2)
//     as sum of a row   y't                             = (t,        0,  -d't)           t = sum y over all samples
//     off the diagonal  y't - |y|^2                     = (t + 2 d, -1,  -d't - |d|^2)
//     about the mean of all N samples, on its diagonal
//                       |y - t/N|^2 = |y|^2 - 2/N y't + |t|^2/N^2
// where t is the sum over the samples apart, because the sum over the others is zero. Each sum over ordinary samples of a
// product of two of these quantities is w_i'M w_j, with one w for each layer and quantity.
enum Quantity { diagonal, row, off_diagonal, centred_diagonal, forms };

// The w: their part for z, and their part for s = (|z_1|^2, .., |z_L|^2, 1).
struct Weights {
    std::vector<MatrixXd> z;        // per layer: features x forms
    std::array<MatrixXd, forms> s;  // (layers + 1) x layers
};

Weights weights_of(const Moments& m, const std::vector<VectorXd>& d, const std::vector<VectorXd>& t,
                   double all_samples) {
    const index layers = m.set.count();
    Weights w;
    w.s.fill(MatrixXd::Zero(layers + 1, layers));
    for (index l = 0; l < layers; ++l) {
        const VectorXd &of_mean = d[static_cast<std::size_t>(l)], &of_apart = t[static_cast<std::size_t>(l)];
        MatrixXd z(of_mean.size(), index{forms});
        z << -2 * of_mean, of_apart, of_apart + 2 * of_mean, -2 * (of_mean + of_apart / all_samples);
        w.z.push_back(std::move(z));
        const double norm = of_mean.squaredNorm(), inner = of_mean.dot(of_apart);
        w.s[diagonal](l, l) = w.s[centred_diagonal](l, l) = 1, w.s[off_diagonal](l, l) = -1;
        w.s[diagonal](layers, l) = norm;
        w.s[row](layers, l) = -inner;
        w.s[off_diagonal](layers, l) = -inner - norm;
        w.s[centred_diagonal](layers, l) = (of_mean + of_apart / all_samples).squaredNorm();
    }
    return w;
}

// Sums over the entries of cross products, for each pair of layers: of S, of the ordinary samples about c, and of P, of the
// samples apart about c.
struct PairForms {
    MatrixXd squares;                       // |S|^2
    MatrixXd mixed;                         // <S, P>
    std::array<MatrixXd, forms> quadratic;  // w_i'(sum z z') w_j

    explicit PairForms(index layers) : squares(MatrixXd::Zero(layers, layers)), mixed(squares) {
        quadratic.fill(squares);
    }
};

// The samples apart, about c.
struct Apart {
    std::vector<CrossProducts::Matrix> y;  // per layer: samples x features
    std::vector<VectorXd> t;               // their sum
    MomentBlock<double> block;
    MatrixXd off_diagonal_products;    // sum over pairs of different samples of <y, y'>_i <y, y'>_j
    std::array<MatrixXd, forms> form;  // the quantities of each sample: samples x layers

    Apart(const SampleRows& rows, const Moments& m, const std::vector<VectorXd>& d, double all_samples,
          const Engine& engine) {
        const index layers = m.set.count(), n = rows.count();
        MatrixXd grams = MatrixXd::Zero(n * n, layers);  // without their diagonals
        form.fill(MatrixXd::Zero(n, layers));
        for (index l = 0; l < layers; ++l) {
            const auto i = static_cast<std::size_t>(l);
            CrossProducts::Matrix all(n, m.set.width(l));
            for (index k = 0; k < n; ++k)
                for (index j = 0; j < all.cols(); ++j)
                    all(k, j) = m.scale[i] * (rows.value(l, k, j) - m.origin[i](j)) - d[i](j);
            t.emplace_back(all.colwise().sum());
            MatrixXd gram = all * all.transpose();
            form[diagonal].col(l) = gram.diagonal();
            form[row].col(l) = all * t.back();
            form[centred_diagonal].col(l) =
                (all.rowwise() - t.back().transpose() / all_samples).rowwise().squaredNorm();
            gram.diagonal().setZero();
            form[off_diagonal].col(l) = gram.rowwise().sum();
            grams.col(l) = gram.reshaped();
            y.push_back(std::move(all));
        }
        off_diagonal_products = grams.transpose() * grams;
        if (n == 0) return;
        Moments frame(m.set);  // y as it is
        frame.scale.assign(y.size(), 1.0);
        std::vector<MatrixView> views;
        for (const CrossProducts::Matrix& of_layer : y)
            views.push_back({reinterpret_cast<const std::byte*>(of_layer.data()), n, of_layer.cols(),
                             of_layer.cols() * 8, 8, Element::f64});
        block = MomentBlock<double>(std::move(views), engine);
        block.pack(frame, engine);
    }
};

// Tile by tile: S is computed from `zz` and `added`, and not stored.
PairForms pair_forms(const CrossProducts& zz, const Moments& before, const Addition& added,
                     const std::vector<VectorXd>& d, const Weights& weights, const Apart& apart,
                     const Engine& engine) {
    const bool some_apart = apart.block.samples() > 0;
    const index side = zz.side(), used_forms = some_apart ? index{forms} : index{1};
    const double n = added.moments.samples();
    struct Memory {
        Addition::Memory added;
        TileMemory<double> apart;
        Buffer<double> s, p;
    };
    std::vector<Memory> memory;
    for (Addition::Memory& one : added.memory(side, engine))
        memory.push_back({std::move(one), some_apart ? TileMemory<double>(side) : TileMemory<double>(),
                          Buffer<double>(side * side), Buffer<double>(some_apart ? side * side : 0)});
    struct OfTile {
        double square = 0, mixed = 0;
        Eigen::Array<double, forms, 1> quadratic = Eigen::Array<double, forms, 1>::Zero();
    };
    std::vector<OfTile> of_tiles(zz.tiles().size());
    engine.team.for_each(static_cast<index>(of_tiles.size()), [&](index number, int worker) {
        const FeatureTile& tile = zz.tiles()[static_cast<std::size_t>(number)];
        const auto& [left, right, range] = tile;
        const auto l = static_cast<std::size_t>(left), r = static_cast<std::size_t>(right);
        Memory& mine = memory[static_cast<std::size_t>(worker)];
        added.write(tile, added.form(tile, mine.added, engine, worker), zz, before, mine.s.data(), side);
        if (some_apart)
            apart.block.add_products(tile, apart.block.form(tile, mine.apart, engine, worker), true,
                                     mine.p.data(), side);
        OfTile& sums = of_tiles[static_cast<std::size_t>(number)];
        VectorXd centred(side);
        for (index i = 0; i < range.rows; ++i) {
            const index first =
                left == right ? std::max<index>(range.first_row + i - range.first_column, 0) : 0;
            const index count = range.columns - first, from = range.first_column + first;
            const Eigen::Map<const VectorXd> s(mine.s.data() + i * side + first, count);
            auto c = centred.head(count);
            c = s - n * d[l](range.first_row + i) * d[r].segment(from, count);
            // Values off the diagonal of a layer with itself count twice.
            const bool twice = left == right, on_diagonal = twice && range.first_row + i == from;
            const auto both = [&](double sum, double own) {
                return twice ? 2 * sum - on_diagonal * own : sum;
            };
            sums.square += both(c.squaredNorm(), c(0) * c(0));
            for (index f = 0; f < used_forms; ++f) {
                const auto w = weights.z[r].col(f).segment(from, count);
                sums.quadratic(f) += weights.z[l](range.first_row + i, f) * both(s.dot(w), s(0) * w(0));
            }
            if (!some_apart) continue;
            const Eigen::Map<const VectorXd> p(mine.p.data() + i * side + first, count);
            sums.mixed += both(c.dot(p), c(0) * p(0));
        }
    });
    PairForms out(added.moments.set.count());
    for (std::size_t t = 0; t < of_tiles.size(); ++t) {
        const index i = zz.tiles()[t].left, j = zz.tiles()[t].right;
        out.squares(i, j) += of_tiles[t].square;
        out.mixed(i, j) += of_tiles[t].mixed;
        for (index f = 0; f < forms; ++f)
            out.quadratic[static_cast<std::size_t>(f)](i, j) += of_tiles[t].quadratic(f);
    }
    return out;
}

}  // namespace

LinearSums linear_sums(const CrossProducts& zz, const Moments& before, const Addition& added,
                       const SampleRows& rows_apart, double share, const Engine& engine) {
    const Moments& m = added.moments;
    const LayerSet& set = m.set;
    const index layers = set.count();
    std::vector<VectorXd> d;
    for (index l = 0; l < layers; ++l) d.push_back(m.sum_of_z(l) / std::max(m.samples(), 1.0));
    const double samples = m.samples() + static_cast<double>(rows_apart.count());
    const Apart apart(rows_apart, m, d, samples, engine);
    const Weights weights = weights_of(m, d, apart.t, samples);
    const PairForms pairs = pair_forms(zz, before, added, d, weights, apart, engine);

    // w'M w and sum u'w of the ordinary samples; then both with the samples apart.
    std::array<MatrixXd, forms> ordinary, product;
    std::array<VectorXd, forms> total;
    for (std::size_t f = 0; f < forms; ++f) {
        const MatrixXd& h = weights.s[f];
        MatrixXd q(layers + 1, layers);  // sum s (z'w)
        for (index l = 0; l < layers; ++l)
            q.col(l) =
                m.z_with(l).transpose() * weights.z[static_cast<std::size_t>(l)].col(static_cast<index>(f));
        const MatrixXd mixed = q.transpose() * h;
        ordinary[f] = pairs.quadratic[f] + mixed + mixed.transpose() + h.transpose() * m.ss * h;
        product[f] = ordinary[f] + apart.form[f].transpose() * apart.form[f];
        total[f] =
            (q.row(layers) + m.ss.row(layers) * h).transpose() + apart.form[f].colwise().sum().transpose();
    }
    if (rows_apart.count() == 0) {  // sums of whole rows are zero
        product[off_diagonal] = product[centred_diagonal] = product[diagonal], product[row].setZero();
        total[off_diagonal] = total[diagonal], total[row].setZero();
    }
    const MatrixXd products =
        pairs.squares - ordinary[diagonal] + 2 * pairs.mixed + apart.off_diagonal_products;
    const MatrixXd full_totals = total[row] * total[row].transpose();
    const MatrixXd squared_totals = total[off_diagonal] * total[off_diagonal].transpose();
    // The magnitude is that of the terms of the condition, about the mean of all samples, or of the terms of this sum.
    const double n = samples;
    const MatrixXd rows_part = product[off_diagonal] * (2 / (n - 2)),
                   totals_part = squared_totals / ((n - 1) * (n - 2));
    const MatrixXd about_mean =
        (products + totals_part - rows_part).cwiseAbs() + product[centred_diagonal] * (4 / (n - 2));
    const MatrixXd summed = pairs.squares + ordinary[diagonal].cwiseAbs() + 2 * pairs.mixed.cwiseAbs();
    const MatrixXd magnitudes = (share * about_mean).cwiseMax(summed);

    const VectorXd traces = total[diagonal] - total[row] / samples;
    const MatrixXd squared_traces = traces * traces.transpose();

    const auto sums = [&](const auto& of) {  // of(matrix): the wanted entries
        return PairSums{.products = of(products).array(),
                        .diagonals = of(product[diagonal]).array(),
                        .rows = of(product[off_diagonal]).array(),
                        .totals = of(squared_totals).array(),
                        .full_rows = of(product[row]).array(),
                        .full_totals = of(full_totals).array(),
                        .magnitudes = of(magnitudes).array(),
                        .spreads = of(product[centred_diagonal] - squared_traces / n).array(),
                        .traces = of(squared_traces).array()};
    };
    LinearSums out;
    out.sums.samples = samples;
    out.sums.pairs = sums([&](const MatrixXd& all) -> MatrixXd {
        const MatrixXd both = all.selfadjointView<Eigen::Upper>();
        return both.block(0, set.first_column(), set.rows(), set.columns());
    });
    out.sums.selves = sums([](const MatrixXd& all) -> MatrixXd { return all.diagonal(); });
    for (index l = 0; l < layers; ++l) {
        LayerNote note;
        const double scale = m.scale[static_cast<std::size_t>(l)];
        if (total[diagonal](l) == 0) note.status = Status::constant;
        note.unit = 1 / (scale * scale);
        out.layers.push_back(note);
    }
    return out;
}

}  // namespace fastcka
