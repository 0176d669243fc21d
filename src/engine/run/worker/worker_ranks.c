// Worker ranks: what several ranks of one run tell each other, and the file of a rank's own state.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/run/worker/worker_internal.h"

// ---- meetings

bool worker_meet(struct worker *w, struct meeting *m, struct error *e) {
    struct ranks *r = w->opts.ranks;
    if (!r) return true;
    const struct meeting *all = ranks_gathered(r, m, sizeof *m);
    struct meeting sum = {0};
    int who = -1;
    for (int k = 0; k < r->n; k++) {
        sum.failed += all[k].failed;
        sum.stop += all[k].stop;
        sum.unsaved += all[k].unsaved;
        sum.policy_steps += all[k].policy_steps;
        if (all[k].failed && who < 0) who = k;
    }
    *m = sum;
    if (!sum.failed) return true;
    w->parted = true;
    return error_set(e, STATUS_FAILED, "stopped with rank %d of %d, which says why", who, r->n);
}

bool worker_agree(struct worker *w, bool fine, struct error *e) {
    struct meeting m = {.failed = !fine, .policy_steps = w->rollout.policy_steps};
    struct error theirs;
    if (w->parted) return fine;
    const bool all_fine = worker_meet(w, &m, &theirs);
    w->policy_steps = m.policy_steps;
    if (all_fine) return fine;
    if (fine) *e = theirs;
    return false;
}

// ---- setting up

struct rank_run {
    char config[CONFIG_HASH_SIZE], rom[65], kernel[24];
    int64_t opt_steps;
};

static bool is_alike(const struct rank_run *zero, const struct rank_run *other, int rank,
                     struct error *e) {
    if (strcmp(zero->config, other->config) != 0 || strcmp(zero->rom, other->rom) != 0)
        return error_set(e, STATUS_USAGE,
                         "rank %d was given other keys or another game than rank 0", rank);
    if (zero->opt_steps != other->opt_steps)
        return error_set(e, STATUS_FAILED, "rank %d goes on after update %lld, rank 0 after %lld",
                         rank, (long long)other->opt_steps, (long long)zero->opt_steps);
    if (strcmp(zero->kernel, other->kernel) != 0)
        return error_set(e, STATUS_FAILED,
                         "rank %d runs kernels %s, rank 0 %s: their weights would drift apart; set "
                         "WORKBENCH_KERNELS to what all machines have",
                         rank, other->kernel, zero->kernel);
    return true;
}

bool worker_check_alike(struct worker *w, struct error *e) {
    struct ranks *r = w->opts.ranks;
    struct rank_run mine = {.opt_steps = wm_opt_steps(w->wm)};
    if (!r) return true;
    config_hash(&w->config, mine.config);
    snprintf(mine.rom, sizeof mine.rom, "%s", w->rom_sha256);
    snprintf(mine.kernel, sizeof mine.kernel, "%s", cpu_kernels_kind(w->config.autocast));
    const struct rank_run *all = ranks_gathered(r, &mine, sizeof mine);
    for (int k = 1; k < r->n; k++)
        if (!is_alike(&all[0], &all[k], k, e)) return false;
    return true;
}

bool worker_share_session(struct worker *w, struct error *e) {
    struct ranks *r = w->opts.ranks;
    char mine[PATH_SIZE] = "", meta[PATH_SIZE];
    if (!r) return true;
    if (w->session) snprintf(mine, sizeof mine, "%s", session_path(w->session));
    memcpy(w->shared_session, ranks_gathered(r, mine, sizeof mine), sizeof w->shared_session);
    if (!w->shared_session[0]) return true;
    return path_join(meta, w->shared_session, "meta.json", e) &&
           (file_exists(meta) ||
            error_set(e, STATUS_FAILED,
                      "rank %d does not see %s: all ranks need the folder of rank 0", r->rank,
                      w->shared_session));
}

bool worker_check_ranks(const struct worker *w, struct error *e) {
    const struct ranks *r = w->opts.ranks;
    const int64_t whole = w->config.batch_size * ranks_n(r);
    if (r && w->config.buffer_size / w->config.num_envs / r->n < 1)
        return error_set(e, STATUS_USAGE,
                         "buffer.size=%lld is less than a row for each of %d ranks",
                         (long long)w->config.buffer_size, r->n);
    if (r && backend_chosen() && profile_of(&w->config)->joint)
        return error_set(e, STATUS_USAGE,
                         "algo.profile=%s: several ranks learn on CPUs; add --device cpu",
                         w->config.profile);
    if (whole > UINT32_MAX / 4096)
        return error_set(e, STATUS_USAGE, "a batch of %lld sequences on %d ranks is too large",
                         (long long)w->config.batch_size, r->n);
    return true;
}

bool worker_join_devices(struct worker *w, struct error *e) {
    char why[BACKEND_MESSAGE_SIZE];
    if (!w->opts.ranks || ranks_join_device(w->opts.ranks, backend_chosen(), why, sizeof why))
        return true;
    return error_set(e, STATUS_FAILED, "--device %s: %s", w->opts.device ? w->opts.device : "auto",
                     why);
}

// ---- records

struct report {
    metric_set present;
    float value[METRIC_COUNT];
    struct episode_sums episodes;
};

// A mean over the ranks that have measured it. In double: what is equal on all stays what it is.
static void join_metric(struct record *r, const struct report *all, int n, enum metric m) {
    double sum = 0;
    int count = 0;
    for (int k = 0; k < n; k++) {
        if (!(all[k].present & METRIC_BIT(m))) continue;
        sum += (double)all[k].value[m];
        count++;
    }
    if (!count) return;
    r->present |= METRIC_BIT(m);
    r->value[m] = (float)(sum / count);
}

void worker_join_record(struct worker *w, struct record *r, struct episode_sums *episodes) {
    struct ranks *ranks = w->opts.ranks;
    if (!ranks) return;
    struct report mine = {.present = r->present, .episodes = *episodes};
    memcpy(mine.value, r->value, sizeof mine.value);
    const struct report *all = ranks_gathered(ranks, &mine, sizeof mine);
    for (int m = 0; m < METRIC_COUNT; m++) join_metric(r, all, ranks->n, (enum metric)m);
    // Of the whole batch, as one rank has it.
    if (r->present & METRIC_BIT(METRIC_ENTROPY_RATIO))
        r->value[METRIC_ENTROPY_RATIO] =
            r->value[METRIC_POSTERIOR_ENTROPY] / r->value[METRIC_PRIOR_ENTROPY];
    *episodes = (struct episode_sums){0};
    int n_distances = 0;
    float distance[3] = {0};
    for (int k = 0; k < ranks->n; k++) {
        worker_add_episodes(episodes, &all[k].episodes);
        n_distances += all[k].episodes.has_distance != 0;
        for (int i = 0; i < 3 && all[k].episodes.has_distance; i++)
            distance[i] += all[k].episodes.distance[i];
    }
    for (int i = 0; i < 3 && n_distances; i++)
        episodes->distance[i] = distance[i] / (float)n_distances;
}

// ---- a rank's own state: what it plays, its ring. Weights and moments are rank 0's checkpoint's.

enum { RANK_MAX_TENSORS = MODEL_MAX_EXTRA + WORKER_STATE_TENSORS + REPLAY_MAX_TENSORS };

static int own_tensors(struct worker *w, struct worker_state_scratch *scratch,
                       struct model_parts *parts, struct st_source out[RANK_MAX_TENSORS]) {
    w->algo->describe(w, parts);
    memcpy(out, parts->extra, (size_t)parts->n_extra * sizeof *out);
    return parts->n_extra + worker_state_tensors(w, scratch, out + parts->n_extra);
}

bool worker_save_rank(struct worker *w, struct error *e) {
    const struct ranks *r = w->opts.ranks;
    struct worker_state_scratch scratch;
    struct model_parts parts = {0};
    struct st_source tensors[RANK_MAX_TENSORS];
    char folder[PATH_SIZE], path[PATH_SIZE], crc[9];
    if (!w->config.buffer_checkpoint || !w->shared_session[0]) return true;
    if (!path_join(folder, w->shared_session, "checkpoints", e) || !file_make_folders(folder, e) ||
        !session_replay_path(w->shared_session, wm_opt_steps(w->wm), w->rollout.env_ticks, r->rank,
                             path, e))
        return false;
    worker_state_collect(w, &scratch);
    int n = own_tensors(w, &scratch, &parts, tensors);
    n += replay_tensors(w->replay, tensors + n);
    safetensors_crc(tensors, n, crc);
    const struct st_text texts[] = {{"format", "workbench rank"}, {ST_CRC_KEY, crc}};
    const bool fine = safetensors_write(path, tensors, n, texts, 2, e);
    worker_state_free(&scratch);
    return fine;
}

static bool load_player(struct worker *w, const struct safetensors *s, struct error *e) {
    struct model_parts parts = {0};
    w->algo->describe(w, &parts);
    for (int i = 0; i < parts.n_extra; i++) {
        const struct st_source *to = &parts.extra[i];
        const struct st_tensor *t =
            safetensors_expect(s, to->name, to->dtype, to->n_dims, to->shape, e);
        if (!t) return false;
        memcpy((void *)(uintptr_t)to->data, t->data, t->n_bytes); // the model's own
    }
    return true;
}

bool worker_load_rank(struct worker *w, const char *path, int64_t *rows, struct error *e) {
    struct safetensors *s = safetensors_open(path, e);
    const bool fine = s && safetensors_intact(s, e) && load_player(w, s, e) &&
                      worker_state_restore(w, s, rows, e) && replay_restore(w->replay, s, e);
    safetensors_free(s);
    return fine;
}
