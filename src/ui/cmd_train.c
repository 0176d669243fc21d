// workbench train and the gate: options to a worker, then the dashboard, or progress lines without
// a screen.
#define _GNU_SOURCE
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "engine/graph/ranks.h"
#include "engine/run/bench/bench.h"
#include "engine/run/gate/gate.h"
#include "engine/run/worker/worker.h"
#include "ui/cli.h"
#ifndef WORKBENCH_HEADLESS
#include "ui/dashboard.h"
#include "ui/window.h"
#endif

enum { DEFAULT_HEADLESS_UPDATES = 1500 };

static void fill_options(struct run_opts *o, const struct cli *cli) {
    *o = (struct run_opts){.algo = cli->algo,
                           .task = cli->task,
                           .rom_path = cli->rom,
                           .state_path = cli->state,
                           .goal_dir = cli->goal_dir,
                           .accept_pipeline =
                               (int)(cli->accept_pipeline > 1000 ? 1000 : cli->accept_pipeline),
                           .mode = cli->mode,
                           .preset = cli->preset,
                           .device = cli->device,
                           .n_threads = (int)cli->threads,
                           .updates = cli->updates,
                           .env_steps = cli->env_steps,
                           .minutes = cli->minutes,
                           .seed = cli->seed,
                           .resume = cli->resume,
                           .tag = cli->output_tag,
                           .sessions_dir = cli->sessions,
                           .no_session = cli->no_session,
                           .no_media = cli->no_session,
                           .settings = cli->settings,
                           .n_settings = cli->n_settings,
                           .zero_latent = cli->zero_latent};
}

// ---- headless

static struct control *stop_target;
static void on_stop_signal(int signal_number) {
    (void)signal_number;
    control_stop(stop_target);
}

// mpirun hands SIGUSR1 on to its processes; SIGTERM it follows up with SIGKILL a second later.
static void catch_stop_signals(struct control *c, bool keep_running, bool is_rank) {
    stop_target = c;
    struct sigaction stop = {.sa_handler = on_stop_signal}, ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    if (is_rank) sigaction(SIGUSR1, &stop, NULL);
    sigaction(SIGHUP, keep_running ? &ignore : &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

// What a line of progress shows of an algorithm other than DreamerV3: metrics by their short names.
static const struct headline {
    const char *algo;
    enum metric metrics[6];
    int n;
} headlines[] = {
    {"ppo",
     {METRIC_RETURN_MEAN, METRIC_DONE_RATE, METRIC_ENTROPY, METRIC_KL_K3, METRIC_CLIPFRAC,
      METRIC_SPS},
     6},
};

static const struct headline *headline_of(const char *algo) {
    for (size_t i = 0; i < sizeof headlines / sizeof *headlines; i++)
        if (algo && strcmp(headlines[i].algo, algo) == 0) return &headlines[i];
    return NULL;
}

static void headline_line(const struct headline *h, const struct feed_status *s,
                          const struct record *r) {
    char target[32] = "";
    if (s->target_opt_steps > 0)
        snprintf(target, sizeof target, "/%lld", (long long)s->target_opt_steps);
    fprintf(stderr, "update %lld%s  env steps %lld", (long long)r->opt_steps, target,
            (long long)r->env_steps);
    for (int i = 0; i < h->n; i++)
        if (r->present >> h->metrics[i] & 1)
            fprintf(stderr, "  %s %.4g", metric_info[h->metrics[i]].name,
                    (double)r->value[h->metrics[i]]);
    fputc('\n', stderr);
}

// Mean over the records that have it among the last thousand; false: none has.
static bool recent_mean(struct feed *feed, enum metric m, double *out) {
    int64_t n = feed_n_records(feed), count = 0;
    double sum = 0;
    for (int64_t i = n > 1000 ? n - 1000 : 0; i < n; i++) {
        const struct record *r = feed_record(feed, i);
        if (!(r->present & METRIC_BIT(m))) continue;
        sum += (double)r->value[m];
        count++;
    }
    if (count) *out = sum / (double)count;
    return count > 0;
}

// What a policy does, where one learns.
static void format_policy(struct feed *feed, const struct record *last, char *out, size_t size) {
    double mean;
    int at = 0;
    out[0] = 0;
    if (!(last->present & METRIC_BIT(METRIC_ACTION_ENTROPY))) return;
    if (recent_mean(feed, METRIC_SUCCESS_RATE, &mean))
        at = snprintf(out, size, "  success %.2f", mean);
    else if (recent_mean(feed, METRIC_RETURN_MEAN, &mean))
        at = snprintf(out, size, "  return %.4g", mean);
    snprintf(out + at, size - (size_t)at, "  policy entropy %.2f",
             (double)last->value[METRIC_ACTION_ENTROPY]);
}

static void progress_line(struct feed *feed, const struct feed_status *s) {
    int64_t n = feed_n_records(feed);
    if (n == 0) {
        fprintf(stderr, "%s: env step %lld\n", feed_phase_names[s->phase], (long long)s->env_steps);
        return;
    }
    if (headline_of(s->algo)) {
        headline_line(headline_of(s->algo), s, feed_record(feed, n - 1));
        return;
    }
    const struct record *first = feed_record(feed, 0), *last = feed_record(feed, n - 1);
    double a = (double)first->value[METRIC_OBS_NLL], b = (double)last->value[METRIC_OBS_NLL];
    char target[32] = "", policy[64];
    if (s->target_opt_steps > 0)
        snprintf(target, sizeof target, "/%lld", (long long)s->target_opt_steps);
    format_policy(feed, last, policy, sizeof policy);
    fprintf(stderr,
            "update %lld%s  observation loss %.1f (%+.1f %%)  kl %.2f  entropy ratio %.2f%s  %.1f "
            "updates/s\n",
            (long long)last->opt_steps, target, b, a > 0 ? 100 * (b - a) / a : 0,
            (double)last->value[METRIC_KL_DYN], (double)last->value[METRIC_ENTROPY_RATIO], policy,
            (double)s->train_sps);
}

// Of a run that is told by its episodes, not by a world model's loss.
static void print_episodes_summary(const struct worker_summary *s, enum status status,
                                   const struct error *e, bool json) {
    if (!json) {
        printf("%s: %lld updates, %lld env steps in %.1f s; %lld of %lld episodes reached the goal",
               status == STATUS_OK ? "done" : "failed", (long long)s->opt_steps,
               (long long)s->env_steps, s->wall_s, (long long)s->successes, (long long)s->episodes);
        if (!isnan(s->last_success_rate))
            printf(", %.0f %% in the last rollout (return %.2f, entropy %.2f)",
                   100 * s->last_success_rate, s->last_return, s->last_entropy);
        printf("%s%s\n", s->session[0] ? "; session " : "", s->session);
        return;
    }
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "status", status == STATUS_OK ? "done" : "failed");
    if (status != STATUS_OK) json_add_string(o, "error", e->message);
    json_add_string(o, "algo", s->algo);
    json_add_count(o, "opt_steps", s->opt_steps);
    json_add_count(o, "env_steps", s->env_steps);
    json_add_double(o, "wall_s", s->wall_s);
    json_add_double(o, "update_ms", s->update_ms);
    json_add_double(o, "env_ms", s->env_ms);
    json_add_double(o, "policy_ms", s->policy_ms);
    json_add_count(o, "episodes", s->episodes);
    json_add_count(o, "successes", s->successes);
    json_add_double(o, "last_success_rate", s->last_success_rate);
    json_add_double(o, "last_return", s->last_return);
    json_add_double(o, "last_entropy", s->last_entropy);
    json_add_bool(o, "all_finite", s->all_finite);
    json_add_string(o, "session", s->session);
    json_print_and_free(stdout, o);
}

static void print_summary(const struct worker *w, enum status status, const struct error *e,
                          bool json) {
    struct worker_summary s;
    worker_summary(w, &s);
    if (s.algo) {
        print_episodes_summary(&s, status, e, json);
        return;
    }
    double fall = s.first_obs_nll > 0 ? 100 * (1 - s.last_obs_nll / s.first_obs_nll) : 0;
    if (!json) {
        printf("%s: %lld updates, %lld policy steps in %.1f s; observation loss %.1f -> %.1f "
               "(%+.1f %%)%s%s\n",
               status == STATUS_OK ? "done" : "failed", (long long)s.opt_steps,
               (long long)s.env_steps, s.wall_s, s.first_obs_nll, s.last_obs_nll, 0 - fall,
               s.session[0] ? "; session " : "", s.session);
        return;
    }
    cJSON *o = cJSON_CreateObject();
    json_add_string(o, "status", status == STATUS_OK ? "done" : "failed");
    if (status != STATUS_OK) json_add_string(o, "error", e->message);
    json_add_count(o, "opt_steps", s.opt_steps);
    json_add_count(o, "env_steps", s.env_steps);
    json_add_double(o, "wall_s", s.wall_s);
    json_add_double(o, "update_ms", s.update_ms);
    json_add_double(o, "first_obs_nll", s.first_obs_nll);
    json_add_double(o, "last_obs_nll", s.last_obs_nll);
    json_add_double(o, "obs_nll_fall_percent", fall);
    json_add_double(o, "mean_picture_loss", s.mean_picture_loss);
    json_add_double(o, "obs_nll_vs_mean_picture",
                    s.mean_picture_loss > 1e-3 ? s.last_obs_nll / s.mean_picture_loss : NAN);
    json_add_double(o, "worst_entropy_gap", s.worst_entropy_gap);
    json_add_bool(o, "all_finite", s.all_finite);
    json_add_string(o, "session", s.session);
    json_print_and_free(stdout, o);
}

static bool worker_ended(const struct feed_status *s) {
    return s->phase == PHASE_DONE || s->phase == PHASE_FAILED;
}

static enum status run_headless(const struct cli *cli, struct run_opts *opts, struct error *e) {
    bool unbounded = opts->updates == 0 && opts->env_steps == 0 && opts->minutes == 0;
    if (unbounded && !opts->resume) opts->updates = DEFAULT_HEADLESS_UPDATES;
    struct feed *feed = feed_new(0);
    const bool silent = ranks_rank(opts->ranks) > 0;
    log_to_stderr(!silent);
    catch_stop_signals(feed_control(feed), cli->keep_running, opts->ranks != NULL);
    struct worker *w = worker_new(opts, feed, e);
    if (!w) {
        feed_free(feed);
        return e->status;
    }
    if (unbounded && opts->resume)
        log_write(LOG_INFO,
                  "goes on until it is stopped (--updates, --env-steps or --minutes bound it)");
    else if (unbounded)
        log_write(LOG_INFO, "%d updates (--updates, --env-steps or --minutes changes that)",
                  DEFAULT_HEADLESS_UPDATES);
    worker_start(w);
    int64_t last_line = clock_now_ns(), shown = -1;
    for (const struct feed_status *s = feed_status(feed); !worker_ended(s); s = feed_status(feed)) {
        clock_sleep_ns(20000000);
        if (silent || clock_now_ns() - last_line < 2000000000) continue;
        last_line = clock_now_ns();
        if (s->opt_steps != shown) progress_line(feed, s);
        shown = s->opt_steps;
    }
    enum status status = worker_join(w, e);
    if (!silent) print_summary(w, status, e, cli->json);
    worker_free(w);
    feed_free(feed);
    return status;
}

// ---- dashboard

#ifndef WORKBENCH_HEADLESS
struct window_host {
    struct window *window;
    struct feed *feed;
};

static const char *toggle_window(void *ctx) {
    static struct error e;
    struct window_host *h = ctx;
    if (h->window) {
        window_close(h->window);
        h->window = NULL;
        return NULL;
    }
    h->window = window_open(&(struct window_opts){.control = feed_control(h->feed)}, &e);
    return h->window ? NULL : e.message;
}

static void turn_window(void *ctx, const struct feed_pictures *pictures,
                        const struct feed_status *status) {
    struct window_host *h = ctx;
    if (!h->window || window_turn(h->window, pictures, status)) return;
    window_close(h->window);
    h->window = NULL;
}

static enum status run_dashboard(const struct cli *cli, struct run_opts *opts, struct error *e) {
    opts->live = true;
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(opts, feed, e);
    if (!w) {
        feed_free(feed);
        return e->status;
    }
    struct window_host host = {.feed = feed};
    struct dashboard_opts screen = {.feed = feed,
                                    .no_color = cli->no_color,
                                    .ascii = cli->ascii,
                                    .script = cli->script,
                                    .tick = turn_window,
                                    .tick_ctx = &host,
                                    .toggle_window = toggle_window,
                                    .keep_running = cli->keep_running};
    if (cli->window) {
        const char *why = toggle_window(&host);
        if (why) log_write(LOG_WARN, "%s", why);
    }
    worker_start(w);
    struct error screen_error = {0};
    // These answer once the dashboard has given its own handlers up: a second SIGHUP must not end a
    // run that is writing its checkpoint or goes on without a screen.
    catch_stop_signals(feed_control(feed), cli->keep_running, false);
    enum dashboard_end end = dashboard_run(&screen, &screen_error);
    if (end != DASHBOARD_HANGUP)
        signal(SIGINT, SIG_DFL); // Ctrl-C while the checkpoint is written leaves at once
    window_close(host.window);
    if (end == DASHBOARD_HANGUP && cli->keep_running) {
        log_to_stderr(false);
    } else {
        control_stop(feed_control(feed));
    }
    enum status status = worker_join(w, e);
    if (end == DASHBOARD_ERROR) {
        *e = screen_error;
        status = screen_error.status;
    } else if (end != DASHBOARD_HANGUP) {
        print_summary(w, status, e, cli->json);
    }
    worker_free(w);
    feed_free(feed);
    return status;
}
#endif

static int run_gate(const struct cli *cli) {
    struct error e = {0};
    struct gate_opts opts = {.kind = cli->gate,
                             .algo = cli->algo,
                             .golden_dir = cli->golden,
                             .out_path = cli->out,
                             .n_threads = (int)cli->threads,
                             .settings = cli->settings,
                             .n_settings = cli->n_settings,
                             .zero_latent = cli->zero_latent,
                             .json = cli->json};
    enum status status = gate_run(&opts, stdout, &e);
    return e.message[0] ? cli_fail(&e) : (int)status;
}

// --ranks mpi: this process and those that mpirun started beside it are one run.
static bool join_ranks(const struct cli *cli, struct ranks **out, struct error *e) {
    const char *wanted = cli->ranks ? cli->ranks : "off";
    char why[256];
    *out = NULL;
    if (strcmp(wanted, "off") == 0) {
        if (!cli->ranks && ranks_started() > 1)
            fprintf(stderr,
                    "workbench: %d processes were started together and train each for itself; "
                    "--ranks mpi makes them one run, --ranks off is silent\n",
                    ranks_started());
        return true;
    }
    if (strcmp(wanted, "mpi") != 0)
        return error_set(e, STATUS_USAGE, "--ranks %s: known: off, mpi", wanted);
    if (cli->gate) return error_set(e, STATUS_USAGE, "--ranks mpi: a gate is one process");
    if (cli->window || cli->script)
        return error_set(e, STATUS_USAGE, "--ranks mpi runs without a screen: leave %s out",
                         cli->window ? "--window" : "--script");
    *out = ranks_open_mpi(why, sizeof why);
    if (!*out) return error_set(e, STATUS_FAILED, "--ranks mpi: %s", why);
    ranks_watch(*out);
    return true;
}

static int fail_rank(const struct ranks *r, const struct error *e) {
    struct error named = *e;
    if (r) error_set(&named, e->status, "rank %d: %.900s", r->rank, e->message);
    return cli_fail(&named);
}

// What wants a screen is refused where there will be none, not ignored.
static bool check_screen(const struct cli *cli, struct error *e) {
    const char *wish = cli->window ? "--window" : cli->script ? "--script" : NULL;
#ifdef WORKBENCH_HEADLESS
    return !wish || error_set(e, STATUS_USAGE, "%s: this build has no screens (HEADLESS=1)", wish);
#else
    return !wish || !cli->headless ||
           error_set(e, STATUS_USAGE, "--headless has no screen: leave it or %s out", wish);
#endif
}

int cmd_train(const struct cli *cli) {
    if (cli->n_words) {
        fprintf(stderr, "workbench: train %s: not understood; settings are written key=value\n",
                cli->words[0]);
        return STATUS_USAGE;
    }
    struct run_opts opts;
    struct error e = {0};
    struct ranks *ranks;
    if (!check_screen(cli, &e) ||
        !bench_check_limit("--threads", cli->threads, BENCH_MAX_THREADS, &e) ||
        !join_ranks(cli, &ranks, &e))
        return cli_fail(&e);
    if (cli->gate) return run_gate(cli);
    fill_options(&opts, cli);
    opts.ranks = ranks;
    bool headless = cli->headless || ranks;
#ifdef WORKBENCH_HEADLESS
    headless = true;
#endif
    if (!headless && !isatty(STDOUT_FILENO)) {
        fprintf(stderr, "workbench: stdout is no terminal: running headless\n");
        headless = true;
    }
    enum status status;
#ifdef WORKBENCH_HEADLESS
    status = run_headless(cli, &opts, &e);
#else
    status = headless ? run_headless(cli, &opts, &e) : run_dashboard(cli, &opts, &e);
#endif
    const int code = status == STATUS_OK ? 0 : fail_rank(ranks, &e);
    ranks_close(ranks);
    return code;
}
