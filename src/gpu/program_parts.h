// Inside of the device's programs: what making one (program_build.cu), its commands
// (program_commands.cu) and running it (program.cu) share.
#ifndef GPU_PROGRAM_PARTS_H
#define GPU_PROGRAM_PARTS_H

#include "gpu/program.h"

#include "gpu/optim.h"
#include "gpu/placed.h"

enum { N_SLOTS = 2, SEEN = 2 };

struct placed_command {
    struct backend_command c;
    struct device_set *set, *source;
    buf<double> scalars;                  // of the set's norm; FINITE: slices
    buf<const struct optim_piece> pieces; // LAPROP
    buf<double> sums;
    void *to, *from;
    size_t bytes, offset; // offset: in the staging memory, in the report
};

// Memory of the host and of the device for values on their way.
struct channel {
    size_t bytes;
    char *device;
    char *host[N_SLOTS];
    struct gpu_event *taken[N_SLOTS]; // what was in it has left
};

struct backend_program {
    struct gpu gpu;
    struct placed_command *list;
    int n;
    struct backend_graph **graphs;
    int n_graphs;
    struct device_set **sets;
    int n_sets;
    buf<int64_t> state;
    buf<double> seen, rate; // rate [1]: what learning rates are multiplied by
    struct channel feed, report;
    struct gpu_capture *capture;
    struct gpu_timer *timer;
    int64_t launches;
    bool anew; // the next launch begins everything (program_seek)
};

static inline buf<const int64_t> state_of(const struct backend_program *p) {
    return buf_make((const int64_t *)p->state.at, p->state.n);
}

// What a kind of command enqueues; `place`: of the command in the list. NULL: nothing.
typedef void command_run(struct backend_program *p, struct placed_command *c, int place);
struct command_runs {
    command_run *run, *before, *after; // captured; ahead of the captured ones; behind them
};
const struct command_runs *program_runs_of(enum command_kind kind);

#endif
