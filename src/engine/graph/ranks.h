// Ranks: processes that train one model together, each on its share of the batch.
//
//     struct ranks *r = ranks_open_mpi(why, sizeof why);  // under mpirun; NULL: why says why not
//     struct rank_share s = ranks_share(r, batch);        // sequences [s.first, s.first + s.n)
//     ranks_mean(r, params->grads, params->n_flat);       // all ranks come, all get the same bits
//     ranks_close(r);
//
// Every rank holds all weights and makes the same steps: gradients are means over a share, so their
// mean over the ranks is that of the whole batch; random numbers are those of the whole batch's
// rows; quantiles look at all ranks' numbers (executor_set_ranks). A number that is not finite on
// one rank is so on all of them after the mean: nobody goes on alone.
//
// NULL stands for one rank alone everywhere. All ranks make the same calls in the same order, one
// thread each. A transport that fails ends the process: the others would wait for ever.
#ifndef GRAPH_RANKS_H
#define GRAPH_RANKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/real.h"

struct ranks {
    int rank, n;
    // Every element becomes the sum over the ranks; the same bits on all.
    void (*sum)(struct ranks *r, real *x, int64_t n);
    // all [ranks][n]: rank after rank.
    void (*gather)(struct ranks *r, const real *mine, real *all, int64_t n);
    void (*close)(struct ranks *r);
    void *ctx;  // the transport's
    real *room; // ranks_gathered's
    int64_t room_size;
};

struct rank_share {
    int first, n;
};
// This rank's part of a batch; the number of ranks divides it (the caller has checked).
struct rank_share ranks_share(const struct ranks *r, int batch);

void ranks_mean(struct ranks *r, real *x, int64_t n);
// All ranks' numbers, n of each, in memory of `r` that the next call overwrites; r is not NULL.
real *ranks_gathered(struct ranks *r, const real *mine, int64_t n);
void ranks_close(struct ranks *r); // NULL is fine

// Open MPI, opened at run time (libmpi.so.40). NULL: not there, or the processes were not started
// by mpirun (or Slurm's PMI); why says which. Calls MPI_Init.
struct ranks *ranks_open_mpi(char *why, size_t size);

#endif
