// SPDX-License-Identifier: BSD-3-Clause
// Adds the sums of numbered blocks along a fixed binary tree over their numbers: the same bits whoever makes them, and in
// whatever order they come.
#pragma once

#include "base/matrix_view.hpp"

#include <map>
#include <mutex>
#include <utility>

namespace fastcka {

// `Sums` has merge(right), which adds the sums of the blocks that follow its own. Any thread may add at any time.
template <class Sums> class SumTree {
  public:
    explicit SumTree(index blocks) : blocks_(blocks) {}

    // The sums of one block; each block comes once. Merges them with every complete sibling on the way to the root.
    void add(index block, Sums sums) {
        index node = block, nodes = blocks_;  // at one level of the tree
        for (index level = 0; nodes > 1; ++level, node /= 2, nodes = (nodes + 1) / 2) {
            const index sibling = node ^ 1;
            if (sibling >= nodes) continue;  // an odd one out moves up as it is
            Sums other;
            {
                const std::lock_guard lock(mutex_);
                const auto waiting = waiting_.find({level, sibling});
                if (waiting == waiting_.end()) {
                    waiting_.emplace(std::pair{level, node}, std::move(sums));
                    return;
                }
                other = std::move(waiting->second);
                waiting_.erase(waiting);
            }
            if (node < sibling) {
                sums.merge(other);
            } else {
                other.merge(sums);
                sums = std::move(other);
            }
        }
        root_ = std::move(sums);
    }

    // The sums of all blocks, when all have come.
    const Sums& root() const { return root_; }

    // The most values that wait for their sibling while one thread after another adds blocks in order.
    static index most_waiting(index blocks) {
        index levels = 1;
        while (index{1} << levels < blocks) ++levels;
        return levels;
    }

  private:
    index blocks_;
    std::mutex mutex_;
    std::map<std::pair<index, index>, Sums> waiting_;  // (level, node)
    Sums root_;
};

}  // namespace fastcka
