// What this machine can do: multiply-adds per second in registers, bytes per second from memory.
//
// Short loops of the kernel table in use, on all threads of a pool. Multiply-adds: the sum of each
// thread's best window of a third of a millisecond, so that other load on the machine, which takes
// longer slices, does not lower it; where load leaves no window whole, it can still be too low, and
// a caller who sees a higher rate measures again and keeps the larger one. Memory: the best of a
// few runs, other load shows. About 25 ms each. The figures are what page 5, bench train --profile
// and doctor compare with.
#ifndef RUN_PEAK_H
#define RUN_PEAK_H

struct pool;
double peak_fma_gflops(struct pool *pool); // float32, multiply and add counted as two
// `peak`, or what is larger of up to three new measurements where `rate` exceeds it.
double peak_fma_at_least(struct pool *pool, double peak, double rate);
double peak_memory_gbytes(struct pool *pool); // GB/s read from arrays larger than every cache

#endif
