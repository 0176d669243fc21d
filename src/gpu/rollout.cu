// PPO's rollout on the device: its memory, its stages, what the host sends and fetches.
#include "gpu/rollout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/placed.h"

static const size_t max_arrays = sizeof((struct device_rollout *)0)->arrays / sizeof(void *);

// ---- stages

void rollout_enqueue(struct device_rollout *r, enum rollout_stage stage, int which, struct gpu *g,
                     buf<const int64_t> state, buf<const double> norm) {
    const bool plays = stage == ROLLOUT_CHOOSE || stage == ROLLOUT_PLAY;
    if (plays && !r->opts.machines) {
        gpu_fail(g, "a rollout without machines cannot play");
        return;
    }
    switch (stage) {
    case ROLLOUT_LOOK:
        rollout_look(r, g, state);
        break;
    case ROLLOUT_CHOOSE:
        rollout_choose(r, g, state);
        break;
    case ROLLOUT_PLAY:
        rollout_play(r, g, state);
        break;
    case ROLLOUT_LOOK_LAST:
        rollout_look_at(r, g, r->a.n_steps);
        break;
    case ROLLOUT_TAKE_LAST:
        rollout_take_last(r, g);
        break;
    case ROLLOUT_LOOK_FINAL:
        rollout_look_final(r, g, which);
        break;
    case ROLLOUT_TAKE_FINAL:
        rollout_take_final(r, g, which);
        break;
    case ROLLOUT_ADVANTAGES:
        rollout_advantages(r, g);
        break;
    case ROLLOUT_DEAL:
        rollout_deal(r, g, state);
        break;
    case ROLLOUT_NOTE:
        rollout_note(r, g, state, norm);
        break;
    case N_ROLLOUT_STAGES:
        break;
    }
}

// ---- memory

// n elements of `byte` everywhere.
template <class T> static buf<T> array_new(struct device_rollout *r, int64_t n) {
    const size_t bytes = (size_t)n * sizeof(T);
    if (r->gpu.failed || (size_t)r->n_arrays == max_arrays) return buf_make((T *)0, 0);
    void *at = gpu_alloc(&r->gpu, bytes ? bytes : sizeof(T));
    if (!at) return buf_make((T *)0, 0);
    r->arrays[r->n_arrays++] = at;
    r->bytes += (int64_t)bytes;
    gpu_zero(&r->gpu, at, bytes);
    return buf_make((T *)at, n);
}

static bool get_memory(struct device_rollout *r) {
    const struct device_rollout_opts *o = &r->opts;
    const int64_t n = o->n_envs, cells = o->n_steps * n, rows = (o->stack + o->n_steps) * n;
    struct rollout_arrays *a = &r->a;
    a->n_steps = o->n_steps;
    a->n_envs = n;
    a->n_actions = o->n_actions;
    a->stack = o->stack;
    a->n_finals = o->n_finals;
    a->frames = array_new<uint32_t>(r, rows * OBS_WORDS);
    a->ages = array_new<int32_t>(r, rows);
    a->actions = array_new<int32_t>(r, cells);
    a->log_probs = array_new<real>(r, cells);
    a->values = array_new<real>(r, cells);
    a->rewards = array_new<real>(r, cells);
    a->final_values = array_new<real>(r, cells);
    a->advantages = array_new<real>(r, cells);
    a->returns = array_new<real>(r, cells);
    a->flags = array_new<uint32_t>(r, cells);
    a->distances = array_new<float>(r, cells);
    a->last_values = array_new<real>(r, n);
    a->finals = array_new<uint32_t>(r, o->n_finals * n * OBS_WORDS);
    a->finals_t = array_new<int32_t>(r, o->n_finals * n);
    a->n_cut = array_new<int32_t>(r, n);
    a->tallies = array_new<double>(r, N_ROLLOUT_TALLIES * n);
    a->episode = array_new<double>(r, 2 * n);
    if (r->gpu.failed) return false;
    // -1: no episode was cut off (the host's rollouts bring their values along).
    int32_t *none = (int32_t *)malloc((size_t)(o->n_finals * n + 1) * sizeof *none);
    if (!none) return false;
    for (int64_t i = 0; i < o->n_finals * n; i++) none[i] = -1;
    const bool fine =
        gpu_upload(&r->gpu, a->finals_t.at, none, (size_t)(o->n_finals * n) * sizeof *none) &&
        gpu_finish(&r->gpu);
    free(none);
    return fine;
}

// ---- tensors of the graphs

template <class T>
static buf<T> tensor_at(struct device_rollout *r, const struct backend_graph *graph,
                        const struct tensor *t, int64_t n) {
    void *at = placed_address(graph, t);
    if (!at || placed_bytes(t) != (size_t)n * sizeof(T))
        gpu_fail(&r->gpu, "%s: no place on the device for %lld elements", t->name, (long long)n);
    return buf_make((T *)at, at ? n : 0);
}

template <class T> static buf<T> part_of(const buf<double> report, size_t offset, int64_t n) {
    return buf_make((T *)((char *)report.at + offset), n);
}

static void find_report(struct device_rollout *r) {
    const struct device_rollout_opts *o = &r->opts;
    typedef struct device_rollout_report report;
    const size_t bytes = device_rollout_report_bytes(o->n_envs, GB_OBS_BYTES);
    const buf<double> all =
        tensor_at<double>(r, o->learn, o->report, (int64_t)(bytes / sizeof(double)));
    if (!all.at) return;
    struct rollout_graphs *g = &r->g;
    static_assert(offsetof(report, n_steps) ==
                      offsetof(report, terms) + (2 * PPO_N_TERMS + 1) * sizeof(double),
                  "the optimiser's numbers follow each other");
    g->sums = part_of<double>(all, offsetof(report, sums), N_ROLLOUT_QUANTITIES);
    g->squares = part_of<double>(all, offsetof(report, squares), N_ROLLOUT_QUANTITIES);
    g->tallies = part_of<double>(all, offsetof(report, tallies), N_ROLLOUT_TALLIES);
    g->counts = part_of<double>(all, offsetof(report, counts), N_ROLLOUT_COUNTS + o->n_actions);
    g->learned = part_of<double>(all, offsetof(report, terms), 2 * PPO_N_TERMS + 2);
    g->distances = part_of<float>(all, sizeof(report), o->n_envs);
    g->frame = part_of<uint32_t>(all, bytes - GB_OBS_BYTES, OBS_WORDS);
}

static bool find_tensors(struct device_rollout *r) {
    const struct device_rollout_opts *o = &r->opts;
    struct rollout_graphs *g = &r->g;
    const int64_t stacked = (int64_t)o->stack * OBS_WORDS;
    g->act_stacks = tensor_at<uint32_t>(r, o->act, o->act_stacks, o->n_envs * stacked);
    g->logits = tensor_at<const real>(r, o->act, o->act_logits, o->n_envs * o->n_actions);
    g->values = tensor_at<const real>(r, o->act, o->act_values, o->n_envs);
    g->samples = tensor_at<const int32_t>(r, o->learn, o->samples, o->batch);
    g->stacks = tensor_at<uint32_t>(r, o->learn, o->stacks, o->batch * stacked);
    g->actions = tensor_at<int32_t>(r, o->learn, o->actions, o->batch);
    g->old_log_probs = tensor_at<real>(r, o->learn, o->old_log_probs, o->batch);
    g->advantages = tensor_at<real>(r, o->learn, o->advantages, o->batch);
    g->returns = tensor_at<real>(r, o->learn, o->returns, o->batch);
    g->old_values = tensor_at<real>(r, o->learn, o->old_values, o->batch);
    g->terms = tensor_at<const real>(r, o->learn, o->terms, PPO_N_TERMS);
    find_report(r);
    return !r->gpu.failed;
}

// ---- the table

static void rollout_free(struct device_rollout *r) {
    if (!r) return;
    if (r->gpu.device) gpu_finish(&r->gpu);
    for (int i = 0; i < r->n_arrays; i++) gpu_free(r->gpu.device, r->arrays[i]);
    gpu_close(r->gpu.device);
    free(r);
}

static struct device_rollout *rollout_new(const struct device_rollout_opts *o, char *message,
                                          size_t size) {
    struct device_rollout *r = (struct device_rollout *)calloc(1, sizeof *r);
    snprintf(message, size, "out of memory");
    if (!r) return 0;
    r->opts = *o;
    r->gpu.device = gpu_open(message, size);
    if (r->gpu.device && o->machines && o->machines->n != o->n_envs)
        gpu_fail(&r->gpu, "%d machines for %lld environments", o->machines->n,
                 (long long)o->n_envs);
    if (r->gpu.device && !r->gpu.failed && get_memory(r) && find_tensors(r)) return r;
    if (r->gpu.failed) snprintf(message, size, "%s", r->gpu.message);
    rollout_free(r);
    return 0;
}

// Bytes of the host as the device has them: ages, and ends as flags.
static bool send_small(struct device_rollout *r, const struct device_rollout_rows *rows) {
    const int64_t cells = r->a.flags.n, n_ages = r->a.ages.n;
    uint32_t *flags = (uint32_t *)malloc((size_t)cells * sizeof *flags);
    int32_t *ages = (int32_t *)malloc((size_t)n_ages * sizeof *ages);
    if (!flags || !ages) gpu_fail(&r->gpu, "out of memory");
    for (int64_t c = 0; flags && c < cells; c++)
        flags[c] = (rows->dones[c] ? FLAG_TERMINATED : 0) | (rows->truncs[c] ? FLAG_TRUNCATED : 0);
    for (int64_t c = 0; ages && c < n_ages; c++) ages[c] = rows->ages[c];
    const bool fine = !r->gpu.failed &&
                      gpu_upload(&r->gpu, r->a.flags.at, flags, (size_t)cells * sizeof *flags) &&
                      gpu_upload(&r->gpu, r->a.ages.at, ages, (size_t)n_ages * sizeof *ages) &&
                      gpu_finish(&r->gpu);
    free(flags);
    free(ages);
    return fine;
}

static bool rollout_put(struct device_rollout *r, const struct device_rollout_rows *rows) {
    const struct rollout_arrays *a = &r->a;
    const size_t cells = (size_t)a->flags.n * sizeof(real);
    const struct {
        void *to;
        const void *from;
        size_t bytes;
    } list[] = {{a->frames.at, rows->frames, (size_t)a->frames.n * sizeof(uint32_t)},
                {a->actions.at, rows->actions, cells},
                {a->log_probs.at, rows->log_probs, cells},
                {a->values.at, rows->values, cells},
                {a->rewards.at, rows->rewards, cells},
                {a->final_values.at, rows->final_values, cells},
                {a->distances.at, rows->distances, cells}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (!gpu_upload(&r->gpu, list[i].to, list[i].from, list[i].bytes)) return false;
    return send_small(r, rows);
}

// The rows between two rollouts, in both directions.
static bool rollout_store(struct device_rollout *r, const struct device_rollout_memory *from) {
    const struct rollout_arrays *a = &r->a;
    const size_t n = (size_t)a->n_envs, k = (size_t)a->stack * n, at = (size_t)a->n_steps * n;
    int32_t *ages = (int32_t *)malloc(k * sizeof *ages);
    if (!ages) gpu_fail(&r->gpu, "out of memory");
    for (size_t i = 0; ages && i < k; i++) ages[i] = from->ages[i];
    const bool fine =
        !r->gpu.failed &&
        gpu_upload(&r->gpu, a->frames.at + at * OBS_WORDS, from->frames, k * GB_OBS_BYTES) &&
        gpu_upload(&r->gpu, a->ages.at + at, ages, k * sizeof *ages) &&
        gpu_upload(&r->gpu, a->episode.at, from->returns, n * sizeof(double)) &&
        gpu_upload(&r->gpu, a->episode.at + n, from->length, n * sizeof(double)) &&
        gpu_finish(&r->gpu);
    free(ages);
    return fine;
}

static bool rollout_fetch(struct device_rollout *r, const struct device_rollout_memory *to) {
    const struct rollout_arrays *a = &r->a;
    const size_t n = (size_t)a->n_envs, k = (size_t)a->stack * n, at = (size_t)a->n_steps * n;
    int32_t *ages = (int32_t *)malloc(k * sizeof *ages);
    if (!ages) gpu_fail(&r->gpu, "out of memory");
    const bool fine =
        !r->gpu.failed &&
        gpu_download(&r->gpu, to->frames, a->frames.at + at * OBS_WORDS, k * GB_OBS_BYTES) &&
        gpu_download(&r->gpu, ages, a->ages.at + at, k * sizeof *ages) &&
        gpu_download(&r->gpu, to->returns, a->episode.at, n * sizeof(double)) &&
        gpu_download(&r->gpu, to->length, a->episode.at + n, n * sizeof(double));
    for (size_t i = 0; fine && i < k; i++) to->ages[i] = (uint8_t)ages[i];
    free(ages);
    return fine;
}

static int64_t rollout_bytes(const struct device_rollout *r) { return r->bytes; }
static const char *rollout_message(const struct device_rollout *r) { return r->gpu.message; }

const struct device_rollouts *gpu_rollouts(void) {
    static const struct device_rollouts table = {
        DEVICE_ROLLOUT_VERSION, rollout_new,   rollout_free,  rollout_put,
        rollout_store,          rollout_fetch, rollout_bytes, rollout_message};
    return &table;
}
