// Goal traces: reads recorded actions, plays them, sums their distances up.
#include "engine/env/goal_trace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/env/task.h"

// ---- reading

// One action number per environment; the first list says how many.
static bool add_list(struct goal_trace *t, const cJSON *list, const char *where, struct error *e) {
    const int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    if (n < 1 || n > GOAL_TRACE_MAX_ENVS)
        return error_set(e, STATUS_FAILED, "%s: no list of 1 to %d action numbers", where,
                         GOAL_TRACE_MAX_ENVS);
    if (t->n_envs && n != t->n_envs)
        return error_set(e, STATUS_FAILED, "%s: %d actions, the first line has %d", where, n,
                         t->n_envs);
    if (t->n_steps == TASK_MAX_ACTIONS)
        return error_set(e, STATUS_FAILED, "%s: more than %d steps", where, TASK_MAX_ACTIONS);
    t->n_envs = n;
    t->actions = mem_resize(t->actions, (size_t)(t->n_steps + 1) * (size_t)n * sizeof *t->actions);
    int32_t *row = t->actions + (size_t)t->n_steps++ * (size_t)n;
    for (const cJSON *item = list->child; item; item = item->next) {
        int64_t a;
        if (!cJSON_IsNumber(item) || !json_is_i64(item, &a) || a < 0 || a >= t->codec->n_actions)
            return error_set(e, STATUS_FAILED, "%s: an action of %s is a number from 0 to %d",
                             where, t->codec->id, t->codec->n_actions - 1);
        *row++ = (int32_t)a;
    }
    return true;
}

static bool parse_lists(const char *text, size_t n, const char *path, struct goal_trace *t,
                        struct error *e) {
    const char *end = text + n;
    for (int number = 1; text < end; number++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        const size_t length = (size_t)((stop ? stop : end) - text);
        char where[PATH_SIZE + 32];
        snprintf(where, sizeof where, "%s:%d", path, number);
        cJSON *list = json_parse(text, length, where, e);
        const bool fine = list && add_list(t, list, where, e);
        cJSON_Delete(list);
        if (!fine) return false;
        text += length + 1;
    }
    return true;
}

bool goal_trace_parse(const char *text, size_t n, const char *where,
                      const struct gb_action_codec *codec, struct goal_trace *out,
                      struct error *e) {
    *out = (struct goal_trace){.codec = codec};
    if (n && text[0] == '[') {
        if (parse_lists(text, n, where, out, e)) return true;
        goal_trace_free(out);
        return false;
    }
    out->actions = task_parse_actions(text, n, where, codec->id, &out->n_steps, e);
    out->n_envs = 1;
    return out->actions != NULL;
}

void goal_trace_free(struct goal_trace *t) {
    free(t->actions);
    *t = (struct goal_trace){0};
}

// ---- playing

struct player {
    struct env *env;
    const struct goal_trace *trace;
    uint8_t mask[GOAL_TRACE_MAX_ENVS], (*frames)[ENV_OBS_BYTES], *obs[GOAL_TRACE_MAX_ENVS];
    int32_t actions[GOAL_TRACE_MAX_ENVS];
    struct env_step_result results[GOAL_TRACE_MAX_ENVS];
};

static bool player_open(struct player *p, const struct env_gameboy_opts *game,
                        const struct goal_trace *trace, int n_envs, struct error *e) {
    struct env_gameboy_opts opts = *game;
    opts.n_envs = n_envs;
    *p = (struct player){.env = env_gameboy_new(&opts, e), .trace = trace};
    if (!p->env) return false;
    CHECK(!trace || p->env->n_actions == trace->codec->n_actions, "a trace of %s",
          trace->codec->id);
    p->frames = mem_alloc((size_t)n_envs * sizeof *p->frames);
    for (int i = 0; i < n_envs; i++) p->obs[i] = p->frames[i];
    memset(p->mask, 1, (size_t)n_envs);
    env_reset(p->env, p->mask, p->obs);
    return true;
}

static void player_step(struct player *p, int step) {
    memcpy(p->actions, p->trace->actions + (size_t)step * (size_t)p->trace->n_envs,
           (size_t)p->env->n_envs * sizeof *p->actions);
    env_step(p->env, p->mask, p->actions, p->obs, p->results);
}

static void player_close(struct player *p) {
    env_free(p->env);
    free(p->frames);
}

bool goal_capture(const struct env_gameboy_opts *game, const struct goal_trace *trace, int n_frames,
                  struct goal *out, struct error *e) {
    struct player p;
    CHECK(n_frames >= 1 && n_frames <= GOAL_MAX_STACK, "%d frames", n_frames);
    if (!player_open(&p, game, trace, 1, e)) return false;
    out->n_frames = n_frames;
    for (int k = 0; k < n_frames; k++) memcpy(out->packed[k], p.frames[0], ENV_OBS_BYTES);
    for (int t = 0; trace && t < trace->n_steps; t++) {
        player_step(&p, t);
        memmove(out->packed[0], out->packed[1], (size_t)(n_frames - 1) * ENV_OBS_BYTES);
        memcpy(out->packed[n_frames - 1], p.frames[0], ENV_OBS_BYTES);
    }
    player_close(&p);
    return true;
}

bool goal_replay(const struct env_gameboy_opts *game, const struct goal_trace *trace,
                 bool to_the_end, struct goal_curve *out, struct error *e) {
    struct env_gameboy_opts opts = *game;
    struct goal_rules rules = *game->rules;
    struct player p;
    const int n = trace->n_envs;
    rules.max_steps = trace->n_steps + 1;
    if (to_the_end) rules.k_consecutive = trace->n_steps + 1; // nobody is ever done
    opts.rules = &rules;
    *out = (struct goal_curve){.n_envs = n, .done_env = -1};
    if (!player_open(&p, &opts, trace, n, e)) return false;
    out->distances = mem_alloc((size_t)trace->n_steps * (size_t)n * sizeof *out->distances);
    while (out->n_steps < trace->n_steps && out->done_env < 0) {
        player_step(&p, out->n_steps);
        for (int i = n - 1; i >= 0; i--) {
            out->distances[(size_t)out->n_steps * (size_t)n + (size_t)i] = p.results[i].distance;
            if (p.results[i].terminated) out->done_env = i;
        }
        out->n_steps++;
    }
    out->last = p.frames;
    p.frames = NULL;
    player_close(&p);
    return true;
}

void goal_curve_free(struct goal_curve *c) {
    free(c->distances);
    free(c->last);
    *c = (struct goal_curve){0};
}

void goal_calibrate(const struct goal_curve *c, struct goal_calibration *out) {
    *out = (struct goal_calibration){.steps = c->n_steps, .min = 1, .tail_min = 1};
    for (int t = 0; t < c->n_steps; t++) {
        const double d = (double)c->distances[(size_t)t * (size_t)c->n_envs];
        const int bin = (int)(d * GOAL_BINS);
        out->min = fmin(out->min, d);
        out->max = fmax(out->max, d);
        out->mean += d / c->n_steps;
        if (t >= c->n_steps - GOAL_TAIL) out->tail_min = fmin(out->tail_min, d);
        out->histogram[bin < GOAL_BINS ? bin : GOAL_BINS - 1]++;
    }
    out->recommended_tau = out->tail_min + 0.01;
}
