// workbench eval: a saved policy's success, steps and return beside a random one; its model's
// dreams.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/run/eval/eval.h"
#include "ui/cli.h"

enum { DEFAULT_SEED = 1 };

static bool read_seed(const char *text, uint64_t *out, struct error *e) {
    char *end = NULL;
    *out = DEFAULT_SEED;
    if (!text) return true;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && !*end && !errno) return true;
    return error_set(e, STATUS_USAGE, "--seed %s: give a whole number, 0 or more", text);
}

static bool read_policy(const struct cli *cli, enum eval_policy *out, struct error *e) {
    const char *name = cli->policy ? cli->policy : cli->greedy ? "greedy" : "sampled";
    for (int i = 0; i < EVAL_CONSTANT; i++)
        if (strcmp(name, eval_policy_names[i]) == 0) {
            *out = (enum eval_policy)i;
            if (cli->policy && cli->greedy && i != EVAL_GREEDY) break;
            return true;
        }
    return error_set(e, STATUS_USAGE, "--policy %s%s: give one of sampled, greedy, random", name,
                     cli->greedy ? " --greedy" : "");
}

static int clamp_count(int64_t n) { return n > INT32_MAX ? INT32_MAX : (int)n; }

static bool read_options(const struct cli *cli, struct eval_opts *o, struct error *e) {
    if (cli->n_words != 1)
        return error_set(e, STATUS_USAGE, "eval: say what to evaluate: workbench eval SESSION");
    if (cli->n_settings)
        return error_set(e, STATUS_USAGE, "eval %s: the config is the session's", cli->settings[0]);
    *o = (struct eval_opts){
        .path = cli->words[0],
        .files = {cli->rom, cli->state, cli->goal_dir, clamp_count(cli->accept_pipeline)},
        .episodes = cli->episodes,
        .n_envs = clamp_count(cli->envs),
        .n_threads =
            cli->threads ? (int)(cli->threads > 64 ? 64 : cli->threads) : pool_usable_cpus(),
        .warm_up_frames = clamp_count(cli->warm_up_frames),
        .out_dir = cli->out,
        .open_loop = cli->open_loop,
        .zero_latent = cli->zero_latent};
    return read_seed(cli->seed, &o->seed, e) && read_policy(cli, &o->policy, e);
}

// ---- text

static void print_stats(const char *name, const struct eval_stats *s) {
    printf("%-8s %5lld of %lld reached the goal: %5.1f %%  (95 %%: %.1f to %.1f)", name,
           (long long)s->successes, (long long)s->episodes, 100 * s->rate, 100 * s->low,
           100 * s->high);
    if (s->successes) printf("  steps median %.0f, least %.0f", s->median_steps, s->min_steps);
    printf("\n         return %.3f, length %.1f, distance at the end %.4f, action entropy %.3f\n",
           s->mean_reward, s->mean_length, s->median_distance, s->entropy);
}

// Of a task without a goal.
static void print_returns(const char *name, const struct eval_stats *s) {
    printf("%-8s %5lld episodes: return %.1f  (95 %%: %.1f to %.1f), deviation %.1f\n", name,
           (long long)s->episodes, s->mean_reward, s->return_low, s->return_high, s->return_std);
    printf("         median %.1f, from %.1f to %.1f, length %.1f, action entropy %.3f\n",
           s->median_return, s->min_return, s->max_return, s->mean_length, s->entropy);
}

static void print_vector_horizons(const struct eval_horizon *horizon) {
    printf("steps ahead   vectors  squared error of a number  of the held vector\n");
    for (int k = 0; k < EVAL_HORIZON && horizon[k].n; k++)
        printf("%11d  %8lld  %25.5f  %18.5f\n", k + 1, (long long)horizon[k].n,
               horizon[k].vector_mse, horizon[k].copy_vector_mse);
}

static void print_horizons(const struct eval_horizon *horizon) {
    printf(
        "steps ahead  pictures  squared error   of the held frame   shades   held  wrong pixels   "
        "held\n");
    for (int k = 0; k < EVAL_HORIZON && horizon[k].n; k++)
        printf("%11d  %8lld  %13.5f  %18.5f  %7.4f  %5.4f  %10.2f %%  %5.2f %%\n", k + 1,
               (long long)horizon[k].n, horizon[k].mse, horizon[k].copy_mse, horizon[k].shades,
               horizon[k].copy_shades, 100 * horizon[k].wrong, 100 * horizon[k].copy_wrong);
}

static void print_text(const struct eval *v, const char *folder) {
    struct eval_report r;
    eval_report(v, &r);
    printf("%s, update %lld, env step %lld\n", r.agent->task, (long long)r.agent->opt_steps,
           (long long)r.agent->env_steps);
    if (r.horizon[0].n) {
        if (r.agent->obs.pixels) print_horizons(r.horizon);
        if (r.agent->obs.n_vector) print_vector_horizons(r.horizon);
    } else {
        void (*print)(const char *, const struct eval_stats *) =
            r.agent->control ? print_returns : print_stats;
        print(eval_policy_names[r.policy], &r.policy_stats);
        if (r.random_stats.episodes) print("random", &r.random_stats);
    }
    if (folder[0]) printf("%s\n", folder);
}

static void print_json(const struct eval *v) { json_print_and_free(stdout, eval_json(v)); }

int cmd_eval(const struct cli *cli) {
    struct eval_opts opts;
    struct error e = {0};
    char folder[PATH_SIZE] = "";
    log_to_stderr(true);
    struct eval *v = read_options(cli, &opts, &e) ? eval_new(&opts, &e) : NULL;
    bool fine = v && eval_run(v, &e) && (cli->no_session || eval_write(v, folder, &e)) &&
                (!cli->dump_trajectory || eval_write_trajectory(v, cli->dump_trajectory, &e));
    if (fine && cli->json)
        print_json(v);
    else if (fine)
        print_text(v, folder);
    eval_free(v);
    return fine ? 0 : cli_fail(&e);
}
