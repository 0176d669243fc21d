// Gate: golden fixtures, a smoke run and standing still, as one pass or fail.
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/version.h"
#include "engine/algo/config.h"
#include "engine/algo/dreamer_v3/golden_checks.h"
#include "engine/graph/graph.h"
#include "engine/run/device.h"
#include "engine/run/files.h"
#include "engine/run/gate/gate_internal.h"

enum { SMOKE_UPDATES = 2, BAR_UPDATES = 300 };
static const double max_entropy_gap = 0.3;

// One line a check, at once, so that a watcher sees how far it is.
void gate_add_result(struct gate *g, const char *name, bool passed, double seconds,
                     const char *detail) {
    CHECK(g->n_results < GATE_MAX_CHECKS, "more checks than places");
    struct check_result *r = &g->results[g->n_results++];
    snprintf(r->name, sizeof r->name, "%s", name);
    snprintf(r->detail, sizeof r->detail, "%s", detail);
    r->passed = passed;
    r->seconds = seconds;
    g->n_failed += !passed;
    if (g->opts->json) return;
    fprintf(g->out, "%s  %-24s %6.1f s  %s\n", passed ? "pass" : "FAIL", name, seconds, detail);
    fflush(g->out);
}

// ---- golden fixtures

// Whether the settings ask for bf16; never by itself. Bad settings are the runs' to refuse.
static bool in_bf16(const struct gate *g) {
    struct config c;
    struct error e;
    bool fine = config_init(&c, "tiny", &e);
    for (int i = 0; i < g->opts->n_settings && fine; i++)
        fine = config_set(&c, g->opts->settings[i], &e);
    return fine && c.autocast;
}

// Runs `checks`; the result says how many of them passed and why the first other one did not.
static void run_fixtures(struct gate *g, const char *name, const struct golden *golden,
                         const struct golden_check *checks, int n) {
    struct error e = {0};
    int64_t t0 = clock_now_ns();
    struct pool *pool = pool_new(g->opts->n_threads > 0 ? g->opts->n_threads : 1);
    int n_passed = 0;
    char first_failure[400] = "", detail[500];
    for (int i = 0; i < n; i++) {
        if (golden_check_run(&checks[i], golden, pool, &e))
            n_passed++;
        else if (!first_failure[0])
            snprintf(first_failure, sizeof first_failure, "; first: %.300s", e.message);
    }
    pool_free(pool);
    snprintf(detail, sizeof detail, "%d of %d fixtures agree with the reference%s", n_passed, n,
             first_failure);
    gate_add_result(g, name, n_passed == n, (double)(clock_now_ns() - t0) * 1e-9, detail);
}

static void check_golden(struct gate *g, const char *folder) {
    struct error e = {0};
    struct golden *golden = golden_open(folder, &e);
    if (!golden) {
        gate_add_result(g, "golden", false, 0, e.message);
        return;
    }
    run_fixtures(g, "golden", golden, golden_checks, n_golden_checks);
    if (in_bf16(g)) run_fixtures(g, "golden bf16", golden, &golden_check_bf16, 1);
    golden_free(golden);
}

// ---- training runs

struct run_opts gate_run_options(const struct gate *g, const char *task) {
    return (struct run_opts){.algo = g->opts->algo,
                             .task = task,
                             .device = strcmp(g->opts->kind, "gpu") == 0 ? "cuda" : "cpu",
                             .n_threads = g->opts->n_threads,
                             .no_session = true,
                             .no_media = true,
                             .settings = g->opts->settings,
                             .n_settings = g->opts->n_settings,
                             .zero_latent = g->opts->zero_latent};
}

struct run_opts gate_run_options_and(const struct gate *g, const char *task, const char *const *own,
                                     int n_own) {
    struct run_opts o = gate_run_options(g, task);
    const char **all = mem_alloc((size_t)(n_own + o.n_settings) * sizeof *all);
    memcpy(all, own, (size_t)n_own * sizeof *all);
    if (o.n_settings) memcpy(all + n_own, o.settings, (size_t)o.n_settings * sizeof *all);
    o.n_settings += n_own;
    o.settings = all;
    return o;
}

void gate_free_options(struct run_opts *o) { free((void *)(uintptr_t)o->settings); }

// With `verify` the newest checkpoint must load into a second worker and hold the same weights.
bool gate_run_once(const struct run_opts *opts, bool verify, struct feed *feed,
                   struct worker_summary *s, struct error *e) {
    struct worker *w = worker_new(opts, feed, e);
    bool fine = w && worker_run(w, e) == STATUS_OK && (!verify || worker_verify_checkpoint(w, e));
    if (w) worker_summary(w, s);
    worker_free(w);
    return fine;
}

static bool run_once(const struct run_opts *opts, bool verify, struct worker_summary *s,
                     struct error *e) {
    struct feed *feed = feed_new(0);
    bool fine = gate_run_once(opts, verify, feed, s, e);
    feed_free(feed);
    return fine;
}

void gate_check_smoke(struct gate *g, struct run_opts opts) {
    struct error e = {0};
    struct worker_summary s = {0};
    char detail[700], root[] = "/tmp/workbench-gate-XXXXXX";
    int64_t t0 = clock_now_ns();
    opts.updates = SMOKE_UPDATES;
    opts.no_session = false;
    opts.sessions_dir = mkdtemp(root);
    bool fine = opts.sessions_dir && run_once(&opts, true, &s, &e);
    if (opts.sessions_dir) file_remove_tree(root, NULL);
    if (fine)
        snprintf(detail, sizeof detail, "%d updates, all finite, the checkpoint loads again",
                 SMOKE_UPDATES);
    else
        snprintf(detail, sizeof detail, "%s",
                 e.message[0] ? e.message : "no folder for a session in /tmp");
    gate_add_result(g, "smoke", fine, (double)(clock_now_ns() - t0) * 1e-9, detail);
}

// The observation loss must fall by `bar` of its first value in BAR_UPDATES updates, everything
// finite, and prior and posterior entropy must stay together after the warm-up.
static void check_standing_still(struct gate *g, const char *task, double bar) {
    struct error e = {0};
    struct worker_summary s = {0};
    char name[48], detail[700];
    int64_t t0 = clock_now_ns();
    struct run_opts opts = gate_run_options(g, task);
    opts.updates = BAR_UPDATES;
    bool ran = run_once(&opts, false, &s, &e);
    double fall = s.first_obs_nll > 0 ? 1 - s.last_obs_nll / s.first_obs_nll : -INFINITY;
    bool fine = ran && s.opt_steps == BAR_UPDATES && s.all_finite && fall >= bar &&
                s.worst_entropy_gap < max_entropy_gap;
    snprintf(name, sizeof name, "standing_still %s", task);
    if (!ran)
        snprintf(detail, sizeof detail, "%s", e.message);
    else
        snprintf(detail, sizeof detail,
                 "observation loss -%.1f %% (bar -%.0f %%), entropy gap %.2f (bar %.1f), %.1f ms "
                 "an update",
                 100 * fall, 100 * bar, s.worst_entropy_gap, max_entropy_gap, s.update_ms);
    gate_add_result(g, name, fine, (double)(clock_now_ns() - t0) * 1e-9, detail);
}

// ---- verdict

static cJSON *summary_json(const struct gate *g, double seconds) {
    cJSON *o = cJSON_CreateObject(), *list;
    json_add_string(o, "gate", g->opts->kind);
    json_add_string(o, "algo", g->opts->algo ? g->opts->algo : "dreamer_v3");
    json_add_string(o, "verdict", g->n_failed ? "failed" : "passed");
    json_add_count(o, "checks", g->n_results);
    json_add_count(o, "failed", g->n_failed);
    json_add_double(o, "seconds", seconds);
    json_add_string(o, "version", version_text);
    json_add_string(o, "revision", version_revision);
    json_add_string(o, "kernel", cpu_kernels_kind(in_bf16(g)));
    list = cJSON_AddArrayToObject(o, "results");
    for (int i = 0; i < g->n_results; i++) {
        cJSON *r = cJSON_CreateObject();
        json_add_string(r, "name", g->results[i].name);
        json_add_bool(r, "passed", g->results[i].passed);
        json_add_double(r, "seconds", g->results[i].seconds);
        json_add_string(r, "detail", g->results[i].detail);
        cJSON_AddItemToArray(list, r);
    }
    return o;
}

static bool write_summary(struct gate *g, double seconds, struct error *e) {
    cJSON *o = summary_json(g, seconds);
    bool fine = !g->opts->out_path || json_write_file(g->opts->out_path, o, true, e);
    if (g->opts->json)
        json_print_and_free(g->out, o);
    else
        cJSON_Delete(o);
    return fine;
}

// The summary's place is tried before the checks run for a minute; what stands there is left alone
// until they are done.
static bool check_out_path(const char *path, struct error *e) {
    if (!path) return true;
    bool existed = access(path, F_OK) == 0;
    FILE *f = fopen(path, "ab");
    if (!f)
        return error_set(e, STATUS_USAGE, "--out %s: %s; check the path", path, strerror(errno));
    fclose(f);
    if (!existed) unlink(path);
    return true;
}

// Where there is no device the gate says so in the form that was asked for.
static enum status skip(struct gate *g, const char *why, struct error *e) {
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "gate", g->opts->kind);
    json_add_string(o, "verdict", "skipped");
    json_add_string(o, "why", why);
    bool fine = !g->opts->out_path || json_write_file(g->opts->out_path, o, true, e);
    if (g->opts->json) {
        json_print_and_free(g->out, o);
    } else {
        fprintf(g->out, "gate %s skipped: %s\n", g->opts->kind, why);
        cJSON_Delete(o);
    }
    return fine ? STATUS_SKIPPED : e->status;
}

static void check_dreamer(struct gate *g) {
    char golden[PATH_SIZE];
    snprintf(golden, sizeof golden, "%s", g->opts->golden_dir ? g->opts->golden_dir : "");
    if (!g->opts->golden_dir) files_find_golden(golden, sizeof golden);
    check_golden(g, golden);
    gate_check_smoke(g, gate_run_options(g, "static"));
    check_standing_still(g, "static", 0.85);
    check_standing_still(g, "scroll", 0.55);
    gate_check_dream(g);
    if (strcmp(g->opts->kind, "gpu") == 0) {
        gate_check_update_on_gpu(g);
        gate_check_bus(g);
        gate_check_rows(g);
        gate_check_loop(g);
        gate_check_batch_time(g, 0);
        gate_check_exit_lab(g);
        gate_check_ppo_on_gpu(g, GATE_PPO_UPDATES);
    }
}

typedef void checks(struct gate *g);

static checks *checks_of(const char *algo, struct error *e) {
    static const struct {
        const char *algo;
        checks *run;
    } all[] = {{"dreamer_v3", check_dreamer}, {"ppo", gate_check_ppo}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!algo || strcmp(algo, all[i].algo) == 0) return all[i].run;
    error_set(e, STATUS_USAGE, "--algo %s: no such algorithm; known: dreamer_v3, ppo", algo);
    return NULL;
}

enum status gate_run(const struct gate_opts *opts, FILE *out, struct error *e) {
    static struct gate gate;
    struct gate *g = &gate;
    memset(g, 0, sizeof *g);
    g->opts = opts;
    g->out = out;
    if (strcmp(opts->kind, "cpu") != 0 && strcmp(opts->kind, "gpu") != 0) {
        error_set(e, STATUS_USAGE, "--gate %s: no such gate; known: cpu, gpu", opts->kind);
        return STATUS_USAGE;
    }
    checks *check = checks_of(opts->algo, e);
    if (!check) return e->status;
    if (!check_out_path(opts->out_path, e)) return e->status;
    if (strcmp(opts->kind, "gpu") == 0) {
        char why[BACKEND_MESSAGE_SIZE];
        if (!device_describe(why, sizeof why)) return skip(g, why, e);
    }
    // For what is checked outside of runs: the fixtures, the update.
    struct device device;
    if (!device_choose(strcmp(opts->kind, "gpu") == 0 ? "cuda" : "cpu", &device, e))
        return e->status;
    int64_t t0 = clock_now_ns();
    check(g);
    double seconds = (double)(clock_now_ns() - t0) * 1e-9;
    if (!write_summary(g, seconds, e)) return e->status;
    if (!opts->json)
        fprintf(out, "gate %s %s: %d of %d checks passed in %.1f s\n", opts->kind,
                g->n_failed ? "FAILED" : "passed", g->n_results - g->n_failed, g->n_results,
                seconds);
    return g->n_failed ? STATUS_FAILED : STATUS_OK;
}
