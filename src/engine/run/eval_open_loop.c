// Evaluation open loop: windows of recorded rows through the display graph.
#include "engine/run/eval_open_loop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "emu/gb_obs.h"
#include "engine/algo/dreamer_v3/noise.h"
#include "engine/algo/dreamer_v3/wm_graph.h"

struct recording {
    uint8_t *frames;  // [capacity][ENV_OBS_BYTES]
    uint8_t *actions; // [capacity] that led to the frame; of row 0: none
    int n, capacity;
};

struct eval_open_loop {
    struct eval_onlooker onlooker;
    uint64_t seed;
    int n_actions;
    int64_t n_episodes;
    struct recording *recordings;              // [n_episodes], freed when the episode is measured
    struct eval_horizon (*sums)[EVAL_HORIZON]; // [n_episodes], sums of the pictures' means
    struct graph *graph;
    struct wm_view view;
    struct executor *executor;
};

// ---- recording

static void take_frame(void *ctx, int64_t episode, int step, int action, const uint8_t *obs) {
    struct eval_open_loop *o = ctx;
    struct recording *r = &o->recordings[episode];
    CHECK(step == r->n, "frame %d of episode %lld comes as number %d", step, (long long)episode,
          r->n);
    if (r->n == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 128;
        r->frames = mem_resize(r->frames, (size_t)r->capacity * ENV_OBS_BYTES);
        r->actions = mem_resize(r->actions, (size_t)r->capacity);
    }
    memcpy(r->frames + (size_t)r->n * ENV_OBS_BYTES, obs, ENV_OBS_BYTES);
    r->actions[r->n++] = action < 0 ? 0 : (uint8_t)action;
}

// ---- measuring

// Rows behind the episode's end repeat its last one; nobody looks at what comes of them.
static void fill_inputs(struct eval_open_loop *o, const struct recording *r, int first) {
    const struct wm_inputs *in = &o->view.in;
    real *actions = in->prev_actions->data, *is_first = in->is_first->data;
    memset(actions, 0, (size_t)in->prev_actions->n_elements * sizeof *actions);
    for (int t = 0; t < WM_ROLLOUT; t++) {
        int row = first + t < r->n ? first + t : r->n - 1;
        memcpy((uint8_t *)in->packed->data + (size_t)t * ENV_OBS_BYTES,
               r->frames + (size_t)row * ENV_OBS_BYTES, ENV_OBS_BYTES);
        actions[t * o->n_actions + r->actions[row]] = 1;
        is_first[t] = t == 0;
    }
}

// Network pixels -0.5 .. 0.5 as the shades they are shown as.
static double shade_of(real x) {
    double shade = ((double)x + 0.5) * 3;
    return shade < 0 ? 0 : shade > 3 ? 3 : shade;
}

static void add_picture(struct eval_horizon *h, const real *dream, const uint8_t *truth,
                        const uint8_t *held) {
    double square = 0, sum = 0, copy_square = 0, copy_sum = 0;
    int wrong = 0, copy_wrong = 0;
    for (int i = 0; i < WM_PIXELS; i++) {
        int x = i % WM_WIDTH, y = i / WM_WIDTH, shade = gb_obs_pixel(truth, x, y);
        const double dreamt = shade_of(dream[i]);
        double d = dreamt - shade, c = gb_obs_pixel(held, x, y) - shade;
        square += d * d, sum += fabs(d);
        copy_square += c * c, copy_sum += fabs(c);
        wrong += (int)(dreamt + 0.5) != shade, copy_wrong += c != 0;
    }
    h->n++;
    h->mse += square / WM_PIXELS, h->shades += sum / WM_PIXELS;
    h->copy_mse += copy_square / WM_PIXELS, h->copy_shades += copy_sum / WM_PIXELS;
    h->wrong += (double)wrong / WM_PIXELS, h->copy_wrong += (double)copy_wrong / WM_PIXELS;
}

static void measure_window(struct eval_open_loop *o, int64_t episode, int first) {
    const struct recording *r = &o->recordings[episode];
    int64_t moment = (int64_t)eval_moment(episode, first);
    fill_inputs(o, r, first);
    noise_fill(NULL, o->view.in.u, o->seed, RNG_ROLLOUT_POSTERIOR, moment);
    noise_fill(NULL, o->view.in.u_prior, o->seed, RNG_ROLLOUT_PRIOR, moment);
    executor_run(o->executor);
    const real *imagined = o->view.imagined->data;
    const uint8_t *held = r->frames + (size_t)(first + EVAL_CONTEXT - 1) * ENV_OBS_BYTES;
    for (int k = 0; k < EVAL_HORIZON && first + EVAL_CONTEXT + k < r->n; k++)
        add_picture(&o->sums[episode][k], imagined + (size_t)k * WM_PIXELS,
                    r->frames + (size_t)(first + EVAL_CONTEXT + k) * ENV_OBS_BYTES, held);
}

static void end_episode(void *ctx, int64_t episode) {
    struct eval_open_loop *o = ctx;
    struct recording *r = &o->recordings[episode];
    for (int first = 0; first + EVAL_CONTEXT < r->n; first += EVAL_HORIZON)
        measure_window(o, episode, first);
    free(r->frames);
    free(r->actions);
    *r = (struct recording){0};
}

void eval_open_loop_result(const struct eval_open_loop *o, struct eval_horizon out[EVAL_HORIZON]) {
    memset(out, 0, EVAL_HORIZON * sizeof *out);
    for (int k = 0; k < EVAL_HORIZON; k++) {
        struct eval_horizon *h = &out[k];
        for (int64_t i = 0; i < o->n_episodes; i++) {
            const struct eval_horizon *s = &o->sums[i][k];
            h->n += s->n;
            h->mse += s->mse, h->copy_mse += s->copy_mse;
            h->shades += s->shades, h->copy_shades += s->copy_shades;
            h->wrong += s->wrong, h->copy_wrong += s->copy_wrong;
        }
        double n = (double)h->n;
        h->mse /= n, h->copy_mse /= n;
        h->shades /= n, h->copy_shades /= n;
        h->wrong /= n, h->copy_wrong /= n;
    }
}

// ---- making and freeing

struct eval_open_loop *eval_open_loop_new(struct saved_agent *a, uint64_t seed, int64_t n_episodes,
                                          struct pool *pool) {
    struct eval_open_loop *o = mem_alloc(sizeof *o);
    o->onlooker = (struct eval_onlooker){take_frame, end_episode, o};
    o->seed = seed;
    o->n_actions = a->n_actions;
    o->n_episodes = n_episodes;
    o->recordings = mem_alloc((size_t)n_episodes * sizeof *o->recordings);
    o->sums = mem_alloc((size_t)n_episodes * sizeof *o->sums);
    o->graph = graph_new();
    struct wm_net net = wm_net_make(o->graph, &a->sets[DREAMER_WORLD], &a->world);
    o->view = wm_view_build(&net, WM_ROLLOUT, WM_CONTEXT);
    graph_plan(o->graph);
    o->executor = executor_new(o->graph, pool);
    return o;
}

const struct eval_onlooker *eval_open_loop_onlooker(struct eval_open_loop *o) {
    return &o->onlooker;
}

void eval_open_loop_free(struct eval_open_loop *o) {
    if (!o) return;
    for (int64_t i = 0; i < o->n_episodes; i++) {
        free(o->recordings[i].frames);
        free(o->recordings[i].actions);
    }
    free(o->recordings);
    free(o->sums);
    executor_free(o->executor);
    graph_free(o->graph);
    free(o);
}
