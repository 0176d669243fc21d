// What this machine can do: multiply-adds per second in registers, bytes per second from memory.
//
// Short loops of the kernel table in use, on all threads of a pool; the best of a few runs of some
// milliseconds, so that a busy moment does not count. The figures are what bench train --profile
// and doctor compare with.
#ifndef RUN_PEAK_H
#define RUN_PEAK_H

struct pool;
double peak_fma_gflops(struct pool *pool);    // float32, multiply and add counted as two
double peak_memory_gbytes(struct pool *pool); // GB/s read from arrays larger than every cache

#endif
