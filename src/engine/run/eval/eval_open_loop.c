// Evaluation open loop: windows of recorded rows through the display graph.
#include "engine/run/eval/eval_open_loop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmath.h"
#include "base/mem.h"
#include "emu/gb_obs.h"
#include "engine/algo/dreamer_v3/noise.h"
#include "engine/algo/dreamer_v3/wm_graph.h"

struct recording {
    uint8_t *rows;  // [capacity][obs_bytes]
    float *actions; // [capacity][n_actions] that led to the row, as the model reads them; row 0: 0
    int n, capacity;
};

struct eval_open_loop {
    struct eval_onlooker onlooker;
    uint64_t seed;
    struct obs_space obs;
    struct action_space actions;
    int64_t n_episodes;
    struct recording *recordings;              // [n_episodes], freed when the episode is measured
    struct eval_horizon (*sums)[EVAL_HORIZON]; // [n_episodes], sums of the pictures' means
    struct graph *graph;
    struct wm_view view;
    struct executor *executor;
};

// ---- recording

// One-hot heads one after the other, or the values; zeros where there is no action.
static void expand(const struct action_space *a, const float *action, float *out) {
    const int width = action_width(a);
    for (int i = 0; i < width; i++) out[i] = action && a->n_continuous ? action[i] : 0;
    for (int k = 0; k < a->n_heads && action; out += a->classes[k++]) out[(int)action[k]] = 1;
}

static void take_row(void *ctx, int64_t episode, int step, const float *action,
                     const uint8_t *obs) {
    struct eval_open_loop *o = ctx;
    struct recording *r = &o->recordings[episode];
    const size_t bytes = obs_bytes(&o->obs), width = (size_t)action_width(&o->actions);
    CHECK(step == r->n, "row %d of episode %lld comes as number %d", step, (long long)episode,
          r->n);
    if (r->n == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 128;
        r->rows = mem_resize(r->rows, (size_t)r->capacity * bytes);
        r->actions = mem_resize(r->actions, (size_t)r->capacity * width * sizeof *r->actions);
    }
    memcpy(r->rows + (size_t)r->n * bytes, obs, bytes);
    expand(&o->actions, action, r->actions + (size_t)r->n++ * width);
}

static const uint8_t *row_at(const struct eval_open_loop *o, const struct recording *r, int i) {
    return r->rows + (size_t)i * obs_bytes(&o->obs);
}

// Number k of a row's vector.
static double number_at(const struct eval_open_loop *o, const uint8_t *row, int k) {
    float x;
    memcpy(&x, row + obs_picture_bytes(&o->obs) + (size_t)k * sizeof x, sizeof x);
    return (double)x;
}

// ---- measuring

// Rows behind the episode's end repeat its last one; nobody looks at what comes of them.
static void fill_inputs(struct eval_open_loop *o, const struct recording *r, int first) {
    const struct wm_inputs *in = &o->view.in;
    real *actions = in->prev_actions->data, *is_first = in->is_first->data;
    const int width = action_width(&o->actions), n_vector = o->obs.n_vector;
    for (int t = 0; t < WM_ROLLOUT; t++) {
        int row = first + t < r->n ? first + t : r->n - 1;
        const uint8_t *seen = row_at(o, r, row);
        if (in->packed)
            memcpy((uint8_t *)in->packed->data + (size_t)t * ENV_OBS_BYTES, seen, ENV_OBS_BYTES);
        for (int k = 0; k < n_vector; k++)
            ((real *)in->vectors[0]->data)[t * n_vector + k] = (real)number_at(o, seen, k);
        for (int k = 0; k < width; k++) actions[t * width + k] = (real)r->actions[row * width + k];
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
    h->mse += square / WM_PIXELS, h->shades += sum / WM_PIXELS;
    h->copy_mse += copy_square / WM_PIXELS, h->copy_shades += copy_sum / WM_PIXELS;
    h->wrong += (double)wrong / WM_PIXELS, h->copy_wrong += (double)copy_wrong / WM_PIXELS;
}

static void add_vector(const struct eval_open_loop *o, struct eval_horizon *h, const real *dream,
                       const uint8_t *truth, const uint8_t *held) {
    const int n = o->obs.n_vector;
    for (int k = 0; k < n; k++) {
        const double wanted = number_at(o, truth, k);
        const double d = (double)fast_symexp(dream[k]) - wanted, c = number_at(o, held, k) - wanted;
        h->vector_mse += d * d / n, h->copy_vector_mse += c * c / n;
    }
}

static void measure_window(struct eval_open_loop *o, int64_t episode, int first) {
    const struct recording *r = &o->recordings[episode];
    int64_t moment = (int64_t)eval_moment(episode, first);
    fill_inputs(o, r, first);
    noise_fill(NULL, o->view.in.u, o->seed, RNG_ROLLOUT_POSTERIOR, moment);
    noise_fill(NULL, o->view.in.u_prior, o->seed, RNG_ROLLOUT_PRIOR, moment);
    executor_run(o->executor);
    const struct tensor *pictures = o->view.imagined, *vectors = o->view.vector_imagined[0];
    const uint8_t *held = row_at(o, r, first + EVAL_CONTEXT - 1);
    for (int k = 0; k < EVAL_HORIZON && first + EVAL_CONTEXT + k < r->n; k++) {
        struct eval_horizon *h = &o->sums[episode][k];
        const uint8_t *truth = row_at(o, r, first + EVAL_CONTEXT + k);
        h->n++;
        if (pictures)
            add_picture(h, (const real *)pictures->data + (size_t)k * WM_PIXELS, truth, held);
        if (vectors)
            add_vector(o, h, (const real *)vectors->data + k * o->obs.n_vector, truth, held);
    }
}

static void end_episode(void *ctx, int64_t episode) {
    struct eval_open_loop *o = ctx;
    struct recording *r = &o->recordings[episode];
    for (int first = 0; first + EVAL_CONTEXT < r->n; first += EVAL_HORIZON)
        measure_window(o, episode, first);
    free(r->rows);
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
            h->vector_mse += s->vector_mse, h->copy_vector_mse += s->copy_vector_mse;
        }
        double n = (double)h->n;
        h->mse /= n, h->copy_mse /= n;
        h->shades /= n, h->copy_shades /= n;
        h->wrong /= n, h->copy_wrong /= n;
        h->vector_mse /= n, h->copy_vector_mse /= n;
    }
}

// ---- making and freeing

struct eval_open_loop *eval_open_loop_new(struct saved_agent *a, uint64_t seed, int64_t n_episodes,
                                          struct pool *pool) {
    struct eval_open_loop *o = mem_alloc(sizeof *o);
    o->onlooker = (struct eval_onlooker){take_row, end_episode, o};
    o->seed = seed;
    o->obs = a->obs;
    o->actions = a->actions;
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
        free(o->recordings[i].rows);
        free(o->recordings[i].actions);
    }
    free(o->recordings);
    free(o->sums);
    executor_free(o->executor);
    graph_free(o->graph);
    free(o);
}
