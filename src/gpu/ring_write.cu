// The replay ring's rows being written: by the device's machines, by the host or by a program, and
// what the episodes did.
#include "gpu/ring_parts.h"

#include <stdlib.h>
#include <string.h>

// Before the first byte of a new row: the gather that may read the row it replaces has to be over.
static bool claim(struct device_ring *r) {
    if (r->claimed > r->total) return true;
    const int64_t lost = r->total - r->opts.rows;
    if (r->reading && lost >= r->reading_first) {
        if (!gpu_await(r->actor, r->read_done)) return false;
        r->reading = false;
    }
    r->claimed = r->total + 1;
    return true;
}

// What the machines are to do, from the row before; at the beginning all are reset.
__global__ void orders_kernel(buf<const uint32_t> flags, buf<const int32_t> action,
                              buf<int32_t> orders) {
    EACH(i, orders.n) {
        int32_t order = DEVICE_RESET;
        if (flags.n && !(flags[i] & (FLAG_TERMINATED | FLAG_TRUNCATED))) order = action[i];
        orders[i] = order;
    }
}

struct arrival { // a row being written, and the one before (n = 0: none)
    buf<const int32_t> episode_before;
    buf<int32_t> action, episode;
    buf<float> reward;
    buf<uint32_t> flags;
};

// A machine that ended has no action; the others' come later.
__global__ void arrive_kernel(struct arrival row, buf<const float> reward,
                              buf<const uint32_t> flags) {
    EACH(i, flags.n) {
        const uint32_t f = flags[i] & (FLAG_FIRST | FLAG_TERMINATED | FLAG_TRUNCATED);
        const int32_t before = row.episode_before.n ? (int32_t)row.episode_before[i] : -1;
        row.episode[i] = before + ((f & FLAG_FIRST) != 0);
        row.reward[i] = reward[i];
        row.flags[i] = f;
        row.action[i] = -1;
    }
}

__global__ void act_kernel(buf<const uint32_t> flags, buf<const int32_t> chosen,
                           buf<int32_t> action) {
    EACH(i, action.n) {
        if (flags[i] & (FLAG_TERMINATED | FLAG_TRUNCATED)) continue;
        action[i] = chosen[i];
    }
}

static void arrive(struct device_ring *r, buf<float> reward, buf<uint32_t> flags) {
    const int64_t t = r->total;
    struct arrival row = {{},
                          row_of(r, r->a.action, t),
                          row_of(r, r->a.episode, t),
                          row_of(r, r->a.reward, t),
                          row_of(r, r->a.flags, t)};
    if (t) row.episode_before = reading_of(row_of(r, r->a.episode, t - 1));
    LAUNCH(r->actor, arrive_kernel, blocks_for(r->opts.n_envs), THREADS, row, reading_of(reward),
           reading_of(flags));
    gpu_record(r->actor, r->arrived);
    if (r->waited_marks == 0) mark(r->actor, r->waited, &r->waited_marks, 0);
    r->parts |= ARRIVED;
}

bool ring_tick(struct device_ring *r) {
    struct device_machines *m = r->machines;
    const int64_t t = r->total;
    if (!m || r->parts) return refuse(r, m ? "the last one is not committed" : "no machines");
    if (!claim(r)) return fine(r);
    mark(r->actor, r->played, &r->played_marks, 0);
    buf<const uint32_t> flags = {};
    buf<const int32_t> action = {};
    if (t) {
        flags = reading_of(row_of(r, r->a.flags, t - 1));
        action = reading_of(row_of(r, r->a.action, t - 1));
    }
    LAUNCH(r->actor, orders_kernel, blocks_for(m->n), THREADS, flags, action, m->orders);
    machines_enqueue(m, frames_of(r, t));
    machines_judge(m, reading_of(frames_of(r, t)));
    arrive(r, m->results.reward, m->results.flags);
    return fine(r);
}

bool ring_put(struct device_ring *r, const struct device_row *row) {
    const int n = r->opts.n_envs;
    if (r->machines || r->parts) return refuse(r, "not the host's to write");
    if (!claim(r)) return fine(r);
    uint32_t *flags = (uint32_t *)malloc((size_t)n * sizeof *flags);
    if (!flags) return refuse(r, "out of memory");
    for (int i = 0; i < n; i++)
        flags[i] = (row->is_first[i] ? FLAG_FIRST : 0) |
                   (row->terminated[i] ? FLAG_TERMINATED : 0) |
                   (row->truncated[i] ? FLAG_TRUNCATED : 0);
    const buf<float> reward = row_of(r, r->a.reward, r->total);
    const buf<uint32_t> there = row_of(r, r->a.flags, r->total);
    const bool sent =
        gpu_upload(r->actor, frames_of(r, r->total).at, row->obs, (size_t)n * GB_OBS_BYTES) &&
        gpu_upload(r->actor, reward.at, row->reward, (size_t)n * sizeof(float)) &&
        gpu_upload(r->actor, there.at, flags, (size_t)n * sizeof *flags) && gpu_finish(r->actor);
    free(flags);
    if (sent) arrive(r, reward, there);
    return fine(r);
}

bool ring_act(struct device_ring *r, const int32_t *actions, bool on_device) {
    if (!(r->parts & ARRIVED)) return refuse(r, "actions come after the observations");
    buf<const int32_t> chosen = buf_make((const int32_t *)r->chosen.at, r->opts.n_envs);
    if (on_device)
        chosen = buf_make(actions, r->opts.n_envs);
    else if (actions &&
             !gpu_upload(r->actor, r->chosen.at, actions, (size_t)r->opts.n_envs * sizeof *actions))
        return fine(r);
    LAUNCH(r->actor, act_kernel, blocks_for(r->opts.n_envs), THREADS,
           reading_of(row_of(r, r->a.flags, r->total)), chosen, row_of(r, r->a.action, r->total));
    r->parts |= ACTED;
    return fine(r);
}

static void tally_row(struct device_ring *r) {
    const struct ring_row row = {
        reading_of(r->machines->results.flags), reading_of(row_of(r, r->a.reward, r->total)),
        reading_of(row_of(r, r->a.flags, r->total)), reading_of(row_of(r, r->a.action, r->total))};
    tally_enqueue_row(r->actor, &r->tally, &row);
}

bool ring_commit(struct device_ring *r) {
    if (r->parts != (ARRIVED | ACTED)) return refuse(r, "it is not whole");
    r->parts = 0;
    if (r->machines) {
        tally_row(r);
        mark(r->actor, r->played, &r->played_marks, 1);
    }
    r->total++;
    if (r->total % r->opts.commit_stride) return fine(r);
    struct commit *c = &r->commits[r->total / r->opts.commit_stride % r->n_commits];
    if (!gpu_record(r->actor, c->event)) return fine(r);
    r->committed = c->total = r->total;
    return fine(r);
}

// ---- sums of the machines' episodes

bool ring_fence(struct device_ring *r) {
    const int64_t last = r->total - 1;
    if (!r->machines || r->parts || last < 0) return refuse(r, "no fence of machines here");
    tally_enqueue_fence(r->actor, &r->tally, r->sums_read,
                        reading_of(r->machines->results.distance),
                        reading_of(row_of(r, r->a.flags, last)));
    r->sums_read = false;
    r->played_marks = r->waited_marks = 0;
    gpu_record(r->actor, r->fence);
    return fine(r);
}

bool ring_sums(struct device_ring *r, struct device_sums *out, float *distance) {
    const struct ring_tally *t = &r->tally;
    const size_t sums = (size_t)t->n_sums * sizeof(double),
                 all = sums + (size_t)t->n_envs * sizeof(float);
    if (!r->machines || r->sums_read) return refuse(r, "no fence since the sums were read");
    if (!gpu_await(&r->learner, r->fence) ||
        !gpu_download_later(&r->learner, r->sums, t->out.at, all) || !gpu_finish(&r->learner))
        return fine(r);
    const double *s = (const double *)(void *)r->sums;
    *out = {s[SUM_N], s[SUM_SUCCESS], s[SUM_TRUNCATED], s[SUM_RETURN], s[SUM_LENGTH], s[SUM_LOCKED],
            {}};
    for (int i = 0; i < r->opts.n_actions; i++) out->actions[i] = s[N_SUMS + i];
    if (distance) memcpy(distance, r->sums + sums, (size_t)t->n_envs * sizeof(float));
    r->sums_read = true;
    return fine(r);
}

// ---- programs: the row that is being written

static bool shows(struct device_ring *r, struct gpu *g) {
    if (r->waited_marks == 1) mark(g, r->waited, &r->waited_marks, 1);
    if (r->parts & ARRIVED) return gpu_await(g, r->arrived);
    gpu_fail(g, "row %" PRId64 " has no observations yet", r->total);
    return false;
}

__global__ void pictures_kernel(buf<const int64_t> state, buf<const uint32_t> frames,
                                buf<uint32_t> to) {
    if (state[STATE_FAILED] != 0) return;
    EACH(i, to.n) to[i] = frames[i];
}

void ring_give_pictures(struct device_ring *r, struct gpu *g, buf<const int64_t> state,
                        buf<uint32_t> to) {
    if (shows(r, g))
        LAUNCH(g, pictures_kernel, blocks_for(to.n), THREADS, state,
               reading_of(frames_of(r, r->total)), to);
}

__global__ void begins_kernel(buf<const int64_t> state, buf<const uint32_t> flags, bool everywhere,
                              buf<real> to) {
    if (state[STATE_FAILED] != 0) return;
    EACH(i, to.n) to[i] = everywhere || (flags[i] & FLAG_FIRST) ? 1 : 0;
}

void ring_give_begins(struct device_ring *r, struct gpu *g, buf<const int64_t> state,
                      bool everywhere, buf<real> to) {
    if (shows(r, g))
        LAUNCH(g, begins_kernel, blocks_for(to.n), THREADS, state,
               reading_of(row_of(r, r->a.flags, r->total)), everywhere, to);
}

// Where nothing is chosen (numbers that are not finite stop the program) it is the first action.
__global__ void choose_kernel(buf<const uint32_t> flags, buf<const real> one_hot, int64_t classes,
                              buf<int32_t> action) {
    EACH(i, action.n) {
        if (flags[i] & (FLAG_TERMINATED | FLAG_TRUNCATED)) continue;
        int32_t chosen = 0;
        for (int64_t k = 1; k < classes; k++)
            if (one_hot[i * classes + k] == 1) chosen = (int32_t)k;
        action[i] = chosen;
    }
}

void ring_take_actions(struct device_ring *r, struct gpu *g, buf<const real> one_hot) {
    const int64_t n = r->opts.n_envs;
    if (one_hot.n != n * r->opts.n_actions)
        gpu_fail(g, "%" PRId64 " numbers for the actions of %" PRId64 " environments", one_hot.n,
                 n);
    if (g->failed || !shows(r, g)) return;
    LAUNCH(g, choose_kernel, blocks_for(n), THREADS, reading_of(row_of(r, r->a.flags, r->total)),
           one_hot, (int64_t)r->opts.n_actions, row_of(r, r->a.action, r->total));
    if (gpu_record(g, r->acted) && gpu_await(r->actor, r->acted)) r->parts |= ACTED;
}
