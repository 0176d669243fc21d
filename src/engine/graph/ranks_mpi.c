// Ranks over Open MPI, opened at run time: neither its headers nor its library are needed to build.
//
// Open MPI's handles are the addresses of objects that its library exports (mpi.h of 1.7 to 5.x:
// MPI_COMM_WORLD is &ompi_mpi_comm_world, and so on), so dlsym finds them. MPICH's are numbers of
// another kind; its library is not taken.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/graph/ranks.h"

enum {
    MPI_FINE = 0,
    SERIALIZED = 2,  // MPI_THREAD_SERIALIZED: any thread, one at a time
    PIECE = 1 << 26, // numbers of one message: MPI counts in int
    MOST_BYTES = 1 << 30
};

struct mpi {
    struct ranks ranks;
    void *library;
    void *world, *number, *byte, *add; // MPI_COMM_WORLD, MPI_FLOAT or MPI_DOUBLE, MPI_BYTE, MPI_SUM
    int (*init)(int *argc, char ***argv, int wanted, int *given);
    int (*finalize)(void);
    int (*comm_rank)(void *comm, int *rank);
    int (*comm_size)(void *comm, int *size);
    int (*reduce)(const void *from, void *to, int n, void *type, void *op, int root, void *comm);
    int (*broadcast)(void *at, int n, void *type, int root, void *comm);
    int (*all_gather)(const void *from, int n_from, void *type_from, void *to, int n_to,
                      void *type_to, void *comm);
    real *room; // [PIECE at most] of a sum
};

static void must(int code, const char *what) {
    CHECK(code == MPI_FINE, "%s failed with code %d", what, code);
}

// To rank 0 and from there to all: whatever the order of the sum, everybody has the same bits.
static void mpi_sum(struct ranks *r, real *x, int64_t n) {
    struct mpi *m = r->ctx;
    for (int64_t at = 0; at < n; at += PIECE) {
        const int piece = (int)(n - at < PIECE ? n - at : PIECE);
        if (!m->room) m->room = mem_alloc((size_t)(n < PIECE ? n : PIECE) * sizeof *m->room);
        must(m->reduce(x + at, m->room, piece, m->number, m->add, 0, m->world), "MPI_Reduce");
        if (r->rank == 0) memcpy(x + at, m->room, (size_t)piece * sizeof *x);
        must(m->broadcast(x + at, piece, m->number, 0, m->world), "MPI_Bcast");
    }
    free(m->room);
    m->room = NULL;
}

static void mpi_gather(struct ranks *r, const void *mine, void *all, int64_t bytes) {
    struct mpi *m = r->ctx;
    const int n = (int)bytes;
    CHECK(bytes <= MOST_BYTES, "%lld bytes are too many to gather", (long long)bytes);
    must(m->all_gather(mine, n, m->byte, all, n, m->byte, m->world), "MPI_Allgather");
}

static void mpi_close(struct ranks *r) {
    struct mpi *m = r->ctx;
    must(m->finalize(), "MPI_Finalize");
    free(m); // the library stays: its threads may still be there
}

static bool find(struct mpi *m, char *why, size_t size) {
    const struct {
        const char *name;
        void *to;
    } list[] = {{"ompi_mpi_comm_world", &m->world},
                {sizeof(real) == sizeof(float) ? "ompi_mpi_float" : "ompi_mpi_double", &m->number},
                {"ompi_mpi_byte", &m->byte},
                {"ompi_mpi_op_sum", &m->add},
                {"MPI_Init_thread", &m->init},
                {"MPI_Finalize", &m->finalize},
                {"MPI_Comm_rank", &m->comm_rank},
                {"MPI_Comm_size", &m->comm_size},
                {"MPI_Reduce", &m->reduce},
                {"MPI_Bcast", &m->broadcast},
                {"MPI_Allgather", &m->all_gather}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        void *symbol = dlsym(m->library, list[i].name);
        if (!symbol) {
            snprintf(why, size, "libmpi.so.40 has no %s: it is not Open MPI's", list[i].name);
            return false;
        }
        memcpy(list[i].to, &symbol, sizeof symbol);
    }
    return true;
}

static bool was_started_as_a_rank(void) {
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") || getenv("PMI_RANK");
}

int ranks_started(void) {
    // Of Open MPI's mpirun, of srun, of MPICH's mpirun and the like.
    static const char *const counts[] = {"OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS",
                                         "PMI_SIZE"};
    const char *n = NULL;
    for (size_t i = 0; i < sizeof counts / sizeof *counts && !n; i++) n = getenv(counts[i]);
    return n && atoi(n) > 1 ? atoi(n) : 1;
}

static bool join(struct mpi *m, char *why, size_t size) {
    int given;
    must(m->init(NULL, NULL, SERIALIZED, &given), "MPI_Init_thread");
    must(m->comm_rank(m->world, &m->ranks.rank), "MPI_Comm_rank");
    must(m->comm_size(m->world, &m->ranks.n), "MPI_Comm_size");
    if (given >= SERIALIZED && m->ranks.n >= ranks_started()) return true;
    if (given < SERIALIZED)
        snprintf(why, size, "this Open MPI takes calls of one thread only");
    else
        snprintf(
            why, size,
            "%d processes were started, but Open MPI sees one: start them with its own mpirun, "
            "or under Slurm with srun --mpi=pmix",
            ranks_started());
    m->finalize();
    return false;
}

struct ranks *ranks_open_mpi(char *why, size_t size) {
    if (!was_started_as_a_rank()) {
        snprintf(why, size, "several ranks are started with mpirun -n N workbench ...");
        return NULL;
    }
    struct mpi *m = mem_alloc(sizeof *m);
    // Its plugins look for its symbols among everybody's.
    m->library = dlopen("libmpi.so.40", RTLD_NOW | RTLD_GLOBAL);
    if (!m->library) {
        snprintf(why, size, "no Open MPI here (%s); apt-get install openmpi-bin", dlerror());
    } else if (find(m, why, size)) {
        m->ranks =
            (struct ranks){.sum = mpi_sum, .gather = mpi_gather, .close = mpi_close, .ctx = m};
        if (join(m, why, size)) return &m->ranks;
    }
    free(m);
    return NULL;
}
