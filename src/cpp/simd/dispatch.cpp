// SPDX-License-Identifier: BSD-3-Clause
#include "simd/dispatch.hpp"

#include <cstdlib>
#include <stdexcept>

#ifdef FASTCKA_HAVE_v3
#include <cpuid.h>
#endif

namespace fastcka {

#ifdef FASTCKA_HAVE_baseline
namespace baseline {
const Level& level();
}
#endif
#ifdef FASTCKA_HAVE_v2
namespace v2 {
const Level& level();
}
#endif
#ifdef FASTCKA_HAVE_v3
namespace v3 {
const Level& level();
}
#endif
#ifdef FASTCKA_HAVE_v4
namespace v4 {
const Level& level();
}
#endif

namespace {

#ifdef FASTCKA_HAVE_v3
// Those that not every compiler knows by name. An emulator may lack them although it has AVX2.
bool has_smaller_parts_of_v3() {
    constexpr unsigned lzcnt = 1 << 5;  // the name of its bit differs between compilers
    unsigned a = 0, b = 0, basic = 0, extended = 0, d = 0;
    return __get_cpuid(1, &a, &b, &basic, &d) != 0 && __get_cpuid(0x80000001, &a, &b, &extended, &d) != 0 &&
           (basic & bit_F16C) != 0 && (basic & bit_MOVBE) != 0 && (extended & lzcnt) != 0;
}
#endif

std::vector<const Level*> levels_of_this_processor() {
    std::vector<const Level*> levels;
#ifdef FASTCKA_HAVE_baseline
    levels.push_back(&baseline::level());
#endif
    // The features of the x86-64 psABI levels that the code of a level uses, asked one by one: older compilers do not
    // know the names of the levels.
#ifdef FASTCKA_HAVE_v2
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt")) levels.push_back(&v2::level());
#endif
#ifdef FASTCKA_HAVE_v3
    const bool v3_runs = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                         has_smaller_parts_of_v3();
    if (v3_runs) levels.push_back(&v3::level());
#endif
#ifdef FASTCKA_HAVE_v4
    if (v3_runs && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        levels.push_back(&v4::level());
#endif
    if (levels.empty()) throw std::runtime_error("fastcka needs an x86-64-v2 processor (SSE4.2 and POPCNT)");
    return levels;
}

const Level& choose_level() {
    const std::vector<const Level*> levels = levels_of_this_processor();
    const char* wish = std::getenv("FASTCKA_SIMD_LEVEL");
    if (wish == nullptr || *wish == '\0') return *levels.back();
    std::string known;
    for (const Level* level : levels) {
        if (std::string(wish) == level->name) return *level;
        known += (known.empty() ? "" : ", ") + std::string(level->name);
    }
    throw std::invalid_argument("FASTCKA_SIMD_LEVEL=" + std::string(wish) +
                                " is not one of the levels of this processor: " + known);
}

}  // namespace

const Level& current_level() {
    static const Level& level = choose_level();
    return level;
}

std::vector<std::string> supported_levels() {
    std::vector<std::string> names;
    for (const Level* level : levels_of_this_processor()) names.emplace_back(level->name);
    return names;
}

}  // namespace fastcka
