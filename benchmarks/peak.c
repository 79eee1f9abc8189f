// SPDX-License-Identifier: BSD-3-Clause
// The most multiply-adds a second: independent chains in registers, which wait for nothing but one another.
// Compiled by bench_roofline.py with -DREAL=float or double and -DBYTES= the width of a vector register.
// Usage: peak THREADS; prints floating-point operations a second, a multiply-add counted as two.
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

typedef REAL vector __attribute__((vector_size(BYTES)));
enum { CHAINS = 12, STEPS = 100000, WIDTH = BYTES / sizeof(REAL) };

// The compiler must not know where the chains begin: one that begins at 2 = 2 * 0.5 + 1 stays there and would be left out.
static __attribute__((noinline)) REAL chains(REAL beginning) {
  vector x[CHAINS], a, b;
  for (int i = 0; i < WIDTH; i++) a[i] = (REAL)0.5, b[i] = (REAL)1;
  for (int c = 0; c < CHAINS; c++) x[c] = b * (beginning + (REAL)c);
  for (int step = 0; step < STEPS; step++)
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; c++) x[c] = x[c] * a + b;
  REAL sum = 0;
  for (int c = 0; c < CHAINS; c++) sum += x[c][0];
  return sum;
}

int main(int argc, char **argv) {
  const int threads = argc > 1 ? atoi(argv[1]) : 1;
  REAL sum = 0;
  double best = 0;
  // Short and many: the team is as slow as its slowest thread, and the best repeat is one in which none was held up.
  for (int repeat = 0; repeat < 100; repeat++) {
    const double start = omp_get_wtime();
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    sum += chains((REAL)repeat);
    const double rate = 2.0 * CHAINS * WIDTH * STEPS * threads / (omp_get_wtime() - start);
    if (rate > best) best = rate;
  }
  printf("%.6e\n", best);
  return sum == 0; // the chains end at 2; without a use they would be removed
}
