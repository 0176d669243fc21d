// Worker state: everything beside the weights that a run needs to go on exactly, as tensors of a
// checkpoint.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/run/worker/worker_internal.h"

// The state's one table, for saving and for loading: `data` points into *w and `s`.
int worker_state_tensors(struct worker *w, struct worker_state_scratch *s,
                         struct st_source out[WORKER_STATE_TENSORS]) {
    struct rollout *r = &w->rollout;
    struct run_statistics *t = &w->statistics;
    _Static_assert(sizeof(struct fence) == 4 * sizeof(int64_t), "four counters");
    const struct action_space *a = &r->env->actions;
    const int64_t n = r->env->n_envs;
    const struct st_source list[] = {
        {"run/backlog", ST_I64, 0, {0}, &w->backlog},
        {"run/learn_from", ST_I64, 0, {0}, &w->learn_from},
        {"run/rank_policy_steps", ST_I64, 0, {0}, &r->policy_steps},
        {"run/fence", ST_I64, 1, {4}, &w->fence},
        {"run/ratio_previous", ST_F64, 0, {0}, &w->ratio.previous},
        {"run/ratio_started", ST_BOOL, 0, {0}, &w->ratio.started},
        {"run/episodes", ST_U8, 1, {sizeof w->episodes}, &w->episodes},
        {"run/rollout_episodes", ST_U8, 1, {sizeof r->episodes}, &r->episodes},
        {"run/n_updates", ST_I64, 0, {0}, &t->n_updates},
        {"run/first_obs_nll", ST_F64, 0, {0}, &t->first_obs_nll},
        {"run/obs_window", ST_F64, 1, {OBS_WINDOW}, t->obs_window},
        {"run/worst_entropy_gap", ST_F64, 0, {0}, &t->worst_entropy_gap},
        {"run/needs_reset", ST_BOOL, 1, {n}, r->needs_reset},
        {"run/actions", ST_I32, 1, {n * a->n_heads}, r->actions},
        {"run/values", ST_F32, 1, {n * a->n_continuous}, r->values},
        {"run/episode_return", ST_F64, 1, {n}, r->episode_return},
        {"run/episode_length", ST_I64, 1, {n}, r->episode_length},
        {"run/replay_rows", ST_I64, 0, {0}, &s->replay_rows},
        {"run/policy_begun", ST_BOOL, 0, {0}, &s->policy_begun},
        {"run/environments", ST_U8, 2, {n, (int64_t)s->env_bytes}, s->environments},
    };
    int count = 0;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const bool empty = (list[i].data == &r->policy_steps && !w->opts.ranks) ||
                           (list[i].data == r->actions && !a->n_heads) ||
                           (list[i].data == r->values && !a->n_continuous) ||
                           (list[i].data == s->environments && !s->env_bytes);
        CHECK(count < WORKER_STATE_TENSORS, "%d tensors of state", count);
        if (!empty) out[count++] = list[i];
    }
    return count;
}

static void scratch_init(struct worker_state_scratch *s, const struct worker *w) {
    const struct env *env = w->rollout.env;
    *s = (struct worker_state_scratch){
        .env_bytes = env->vtable->state_bytes ? env->vtable->state_bytes(env) : 0};
    s->environments = mem_alloc((size_t)env->n_envs * s->env_bytes + 1);
}

void worker_state_collect(struct worker *w, struct worker_state_scratch *s) {
    const struct env *env = w->rollout.env;
    scratch_init(s, w);
    s->replay_rows = replay_total(w->replay);
    s->policy_begun = w->rollout.player && player_has_begun(w->rollout.player);
    for (int i = 0; i < env->n_envs && s->env_bytes; i++)
        env->vtable->save(env, i, s->environments + (size_t)i * s->env_bytes);
}

void worker_state_free(struct worker_state_scratch *s) { free(s->environments); }

// What CRCs cannot promise: a file of another program's making.
static bool check(const struct worker *w, const char *where, struct error *e) {
    const struct rollout *r = &w->rollout;
    bool fine = w->backlog >= 0 && w->fence.window.first >= 0 &&
                w->fence.window.end <= w->fence.rows &&
                (w->opts.ranks || r->policy_steps >= w->fence.policy_steps);
    const struct action_space *a = &r->env->actions;
    for (int n = 0; n < r->env->n_envs; n++) fine &= r->needs_reset[n] <= 1;
    for (int i = 0; i < r->env->n_envs * a->n_heads; i++)
        fine &= r->actions[i] >= 0 && r->actions[i] < a->classes[i % a->n_heads];
    for (int i = 0; i < r->env->n_envs * a->n_continuous; i++)
        fine &= r->values[i] >= -1 && r->values[i] <= 1;
    return fine || error_set(e, STATUS_FAILED, "%s: counters that no run can have", where);
}

bool worker_state_restore(struct worker *w, const struct safetensors *file, int64_t *replay_rows,
                          struct error *e) {
    struct worker_state_scratch s;
    struct st_source list[WORKER_STATE_TENSORS];
    struct env *env = w->rollout.env;
    bool fine = true;
    scratch_init(&s, w);
    int n = worker_state_tensors(w, &s, list);
    for (int i = 0; fine && i < n; i++) {
        const struct st_tensor *t =
            safetensors_expect(file, list[i].name, list[i].dtype, list[i].n_dims, list[i].shape, e);
        fine = t != NULL;
        if (fine)
            memcpy((void *)(uintptr_t)list[i].data, t->data, t->n_bytes); // the worker's own fields
    }
    fine = fine && check(w, safetensors_where(file), e);
    for (int i = 0; fine && i < env->n_envs && s.env_bytes; i++)
        fine = env->vtable->load(env, i, s.environments + (size_t)i * s.env_bytes, e);
    if (fine && s.policy_begun && w->rollout.player) player_resume(w->rollout.player);
    *replay_rows = s.replay_rows;
    worker_state_free(&s);
    return fine;
}

// Environments whose state cannot be kept, or a ring that was not: every episode begins anew, and
// learning waits until the ring holds `learning_starts` new policy steps, for which no gradient
// steps are due.
void worker_state_begin_anew(struct worker *w, int64_t policy_steps) {
    struct rollout *r = &w->rollout;
    r->policy_steps = ranks_rank(w->opts.ranks) == 0 ? policy_steps : 0; // only their sum counts
    memset(r->needs_reset, 1, (size_t)r->env->n_envs);
    w->backlog = 0;
    w->learn_from = policy_steps + w->config.learning_starts;
    w->ratio.previous = w->ratio.started ? w->ratio.previous + (double)w->config.learning_starts
                                         : (double)policy_steps;
    w->ratio.started = true;
    w->fence = (struct fence){.policy_steps = policy_steps};
}
