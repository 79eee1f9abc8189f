// SPDX-License-Identifier: BSD-3-Clause
#include "base/buffer.hpp"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define FASTCKA_WATCHED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FASTCKA_WATCHED
#endif
#endif
#ifdef FASTCKA_WATCHED
#include <sanitizer/asan_interface.h>
#endif

// Large blocks are separate mappings: from malloc, they would leave huge pages behind in its heap, of which every
// small allocation then touches a whole one. With the sanitizer all come from malloc, whose memory it watches.
#if defined(__linux__) && !defined(FASTCKA_WATCHED)
#define FASTCKA_MAPS_LARGE_BLOCKS
#include <sys/mman.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#define FASTCKA_FORKS
#include <pthread.h>
#endif

namespace fastcka {
namespace {

constexpr std::size_t alignment = 64;       // a vector of the widest SIMD level, and a cache line
constexpr std::size_t huge_page = 1 << 21;  // large blocks ask for huge pages: fewer faults, fewer TLB misses
constexpr std::size_t kept_bytes = 512 << 20;  // idle memory beyond this goes back to the system
// Smaller blocks go back to malloc, which keeps them well itself: a stream of 500 layers has 125 000, one for each pair of
// layers, and each request searches all idle blocks.
constexpr std::size_t least_kept_bytes = 1 << 16;

// Sits in front of the memory handed out.
struct alignas(alignment) Header {
    std::size_t bytes;
    bool mapped = false;
};

struct Pool {
    std::mutex mutex;
    std::vector<Header*> idle;  // the longest idle first
    std::size_t idle_bytes = 0;
};

Pool& pool() {
    static Pool* const instance = new Pool;  // never destroyed: threads may still return memory at exit
    return *instance;
}

#ifdef FASTCKA_FORKS
// A child has only the thread that forked: the pool must not be another's at that moment.
const int watching_forks =
    pthread_atfork([] { pool().mutex.lock(); }, [] { pool().mutex.unlock(); }, [] { pool().mutex.unlock(); });
#endif

// The smallest idle block that is large enough, and not much larger; or none.
Header* take_idle(std::size_t bytes) {
    if (bytes < least_kept_bytes) return nullptr;
    Pool& p = pool();
    const std::lock_guard lock(p.mutex);
    auto best = p.idle.end();
    for (auto it = p.idle.begin(); it != p.idle.end(); ++it)
        if ((*it)->bytes >= bytes && (*it)->bytes <= bytes + bytes / 4 + 4096 &&
            (best == p.idle.end() || (*it)->bytes < (*best)->bytes))
            best = it;
    if (best == p.idle.end()) return nullptr;
    Header* header = *best;
    p.idle_bytes -= header->bytes;
    p.idle.erase(best);
    return header;
}

// From now on the first `bytes` bytes of a block may be used, and no others: the address sanitizer then reports a read
// beyond the request into the rest of a reused block, and a use after the return.
void allow([[maybe_unused]] Header* header, [[maybe_unused]] std::size_t bytes) {
#ifdef FASTCKA_WATCHED
    char* const memory = reinterpret_cast<char*>(header + 1);
    __asan_unpoison_memory_region(memory, bytes);
    __asan_poison_memory_region(memory + bytes, header->bytes - bytes);
#endif
}

std::size_t rounded_up(std::size_t bytes, std::size_t grain) { return (bytes + grain - 1) / grain * grain; }

// The size of a new block for that many bytes, with its header.
std::size_t block_size(std::size_t bytes) {
    [[maybe_unused]] constexpr std::size_t page = 1 << 16;  // as large as pages get, huge ones apart
#ifdef FASTCKA_MAPS_LARGE_BLOCKS
    if (bytes >= huge_page) return rounded_up(bytes + sizeof(Header), page);
#endif
    return rounded_up(bytes + sizeof(Header), alignment);
}

#ifdef FASTCKA_MAPS_LARGE_BLOCKS
Header* map_block(std::size_t total) {
    const std::size_t room = total + huge_page;
    void* const memory = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    char* const first = static_cast<char*>(memory);
    const std::size_t before =
        rounded_up(reinterpret_cast<std::size_t>(first), huge_page) - reinterpret_cast<std::size_t>(first);
    if (before > 0) munmap(first, before);
    if (before < huge_page) munmap(first + before + total, huge_page - before);
    // Whole huge pages only: most of a last one would be wasted.
    madvise(first + before, total / huge_page * huge_page, MADV_HUGEPAGE);
    return new (first + before) Header{total - sizeof(Header), true};
}
#endif

Header* allocate(std::size_t bytes) {
    const std::size_t total = block_size(bytes);
#ifdef FASTCKA_MAPS_LARGE_BLOCKS
    if (bytes >= huge_page) return map_block(total);
#endif
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, total) != 0) throw std::bad_alloc();
    return new (memory) Header{total - sizeof(Header)};
}

void give_back(Header* header) noexcept {
    allow(header, header->bytes);
#ifdef FASTCKA_MAPS_LARGE_BLOCKS
    if (header->mapped) {
        munmap(header, header->bytes + sizeof(Header));
        return;
    }
#endif
    std::free(header);
}

// The block that has been idle for longest, if more than `kept` bytes are idle; or none.
Header* take_oldest(std::size_t kept) {
    Pool& p = pool();
    const std::lock_guard lock(p.mutex);
    if (p.idle_bytes <= kept) return nullptr;
    Header* header = p.idle.front();
    p.idle_bytes -= header->bytes;
    p.idle.erase(p.idle.begin());
    return header;
}

void keep(std::size_t bytes) noexcept {
    while (Header* header = take_oldest(bytes)) give_back(header);
}

}  // namespace

void* acquire_memory(index bytes) {
    constexpr index most = index{1} << 46;  // 64 TiB: more than that is a size that overflowed
    if (bytes < 0 || bytes > most) throw std::bad_alloc();
    const auto wanted = static_cast<std::size_t>(std::max<index>(bytes, 1));
    Header* header = take_idle(wanted);
    if (header == nullptr) header = allocate(wanted);
    allow(header, wanted);
    return header + 1;
}

index acquired_bytes(index bytes) {
    if (bytes < 0) return index{1} << 60;
    return static_cast<index>(block_size(static_cast<std::size_t>(bytes)));
}

void return_memory(void* memory) noexcept {
    if (memory == nullptr) return;
    Header* header = static_cast<Header*>(memory) - 1;
    if (header->bytes < least_kept_bytes || header->bytes > kept_bytes) return give_back(header);
    allow(header, 0);
    try {
        Pool& p = pool();
        const std::lock_guard lock(p.mutex);
        p.idle.push_back(header);
        p.idle_bytes += header->bytes;
    } catch (const std::bad_alloc&) {  // no room to remember it
        give_back(header);
    }
    keep(kept_bytes);
}

void release_buffers(index kept) noexcept { keep(static_cast<std::size_t>(std::max<index>(kept, 0))); }

}  // namespace fastcka
