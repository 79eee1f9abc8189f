// SPDX-License-Identifier: BSD-3-Clause
// The median of many numbers by digits of their bits: each round counts the next digit of those whose leading digits are
// those of the median. Counts add up in any order, so that a round can be made in pieces.
#pragma once

#include "base/matrix_view.hpp"
#include "kernels/traits.hpp"

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

namespace fastcka {

// The bits of a number that is not negative. They have the order of the numbers.
using DistanceKey = std::uint64_t;
template <class T> double distance_of(DistanceKey key) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    return static_cast<double>(std::bit_cast<T>(static_cast<Bits>(key)));
}

inline constexpr int digit_bits = 16;
inline constexpr index digit_values = index{1} << digit_bits;
template <class T> inline constexpr int digits_of = 8 * static_cast<int>(sizeof(T)) / digit_bits;

// Which of the n (n - 1) / 2 distances of pairs i < j are in the middle of all n^2, or of those with i != j; n > 1.
class MedianRanks {
  public:
    MedianRanks(index samples, bool offdiagonal);

    index first() const { return first_; }
    index second() const { return second_; }  // the same, or the next
    // From the distances of rank first() and second().
    double median(double first, double second) const { return half_ ? second / 2 : (first + second) / 2; }

  private:
    bool half_;  // the first of the two in the middle is the distance zero of a sample to itself
    index first_, second_;
};

// Of the numbers with some leading digits, how many have each value of the next digit.
struct DigitCounts {
    std::vector<index> bins;
    // For the last digit only: the smallest key above all with these leading digits.
    DistanceKey above = std::numeric_limits<DistanceKey>::max();

    void merge(const DigitCounts& other);
};

struct MedianSearch {
    int digits = 0;          // known of the first of the two in the middle
    DistanceKey lowest = 0;  // the smallest key with these digits
    index below = 0;         // keys that are smaller
    double median = not_given;

    bool found() const { return median == median; }
    bool operator==(const MedianSearch& other) const {
        return digits == other.digits && lowest == other.lowest && below == other.below &&
               (median == other.median || (!found() && !other.found()));
    }

    template <class T> int shift() const { return digit_bits * (digits_of<T> - digits - 1); }
    // Another digit, from the counts of all numbers; returns how many have it. With the last one, the median is known.
    template <class T> index advance(const DigitCounts& counts, const MedianRanks& ranks);
};

}  // namespace fastcka
