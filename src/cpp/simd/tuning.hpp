// SPDX-License-Identifier: BSD-3-Clause
// Every tuning constant, with the measurement it comes from. The values fix the order of summation, so they must not differ
// between machines.
#pragma once

#include "base/matrix_view.hpp"

namespace fastcka {

// Coordinates packed together. Two float32 panels of one block fit in 32-48 KB of L1 (2 * 48 * 128 * 4 = 48 KB at
// AVX-512, 24 KB at AVX2); 64, 128 and 256 ran at 192, 205 and 190 GFLOP/s on a core with AVX-512, all alike on AVX2.
inline constexpr index coordinate_block = 128;

// Vectors of a panel, at most: 48 float32 values at AVX-512.
inline constexpr index most_panel_width = 48;

// Coordinates after which float32 tiles are carried over into float64: 16 blocks of a float32 sum keep about 1e-7.
inline constexpr index carry_interval = 2048;

// Vectors on a side of a tile, at most. Larger tiles reuse their panels more; smaller ones share out more evenly. With
// AVX-512, 2048 samples x 8192 features, sides of 96, 144, 288 and 384 ran at 148, 158, 167 and 170 GFLOP/s on a core.
inline constexpr index largest_tile = 384;
inline constexpr index smallest_tile = 144;

// A fixed grid of at least this many tiles, where they stay above the smallest, so that many threads finish together.
inline constexpr index wanted_tiles = 64;

// Tiles of all layers that one thread holds at a time (bytes): little more than the L2 cache of a core, 1-2 MB on servers.
inline constexpr index tile_bytes_per_thread = 4 << 20;

// With many layers that would make tiles so small that all panels come from memory for each of them. If a tile of this
// side does not fit, all threads share one block of whole tiles instead.
inline constexpr index least_tile_with_many_layers = 192;

// They also do if a layer takes at least this many multiply-adds and there are fewer tiles than layers: of mini-batches,
// 26 layers of 100 x 3072 take 0.5 of the time on two threads, 24 of 200 x 768 0.8; 12 of 200 x 200 would take 1.2 times
// as long.
inline constexpr double work_to_hand_over = 5e6;
// They do, too, if there are so many layers that the products of all pairs are worth sharing out: 26 layers of 128 x 192 take
// 0.57 of the time on two threads, 24 of 100 x 20 0.8.
inline constexpr index many_layers = 24;

// Gram values of all layers in such a block (bytes), and samples on its side where one block covers all of them.
inline constexpr index shared_block_bytes = 384 << 20;
inline constexpr index largest_whole_tile = 528;

// If the values of all blocks take no more than this (bytes), a thread packs a layer, computes all of its tiles and frees
// its panels: 64 x 2000 x 4096 holds 0.5 GB instead of 2.4.
inline constexpr index layer_by_layer_bytes = 512 << 20;

// Products of pairs of layers over a shared block: Gram values packed at a time (bytes), after how many of them float32
// sums are carried over into float64 (all terms of a self product have one sign, so fewer than carry_interval), and tasks
// that the products are cut into, at least.
inline constexpr index pair_slab_bytes = 32 << 20;
inline constexpr index pair_carry_interval = 1024;
inline constexpr index pair_tasks = 32;

// Sums of single samples, one for each pair, that are kept for inference (bytes). Beyond that, rows of Gram matrices are
// formed once more, complete, so that a sum is used and forgotten.
inline constexpr index row_products_bytes = 128 << 20;

// Columns of the result that are finished at a time: with 2000 layers their sums stay in the cache of a core.
inline constexpr index finished_columns = 64;

// The fewest samples in a chunk whose feature sums are computed separately, and the most chunks: enough for many threads,
// and few sums to keep.
inline constexpr index least_rows_per_chunk = 128, most_row_chunks = 64;

// Partial results kept for addition in a fixed order (bytes), and the least number of them.
inline constexpr index partial_bytes = 16 << 20;
inline constexpr index least_partials = 32;

// Blocks of tiles of X'Y, at most: enough to share out, and few to add up.
inline constexpr index most_feature_blocks = 1024;

// Samples of a stream that are folded into its moments at a time. The moments in memory are read and written once per
// block: for 24 layers of 768 features that takes a sixth of the time of the products of 2048 samples, and half of that
// with twice as many.
inline constexpr index stream_block = 2 * carry_interval;

// float32 input is computed in float64 where that costs nothing (few samples), and where float32 would lose digits: when a
// squared norm is this many times the mean of the others. Gaussian samples reach about 15 with one feature, less with more;
// at 100 the unbiased estimator of float32 products is off by about 1e-6.
inline constexpr index few_samples = 64;
inline constexpr double massive_norm_ratio = 100;

// Samples are near when their squared distance is below this part of |x|^2 + |y|^2: from there on |x|^2 + |y|^2 - 2 <x, y>
// loses more than 4 bits, and they are subtracted from each other instead. The errors of many distances average out, but a
// bandwidth is a single one. Samples of many features are never so near unless they resemble each other; of four features,
// one pair in 350 is.
inline constexpr double near_distance = 1.0 / 16;

// How much of a layer that is not in memory is read at a time if there is no room for all of it (bytes).
inline constexpr index read_bytes = 16 << 20;

// The samples whose median, feature by feature, is the origin for distances: massive samples do not move it.
inline constexpr index origin_samples = 64;

// float32 input is computed in float64 when a sample occurs so often that the rounding of its distances to others does not
// average out: the part of all samples from which on that is so, and the most samples that are looked at.
inline constexpr double repeated_part = 1.0 / 16;
inline constexpr index samples_looked_at = 1024;

// Multiply-adds that pay for one more thread: starting and joining a team costs about 10 microseconds, in which a core
// does about 5e5 of them.
inline constexpr double work_per_thread = 1.5e6;

// Multiply-adds in the time in which a value is packed once more.
inline constexpr double work_to_pack = 60;

// Squared distances kept from the search for a median, so that their products are not computed again (bytes, all layers
// together), and distances that the search collects for its last step.
inline constexpr index kept_distance_bytes = 512 << 20;
inline constexpr index median_collected_bytes = 32 << 20;

}  // namespace fastcka
