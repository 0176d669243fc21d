// Replay ring: rows of N environments in sheeprl's alignment; sampled sequences for the learner.
#include "engine/data/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/philox.h"

enum { MAX_BATCH = 4096, ARRIVAL = 1, ACTION = 2, COMPLETE = ARRIVAL | ACTION };

// All arrays are [rows][n_envs]; index = (t mod rows) * n_envs + env.
struct replay {
    struct replay_opts opts;
    struct action_space actions;
    size_t n_heads, n_values; // numbers of a slot in `action` (1 where continuous) and in `values`
    size_t n_slots;           // rows * n_envs
    void *base;               // of all arrays but `parts`
    size_t n_bytes;
    char *folder; // of the mapped file; NULL: memory
    uint8_t *obs; // [n_slots][obs_bytes]
    int32_t *action, *episode_id;
    float *values, *reward;
    uint8_t *is_first, *terminated, *truncated;
    atomic_llong total;   // rows per environment committed
    atomic_llong claimed; // total, or total + 1 while a row is written: its slot's old row is lost
    uint8_t *parts;       // [n_envs] of the row being written
};

// ---- memory: one slab, or one mapped file

enum { N_ARRAYS = 8, ARRAY_ALIGN = 64 };

// Places the arrays one after the other, from `base` on; returns the bytes of all.
static size_t place(struct replay *r, uint8_t *base) {
    size_t n = r->n_slots, at = 0;
    const size_t bytes[N_ARRAYS] = {n * (size_t)r->opts.obs_bytes,
                                    n * r->n_heads * sizeof *r->action,
                                    n * sizeof *r->episode_id,
                                    n * sizeof *r->reward,
                                    n,
                                    n,
                                    n,
                                    n * r->n_values * sizeof *r->values};
    uint8_t *to[N_ARRAYS];
    for (int i = 0; i < N_ARRAYS; i++) {
        to[i] = base ? base + at : NULL;
        at += (bytes[i] + ARRAY_ALIGN - 1) / ARRAY_ALIGN * ARRAY_ALIGN;
    }
    r->obs = to[0];
    r->action = (void *)to[1];
    r->episode_id = (void *)to[2];
    r->reward = (void *)to[3];
    r->is_first = to[4];
    r->terminated = to[5];
    r->truncated = to[6];
    r->values = r->n_values ? (void *)to[7] : NULL;
    return at;
}

// The file has no name once it is mapped: it goes with the process, however that ends. Its room on
// the disk is taken at once, because a full disk would later be a signal.
static void *map_file(const char *folder, size_t bytes, struct error *e) {
    char path[PATH_SIZE];
    if (!path_join(path, folder, ".replay.ring-XXXXXX", e)) return NULL;
    int fd = mkstemp(path);
    if (fd < 0) {
        error_set(e, STATUS_USAGE, "cannot make the replay's file in %s: %s", folder,
                  strerror(errno));
        return NULL;
    }
    unlink(path);
    int code = posix_fallocate(fd, 0, (off_t)bytes);
    void *base = code ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        error_set(e, STATUS_FAILED, "buffer.memmap: no room for %zu MB in %s: %s; set buffer.size",
                  bytes >> 20, folder, strerror(code ? code : errno));
    close(fd);
    return base == MAP_FAILED ? NULL : base;
}

static bool get_memory(struct replay *r, struct error *e) {
    r->n_bytes = place(r, NULL);
    r->base = r->folder ? map_file(r->folder, r->n_bytes, e) : mem_slab_alloc(r->n_bytes);
    if (r->base) place(r, r->base);
    return r->base != NULL;
}

struct replay *replay_new(const struct replay_opts *opts, struct error *e) {
    struct replay_opts o = *opts;
    if (!o.obs_bytes) o.obs_bytes = REPLAY_OBS_BYTES;
    const struct action_space actions = o.actions ? *o.actions : action_space_of_one(o.n_actions);
    CHECK(o.n_envs >= 1 && o.n_actions >= 1 && o.obs_bytes >= 1 && o.guard >= 0 &&
              o.safety_margin >= 0 && action_width(&actions) == o.n_actions &&
              o.obs_bytes >= o.n_vector * (int)sizeof(float),
          "replay options");
    if (o.rows < 1 || o.rows > INT32_MAX || o.rows > INT64_MAX / o.n_envs / (o.obs_bytes + 64) ||
        o.rows <= (int64_t)o.guard + o.safety_margin) {
        error_set(e, STATUS_USAGE,
                  "a replay ring of %" PRId64
                  " rows per environment is not possible; set buffer.size",
                  o.rows);
        return NULL;
    }
    struct replay *r = mem_alloc(sizeof *r);
    r->opts = o;
    r->actions = actions;
    r->opts.actions = &r->actions;
    r->n_heads = actions.n_continuous ? 1 : (size_t)actions.n_heads;
    r->n_values = (size_t)actions.n_continuous;
    r->n_slots = (size_t)o.rows * (size_t)o.n_envs;
    r->folder = o.file_folder ? mem_strdup(o.file_folder) : NULL;
    r->opts.file_folder = r->folder;
    r->parts = mem_alloc((size_t)o.n_envs);
    if (get_memory(r, e)) return r;
    replay_free(r);
    return NULL;
}

void replay_free(struct replay *r) {
    if (!r) return;
    if (r->folder && r->base)
        munmap(r->base, r->n_bytes);
    else
        mem_slab_free(r->base, r->n_bytes);
    free(r->folder);
    free(r->parts);
    free(r);
}

struct replay_arrays replay_arrays(struct replay *r) {
    CHECK(r->n_heads == 1 && !r->n_values, "arrays of a ring with other actions");
    return (struct replay_arrays){r->obs,      r->action,     r->episode_id, r->reward,
                                  r->is_first, r->terminated, r->truncated};
}

void replay_set_total(struct replay *r, int64_t total) {
    atomic_store(&r->total, total);
    atomic_store(&r->claimed, total);
}

static size_t slot_index(const struct replay *r, int64_t t, int env) {
    CHECK(env >= 0 && env < r->opts.n_envs, "environment %d of %d", env, r->opts.n_envs);
    return (size_t)(t % r->opts.rows) * (size_t)r->opts.n_envs + (size_t)env;
}

static uint8_t *obs_at(const struct replay *r, size_t slot) {
    return r->obs + slot * (size_t)r->opts.obs_bytes;
}

// ---- writing

// Before the first byte of a new row is written, so that no reader takes the row it replaces for
// whole.
static void claim(struct replay *r) {
    atomic_store_explicit(&r->claimed, replay_total(r) + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

uint8_t *replay_slot(struct replay *r, int env) {
    claim(r);
    return obs_at(r, slot_index(r, replay_total(r), env));
}

void replay_write_arrival(struct replay *r, int env, float reward, bool is_first, bool terminated,
                          bool truncated) {
    int64_t t = replay_total(r);
    size_t i = slot_index(r, t, env);
    claim(r);
    int32_t episode = t ? r->episode_id[slot_index(r, t - 1, env)] : -1;
    CHECK(t || is_first, "the first row of environment %d is not a reset row", env);
    r->reward[i] = reward;
    r->is_first[i] = is_first;
    r->terminated[i] = terminated;
    r->truncated[i] = truncated;
    r->episode_id[i] = episode + is_first;
    r->parts[env] |= ARRIVAL;
}

static int32_t classes_of(const struct replay *r, size_t head) {
    return r->n_values ? 1 : r->actions.classes[head];
}

void replay_write_heads(struct replay *r, int env, const int32_t *heads) {
    size_t i = slot_index(r, replay_total(r), env) * r->n_heads;
    claim(r);
    for (size_t k = 0; k < r->n_heads; k++) {
        const int32_t action = heads ? heads[k] : REPLAY_NO_ACTION;
        CHECK(action >= REPLAY_NO_ACTION && action < classes_of(r, k), "action %d of %d", action,
              classes_of(r, k));
        r->action[i + k] = action;
    }
    r->parts[env] |= ACTION;
}

void replay_write_action(struct replay *r, int env, int action) {
    CHECK(r->n_heads == 1 || action == REPLAY_NO_ACTION, "one action for %zu heads", r->n_heads);
    const int32_t head = (int32_t)action;
    replay_write_heads(r, env, action == REPLAY_NO_ACTION ? NULL : &head);
}

void replay_write_values(struct replay *r, int env, const float *values) {
    CHECK(r->n_values, "continuous values for heads");
    size_t i = slot_index(r, replay_total(r), env) * r->n_values;
    replay_write_action(r, env, values ? 0 : REPLAY_NO_ACTION);
    for (size_t k = 0; k < r->n_values; k++) r->values[i + k] = values ? values[k] : 0;
}

void replay_commit(struct replay *r) {
    for (int n = 0; n < r->opts.n_envs; n++) {
        CHECK(r->parts[n] == COMPLETE, "environment %d gave no %s for row %lld", n,
              r->parts[n] & ARRIVAL ? "action" : "frame", (long long)replay_total(r));
        r->parts[n] = 0;
    }
    atomic_fetch_add_explicit(&r->total, 1, memory_order_release);
}

// ---- state

int64_t replay_total(const struct replay *r) {
    return atomic_load_explicit(&r->total, memory_order_acquire);
}

int64_t replay_size(const struct replay *r) {
    int64_t total = replay_total(r);
    return (total < r->opts.rows ? total : r->opts.rows) * r->opts.n_envs;
}

int64_t replay_capacity(const struct replay *r) { return (int64_t)r->n_slots; }

// Oldest row whose bytes are still there.
static int64_t oldest(const struct replay *r) {
    int64_t t = atomic_load_explicit(&r->claimed, memory_order_acquire) - r->opts.rows;
    return t > 0 ? t : 0;
}

struct replay_window replay_window(const struct replay *r) {
    struct replay_window w;
    w.end = replay_total(r) - r->opts.safety_margin;
    w.first = replay_total(r) - r->opts.rows + r->opts.guard;
    if (w.first < oldest(r)) w.first = oldest(r);
    if (w.end < w.first) w.end = w.first;
    return w;
}

int64_t replay_ready(const struct replay *r) {
    struct replay_window w = replay_window(r);
    return (w.end - w.first) * r->opts.n_envs;
}

struct replay_row replay_row(const struct replay *r, int64_t t, int env) {
    CHECK(t >= oldest(r) && t < replay_total(r), "row %lld is not in the ring", (long long)t);
    size_t i = slot_index(r, t, env);
    return (struct replay_row){.obs = obs_at(r, i),
                               .action = r->action[i * r->n_heads],
                               .heads = r->action + i * r->n_heads,
                               .values = r->values ? r->values + i * r->n_values : NULL,
                               .episode_id = r->episode_id[i],
                               .reward = r->reward[i],
                               .is_first = r->is_first[i],
                               .terminated = r->terminated[i],
                               .truncated = r->truncated[i]};
}

// ---- sampling

bool replay_can_sample(const struct replay *r, int length) {
    struct replay_window w = replay_window(r);
    return length >= 1 && w.end - w.first >= length;
}

// Flags of the window's rows from *t on, as far as they lie side by side; *n: how many.
static const uint8_t *flags_from(const struct replay *r, int64_t t, int64_t end, int64_t *n) {
    const int64_t to_wrap = r->opts.rows - t % r->opts.rows;
    *n = (end - t < to_wrap ? end - t : to_wrap) * r->opts.n_envs;
    return r->terminated + slot_index(r, t, 0);
}

// Terminated rows of the window.
static int64_t count_terminal(const struct replay *r, struct replay_window w) {
    int64_t total = 0, n;
    for (int64_t t = w.first; t < w.end; t += n / r->opts.n_envs) {
        const uint8_t *flags = flags_from(r, t, w.end, &n);
        for (int64_t i = 0; i < n; i++) total += flags[i];
    }
    return total;
}

enum { NOT_YET = -1 };

// starts[].t are numbers of terminated rows of the window, oldest first, and env NOT_YET; they
// become the rows' places. One pass, because the window may be a gigabyte of rows.
static void find_terminal(const struct replay *r, struct replay_window w,
                          struct replay_start *starts, int n_starts) {
    int64_t k = 0, n;
    for (int64_t t = w.first; t < w.end; t += n / r->opts.n_envs) {
        const uint8_t *flags = flags_from(r, t, w.end, &n), *at = flags;
        while ((at = memchr(at, 1, (size_t)(flags + n - at))) != NULL) {
            const int64_t slot = at++ - flags;
            for (int b = 0; b < n_starts; b++)
                if (starts[b].env == NOT_YET && starts[b].t == k)
                    starts[b] = (struct replay_start){.env = slot % r->opts.n_envs,
                                                      .t = t + slot / r->opts.n_envs};
            k++;
        }
    }
}

static uint32_t pick(uint64_t seed, enum rng_purpose purpose, uint64_t step, int64_t row,
                     int64_t n) {
    return rng_below(seed, purpose, step, (uint32_t)row, (uint32_t)n);
}

bool replay_draw(const struct replay *r, struct replay_window window, uint64_t seed, uint64_t step,
                 int length, int batch, int n_terminal, struct replay_start *starts,
                 struct error *e) {
    CHECK(length >= 1 && batch >= 0, "a batch of %d sequences of %d rows", batch, length);
    int64_t n_starts = window.end - window.first - length + 1;
    const int64_t row = r->opts.first_row;
    if (n_starts < 1)
        return error_set(e, STATUS_FAILED,
                         "the replay has %" PRId64
                         " rows per environment to sample, a sequence needs %d; raise "
                         "algo.learning_starts or buffer.size",
                         window.end - window.first, length);
    const int64_t n_ends = n_terminal > 0 ? count_terminal(r, window) : 0;
    if (!n_ends) n_terminal = 0;
    if (n_terminal > batch) n_terminal = batch;
    for (int b = 0; b < n_terminal; b++)
        starts[b] = (struct replay_start){.env = NOT_YET,
                                          .t = pick(seed, RNG_REPLAY_ENV, step, row + b, n_ends)};
    if (n_terminal) find_terminal(r, window, starts, n_terminal);
    for (int b = 0; b < batch; b++) {
        int64_t first = window.first, last = first + n_starts - 1;
        if (b < n_terminal) {
            const int64_t t = starts[b].t;
            first = t - length + 1 > first ? t - length + 1 : first;
            last = t < last ? t : last;
        } else {
            starts[b].env = pick(seed, RNG_REPLAY_ENV, step, row + b, r->opts.n_envs);
        }
        starts[b].t = first + pick(seed, RNG_REPLAY_START, step, row + b, last - first + 1);
    }
    return true;
}

// The action of a slot as the model reads it: one-hot heads one after the other, or the values.
static void put_action(const struct replay *r, real *out, size_t slot) {
    const int32_t *heads = r->action + slot * r->n_heads;
    memset(out, 0, (size_t)r->opts.n_actions * sizeof *out);
    for (size_t k = 0; k < r->n_values; k++) out[k] = (real)r->values[slot * r->n_values + k];
    for (size_t k = 0; k < r->n_heads && !r->n_values; out += r->actions.classes[k++])
        if (heads[k] >= 0) out[heads[k]] = 1;
}

static void put_vector(const struct replay *r, real *out, const uint8_t *floats) {
    for (int k = 0; k < r->opts.n_vector; k++) {
        float x;
        memcpy(&x, floats + (size_t)k * sizeof x, sizeof x);
        out[k] = (real)x;
    }
}

// Row t of a sequence; `from` is where it starts, `cell` where the row goes: t*B + b.
static void gather_row(const struct replay *r, const struct replay_batch *out, int64_t t,
                       int64_t from, int env, size_t cell) {
    size_t i = slot_index(r, t, env), width = (size_t)r->opts.n_actions,
           n_vector = (size_t)r->opts.n_vector,
           picture = (size_t)r->opts.obs_bytes - n_vector * sizeof(float);
    bool first = t == from || r->is_first[i];
    if (out->packed) memcpy(out->packed + cell * picture, obs_at(r, i), picture);
    if (out->vector) put_vector(r, out->vector + cell * n_vector, obs_at(r, i) + picture);
    if (out->actions) put_action(r, out->actions + cell * width, i);
    if (out->prev_actions && first)
        memset(out->prev_actions + cell * width, 0, width * sizeof(real));
    else if (out->prev_actions)
        put_action(r, out->prev_actions + cell * width, slot_index(r, t - 1, env));
    if (out->rewards) out->rewards[cell] = (real)r->reward[i];
    if (out->continues) out->continues[cell] = (real)(1 - r->terminated[i]);
    if (out->is_first) out->is_first[cell] = (real)first;
}

void replay_gather(const struct replay *r, const struct replay_start *starts, int length, int batch,
                   const struct replay_batch *out) {
    int64_t earliest = INT64_MAX;
    for (int b = 0; b < batch; b++) {
        if (starts[b].t < earliest) earliest = starts[b].t;
        CHECK(starts[b].t >= oldest(r) && starts[b].t + length <= replay_total(r),
              "rows %lld to %lld are not in the ring", (long long)starts[b].t,
              (long long)starts[b].t + length - 1);
        for (int t = 0; t < length; t++)
            gather_row(r, out, starts[b].t + t, starts[b].t, (int)starts[b].env,
                       (size_t)t * (size_t)batch + (size_t)b);
    }
    atomic_thread_fence(memory_order_acquire);
    CHECK(batch == 0 || earliest >= oldest(r), "the writer lapped row %lld while it was gathered",
          (long long)earliest);
}

bool replay_sample(const struct replay *r, uint64_t seed, uint64_t step, int length, int batch,
                   const struct replay_batch *out, struct error *e) {
    struct replay_start starts[MAX_BATCH];
    CHECK(batch <= MAX_BATCH, "a batch of %d sequences", batch);
    if (!replay_draw(r, replay_window(r), seed, step, length, batch, 0, starts, e)) return false;
    replay_gather(r, starts, length, batch, out);
    return true;
}

bool replay_rows_before(const struct replay *r, int env, int64_t end, int length,
                        const struct replay_batch *out) {
    CHECK(end <= replay_total(r), "row %lld is not written yet", (long long)end);
    int64_t first = end - r->opts.rows + r->opts.guard; // rows that a writer may take meanwhile
    if (length < 1 || end - (first > 0 ? first : 0) < length) return false;
    replay_gather(r, &(struct replay_start){.env = env, .t = end - length}, length, 1, out);
    return true;
}

// ---- invariants

static const char *broken_rule(const struct replay *r, int64_t t, int env, bool has_previous) {
    struct replay_row row = replay_row(r, t, env);
    for (size_t k = 0; k < r->n_heads; k++)
        if (row.heads[k] < REPLAY_NO_ACTION || row.heads[k] >= classes_of(r, k))
            return "its action is out of range";
    if (r->is_first[slot_index(r, t, env)] > 1 || r->terminated[slot_index(r, t, env)] > 1 ||
        r->truncated[slot_index(r, t, env)] > 1)
        return "a flag is neither 0 nor 1";
    bool ends = row.terminated || row.truncated;
    if (row.is_first && (ends || row.reward != 0)) return "a reset row has a reward or an end";
    for (size_t k = 0; k < r->n_heads; k++)
        if (ends != (row.heads[k] == REPLAY_NO_ACTION))
            return "an action is stored exactly where the episode goes on";
    for (size_t k = 0; k < r->n_values; k++)
        if (!isfinite(row.values[k]) || (ends && row.values[k] != 0))
            return "a continuous action is not finite, or follows an end";
    if (row.episode_id < 0) return "its episode id is negative";
    if (!has_previous) return NULL;
    struct replay_row before = replay_row(r, t - 1, env);
    if (row.is_first != (before.terminated || before.truncated))
        return "a reset row follows exactly an end";
    if (row.episode_id != before.episode_id + row.is_first) return "its episode id does not follow";
    return NULL;
}

bool replay_check(const struct replay *r, struct error *e) {
    int64_t first = oldest(r), total = replay_total(r);
    for (int64_t t = first; t < total; t++)
        for (int n = 0; n < r->opts.n_envs; n++) {
            const char *broken = broken_rule(r, t, n, t > first);
            if (!broken && t == 0 && !replay_row(r, 0, n).is_first)
                broken = "the first row is not a reset row";
            if (broken)
                return error_set(e, STATUS_FAILED, "replay row %" PRId64 " of environment %d: %s",
                                 t, n, broken);
        }
    return true;
}

// ---- files: the slots as they are, so equal rings give equal bytes

// The tensors' one table: name, dtype, bytes per element, pointer.
static int describe(struct replay *r, int64_t n_rows, struct st_source out[REPLAY_MAX_TENSORS]) {
    int64_t n = r->opts.n_envs, obs = r->opts.obs_bytes, heads = (int64_t)r->n_heads;
    const struct st_source list[REPLAY_MAX_TENSORS] = {
        {"replay/obs", ST_U8, 3, {n_rows, n, obs}, r->obs},
        {"replay/action", ST_I32, heads > 1 ? 3 : 2, {n_rows, n, heads}, r->action},
        {"replay/episode_id", ST_I32, 2, {n_rows, n}, r->episode_id},
        {"replay/reward", ST_F32, 2, {n_rows, n}, r->reward},
        {"replay/is_first", ST_U8, 2, {n_rows, n}, r->is_first},
        {"replay/terminated", ST_U8, 2, {n_rows, n}, r->terminated},
        {"replay/truncated", ST_U8, 2, {n_rows, n}, r->truncated},
        {"replay/total", ST_I64, 0, {0}, &r->total},
        {"replay/values", ST_F32, 3, {n_rows, n, (int64_t)r->n_values}, r->values},
    };
    memcpy(out, list, sizeof list);
    return r->n_values ? REPLAY_MAX_TENSORS : REPLAY_MAX_TENSORS - 1;
}

int replay_tensors(struct replay *r, struct st_source out[REPLAY_MAX_TENSORS]) {
    _Static_assert(sizeof r->total == sizeof(int64_t), "the counter is written as I64");
    CHECK(atomic_load(&r->claimed) == replay_total(r),
          "the replay is saved while row %lld is half written", (long long)replay_total(r));
    int64_t total = replay_total(r);
    return describe(r, total < r->opts.rows ? total : r->opts.rows, out);
}

static bool fill(struct replay *r, const struct safetensors *s, struct error *e) {
    const struct st_tensor *count = safetensors_expect(s, "replay/total", ST_I64, 0, NULL, e);
    if (!count) return false;
    int64_t total = *(const int64_t *)count->data;
    if (total < 0)
        return error_set(e, STATUS_FAILED, "%s: replay/total is negative", safetensors_where(s));
    struct st_source list[REPLAY_MAX_TENSORS];
    int n = describe(r, total < r->opts.rows ? total : r->opts.rows, list);
    for (int i = 0; i < n; i++) {
        if (list[i].data == (const void *)&r->total) continue;
        const struct st_tensor *t =
            safetensors_expect(s, list[i].name, list[i].dtype, list[i].n_dims, list[i].shape, e);
        if (!t) return false;
        memcpy((void *)list[i].data, t->data,
               t->n_bytes); // the ring's own slab: not const in truth
    }
    atomic_store(&r->total, total);
    atomic_store(&r->claimed, total);
    struct error broken;
    if (replay_check(r, &broken)) return true;
    return error_set(e, STATUS_FAILED, "%s: %s; the file is broken", safetensors_where(s),
                     broken.message);
}

bool replay_restore(struct replay *r, const struct safetensors *s, struct error *e) {
    struct replay *fresh = replay_new(&r->opts, e);
    if (!fresh) return false;
    bool ok = fill(fresh, s, e);
    if (ok) { // swap the contents; readers of `r` keep their pointer
        struct replay old = *r;
        *r = *fresh;
        *fresh = old;
        r->opts.actions = &r->actions;
        fresh->opts.actions = &fresh->actions;
    }
    replay_free(fresh);
    return ok;
}
