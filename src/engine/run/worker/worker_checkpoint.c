// Worker checkpoint: weights, state and replay ring into the session; read back to verify and to go
// on.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/run/worker/worker_internal.h"

enum { N_SCALARS = 3 };

struct counters {
    int64_t opt_steps, env_steps, env_ticks;
    struct checkpoint_scalar list[N_SCALARS];
};

static struct checkpoint with_counters(struct counters *n, const char *hash) {
    n->list[0] = (struct checkpoint_scalar){"opt_steps", &n->opt_steps};
    n->list[1] = (struct checkpoint_scalar){"env_steps", &n->env_steps};
    n->list[2] = (struct checkpoint_scalar){"env_ticks", &n->env_ticks};
    return (struct checkpoint){.config_sha256 = hash, .scalars = n->list, .n_scalars = N_SCALARS};
}

bool worker_save_weights(struct worker *w, const char *path, int64_t policy_steps,
                         struct error *e) {
    char hash[CONFIG_HASH_SIZE];
    struct counters n = {.opt_steps = wm_opt_steps(w->wm),
                         .env_steps = policy_steps,
                         .env_ticks = w->rollout.env_ticks};
    struct worker_state_scratch scratch;
    struct st_source state[WORKER_STATE_TENSORS];
    config_hash(&w->config, hash);
    struct checkpoint c = with_counters(&n, hash);
    worker_state_collect(w, &scratch);
    int n_state = worker_state_tensors(w, &scratch, state);
    bool fine = worker_save_model(w, path, &c, state, n_state, e);
    worker_state_free(&scratch);
    return fine;
}

// ---- the ring, in a file of its own: written before the checkpoint that needs it

static bool save_replay(struct worker *w, const char *path, struct error *e) {
    struct st_source tensors[REPLAY_MAX_TENSORS];
    char crc[9];
    int n = replay_tensors(w->replay, tensors);
    safetensors_crc(tensors, n, crc);
    const struct st_text texts[] = {{"format", "workbench replay"}, {ST_CRC_KEY, crc}};
    return safetensors_write(path, tensors, n, texts, 2, e);
}

// All ranks' rings of a checkpoint that could not be written: room for the next attempt. One that
// is there (the run's last, once more) keeps them.
static void drop_rings(struct worker *w) {
    const char *session = session_path(w->session);
    const int64_t step = wm_opt_steps(w->wm), ticks = w->rollout.env_ticks;
    char path[PATH_SIZE];
    if (session_checkpoint_path(w->session, step, path, NULL) && file_exists(path)) return;
    for (int k = 0; k < ranks_n(w->opts.ranks); k++)
        if (session_replay_path(session, step, ticks, k, path, NULL)) unlink(path);
}

static bool save(struct worker *w, int64_t policy_steps, char path[PATH_SIZE], struct error *e) {
    const char *session = session_path(w->session);
    int64_t step = wm_opt_steps(w->wm), ticks = w->rollout.env_ticks;
    char replay[PATH_SIZE];
    worker_model_to_host(w);
    return session_checkpoint_path(w->session, step, path, e) &&
           (!w->config.buffer_checkpoint ||
            (session_replay_path(session, step, ticks, 0, replay, e) &&
             save_replay(w, replay, e))) &&
           worker_save_weights(w, path, policy_steps, e) &&
           session_prune_checkpoints(w->session, (int)w->config.checkpoint_keep_last, e) &&
           session_prune_replays(w->session, ticks, e);
}

static bool save_all(struct worker *w, char path[PATH_SIZE], struct error *e, struct error *why) {
    const bool first = ranks_rank(w->opts.ranks) == 0;
    struct meeting m = {.policy_steps = w->rollout.policy_steps};
    path[0] = 0;
    m.unsaved = !first && !worker_save_rank(w, why);
    if (!worker_meet(w, &m, e)) return false;
    if (m.unsaved && !why->message[0])
        error_set(why, STATUS_FAILED, "a rank could not write its own state");
    const bool fine = !m.unsaved && first && save(w, m.policy_steps, path, why);
    if (fine) return true;
    path[0] = 0;
    if (first) drop_rings(w);
    return true;
}

static struct saved state_now(const struct worker *w) {
    return (struct saved){wm_opt_steps(w->wm), w->rollout.env_ticks, w->fence.policy_steps};
}

static bool is_saved(const struct worker *w) {
    const struct saved now = state_now(w), *s = &w->saved;
    return s->opt_steps == now.opt_steps && s->env_ticks == now.env_ticks &&
           s->fence_steps == now.fence_steps;
}

bool worker_checkpoint(struct worker *w, bool last, struct error *e) {
    char path[PATH_SIZE];
    struct error why = {0};
    if (!w->session && !w->shared_session[0]) return true;
    // Weights are saved of updates that are known to be finite. What it plays is part of the state.
    if (!worker_look_at_updates(w, e) || !rollout_wait(w, e) || !worker_device_fetch(w, e))
        return false;
    const bool again = last && is_saved(w);
    if (again && !w->opts.ranks) return true;
    if (!save_all(w, path, e, &why)) return false;
    if (path[0] && !again) log_write(LOG_INFO, "checkpoint %s", path_base(path));
    if (path[0]) w->saved = state_now(w);
    if (!why.message[0]) return true;
    if (last) {
        *e = why;
        return false;
    }
    log_write(LOG_WARN, "no checkpoint at update %lld, the older ones stay and the run goes on: %s",
              (long long)wm_opt_steps(w->wm), why.message);
    snprintf(w->warning, sizeof w->warning, "no checkpoint: %.200s", why.message);
    return true;
}

bool worker_verify_checkpoint(struct worker *w, struct error *e) {
    if (w->ppo) return ppo_run_verify_checkpoint(w->ppo, e);
    char path[PATH_SIZE], hash[CONFIG_HASH_SIZE];
    int64_t step = 0;
    struct counters n;
    if (!w->session) return error_set(e, STATUS_FAILED, "this run wrote no session");
    if (!session_newest_checkpoint(session_path(w->session), path, &step, e)) return false;
    config_hash(&w->config, hash);
    struct checkpoint c = with_counters(&n, hash);
    bool fine = worker_model_reads_back(w, path, &c, e);
    if (fine && (n.opt_steps != wm_opt_steps(w->wm) || n.env_steps != w->rollout.policy_steps))
        fine = error_set(e, STATUS_FAILED, "%s: does not hold what was saved", path);
    return fine;
}

// ---- going on

// Rank 0's file says for all whether there are rings.
static bool load_replay(struct worker *w, int64_t step, int64_t rows, int64_t policy_steps,
                        struct error *e) {
    const int rank = ranks_rank(w->opts.ranks);
    const int64_t ticks = w->rollout.env_ticks;
    char path[PATH_SIZE];
    if (!session_replay_path(w->resume->session, step, ticks, 0, path, e)) return false;
    bool resized = w->resume->ring_changed;
    if (resized || !file_exists(path)) {
        log_write(
            LOG_WARN,
            "%s: the replay starts empty and refills: %lld policy steps before learning goes on",
            resized ? "buffer.size or env.num_envs is another"
                    : "no replay was saved with this checkpoint",
            (long long)w->config.learning_starts);
        worker_state_begin_anew(w, policy_steps);
        return true;
    }
    bool fine;
    if (rank > 0) {
        fine = session_replay_path(w->resume->session, step, ticks, rank, path, e) &&
               worker_load_rank(w, path, &rows, e);
    } else {
        struct safetensors *s = safetensors_open(path, e);
        fine = s && safetensors_intact(s, e) && replay_restore(w->replay, s, e);
        safetensors_free(s);
    }
    if (fine && replay_total(w->replay) != rows)
        fine = error_set(e, STATUS_FAILED, "%s: holds %lld rows, its checkpoint %lld", path,
                         (long long)replay_total(w->replay), (long long)rows);
    return fine;
}

bool worker_load_checkpoint(struct worker *w, struct error *e) {
    const char *path = w->resume->checkpoint;
    struct safetensors *file = NULL;
    struct counters n = {0};
    struct checkpoint c = with_counters(&n, NULL);
    int64_t step = session_checkpoint_step(path), rows = 0;
    bool fine = worker_load_model(w, path, &c, &file, e);
    if (fine) {
        wm_set_opt_steps(w->wm, n.opt_steps);
        worker_model_to_device(w);
        w->rollout.policy_steps = n.env_steps;
        w->rollout.env_ticks = n.env_ticks;
        fine = worker_state_restore(w, file, &rows, e) &&
               load_replay(w, step, rows, n.env_steps, e) && worker_device_store(w, e);
    }
    if (fine && n.opt_steps != step)
        fine = error_set(e, STATUS_FAILED, "%s: holds update %lld", path, (long long)n.opt_steps);
    safetensors_free(file);
    wm_set_opt_steps(w->wm, n.opt_steps);
    w->rollout.weights_step = -1; // the next fence copies them
    return fine || session_name_checkpoint_before(w->resume->session, step, e);
}
