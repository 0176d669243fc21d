// Session writer: the folder of one run, written so that a kill loses at most the last record.
#include "engine/data/session.h"

#include <gnu/libc-version.h>
#include <png.h>
#include <zstd.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/version.h"

const char *const session_state_names[SESSION_N_STATES] = {"running", "done", "failed"};
static const int64_t heartbeat_ns = 1000000000;
static const size_t max_lines_bytes = (size_t)8 << 30;
enum { MAX_SUFFIX = 1000, PART_SIZE = 48, LOCK_TRIES = 10 };

struct session {
    char path[PATH_SIZE];
    char config_sha256[SHA256_HEX_SIZE];
    struct file_append metrics, timing;
    struct text line; // reused
    enum session_state state;
    char message[300];
    int64_t opt_steps, env_steps, last_heartbeat_ns, start_ns;
};

static const char *or_empty(const char *s) { return s ? s : ""; }

// ---- making the folder

// ROOT/UTC__algo__rom__tag, with -2, -3, ... when a run of the same second is there already.
static bool make_folder(struct session *s, const struct session_opts *o, struct error *e) {
    char utc[32], algo[PART_SIZE], rom[PART_SIZE], tag[PART_SIZE], name[256];
    const char *root = o->root && *o->root ? o->root : "sessions";
    if (!file_make_folders(root, e)) return false;
    clock_utc_compact(utc, sizeof utc);
    session_clean_name(or_empty(o->algo), algo, sizeof algo);
    session_clean_name(or_empty(o->rom_name), rom, sizeof rom);
    session_clean_name(o->tag && *o->tag ? o->tag : "run", tag, sizeof tag);
    for (int i = 1; i < MAX_SUFFIX; i++) {
        char suffix[16] = "";
        if (i > 1) snprintf(suffix, sizeof suffix, "-%d", i);
        snprintf(name, sizeof name, "%s__%s__%s__%s%s", utc, algo, rom, tag, suffix);
        if (!path_join(s->path, root, name, e)) return false;
        if (mkdir(s->path, 0777) == 0) return true;
        if (errno != EEXIST)
            return error_set(
                e, errno == ENOSPC || errno == EDQUOT ? STATUS_FAILED : STATUS_USAGE,
                "cannot make the session folder %s: %s; choose another folder with --sessions",
                s->path, strerror(errno));
    }
    return error_set(e, STATUS_FAILED, "cannot make the session folder %s: the name is taken",
                     s->path);
}

static bool write_meta(const struct session *s, const struct session_opts *o, struct error *e) {
    char path[PATH_SIZE], utc[32];
    if (!path_join(path, s->path, "meta.json", e)) return false;
    cJSON *root = cJSON_CreateObject();
    clock_utc_iso(utc, sizeof utc);
    json_add_count(root, "schema", SESSION_SCHEMA);
    json_add_string(root, "program", "workbench");
    json_add_string(root, "version", version_text);
    json_add_string(root, "revision", version_revision);
    json_add_string(root, "created", utc);
    json_add_string(root, "algo", or_empty(o->algo));
    json_add_string(root, "task", or_empty(o->task));
    json_add_string(root, "mode", or_empty(o->mode));
    json_add_string(root, "preset", or_empty(o->preset));
    json_add_string(root, "device", or_empty(o->device));
    json_add_string(root, "kernel", or_empty(o->kernel));
    json_add_u64(root, "seed", o->seed);
    json_add_count(root, "n_weights", o->n_weights);
    if (o->zero_latent) json_add_bool(root, "zero_latent", true);
    if (o->n_ranks > 1) json_add_count(root, "ranks", o->n_ranks);
    cJSON *rom = json_add_object(root, "rom");
    json_add_string(rom, "name", or_empty(o->rom_name));
    json_add_string(rom, "sha256", or_empty(o->rom_sha256));
    if (o->state_name) {
        cJSON *state = json_add_object(root, "start_state");
        json_add_string(state, "name", o->state_name);
        json_add_string(state, "sha256", or_empty(o->state_sha256));
    }
    if (o->goal) {
        cJSON *goal = json_add_object(root, "goal");
        json_add_string(goal, "name", o->goal);
        json_add_string(goal, "sha256", or_empty(o->goal_sha256));
        json_add_count(goal, "pipeline_version", o->goal_pipeline);
    }
    if (o->rom_path) json_add_string(rom, "path", o->rom_path);
    if (o->state_path) json_add_string(root, "state_path", o->state_path);
    if (o->goal_dir) json_add_string(root, "goal_dir", o->goal_dir);
    json_add_count(root, "frames_per_step", o->frames_per_step);
    json_add_count(root, "release_after", o->release_after);
    json_add_string(root, "config_sha256", s->config_sha256);
    json_add_string(root, "compiler", __VERSION__);
    cJSON *libraries = json_add_object(root, "libraries");
    json_add_string(libraries, "libc", gnu_get_libc_version());
    json_add_string(libraries, "cjson", cJSON_Version());
    json_add_string(libraries, "zstd", ZSTD_versionString());
    json_add_string(libraries, "libpng", png_get_libpng_ver(NULL));
    bool ok = json_write_file(path, root, true, e);
    cJSON_Delete(root);
    return ok;
}

static bool write_heartbeat(struct session *s, struct error *e) {
    char path[PATH_SIZE], utc[32];
    if (!path_join(path, s->path, "heartbeat.json", e)) return false;
    cJSON *root = cJSON_CreateObject();
    clock_utc_iso(utc, sizeof utc);
    json_add_string(root, "state", session_state_names[s->state]);
    json_add_count(root, "pid", (int64_t)getpid());
    json_add_count(root, "opt_steps", s->opt_steps);
    json_add_count(root, "env_steps", s->env_steps);
    json_add_string(root, "updated", utc);
    json_add_count(root, "elapsed_s", (clock_now_ns() - s->start_ns) / 1000000000);
    json_add_string(root, "message", s->message);
    // Only the last one is worth a wait for the disk.
    bool ok = json_write_file(path, root, s->state != SESSION_RUNNING, e);
    cJSON_Delete(root);
    return ok;
}

// Both files of records, and the lock that keeps a second writer away; it goes with the process.
static bool open_lines(struct session *s, struct error *e) {
    char path[PATH_SIZE];
    if (!path_join(path, s->path, "metrics.jsonl", e) || !file_append_open(&s->metrics, path, e) ||
        !path_join(path, s->path, "timing.jsonl", e) || !file_append_open(&s->timing, path, e))
        return false;
    for (int i = 0; i < LOCK_TRIES; i++) { // who only looks whether it is locked is soon gone
        if (flock(s->metrics.fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return true;
        clock_sleep_ns(10000000);
    }
    return error_set(e, STATUS_USAGE, "%s: another process is writing this session; stop it first",
                     s->path);
}

bool session_is_written(const char *path) {
    char lines[PATH_SIZE];
    const int fd = path_join(lines, path, "metrics.jsonl", NULL) ? open(lines, O_RDONLY) : -1;
    const bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (fd >= 0) close(fd);
    return locked;
}

static bool write_files(struct session *s, const struct session_opts *o, struct error *e) {
    char path[PATH_SIZE];
    const char *config = o->config_json ? o->config_json : "{}\n";
    sha256_hex(config, strlen(config), s->config_sha256);
    return path_join(path, s->path, "config.json", e) &&
           file_write_atomic(path, config, strlen(config), e) && open_lines(s, e) &&
           path_join(path, s->path, "checkpoints", e) && file_make_folders(path, e) &&
           path_join(path, s->path, "frames", e) && file_make_folders(path, e) &&
           path_join(path, s->path, "failures", e) && file_make_folders(path, e) &&
           write_heartbeat(s, e) &&
           write_meta(s, o, e); // last: a folder with meta.json is a whole session
}

static void free_session(struct session *s) {
    file_append_close(&s->metrics, NULL);
    file_append_close(&s->timing, NULL);
    text_deinit(&s->line);
    free(s);
}

// Nothing half-made stays behind when a session cannot begin.
static void remove_folder(const char *path) {
    static const char *const files[] = {"meta.json", "config.json", "heartbeat.json",
                                        "metrics.jsonl", "timing.jsonl"};
    static const char *const folders[] = {"checkpoints", "frames", "failures", ""};
    char inside[PATH_SIZE];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (path_join(inside, path, files[i], NULL)) unlink(inside);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (path_join(inside, path, folders[i], NULL)) rmdir(inside);
}

struct session *session_create(const struct session_opts *opts, struct error *e) {
    struct session *s = mem_alloc(sizeof *s);
    s->metrics.fd = s->timing.fd = -1;
    s->start_ns = s->last_heartbeat_ns = clock_now_ns();
    if (make_folder(s, opts, e)) {
        if (write_files(s, opts, e)) return s;
        remove_folder(s->path);
    }
    free_session(s);
    return NULL;
}

// ---- going on with a session

static bool cut_lines(struct file_append *f, int64_t opt_steps, struct error *e) {
    uint8_t *text;
    size_t n;
    if (!file_read(f->path, max_lines_bytes, &text, &n, e)) return false;
    int64_t keep = session_lines_until((const char *)text, n, opt_steps);
    free(text);
    return (size_t)keep == n || file_append_cut(f, keep, e);
}

// The distance of records that a config asks for; -1: not said.
static int64_t log_every_of(const char *config) {
    cJSON *root = cJSON_Parse(config);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, "metric.log_every");
    int64_t v = -1;
    if (item && !json_is_i64(item, &v)) v = -1;
    cJSON_Delete(root);
    return v;
}

// What meta.json says of the config must be true of the new one; from which step on its distance of
// records holds, too.
static bool replace_meta(struct session *s, bool same, bool other_distance, struct error *e) {
    char path[PATH_SIZE];
    if (!path_join(path, s->path, "meta.json", e)) return false;
    cJSON *meta = json_read_file(path, 4 << 20, e);
    if (!meta) return false;
    int64_t from = 0;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(meta, "log_every_from");
    if (item && !json_is_i64(item, &from)) from = 0;
    if (other_distance || from > s->opt_steps) {
        cJSON_DeleteItemFromObjectCaseSensitive(meta, "log_every_from");
        json_add_count(meta, "log_every_from", s->opt_steps);
        same = false;
    }
    cJSON_DeleteItemFromObjectCaseSensitive(meta, "config_sha256");
    json_add_string(meta, "config_sha256", s->config_sha256);
    bool ok = same || json_write_file(path, meta, true, e);
    cJSON_Delete(meta);
    return ok;
}

static bool replace_config(struct session *s, const char *config, struct error *e) {
    char path[PATH_SIZE];
    uint8_t *old;
    size_t n;
    if (!path_join(path, s->path, "config.json", e) || !file_read(path, 4 << 20, &old, &n, e))
        return false;
    const bool same = n == strlen(config) && memcmp(old, config, n) == 0,
               other_distance = log_every_of((char *)old) != log_every_of(config);
    free(old);
    return (same || file_write_atomic(path, config, strlen(config), e)) &&
           replace_meta(s, same, other_distance, e);
}

static bool remove_checkpoints_after(const struct session *s, int64_t opt_steps, struct error *e);

struct session *session_resume(const char *path, const struct session_opts *o, int64_t opt_steps,
                               struct error *e) {
    struct session *s = mem_alloc(sizeof *s);
    struct error hole = {0};
    s->metrics.fd = s->timing.fd = -1;
    s->start_ns = s->last_heartbeat_ns = clock_now_ns();
    s->opt_steps = opt_steps;
    sha256_hex(o->config_json, strlen(o->config_json), s->config_sha256);
    if (path_join(s->path, path, "", e)) {
        size_t n = strlen(s->path);
        if (n > 1 && s->path[n - 1] == '/') s->path[n - 1] = 0;
        if (!session_lines_whole(s->path, opt_steps, &hole))
            log_write(LOG_WARN, "%s; going on without them", hole.message);
        if (open_lines(s, e) && cut_lines(&s->metrics, opt_steps, e) &&
            cut_lines(&s->timing, opt_steps, e) && remove_checkpoints_after(s, opt_steps, e) &&
            replace_config(s, o->config_json, e) && write_heartbeat(s, e))
            return s;
    }
    free_session(s);
    return NULL;
}

// ---- while it runs

const char *session_path(const struct session *s) { return s->path; }
const char *session_config_sha256(const struct session *s) { return s->config_sha256; }

bool session_append(struct session *s, const struct record *record, struct error *e) {
    s->opt_steps = record->opt_steps;
    s->env_steps = record->env_steps;
    // Timing first: should the disk fill up between the two, the leftover line has no partner and
    // readers skip it.
    s->line.n = 0;
    if (session_format_timing(record, &s->line) &&
        !file_append_write(&s->timing, s->line.data, s->line.n, e))
        return false;
    s->line.n = 0;
    session_format_metrics(record, &s->line);
    return file_append_write(&s->metrics, s->line.data, s->line.n, e);
}

bool session_heartbeat(struct session *s, int64_t opt_steps, int64_t env_steps, struct error *e) {
    s->opt_steps = opt_steps;
    s->env_steps = env_steps;
    int64_t now = clock_now_ns();
    if (now - s->last_heartbeat_ns < heartbeat_ns) return true;
    s->last_heartbeat_ns = now;
    return write_heartbeat(s, e);
}

bool session_finish(struct session *s, enum session_state state, const char *message) {
    struct error e = {0};
    s->state = state;
    snprintf(s->message, sizeof s->message, "%s", or_empty(message));
    if (write_heartbeat(s, &e)) return true;
    log_write(LOG_WARN, "%s", e.message); // the run's own result counts more
    return false;
}

void session_close(struct session *s) {
    if (!s) return;
    if (s->state == SESSION_RUNNING)
        session_finish(s, SESSION_FAILED, "the program ended before the run did");
    struct error e = {0};
    if (!file_append_close(&s->metrics, &e) || !file_append_close(&s->timing, &e))
        log_write(LOG_ERROR, "%s", e.message);
    free_session(s);
}

// ---- paths inside

bool session_checkpoint_path(struct session *s, int64_t opt_steps, char out[PATH_SIZE],
                             struct error *e) {
    char name[64];
    snprintf(name, sizeof name, "checkpoints/step_%09" PRId64 ".safetensors", opt_steps);
    return path_join(out, s->path, "checkpoints", e) && file_make_folders(out, e) &&
           path_join(out, s->path, name, e);
}

bool session_frames_path(struct session *s, char out[PATH_SIZE], struct error *e) {
    return path_join(out, s->path, "frames", e) && file_make_folders(out, e) &&
           path_join(out, s->path, "frames/pictures.frames", e);
}

bool session_failure_folder(const char *session, int64_t opt_steps, int rank, char out[PATH_SIZE],
                            struct error *e) {
    char name[96], owner[24] = "";
    if (rank > 0) snprintf(owner, sizeof owner, ".rank_%d", rank);
    if (!path_join(out, session, "failures", e) || !file_make_folders(out, e)) return false;
    for (int i = 1; i < MAX_SUFFIX; i++) {
        snprintf(name, sizeof name, "failures/step_%09" PRId64 "%s", opt_steps, owner);
        if (i > 1) snprintf(name + strlen(name), sizeof name - strlen(name), "-%d", i);
        if (!path_join(out, session, name, e)) return false;
        if (mkdir(out, 0777) == 0) return true;
        if (errno != EEXIST) break;
    }
    return error_set(e, STATUS_FAILED, "cannot make the folder %s: %s", out, strerror(errno));
}

// ---- checkpoints by step

// Step of "step_NNN.safetensors", or -1.
static int64_t checkpoint_step(const char *name) {
    int64_t step;
    int end = 0;
    if (sscanf(name, "step_%18" SCNd64 ".safetensors%n", &step, &end) != 1 || end == 0 ||
        name[end] || step < 0)
        return -1;
    return step;
}

static int compare_steps(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// Ascending steps of a session's checkpoints; *steps is the caller's to free.
static bool list_checkpoints(const char *session, char folder[PATH_SIZE], int64_t **steps, int *n,
                             struct error *e) {
    *steps = NULL;
    *n = 0;
    if (!path_join(folder, session, "checkpoints", e)) return false;
    DIR *dir = opendir(folder);
    if (!dir) return error_set(e, STATUS_USAGE, "cannot open %s: %s", folder, strerror(errno));
    for (struct dirent *entry; (entry = readdir(dir));) {
        int64_t step = checkpoint_step(entry->d_name);
        if (step < 0) continue;
        *steps = mem_resize(*steps, (size_t)(*n + 1) * sizeof **steps);
        (*steps)[(*n)++] = step;
    }
    closedir(dir);
    if (*n) qsort(*steps, (size_t)*n, sizeof **steps, compare_steps);
    return true;
}

static bool checkpoint_file(char out[PATH_SIZE], const char *folder, int64_t step,
                            struct error *e) {
    char name[64];
    snprintf(name, sizeof name, "step_%09" PRId64 ".safetensors", step);
    return path_join(out, folder, name, e);
}

bool session_prune_checkpoints(struct session *s, int keep_last, struct error *e) {
    CHECK(keep_last >= 1, "keep_last %d", keep_last);
    char folder[PATH_SIZE], path[PATH_SIZE];
    int64_t *steps;
    int n;
    if (!list_checkpoints(s->path, folder, &steps, &n, e)) return false;
    bool ok = true;
    for (int i = 0; ok && i < n - keep_last; i++) {
        ok = checkpoint_file(path, folder, steps[i], e);
        if (ok && unlink(path) != 0 && errno != ENOENT)
            ok = error_set(e, STATUS_FAILED, "cannot remove the old checkpoint %s: %s", path,
                           strerror(errno));
    }
    free(steps);
    return ok;
}

// "step_NNN.tick_MMM.replay", "step_NNN.tick_MMM.rank_K.replay"
static bool replay_name(const char *name, int64_t *step, int64_t *ticks) {
    int end = 0, last = 0, rank;
    if (sscanf(name, "step_%18" SCNd64 ".tick_%18" SCNd64 "%n", step, ticks, &end) != 2 || !end)
        return false;
    name += end;
    return strcmp(name, ".replay") == 0 ||
           (sscanf(name, ".rank_%9d.replay%n", &rank, &last) == 1 && last > 0 && !name[last]);
}

bool session_replay_path(const char *session, int64_t opt_steps, int64_t ticks, int rank,
                         char out[PATH_SIZE], struct error *e) {
    char name[96], owner[24] = "";
    if (rank > 0) snprintf(owner, sizeof owner, ".rank_%d", rank);
    snprintf(name, sizeof name, "checkpoints/step_%09" PRId64 ".tick_%09" PRId64 "%s.replay",
             opt_steps, ticks, owner);
    return path_join(out, session, name, e);
}

// Removes the files of checkpoints/ that `drop` says, and what killed writers left there.
static bool remove_files(const struct session *s,
                         bool (*drop)(const char *name, const int64_t *ctx), const int64_t *ctx,
                         struct error *e) {
    char folder[PATH_SIZE], path[PATH_SIZE];
    if (!path_join(folder, s->path, "checkpoints", e)) return false;
    DIR *dir = opendir(folder);
    if (!dir) return error_set(e, STATUS_USAGE, "cannot open %s: %s", folder, strerror(errno));
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        bool left_behind = name[0] == '.' && strstr(name, ".tmp-");
        if (!left_behind && !drop(name, ctx)) continue;
        ok = path_join(path, folder, name, e) &&
             (unlink(path) == 0 || errno == ENOENT ||
              error_set(e, STATUS_FAILED, "cannot remove %s: %s", path, strerror(errno)));
    }
    closedir(dir);
    return ok;
}

static bool is_after(const char *name, const int64_t *step) {
    int64_t own, ticks;
    return checkpoint_step(name) > *step || (replay_name(name, &own, &ticks) && own > *step);
}

static bool remove_checkpoints_after(const struct session *s, int64_t opt_steps, struct error *e) {
    return remove_files(s, is_after, &opt_steps, e);
}

// ctx: the newest step, its ticks, the oldest step whose ring is kept.
static bool is_old_replay(const char *name, const int64_t *ctx) {
    int64_t step, ticks;
    if (!replay_name(name, &step, &ticks)) return false;
    return step < ctx[2] || (step == ctx[0] && ticks != ctx[1]);
}

bool session_prune_replays(struct session *s, int64_t ticks, struct error *e) {
    char folder[PATH_SIZE];
    int64_t *steps;
    int n;
    if (!list_checkpoints(s->path, folder, &steps, &n, e)) return false;
    int64_t newest = n ? steps[n - 1] : 0,
            oldest = n > SESSION_KEEP_REPLAYS ? steps[n - SESSION_KEEP_REPLAYS] : 0;
    free(steps);
    return remove_files(s, is_old_replay, (int64_t[]){newest, ticks, oldest}, e);
}

int64_t session_checkpoint_step(const char *path) { return checkpoint_step(path_base(path)); }

int64_t session_checkpoint_before(const char *session, int64_t opt_steps) {
    char folder[PATH_SIZE];
    int64_t *steps, found = -1;
    int n;
    if (!list_checkpoints(session, folder, &steps, &n, NULL)) return -1;
    for (int i = 0; i < n && steps[i] < opt_steps; i++) found = steps[i];
    free(steps);
    return found;
}

bool session_name_checkpoint_before(const char *session, int64_t opt_steps, struct error *e) {
    const struct error why = *e;
    const int64_t before = session_checkpoint_before(session, opt_steps);
    if (before < 0)
        return error_set(e, why.status, "%.380s; there is no earlier checkpoint", why.message);
    return error_set(e, why.status,
                     "%.330s; the previous one is %.150s/checkpoints/step_%09" PRId64
                     ".safetensors",
                     why.message, session, before);
}

bool session_newest_checkpoint(const char *path, char out[PATH_SIZE], int64_t *opt_steps,
                               struct error *e) {
    char folder[PATH_SIZE];
    int64_t *steps;
    int n;
    if (!list_checkpoints(path, folder, &steps, &n, e)) return false;
    bool ok = n > 0 ? checkpoint_file(out, folder, steps[n - 1], e)
                    : error_set(e, STATUS_USAGE, "%s holds no checkpoint", folder);
    if (ok) *opt_steps = steps[n - 1];
    free(steps);
    return ok;
}
