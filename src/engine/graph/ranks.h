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
// thread at a time. A transport that fails ends the process: the others would wait for ever.
#ifndef GRAPH_RANKS_H
#define GRAPH_RANKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/real.h"

struct ranks {
    int rank, n;
    int local, n_local; // the same among the ranks of this machine
    // Every element becomes the sum over the ranks; the same bits on all.
    void (*sum)(struct ranks *r, real *x, int64_t n);
    // all [ranks][bytes]: rank after rank.
    void (*gather)(struct ranks *r, const void *mine, void *all, int64_t bytes);
    void (*close)(struct ranks *r);
    void *ctx;  // the transport's
    void *room; // ranks_gathered's
    int64_t room_bytes;
    struct ranks_watch *watch; // ranks_watch's; NULL: none
    // ranks_join_device's: the same ranks on their devices; NULL: on CPUs.
    const struct backend *backend;
    struct backend_ranks *device;
};
static inline int ranks_n(const struct ranks *r) { return r ? r->n : 1; }
static inline int ranks_rank(const struct ranks *r) { return r ? r->rank : 0; }

struct rank_share {
    int first, n;
};
// This rank's part of a batch; the number of ranks divides it (the caller has checked).
struct rank_share ranks_share(const struct ranks *r, int batch);

void ranks_mean(struct ranks *r, real *x, int64_t n);
// All ranks' bytes, so many of each, in memory of `r` that the next call overwrites; r is not NULL.
void *ranks_gathered(struct ranks *r, const void *mine, int64_t bytes);
void ranks_close(struct ranks *r); // all of them; NULL is fine

// Fills in r->local and r->n_local, and watches the other ranks' processes of this machine from a
// thread of its own: when one of them is gone, one line says which, and this process ends with exit
// code 1, whatever it waits for. Until ranks_close. Where the kernel has no pidfd_open (before 5.3)
// nobody is watched. What dies on other machines is the launcher's to notice.
void ranks_watch(struct ranks *r);

// Programs of `b` (program.h) run on all ranks' devices from now on, until ranks_close. All come;
// b NULL: this rank has no device. True on all, with b NULL on all or all joined; else false on
// all, and why.
struct backend;
bool ranks_join_device(struct ranks *r, const struct backend *b, char *why, size_t size);

// Open MPI, opened at run time (libmpi.so.40). NULL: not there, or the processes were not started
// by mpirun (or Slurm's srun --mpi=pmix); why says which. Calls MPI_Init_thread: other threads may
// make the later calls, one at a time; this one must close.
struct ranks *ranks_open_mpi(char *why, size_t size);
// Processes that a launcher started together with this one, by its environment; 1: alone.
int ranks_started(void);

#endif
