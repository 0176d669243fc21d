// Goal template files: one table of the meta file's members serves reading, checking and writing.
#include "engine/env/goal_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "emu/gb_action.h"
#include "engine/data/image.h"
#include "engine/data/npy.h"

// A new template is first written beside the old one, under these names; its meta file is the last,
// so where that is there, all of it is, and it counts. Then each file takes its place, the meta
// file again the last.
#define NEXT ".next"
enum template_file { PNG, NPY, META, N_FILES };
static const char npy_name[] = "goal_template.npy", meta_name[] = "goal_template.meta.json";
static const char *const names[2][N_FILES] = {
    {"goal_template.png", npy_name, meta_name},
    {"goal_template.png" NEXT, "goal_template.npy" NEXT, "goal_template.meta.json" NEXT}};
static const char dist_metric[] = "l1_mean_norm", state_only[] = "state_only";

enum { MAX_META_BYTES = 1 << 16, MAX_NPY_BYTES = (1 << 16) + GOAL_MAX_STACK * GOAL_FRAME_PIXELS };

// ---- the members, in the order of their names (as Python's sort_keys writes them)

enum member_type { TEXT, HASH, COUNT, NUMBER, FIXED_COUNT, FIXED_TEXT };

struct member {
    const char *key;
    enum member_type type;
    size_t offset, size;    // in struct goal_meta
    int least, most;        // COUNT; FIXED_COUNT: the value is `least`
    const char *fixed_text; // FIXED_TEXT
};

#define TEXT_MEMBER(name, type)                                                                    \
    {                                                                                              \
#name, type, offsetof(struct goal_meta, name), sizeof((struct goal_meta *)0)->name, 0, 0,  \
            NULL                                                                                   \
    }
#define COUNT_MEMBER(name, least, most)                                                            \
    { #name, COUNT, offsetof(struct goal_meta, name), 0, least, most, NULL }

static const struct member members[] = {
    TEXT_MEMBER(action_codec_id, TEXT),
    TEXT_MEMBER(actions_path, TEXT),
    TEXT_MEMBER(actions_sha256, HASH),
    TEXT_MEMBER(created_at, TEXT),
    {"dist_metric", FIXED_TEXT, 0, 0, 0, 0, dist_metric},
    {"downsample_h", FIXED_COUNT, 0, 0, ENV_OBS_HEIGHT, 0, NULL},
    {"downsample_w", FIXED_COUNT, 0, 0, ENV_OBS_WIDTH, 0, NULL},
    COUNT_MEMBER(frames_per_step, 1, 100000),
    COUNT_MEMBER(k_consecutive, 1, GOAL_MAX_K),
    COUNT_MEMBER(pipeline_version, 1, 1000),
    COUNT_MEMBER(release_after_frames, 0, 100000),
    TEXT_MEMBER(rom_path, TEXT),
    TEXT_MEMBER(rom_sha256, HASH),
    {"schema_version", FIXED_COUNT, 0, 0, GOAL_SCHEMA_VERSION, 0, NULL},
    {"shade_levels", FIXED_COUNT, 0, 0, 4, 0, NULL},
    COUNT_MEMBER(stack_k, 1, GOAL_MAX_STACK),
    TEXT_MEMBER(state_path, TEXT),
    TEXT_MEMBER(state_sha256, HASH),
    {"tau", NUMBER, offsetof(struct goal_meta, tau), 0, 0, 0, NULL},
};
enum { N_MEMBERS = sizeof members / sizeof *members };

// ---- reading

static bool is_hash(const char *text, bool may_be_empty) {
    size_t n = strspn(text, "0123456789abcdef");
    return text[n] == 0 && (n == SHA256_HEX_SIZE - 1 || (may_be_empty && n == 0));
}

static bool read_text(const cJSON *root, const struct member *m, const char *where, char *out,
                      struct error *e) {
    const char *text;
    if (!json_get_string(root, m->key, where, &text, e)) return false;
    if (strlen(text) >= m->size)
        return error_set(e, STATUS_FAILED, "%s: key \"%s\" is longer than %zu bytes", where, m->key,
                         m->size - 1);
    if (m->type == HASH && !is_hash(text, strcmp(m->key, "actions_sha256") == 0))
        return error_set(e, STATUS_FAILED, "%s: key \"%s\" is \"%.80s\", must be 64 hex digits",
                         where, m->key, text);
    strcpy(out, text);
    return true;
}

static bool read_count(const cJSON *root, const struct member *m, const char *where, int *out,
                       struct error *e) {
    int64_t v;
    if (!json_get_i64(root, m->key, where, &v, e)) return false;
    if (m->type == FIXED_COUNT) {
        if (v == m->least) return true;
        return error_set(e, STATUS_FAILED, "%s: %s is %lld, this program needs %d", where, m->key,
                         (long long)v, m->least);
    }
    if (v < m->least || v > m->most)
        return error_set(e, STATUS_FAILED, "%s: %s is %lld, must be within %d and %d", where,
                         m->key, (long long)v, m->least, m->most);
    *out = (int)v;
    return true;
}

static bool read_member(const cJSON *root, const struct member *m, const char *where,
                        struct goal_meta *meta, struct error *e) {
    void *field = (char *)meta + m->offset;
    const char *text;
    switch (m->type) {
    case TEXT:
    case HASH:
        return read_text(root, m, where, field, e);
    case COUNT:
        return read_count(root, m, where, field, e);
    case FIXED_COUNT:
        return read_count(root, m, where, NULL, e);
    case FIXED_TEXT:
        if (!json_get_string(root, m->key, where, &text, e)) return false;
        return strcmp(text, m->fixed_text) == 0 ||
               error_set(e, STATUS_FAILED, "%s: %s is \"%.80s\", this program needs \"%s\"", where,
                         m->key, text, m->fixed_text);
    case NUMBER:
        break;
    }
    double v;
    if (!json_get_double(root, m->key, where, &v, e)) return false;
    if (!(v > 0 && v <= 1)) // NaN fails too
        return error_set(e, STATUS_FAILED, "%s: %s is %g, must be above 0 and at most 1", where,
                         m->key, v);
    *(double *)field = v;
    return true;
}

static bool same_text(const char *where, const char *key, const char *have, const char *wanted,
                      struct error *e) {
    if (!wanted || strcmp(have, wanted) == 0) return true;
    return error_set(e, STATUS_FAILED, "%s: %s is %s, this run has %s", where, key, have, wanted);
}

static bool same_count(const char *where, const char *key, int have, int wanted, struct error *e) {
    if (have == wanted) return true;
    return error_set(e, STATUS_FAILED, "%s: %s is %d, this run has %d", where, key, have, wanted);
}

static bool agrees(const struct goal_meta *m, const struct goal_expect *x, const char *where,
                   struct error *e) {
    if (!gb_action_codec_find(m->action_codec_id))
        return error_set(e, STATUS_FAILED,
                         "%s: action_codec_id is %s, this program knows %s, %s and %s", where,
                         m->action_codec_id, gb_action_codec(0)->id, gb_action_codec(1)->id,
                         gb_action_codec(2)->id);
    if (m->pipeline_version != GOAL_PIPELINE_VERSION && m->pipeline_version != x->accept_pipeline)
        return error_set(e, STATUS_FAILED,
                         "%s: pipeline_version is %d, this program makes %d; --accept-pipeline %d "
                         "takes it as it is",
                         where, m->pipeline_version, GOAL_PIPELINE_VERSION, m->pipeline_version);
    bool from_actions = strcmp(m->actions_path, state_only) != 0;
    return same_text(where, "action_codec_id", m->action_codec_id, x->action_codec_id, e) &&
           same_count(where, "frames_per_step", m->frames_per_step, GB_FRAMES_PER_STEP, e) &&
           same_count(where, "release_after_frames", m->release_after_frames, GB_RELEASE_AFTER,
                      e) &&
           same_text(where, "rom_sha256", m->rom_sha256, x->rom_sha256, e) &&
           same_text(where, "state_sha256", m->state_sha256, from_actions ? x->state_sha256 : NULL,
                     e);
}

static bool read_meta(const char *text, size_t n, const char *where, struct goal_meta *meta,
                      struct error *e) {
    cJSON *root = json_parse(text, n, where, e);
    if (!root) return false;
    bool fine = true;
    for (int i = 0; i < N_MEMBERS && fine; i++)
        fine = read_member(root, &members[i], where, meta, e);
    cJSON_Delete(root);
    return fine;
}

static void pack(const uint8_t *pixels, uint8_t packed[ENV_OBS_BYTES]) {
    for (int i = 0; i < ENV_OBS_BYTES; i++, pixels += 4)
        packed[i] = (uint8_t)(pixels[0] | pixels[1] << 2 | pixels[2] << 4 | pixels[3] << 6);
}

static bool read_pictures(const void *bytes, size_t n, const char *where, int stack_k,
                          struct goal *goal, struct error *e) {
    struct npy_u8 a;
    if (!npy_parse(bytes, n, where, &a, e)) return false;
    const size_t *size = a.shape + (a.n_dims == 3);
    if ((a.n_dims != 2 && a.n_dims != 3) || size[0] != ENV_OBS_HEIGHT || size[1] != ENV_OBS_WIDTH) {
        char shape[100] = "";
        for (int i = 0, at = 0; i < a.n_dims; i++)
            at +=
                snprintf(shape + at, sizeof shape - (size_t)at, "%s%zu", i ? "x" : "", a.shape[i]);
        return error_set(e, STATUS_FAILED, "%s: shape is %s, must be %dx%d or %dx%dx%d", where,
                         shape, ENV_OBS_HEIGHT, ENV_OBS_WIDTH, stack_k, ENV_OBS_HEIGHT,
                         ENV_OBS_WIDTH);
    }
    if (a.n_dims == 3 && a.shape[0] != (size_t)stack_k)
        return error_set(e, STATUS_FAILED, "%s: holds %zu frames, stack_k in %s is %d", where,
                         a.shape[0], meta_name, stack_k);
    for (size_t i = 0; i < a.n_bytes; i++)
        if (a.data[i] > 3)
            return error_set(e, STATUS_FAILED, "%s: pixel %zu is %d, shades are 0 to 3", where, i,
                             a.data[i]);
    goal->n_frames = a.n_dims == 3 ? stack_k : 1;
    for (int k = 0; k < goal->n_frames; k++) pack(a.data + k * GOAL_FRAME_PIXELS, goal->packed[k]);
    return true;
}

bool goal_parse(const void *npy, size_t n_npy, const char *meta, size_t n_meta, const char *where,
                const struct goal_expect *expect, struct goal_template *out, struct error *e) {
    char npy_path[PATH_SIZE], meta_path[PATH_SIZE];
    struct goal_template *t = mem_alloc(sizeof *t);
    bool fine =
        path_join(npy_path, where, npy_name, e) && path_join(meta_path, where, meta_name, e) &&
        read_meta(meta, n_meta, meta_path, &t->meta, e) && agrees(&t->meta, expect, meta_path, e) &&
        read_pictures(npy, n_npy, npy_path, t->meta.stack_k, &t->goal, e);
    if (fine) {
        sha256_hex(npy, n_npy, t->sha256);
        *out = *t;
    }
    free(t);
    return fine;
}

// Of the template that counts; false: the name is too long.
static bool find_file(const char *folder, enum template_file file, char path[PATH_SIZE],
                      struct error *e) {
    if (!path_join(path, folder, names[1][META], e)) return false;
    if (file_exists(path)) {
        if (!path_join(path, folder, names[1][file], e)) return false;
        if (file_exists(path)) return true;
    }
    return path_join(path, folder, names[0][file], e);
}

struct files {
    uint8_t *npy, *meta;
    size_t n_npy, n_meta;
};

static void drop_files(struct files *f) {
    free(f->npy);
    free(f->meta);
    *f = (struct files){0};
}

static bool read_file(const char *folder, enum template_file file, size_t most, uint8_t **data,
                      size_t *n, struct error *e) {
    char path[PATH_SIZE];
    return find_file(folder, file, path, e) && file_read(path, most, data, n, e);
}

// Of one template: the pixels stand between two readings of one meta file, the last that a writer
// makes whole. Whoever replaces it meanwhile has moved files away or changed that one.
static bool read_files(const char *folder, struct files *f, struct error *e) {
    uint8_t *again = NULL;
    size_t n_again;
    const bool fine = read_file(folder, META, MAX_META_BYTES, &f->meta, &f->n_meta, e) &&
                      read_file(folder, NPY, MAX_NPY_BYTES, &f->npy, &f->n_npy, e) &&
                      read_file(folder, META, MAX_META_BYTES, &again, &n_again, e);
    const bool same = fine && n_again == f->n_meta && memcmp(again, f->meta, n_again) == 0;
    free(again);
    return same || (fine && error_set(e, STATUS_FAILED,
                                      "%s: its template is being replaced; try again", folder));
}

bool goal_load(const char *folder, const struct goal_expect *expect, struct goal_template *out,
               struct error *e) {
    enum { TRIES = 20 };
    struct files f = {0};
    struct error why = {0};
    bool fine = read_files(folder, &f, &why);
    for (int i = 1; i < TRIES && !fine; i++) {
        drop_files(&f);
        fine = read_files(folder, &f, &why);
    }
    if (!fine)
        error_set(e, why.status, "%s", why.message);
    else
        fine = goal_parse(f.npy, f.n_npy, (const char *)f.meta, f.n_meta, folder, expect, out, e);
    drop_files(&f);
    return fine;
}

// ---- writing

static void write_member(struct text *t, const struct member *m, const struct goal_meta *meta) {
    const char *field = (const char *)meta + m->offset;
    text_add(t, "  \"%s\": ", m->key);
    switch (m->type) {
    case TEXT:
    case HASH:
        text_add_json_string(t, field);
        break;
    case COUNT:
        text_add(t, "%d", *(const int *)(const void *)field);
        break;
    case FIXED_COUNT:
        text_add(t, "%d", m->least);
        break;
    case FIXED_TEXT:
        text_add_json_string(t, m->fixed_text);
        break;
    case NUMBER:
        text_add_json_double(t, *(const double *)(const void *)field);
        break;
    }
}

static bool write_meta(const char *path, const struct goal_meta *given, struct error *e) {
    struct goal_meta meta = *given;
    struct text t = {0};
    if (!meta.created_at[0]) clock_utc_iso(meta.created_at, sizeof meta.created_at);
    text_add(&t, "{\n");
    for (int i = 0; i < N_MEMBERS; i++) {
        write_member(&t, &members[i], &meta);
        text_add(&t, "%s\n", i + 1 < N_MEMBERS ? "," : "");
    }
    text_add(&t, "}\n");
    bool fine = file_write_atomic(path, t.data, t.n, e);
    text_deinit(&t);
    return fine;
}

static bool write_pictures(const char *path, const struct goal *goal, int stack_k,
                           struct error *e) {
    const size_t shape[3] = {(size_t)stack_k, ENV_OBS_HEIGHT, ENV_OBS_WIDTH};
    bool stacked = goal->n_frames > 1;
    size_t n = NPY_HEADER_BYTES + (size_t)goal->n_frames * GOAL_FRAME_PIXELS;
    uint8_t *bytes = mem_alloc(n), *pixels = bytes + NPY_HEADER_BYTES;
    CHECK(npy_header(stacked ? shape : shape + 1, stacked ? 3 : 2, bytes), "header");
    for (int k = 0; k < goal->n_frames; k++)
        for (int i = 0; i < GOAL_FRAME_PIXELS; i++)
            *pixels++ = goal->packed[k][i / 4] >> (2 * (i & 3)) & 3;
    bool fine = file_write_atomic(path, bytes, n, e);
    free(bytes);
    return fine;
}

void goal_make(const struct goal_source *source, const struct goal *goal,
               struct goal_template *out) {
    struct goal_meta *m = &out->meta;
    memset(out, 0, sizeof *out);
    *m = (struct goal_meta){.frames_per_step = GB_FRAMES_PER_STEP,
                            .release_after_frames = GB_RELEASE_AFTER,
                            .stack_k = goal->n_frames,
                            .tau = 0.05, // goal_default_rules.tau as a double prints 0.05000000074
                            .k_consecutive = goal_default_rules.k_consecutive,
                            .pipeline_version = GOAL_PIPELINE_VERSION};
    snprintf(m->action_codec_id, sizeof m->action_codec_id, "%s", source->action_codec_id);
    snprintf(m->rom_path, sizeof m->rom_path, "%s", source->rom_path);
    snprintf(m->rom_sha256, sizeof m->rom_sha256, "%s", source->rom_sha256);
    snprintf(m->state_path, sizeof m->state_path, "%s", source->state_path);
    snprintf(m->state_sha256, sizeof m->state_sha256, "%s", source->state_sha256);
    const char *actions = source->actions_path;
    snprintf(m->actions_path, sizeof m->actions_path, "%s", actions ? actions : state_only);
    if (actions)
        snprintf(m->actions_sha256, sizeof m->actions_sha256, "%s", source->actions_sha256);
    out->goal = *goal;
}

static bool write_png(const char *path, const struct goal_template *t, struct error *e) {
    const int width = t->goal.n_frames * ENV_OBS_WIDTH;
    uint8_t *grey = mem_alloc((size_t)(width * ENV_OBS_HEIGHT));
    for (int k = 0; k < t->goal.n_frames; k++)
        for (int i = 0; i < GOAL_FRAME_PIXELS; i++)
            grey[i / ENV_OBS_WIDTH * width + k * ENV_OBS_WIDTH + i % ENV_OBS_WIDTH] =
                (uint8_t)(255 - 85 * (t->goal.packed[k][i / 4] >> (2 * (i & 3)) & 3));
    const bool fine = png_write_grey(path, grey, width, ENV_OBS_HEIGHT, NULL, 0, e);
    free(grey);
    return fine;
}

// A next template that is whole takes its place; of one that is not nothing counts.
static bool take_place(const char *folder, struct error *e) {
    char from[PATH_SIZE], to[PATH_SIZE];
    if (!path_join(from, folder, names[1][META], e)) return false;
    if (!file_exists(from)) return true;
    for (int i = 0; i < N_FILES; i++) {
        if (!path_join(from, folder, names[1][i], e) || !path_join(to, folder, names[0][i], e))
            return false;
        if (rename(from, to) != 0 && errno != ENOENT)
            return error_set(e, STATUS_FAILED, "cannot rename %s to %s: %s", from, to,
                             strerror(errno));
    }
    return true;
}

static bool holds_template(const char *folder, struct error *e) {
    char npy_path[PATH_SIZE], meta_path[PATH_SIZE];
    return !find_file(folder, NPY, npy_path, e) || !find_file(folder, META, meta_path, e) ||
           file_exists(npy_path) || file_exists(meta_path);
}

bool goal_write(const char *folder, const struct goal_template *t, unsigned how, struct error *e) {
    char path[N_FILES][PATH_SIZE];
    CHECK(t->goal.n_frames == 1 || t->goal.n_frames == t->meta.stack_k,
          "a stack of %d with stack_k %d", t->goal.n_frames, t->meta.stack_k);
    for (int i = 0; i < N_FILES; i++)
        if (!path_join(path[i], folder, names[1][i], e)) return false;
    if (!file_make_folders(folder, e)) return false;
    if (!(how & GOAL_REPLACE) && holds_template(folder, e))
        return error_set(e, STATUS_FAILED,
                         "%s: holds a goal template already; choose another folder or --force it",
                         folder);
    if (!take_place(folder, e)) return false; // what a writer before left
    remove(path[PNG]);
    if ((!(how & GOAL_PICTURE) || write_png(path[PNG], t, e)) &&
        write_pictures(path[NPY], &t->goal, t->meta.stack_k, e) &&
        write_meta(path[META], &t->meta, e))
        return take_place(folder, e);
    remove(path[PNG]); // a full disk needs the room
    remove(path[NPY]);
    return false;
}
