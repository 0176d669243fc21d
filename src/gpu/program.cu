// Programs: lists of commands that run without the host, captured once and replayed.
#include "gpu/program_parts.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/noise.h"
#include "gpu/watch.h"

double gpu_program_ms(struct backend_program *p) { return gpu_timer_ms(&p->gpu, p->timer); }

const char *gpu_program_message(const struct backend_program *p) { return p->gpu.message; }

// ---- between host and device

static bool store_set(struct backend_program *p, struct device_set *s) {
    struct gpu *g = &p->gpu;
    if (!sets_writes(g, s) || !gpu_upload(g, s->weights, s->params->weights, s->bytes))
        return false;
    if (s->moment1 && (!gpu_upload(g, s->moment1, s->params->moment1, s->bytes) ||
                       !gpu_upload(g, s->moment2, s->params->moment2, s->bytes)))
        return false;
    s->resident = true;
    return sets_has_written(g, s);
}

bool gpu_program_store(struct backend_program *p, int64_t step) {
    struct gpu *g = &p->gpu;
    const int64_t state[STATE_SIZE] = {step, 0};
    const double seen[SEEN] = {0, 0};
    if (!gpu_upload(g, p->state.at, state, sizeof state) ||
        !gpu_upload(g, p->seen.at, seen, sizeof seen))
        return false;
    for (int i = 0; i < p->n_sets; i++)
        if (!store_set(p, p->sets[i])) return false;
    for (int i = 0; i < p->n_graphs; i++)
        for (int k = 0; k < p->graphs[i]->n_inputs; k++) {
            const struct mirror *m = &p->graphs[i]->inputs[k];
            if (!gpu_upload(g, m->device, m->host, m->bytes)) return false;
        }
    return gpu_finish(g);
}

static bool fetch_set(struct backend_program *p, const struct device_set *s) {
    const struct params *h = s->params;
    const struct {
        real *host, *device;
    } buffers[] = {{h->weights, s->weights},
                   {h->grads, s->grads},
                   {h->moment1, s->moment1},
                   {h->moment2, s->moment2}};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (buffers[i].host && buffers[i].device &&
            !gpu_download(&p->gpu, buffers[i].host, buffers[i].device, s->bytes))
            return false;
    return true;
}

bool gpu_program_fetch(struct backend_program *p) {
    for (int i = 0; i < p->n_sets; i++)
        if (!fetch_set(p, p->sets[i])) return false;
    for (int i = 0; i < p->n_graphs; i++)
        for (int k = 0; k < p->graphs[i]->n_inputs; k++) {
            const struct mirror *m = &p->graphs[i]->inputs[k];
            if (!gpu_download(&p->gpu, (void *)m->host, m->device, m->bytes)) return false;
        }
    return gpu_finish(&p->gpu);
}

// ---- running

// The fed tensors leave in one transfer, while the host goes on with the other slot.
static bool send_feed(struct backend_program *p) {
    struct channel *c = &p->feed;
    const int slot = (int)(p->launches % N_SLOTS);
    if (!c->bytes) return true;
    if (!gpu_event_finish(&p->gpu, c->taken[slot])) return false;
    for (int i = 0; i < p->n; i++)
        if (p->list[i].c.kind == COMMAND_FEED)
            memcpy(c->host[slot] + p->list[i].offset, p->list[i].c.to->data, p->list[i].bytes);
    return gpu_upload(&p->gpu, c->device, c->host[slot], c->bytes) &&
           gpu_record(&p->gpu, c->taken[slot]);
}

static bool enqueue_all(struct backend_program *p) {
    for (int i = 0; i < p->n && !p->gpu.failed; i++) {
        command_run *run = program_runs_of(p->list[i].c.kind)->run;
        if (!run) continue;
        gpu_watch_command(&p->gpu, i);
        run(p, &p->list[i], i);
    }
    return !p->gpu.failed;
}

static bool enqueue_around(struct backend_program *p, bool after) {
    for (int i = 0; i < p->n && !p->gpu.failed; i++) {
        const struct command_runs *runs = program_runs_of(p->list[i].c.kind);
        command_run *run = after ? runs->after : runs->before;
        if (run) run(p, &p->list[i], i);
    }
    return !p->gpu.failed;
}

// Whoever looks for a fault may have everything enqueued anew each time.
static bool wants_graph(void) {
    const char *said = getenv("WORKBENCH_CUDA_GRAPH");
    return !said || strcmp(said, "0") != 0;
}

// The first launch is not captured: libraries set themselves up in it.
static bool capture(struct backend_program *p) {
    if (!gpu_capture_begin(&p->gpu)) return false;
    enqueue_all(p);
    p->capture = gpu_capture_end(&p->gpu);
    return p->capture && !p->gpu.failed;
}

bool gpu_program_launch(struct backend_program *p) {
    struct gpu *g = &p->gpu;
    if (g->failed || !send_feed(p)) return false;
    for (int i = 0; i < p->n_sets; i++)
        if (!sets_writes(g, p->sets[i])) return false;
    const bool watched = g->watch != 0;
    if (!enqueue_around(p, false)) return false;
    if (p->launches > 0 && !p->capture && !watched && wants_graph() && !capture(p)) return false;
    if (!gpu_timer_mark(g, p->timer, 0) ||
        !(p->capture && !watched ? gpu_replay(g, p->capture) : enqueue_all(p)) ||
        !gpu_timer_mark(g, p->timer, 1) || !enqueue_around(p, true))
        return false;
    p->anew = false;
    for (int i = 0; i < p->n_sets; i++)
        if (!sets_has_written(g, p->sets[i])) return false;
    p->launches++;
    return true;
}

bool gpu_program_seek(struct backend_program *p, int64_t step, bool anew) {
    p->anew = anew;
    program_seek(&p->gpu, p->state, step);
    return !p->gpu.failed;
}

int64_t gpu_program_graph_nodes(const struct backend_program *p) {
    return gpu_capture_nodes(p->capture);
}

// What nobody replays has not run.
static bool count_items(struct backend_program *p) {
    if (!gpu_capture_begin(&p->gpu)) return false;
    enqueue_all(p);
    struct gpu_capture *c = gpu_capture_end(&p->gpu);
    gpu_capture_free(c);
    return c && !p->gpu.failed;
}

bool gpu_program_items(struct backend_program *p, int passes, backend_item_fn *each, void *ctx) {
    struct gpu *g = &p->gpu;
    struct gpu_watch w = {};
    g->watch = &w;
    bool fine = passes ? gpu_program_launch(p) : count_items(p);
    for (int i = 0; i < passes && fine; i++)
        fine = gpu_watch_begin(g) && gpu_program_launch(p) && gpu_watch_end(g);
    g->watch = 0;
    for (int i = 0; i < w.n && fine; i++) {
        const struct backend_item item = gpu_watch_item(&w, i);
        each(ctx, &item);
    }
    gpu_watch_free(&w);
    return fine;
}

bool gpu_program_scale_rates(struct backend_program *p, double factor) {
    optim_set(&p->gpu, p->rate, factor);
    return !p->gpu.failed;
}

static bool gather_report(struct backend_program *p) {
    struct gpu *g = &p->gpu;
    char *to = p->report.device;
    if (!gpu_copy(g, to, p->state.at, STATE_SIZE * sizeof(int64_t)) ||
        !gpu_copy(g, to + STATE_SIZE * sizeof(int64_t), p->seen.at, SEEN * sizeof(double)))
        return false;
    for (int i = 0; i < p->n; i++) {
        const struct placed_command *c = &p->list[i];
        if (c->c.kind == COMMAND_NORM &&
            !gpu_copy(g, to + c->offset, c->scalars.at + OPTIM_NORM, sizeof(double)))
            return false;
        if (c->c.kind == COMMAND_REPORT && !gpu_copy(g, to + c->offset, c->from, c->bytes))
            return false;
    }
    return true;
}

bool gpu_program_read(struct backend_program *p, struct backend_progress *out) {
    const char *at = p->report.host[0];
    int64_t state[STATE_SIZE];
    double seen[SEEN];
    if (!gather_report(p) ||
        !gpu_download_later(&p->gpu, p->report.host[0], p->report.device, p->report.bytes) ||
        !gpu_finish(&p->gpu))
        return false;
    memcpy(state, at, sizeof state);
    memcpy(seen, at + sizeof state, sizeof seen);
    for (int i = 0; i < p->n; i++) {
        const struct placed_command *c = &p->list[i];
        if (c->c.kind == COMMAND_NORM && c->c.norm)
            memcpy(c->c.norm, at + c->offset, sizeof *c->c.norm);
        if (c->c.kind == COMMAND_REPORT) memcpy(c->c.from->data, at + c->offset, c->bytes);
    }
    out->step = state[STATE_STEP];
    out->failed = (int)state[STATE_FAILED] - 1;
    out->value = seen[0];
    out->norm = seen[1];
    return true;
}

// ---- weights from set to set

bool gpu_program_copy_weights(const struct params *to, const struct params *from) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct gpu copier; // opened once and kept
    struct device_set *source = sets_find(from), *target = sets_find(to);
    if (!source || !target || !source->resident) return false;
    pthread_mutex_lock(&lock);
    if (!copier.device) copier.device = gpu_open(copier.message, sizeof copier.message);
    struct gpu *g = &copier;
    const bool fine = g->device && sets_reads(g, source) && sets_writes(g, target) &&
                      gpu_copy(g, target->weights, source->weights, source->bytes) &&
                      sets_has_read(g, source) && sets_has_written(g, target);
    pthread_mutex_unlock(&lock);
    if (fine) target->resident = true;
    return fine;
}
