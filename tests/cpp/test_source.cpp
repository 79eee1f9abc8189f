// SPDX-License-Identifier: BSD-3-Clause
// A layer that is read some rows at a time: the same bits as an array, and no rows beyond those that were read.
#include "check.hpp"
#include "layers/origin.hpp"
#include "support.hpp"

#include <cstring>

namespace fastcka::test {
namespace {

// Copies rows of an array; what is not there any more is overwritten.
class CopyingReader : public Reader {
  public:
    explicit CopyingReader(const MatrixView& view) : view_(view) {}
    std::vector<std::pair<index, index>> reads;
    index forgotten = 0;

  private:
    MatrixView fetch(index first, index last) override {
        reads.emplace_back(first, last);
        const index size = size_of(view_.element), p = view_.columns;
        rows_.assign(static_cast<std::size_t>((last - first) * p * size), std::byte{0xff});
        for (index i = first; i < last; ++i)
            for (index j = 0; j < p; ++j)
                std::memcpy(rows_.data() + ((i - first) * p + j) * size, view_.at(i, j),
                            static_cast<std::size_t>(size));
        return {rows_.data(), last - first, p, p * size, size, view_.element};
    }
    void drop() override {
        ++forgotten;
        rows_ = {};
    }

    MatrixView view_;
    std::vector<std::byte> rows_;
};

Source lazily(const MatrixView& view, std::shared_ptr<CopyingReader> reader, index at_once) {
    reader->at_once = at_once;
    return {MatrixView{nullptr, view.rows, view.columns, 0, 0, view.element}, std::move(reader)};
}

bool same(const Centring& a, const Centring& b) {
    return a.mean == b.mean && a.mean_low == b.mean_low && a.scale == b.scale && a.largest == b.largest;
}

template <class T> bool same(const Panels<T>& a, const Panels<T>& b) {
    return std::equal(a.data(), a.data() + a.count() * a.width() * a.coordinates(), b.data());
}

}  // namespace

TEST(pieces_of_a_layer_have_the_bits_of_an_array) {
    Random random(11);
    for_each_level([&](const Level& level, auto zero) {
        using T = decltype(zero);
        for (const index n : {1, 5, 130, 700})
            for (const Element element : {Element::f32, Element::f64, Element::bf16, Element::i16}) {
                const Stored stored = store(random.normal(n, 37) * 3 + Matrix::Constant(n, 37, 5), element);
                Team team(2);
                const Engine engine{level, team};
                const std::optional<RowScaling> scaling =
                    row_scaling(stored.view, Rows::standardised, engine);
                const Centring plain = centring_of(stored.view, nullptr, engine),
                               scaled = centring_of(stored.view, &*scaling, engine);
                const std::vector<double> origin = robust_origin(stored.view, median_if_far, engine);
                for (const index at_once : {1, 3, 4, 50, 129, 1000}) {
                    const auto reader = std::make_shared<CopyingReader>(stored.view);
                    const Source source = lazily(stored.view, reader, at_once);
                    CHECK(row_scaling(source, Rows::standardised, engine)->shift == scaling->shift);
                    CHECK(row_scaling(source, Rows::standardised, engine)->scale == scaling->scale);
                    CHECK(same(centring_of(source, nullptr, engine), plain));
                    CHECK(same(centring_of(source, &*scaling, engine), scaled));
                    CHECK(robust_origin(source, median_if_far, engine) == origin);
                    for (const bool vectors_are_samples : {true, false}) {
                        SampleSums sums, of_pieces;
                        const auto packed = [&](const Source& from, SampleSums& into) {
                            return pack<T>(from, vectors_are_samples, &scaled, &*scaling, {}, into, engine);
                        };
                        CHECK(same(packed(source, of_pieces), packed(stored.view, sums)));
                        CHECK(of_pieces.squared == sums.squared);
                    }
                }
            }
    });
}

TEST(rows_that_are_there_are_not_read_again) {
    Random random(12);
    const Stored stored = store(random.normal(50, 4), Element::f64);
    const auto reader = std::make_shared<CopyingReader>(stored.view);
    const Source source = lazily(stored.view, reader, 20);
    source.read(10, 30), source.read(12, 20), source.read(10, 30);
    CHECK(reader->reads.size() == 1);
    source.read(29, 31);
    CHECK(reader->reads.size() == 2);
    source.forget(), source.forget();
    CHECK(reader->forgotten == 1);
    source.read(29, 31);
    CHECK(reader->reads.size() == 3);
    std::vector<std::pair<index, index>> pieces;
    source.for_each_piece(3, 50, 12, [&](const MatrixView& view, index from, index to) {
        pieces.emplace_back(from, to);
        CHECK(view.rows == 50);
    });
    const std::vector<std::pair<index, index>> expected{{3, 15}, {15, 27}, {27, 39}, {39, 50}};
    CHECK(pieces == expected);
    source.read_at_once(1 << 20);
    CHECK(reader->at_once == (1 << 20) / 32);
}

TEST(a_value_that_is_not_finite_is_found_in_pieces) {
    Random random(13);
    Matrix values = random.normal(300, 6);
    values(211, 4) = std::numeric_limits<double>::quiet_NaN();
    const Stored stored = store(values, Element::f32);
    Team team(1);
    const Engine engine{current_level(), team};
    const Source source = lazily(stored.view, std::make_shared<CopyingReader>(stored.view), 7);
    try {
        centring_of(source, nullptr, engine);
        CHECK(false);
    } catch (const NonFinite& found) {
        CHECK(found.row == 211);
        CHECK(found.column == 4);
    }
}

}  // namespace fastcka::test
