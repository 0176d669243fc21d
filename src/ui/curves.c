// Curves: the pyramid and the moving averages.
#include "ui/curves.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

enum {
    BRANCH_BITS = 5,
    BRANCH = 1 << BRANCH_BITS,
    LEVELS = 6
}; // 32^6 records: more than any feed holds

const float curves_smoothing[CURVES_SMOOTHINGS] = {0, 0.6f, 0.9f, 0.99f};
const char *const curves_axis_names[AXIS_COUNT] = {"step", "env step", "elapsed", "clock"};

struct block {
    float min, max;
    uint32_t n_finite, n_bad;
};
struct average {
    float sum, weight;
}; // value = sum / weight: weight corrects the bias of a start at 0
struct averages {
    struct average of[CURVES_SMOOTHINGS];
}; // [0] unused

struct level {
    struct block *blocks[METRIC_COUNT];
    int64_t n, room;
};

struct curves {
    struct feed *feed;
    int64_t n;
    struct level levels[LEVELS];
    struct averages *starts[METRIC_COUNT]; // before the first record of each block of level 0
    struct averages now[METRIC_COUNT];
    metric_set known;
};

struct curves *curves_new(struct feed *feed) {
    struct curves *c = mem_alloc(sizeof *c);
    c->feed = feed;
    return c;
}

void curves_free(struct curves *c) {
    if (!c) return;
    for (int m = 0; m < METRIC_COUNT; m++) {
        for (int k = 0; k < LEVELS; k++) free(c->levels[k].blocks[m]);
        free(c->starts[m]);
    }
    free(c);
}

int64_t curves_count(const struct curves *c) { return c->n; }
bool curves_known(const struct curves *c, int metric) { return c->known >> metric & 1; }

static void grow(struct curves *c, int k) {
    struct level *level = &c->levels[k];
    level->room = level->room ? level->room * 2 : 64;
    for (int m = 0; m < METRIC_COUNT; m++) {
        level->blocks[m] = mem_resize(level->blocks[m], (size_t)level->room * sizeof(struct block));
        if (k == 0)
            c->starts[m] = mem_resize(c->starts[m], (size_t)level->room * sizeof(struct averages));
    }
}

static void average_add(struct averages *a, float value) {
    for (int i = 1; i < CURVES_SMOOTHINGS; i++) {
        float keep = curves_smoothing[i];
        a->of[i].sum = keep * a->of[i].sum + (1 - keep) * value;
        a->of[i].weight = keep * a->of[i].weight + (1 - keep);
    }
}

static void block_add(struct block *b, float value) {
    if (!isfinite(value)) {
        b->n_bad++;
        return;
    }
    if (b->n_finite == 0 || value < b->min) b->min = value;
    if (b->n_finite == 0 || value > b->max) b->max = value;
    b->n_finite++;
}

static bool measured(const struct record *r, int m) { return r->present >> m & 1; }

static void take(struct curves *c, int64_t i, const struct record *r) {
    c->known |= r->present;
    for (int k = 0; k < LEVELS; k++) {
        struct level *level = &c->levels[k];
        int64_t index = i >> (BRANCH_BITS * (k + 1));
        if (index == level->n) {
            if (level->n == level->room) grow(c, k);
            for (int m = 0; m < METRIC_COUNT; m++) {
                level->blocks[m][index] = (struct block){0};
                if (k == 0) c->starts[m][index] = c->now[m];
            }
            level->n++;
        }
        for (int m = 0; m < METRIC_COUNT; m++)
            if (measured(r, m)) block_add(&level->blocks[m][index], r->value[m]);
    }
    for (int m = 0; m < METRIC_COUNT; m++)
        if (measured(r, m) && isfinite(r->value[m])) average_add(&c->now[m], r->value[m]);
}

void curves_update(struct curves *c) {
    int64_t n = feed_n_records(c->feed);
    for (; c->n < n; c->n++) take(c, c->n, feed_record(c->feed, c->n));
}

static void span_add_block(struct span *s, const struct block *b) {
    s->n_bad += b->n_bad;
    if (b->n_finite == 0) return;
    if (s->n_finite == 0 || b->min < s->min) s->min = b->min;
    if (s->n_finite == 0 || b->max > s->max) s->max = b->max;
    s->n_finite += b->n_finite;
}

struct span curves_span(const struct curves *c, int metric, int64_t begin, int64_t end) {
    struct span s = {0};
    if (begin < 0) begin = 0;
    if (end > c->n) end = c->n;
    for (int64_t i = begin; i < end;) {
        int k = -1; // the largest aligned block that fits into [i, end)
        while (k + 1 < LEVELS && (i & ((INT64_C(1) << (BRANCH_BITS * (k + 2))) - 1)) == 0 &&
               i + (INT64_C(1) << (BRANCH_BITS * (k + 2))) <= end)
            k++;
        if (k >= 0) {
            span_add_block(&s, &c->levels[k].blocks[metric][i >> (BRANCH_BITS * (k + 1))]);
            i += INT64_C(1) << (BRANCH_BITS * (k + 1));
            continue;
        }
        const struct record *r = feed_record(c->feed, i++);
        if (!measured(r, metric)) continue;
        struct block one = {0};
        block_add(&one, r->value[metric]);
        span_add_block(&s, &one);
    }
    return s;
}

bool curves_measured(const struct curves *c, int metric, int64_t record) {
    return record >= 0 && record < c->n && measured(feed_record(c->feed, record), metric);
}

float curves_value(const struct curves *c, int metric, int64_t record) {
    return curves_measured(c, metric, record) ? feed_record(c->feed, record)->value[metric] : NAN;
}

float curves_smoothed(const struct curves *c, int metric, int smoothing, int64_t record) {
    if (record < 0 || record >= c->n) return NAN;
    int64_t block = record >> BRANCH_BITS;
    struct average a = c->starts[metric][block].of[smoothing];
    float keep = curves_smoothing[smoothing], last = NAN;
    for (int64_t i = block << BRANCH_BITS; i <= record; i++) {
        const struct record *r = feed_record(c->feed, i);
        if (!measured(r, metric) || !isfinite(r->value[metric])) continue;
        last = r->value[metric];
        a.sum = keep * a.sum + (1 - keep) * last;
        a.weight = keep * a.weight + (1 - keep);
    }
    if (smoothing == 0) return last;
    return a.weight > 0 ? a.sum / a.weight : NAN;
}

double curves_x(const struct curves *c, enum curves_axis axis, int64_t record) {
    if (axis == AXIS_RELATIVE || axis == AXIS_WALL) return feed_record_wall_s(c->feed, record);
    const struct record *r = feed_record(c->feed, record);
    return (double)(axis == AXIS_ENV_STEP ? r->env_steps : r->opt_steps);
}

int64_t curves_find(const struct curves *c, enum curves_axis axis, double x, int64_t n) {
    int64_t low = 0, high = n < c->n ? n : c->n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (curves_x(c, axis, middle) < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_bad(const struct record *r) {
    for (int m = 0; m < METRIC_COUNT; m++)
        if (measured(r, m) && !isfinite(r->value[m])) return true;
    return false;
}

int64_t curves_next_bad(const struct curves *c, int64_t record, int direction, int64_t n) {
    if (n > c->n) n = c->n;
    for (int64_t i = record + direction; i >= 0 && i < n;) {
        if ((i & (BRANCH - 1)) == (direction > 0 ? 0 : BRANCH - 1)) { // skip whole clean blocks
            uint32_t bad = 0;
            for (int m = 0; m < METRIC_COUNT; m++)
                bad += c->levels[0].blocks[m][i >> BRANCH_BITS].n_bad;
            if (bad == 0) {
                i += direction * BRANCH;
                continue;
            }
        }
        if (is_bad(feed_record(c->feed, i))) return i;
        i += direction;
    }
    return -1;
}
