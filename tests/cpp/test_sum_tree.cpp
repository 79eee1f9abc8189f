// SPDX-License-Identifier: BSD-3-Clause
// Sums of blocks: along the same tree in whatever order they come. Products of pairs of layers, against plain loops.
#include "check.hpp"
#include "sums/pair_products.hpp"
#include "sums/sum_tree.hpp"
#include "support.hpp"

#include <numeric>
#include <string>

namespace fastcka::test {
namespace {

// Shows the tree by which it was made.
struct Written {
    std::string text;
    void merge(const Written& right) { text = "(" + text + right.text + ")"; }
};

}  // namespace

TEST(sums_are_added_along_one_tree_in_any_order) {
    const auto tree_of = [](const std::vector<index>& order) {
        SumTree<Written> tree(static_cast<index>(order.size()));
        for (index block : order) tree.add(block, {std::string(1, static_cast<char>('a' + block))});
        return tree.root().text;
    };
    CHECK(tree_of({0}) == "a");
    CHECK(tree_of({0, 1, 2}) == "((ab)c)");
    CHECK(tree_of({0, 1, 2, 3, 4, 5}) == "(((ab)(cd))(ef))");
    std::mt19937 engine(90);
    for (index blocks = 1; blocks <= 20; ++blocks) {
        std::vector<index> order(static_cast<std::size_t>(blocks));
        std::iota(order.begin(), order.end(), index{0});
        const std::string expected = tree_of(order);
        for (int repeat = 0; repeat < 20; ++repeat) {
            std::shuffle(order.begin(), order.end(), engine);
            CHECK(tree_of(order) == expected);
        }
    }
}

TEST(sum_tree_of_no_or_absurdly_many_blocks) {
    CHECK_THROWS(std::invalid_argument, SumTree<Written>(0));
    CHECK_THROWS(std::invalid_argument, SumTree<Written>((index{1} << 62) + 1));
    CHECK(SumTree<Written>(index{1} << 62).free({62, 0}));
    const SumTree<Written> empty(3);
    CHECK_THROWS(std::invalid_argument, empty.root());
}

TEST(pair_products_are_inner_products) {
    Random random(91);
    for_each_level([&](const Level& level, auto zero) {
        using T = decltype(zero);
        Team team(3);
        const Engine engine{level, team};
        for (const LayerBlock& pairs : {LayerBlock{2, 0}, {30, 0}, {101, 0}, {30, 7}, {60, 50}, {420, 0}}) {
            const index values = 2300, stride = values + 5;
            const Matrix block = random.normal(pairs.layers, stride).cast<T>().template cast<double>();
            std::vector<T> stored(static_cast<std::size_t>(pairs.layers * stride));
            for (index l = 0; l < pairs.layers; ++l)
                for (index v = 0; v < stride; ++v)
                    stored[static_cast<std::size_t>(l * stride + v)] = static_cast<T>(block(l, v));
            PairProducts<T> products(pairs, values, engine);
            std::vector<double> sums(static_cast<std::size_t>(pairs.entries()), 0.0);
            products.add(stored.data(), stride, values);
            products.add(stored.data(), stride, 100);  // a smaller block after a larger one
            products.finish(sums.data());
            const Matrix whole = block.leftCols(values), part = block.leftCols(100);
            const Matrix expected = whole * whole.transpose() + part * part.transpose();
            for (index i = 0; i < (pairs.rows == 0 ? pairs.layers : pairs.rows); ++i)
                for (index j = pairs.rows == 0 ? i : 0; j < pairs.columns(); ++j)
                    CHECK_CLOSE(sums[static_cast<std::size_t>(i * pairs.columns() + j)],
                                expected(i, pairs.rows + j), 50 * epsilon<T> * values);
        }
    });
}

}  // namespace fastcka::test
