// SPDX-License-Identifier: BSD-3-Clause
#include "layers/median.hpp"

#include <algorithm>
#include <stdexcept>

namespace fastcka {

MedianRanks::MedianRanks(index samples, bool offdiagonal) {
    const index zeros = offdiagonal ? 0 : samples;  // every other distance comes twice
    const index count = samples * samples - samples + zeros;
    const index lower = (count - 1) / 2, upper = count / 2;
    half_ = lower < zeros;
    second_ = (upper - zeros) / 2;
    first_ = half_ ? second_ : (lower - zeros) / 2;
}

void DigitCounts::merge(const DigitCounts& other) {
    if (bins.size() != other.bins.size()) throw std::invalid_argument("counts of another shape");
    for (std::size_t bin = 0; bin < bins.size(); ++bin) bins[bin] += other.bins[bin];
    above = std::min(above, other.above);
}

template <class T> index MedianSearch::advance(const DigitCounts& counts, const MedianRanks& ranks) {
    auto bin = counts.bins.begin();
    for (; bin != counts.bins.end() && below + *bin <= ranks.first(); ++bin) below += *bin;
    if (bin == counts.bins.end()) throw std::invalid_argument("too few distances were counted");
    lowest += static_cast<DistanceKey>(bin - counts.bins.begin()) << shift<T>();
    if (++digits < digits_of<T>) return *bin;
    DistanceKey second = lowest;
    if (ranks.second() >= below + *bin) {
        const auto next = std::find_if(bin + 1, counts.bins.end(), [](index count) { return count > 0; });
        second = next == counts.bins.end() ? counts.above : lowest + static_cast<DistanceKey>(next - bin);
    }
    median = ranks.median(distance_of<T>(lowest), distance_of<T>(second));
    return *bin;
}

template index MedianSearch::advance<float>(const DigitCounts&, const MedianRanks&);
template index MedianSearch::advance<double>(const DigitCounts&, const MedianRanks&);

}  // namespace fastcka
