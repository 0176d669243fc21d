// Alignment: three conventions for storing rows of an episode stream, and exact conversions.
#include "engine/data/alignment.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

void rows_alloc(struct rows *r, int capacity, int n_actions) {
    size_t n = (size_t)capacity;
    *r = (struct rows){.capacity = capacity, .n_actions = n_actions};
    r->obs_id = mem_alloc(n * sizeof *r->obs_id);
    r->actions = mem_alloc(n * (size_t)n_actions * sizeof *r->actions);
    r->rewards = mem_alloc(n * sizeof *r->rewards);
    r->terminated = mem_alloc(n * sizeof *r->terminated);
    r->truncated = mem_alloc(n * sizeof *r->truncated);
    r->is_first = mem_alloc(n * sizeof *r->is_first);
    r->final_obs_id = mem_alloc(n * sizeof *r->final_obs_id);
}

void rows_free(struct rows *r) {
    free(r->obs_id);
    free(r->actions);
    free(r->rewards);
    free(r->terminated);
    free(r->truncated);
    free(r->is_first);
    free(r->final_obs_id);
    *r = (struct rows){0};
}

struct flags {
    float reward, terminated, truncated, is_first;
};

static struct flags flags_of(const struct rows *r, int i) {
    return (struct flags){r->rewards[i], r->terminated[i], r->truncated[i], r->is_first[i]};
}

static const float *action_of(const struct rows *r, int i) {
    return r->actions + (size_t)i * (size_t)r->n_actions;
}

// action NULL: zeros.
static void append(struct rows *out, int32_t obs_id, const float *action, struct flags flags,
                   int32_t final_obs_id) {
    CHECK(out->n < out->capacity, "no room for row %d", out->n);
    int i = out->n++;
    size_t bytes = (size_t)out->n_actions * sizeof(float);
    float *slot = out->actions + (size_t)i * (size_t)out->n_actions;
    out->obs_id[i] = obs_id;
    if (action)
        memcpy(slot, action, bytes);
    else
        memset(slot, 0, bytes);
    out->rewards[i] = flags.reward;
    out->terminated[i] = flags.terminated;
    out->truncated[i] = flags.truncated;
    out->is_first[i] = flags.is_first;
    if (out->final_obs_id) out->final_obs_id[i] = final_obs_id;
}

static void start_output(const struct rows *in, struct rows *out) {
    CHECK(in->n_actions == out->n_actions, "%d and %d actions", in->n_actions, out->n_actions);
    out->n = 0;
}

void rows_sa_to_aa(const struct rows *in, struct rows *out) {
    start_output(in, out);
    for (int i = 0; i < in->n; i++) {
        bool first = in->is_first[i] != 0 || i == 0;
        append(out, in->obs_id[i], first ? NULL : action_of(in, i - 1), flags_of(in, i), -1);
    }
}

void rows_aa_to_sa(const struct rows *in, struct rows *out) {
    start_output(in, out);
    for (int i = 0; i < in->n; i++) {
        bool goes_on = i + 1 < in->n && in->is_first[i + 1] == 0;
        append(out, in->obs_id[i], goes_on ? action_of(in, i + 1) : NULL, flags_of(in, i), -1);
    }
}

void rows_sa_to_ta(const struct rows *in, struct rows *out) {
    start_output(in, out);
    for (int i = 0; i + 1 < in->n; i++) {
        if (in->terminated[i] != 0 || in->truncated[i] != 0)
            continue; // the final observation: no action starts there
        struct flags next = flags_of(in, i + 1);
        CHECK(next.is_first == 0, "row %d ends an episode without saying so", i);
        bool ends = next.terminated != 0 || next.truncated != 0;
        append(out, in->obs_id[i], action_of(in, i),
               (struct flags){next.reward, next.terminated, next.truncated, in->is_first[i]},
               ends ? in->obs_id[i + 1] : -1);
    }
}

void rows_ta_to_sa(const struct rows *in, struct rows *out) {
    start_output(in, out);
    CHECK(in->final_obs_id, "transition rows without final observations cannot be converted");
    for (int i = 0; i < in->n; i++) {
        bool first = in->is_first[i] != 0;
        append(out, in->obs_id[i], action_of(in, i),
               (struct flags){first || i == 0 ? 0 : in->rewards[i - 1], 0, 0, in->is_first[i]}, -1);
        if (in->terminated[i] != 0 || in->truncated[i] != 0)
            append(out, in->final_obs_id[i], NULL,
                   (struct flags){in->rewards[i], in->terminated[i], in->truncated[i], 0}, -1);
    }
}

// ---- windows

struct position {
    const float *action;
    float reward, continues;
}; // action NULL: zeros

static struct position from_sa(const struct rows *r, int i, bool first) {
    return (struct position){first ? NULL : action_of(r, i - 1), r->rewards[i],
                             1 - r->terminated[i]};
}

static struct position from_aa(const struct rows *r, int i, bool first) {
    return (struct position){first ? NULL : action_of(r, i), r->rewards[i], 1 - r->terminated[i]};
}

// Reward and end of arriving stand in the row before; a first row has neither.
static struct position from_ta(const struct rows *r, int i, bool first) {
    if (r->is_first[i] != 0) return (struct position){NULL, 0, 1};
    CHECK(i > 0, "a window of transition rows needs the row before it");
    return (struct position){first ? NULL : action_of(r, i - 1), r->rewards[i - 1],
                             1 - r->terminated[i - 1]};
}

void rows_window(const struct rows *r, enum alignment alignment, int start, int length, float *p,
                 float *rho, float *kappa, float *f) {
    static struct position (*const read[])(const struct rows *, int, bool) = {
        [ALIGN_SA] = from_sa, [ALIGN_AA] = from_aa, [ALIGN_TA] = from_ta};
    CHECK(start >= 0 && length >= 1 && start + length <= r->n, "window %d+%d of %d rows", start,
          length, r->n);
    size_t width = (size_t)r->n_actions;
    for (int t = 0; t < length; t++) {
        bool first = t == 0 || r->is_first[start + t] != 0;
        struct position at = read[alignment](r, start + t, first);
        if (at.action)
            memcpy(p + (size_t)t * width, at.action, width * sizeof *p);
        else
            memset(p + (size_t)t * width, 0, width * sizeof *p);
        rho[t] = at.reward;
        kappa[t] = at.continues;
        f[t] = first;
    }
}
