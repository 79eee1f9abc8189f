// SPDX-License-Identifier: BSD-3-Clause
// Adds the sums of numbered blocks along a fixed binary tree over their numbers: the same bits whoever makes them, and in
// whatever order they come.
#pragma once

#include "base/matrix_view.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fastcka {

// The most sums that wait for their sibling while one thread adds blocks in order.
inline index most_waiting(index blocks) {
    index levels = 1;
    while (index{1} << levels < blocks) ++levels;
    return levels;
}

// The sums of some blocks, merged as far as they are neighbours in the tree. `Sums` has merge(right), which adds the sums
// of the blocks that follow its own. Any thread may add at any time.
template <class Sums> class SumTree {
  public:
    // The blocks from number << level on, 1 << level of them or as many as there are. An odd one out of a level moves up
    // as it is.
    struct Node {
        index level, number;
        auto operator<=>(const Node&) const = default;
    };
    struct Range {
        index first, last;  // last: one beyond
        auto operator<=>(const Range&) const = default;
    };

    // Throws std::invalid_argument unless there are 1 to 2^62 blocks, so that numbers of nodes stay within 64 bits.
    explicit SumTree(index blocks) : blocks_(blocks) {
        if (blocks < 1 || blocks > index{1} << 62) throw std::invalid_argument("no such number of blocks");
    }
    SumTree(const SumTree& other) : blocks_(other.blocks_), nodes_(other.nodes_) {}
    SumTree(SumTree&& other) noexcept : blocks_(other.blocks_), nodes_(std::move(other.nodes_)) {}
    SumTree& operator=(const SumTree&) = delete;
    SumTree& operator=(SumTree&&) = delete;
    ~SumTree() = default;

    index blocks() const { return blocks_; }
    const std::map<Node, Sums>& nodes() const { return nodes_; }

    // The sums of one block; each block comes once. Merges them with every complete sibling on the way to the root.
    void add(index block, Sums sums) { add(Node{0, block}, std::move(sums)); }
    void add(Node node, Sums sums) {
        for (index nodes = nodes_on(node.level); nodes > 1; nodes = (nodes + 1) / 2) {
            const index sibling = node.number ^ 1;
            if (sibling < nodes) {
                Sums other;
                {
                    const std::lock_guard lock(mutex_);
                    const auto waiting = nodes_.find({node.level, sibling});
                    if (waiting == nodes_.end()) {
                        nodes_.emplace(node, std::move(sums));
                        return;
                    }
                    other = std::move(waiting->second);
                    nodes_.erase(waiting);
                }
                if (node.number < sibling) {
                    sums.merge(other);
                } else {
                    other.merge(sums);
                    sums = std::move(other);
                }
            }
            node = {node.level + 1, node.number / 2};
        }
        nodes_.emplace(node, std::move(sums));  // the root: every other block is in, so nobody else adds
    }

    // The blocks that are in, as ranges in order.
    std::vector<Range> covered() const {
        std::vector<Range> ranges;
        for (const auto& [node, sums] : nodes_) ranges.push_back(range_of(node));
        std::sort(ranges.begin(), ranges.end());
        std::vector<Range> joined;
        for (const Range& range : ranges)
            if (!joined.empty() && joined.back().last == range.first)
                joined.back().last = range.last;
            else
                joined.push_back(range);
        return joined;
    }
    bool complete() const { return covered() == std::vector{Range{0, blocks_}}; }
    // The sums of all blocks. Throws std::invalid_argument where some are missing.
    const Sums& root() const {
        if (!complete()) throw std::invalid_argument("blocks are missing");
        return nodes_.begin()->second;
    }

    // Adds blocks that others have summed; refuses a block that is in already, and then changes nothing.
    void merge(const SumTree& other) {
        if (other.blocks_ != blocks_) throw std::invalid_argument("another number of blocks");
        for (const Range& mine : covered())
            for (const Range& theirs : other.covered())
                if (std::max(mine.first, theirs.first) < std::min(mine.last, theirs.last))
                    throw std::invalid_argument(
                        "block " + std::to_string(std::max(mine.first, theirs.first)) + " is in both");
        for (const auto& [node, sums] : other.nodes_) add(node, sums);
    }

    // Whether there is such a node, and none of its blocks is in yet.
    bool free(const Node& node) const {
        if (node.level < 0 || node.level > most_waiting(blocks_) || node.number < 0 ||
            node.number >= nodes_on(node.level))
            return false;
        const Range range = range_of(node);
        for (const Range& in : covered())
            if (std::max(in.first, range.first) < std::min(in.last, range.last)) return false;
        return true;
    }

  private:
    index nodes_on(index level) const { return ((blocks_ - 1) >> level) + 1; }
    Range range_of(const Node& node) const {
        return {node.number << node.level, std::min((node.number + 1) << node.level, blocks_)};
    }

    index blocks_;
    std::mutex mutex_;
    std::map<Node, Sums> nodes_;  // no two of them siblings
};

}  // namespace fastcka
