// PPO on the device: rollouts that the machines there play and updates as programs, against the
// CPU's; what crosses the bus; how a bad number stops it.
#include <math.h>

#include "algo/ppo_toy_run.h"
#include "engine/algo/ppo/ppo_device.h"
#include "engine/algo/ppo/ppo_internal.h"
#include "engine/algo/ppo/ppo_log.h"
#include "engine/env/task.h"
#include "engine/run/reproduce.h"
#include "engine/run/worker/worker.h"
#include "gpu/which.h"
#include "support/small_run.h"

enum { UPDATES = 2, LIMIT = 5 };
static const double rate = 1e-3;

// One of two runs that ought to be the same.
struct player {
    struct task task; // of the lab
    struct run run;
    struct ppo_device *device; // NULL: on the CPU
};

static void player_open(struct player *p, const struct ppo_opts *o, bool lab, bool on_device) {
    struct error e = {0};
    char why[BACKEND_MESSAGE_SIZE] = "";
    *p = (struct player){0};
    backend_choose(on_device ? parity_backend() : NULL);
    if (lab) {
        struct env_gameboy_opts env = {.n_envs = (int)o->n_envs};
        if (!task_open_builtin("exit_lab", "pokemonred_puffer_v0", &p->task, &e))
            fail_msg("%s", e.message);
        p->task.rules.max_steps = LIMIT;
        task_env_opts(&p->task, &env);
        p->run = (struct run){.pool = pool_new(1), .env = env_gameboy_new(&env, &e)};
        if (!p->run.env) fail_msg("%s", e.message);
        p->run.rollout =
            ppo_rollout_new(&(struct ppo_rollout_opts){o->n_steps, o->n_envs, (int)o->dims.stack});
        p->run.agent = ppo_new(o, p->run.pool);
        p->run.collect = collect_new(p->run.agent, p->run.env, p->run.rollout);
        collect_begin(p->run.collect);
    } else {
        run_open(&p->run, o, 1, LIMIT);
    }
    if (!on_device) return;
    const struct ppo_device_opts opts = {.env = lab ? p->run.env : NULL,
                                         .rollout = p->run.rollout,
                                         .collect = p->run.collect,
                                         .max_steps = LIMIT};
    p->device = ppo_device_new(p->run.agent, &opts, why, sizeof why);
    if (!p->device) fail_msg("%s", why);
    ppo_device_begin(p->device);
}

static void player_close(struct player *p, bool lab) {
    ppo_device_free(p->device);
    run_close(&p->run);
    if (lab) task_close(&p->task);
}

static bool player_update(struct player *p, double lr, struct ppo_learned *l) {
    if (!p->device || !ppo_device_plays(p->device)) {
        play(&p->run);
        const bool fine = ppo_learn(p->run.agent, p->run.rollout, lr, l);
        ppo_rollout_carry(p->run.rollout);
        return fine;
    }
    struct collect_stats stats;
    ppo_device_play(p->device);
    if (!ppo_device_learn(p->device, lr, l)) return false;
    ppo_device_stats(p->device, &stats);
    const struct ppo_device_times times = ppo_device_times(p->device);
    collect_take_stats(p->run.collect, &stats, &times.rollout);
    return true;
}

// ---- comparing

static void near(const char *what, double a, double b) {
    if (!(fabs(a - b) <= 1e-4 * fmax(1, fabs(b))))
        fail_msg("%s: %.9g on the device, %.9g on the CPU", what, a, b);
}

static void compare_learned(const struct ppo_learned *a, const struct ppo_learned *b) {
    char what[40];
    assert_int_equal(a->steps, b->steps);
    for (int i = 0; i < PPO_N_TERMS; i++) {
        snprintf(what, sizeof what, "term %d", i);
        near(what, a->terms[i], b->terms[i]);
        near(what, a->first[i], b->first[i]);
    }
    near("gradient norm", a->grad_norm, b->grad_norm);
    near("explained variance", a->explained_variance, b->explained_variance);
}

// Counts, rewards and distances come from the emulator and are equal to the bit.
static void compare_stats(const struct collect_stats *a, const struct collect_stats *b) {
    assert_int_equal(a->n_steps, b->n_steps);
    assert_int_equal(a->episodes, b->episodes);
    assert_int_equal(a->successes, b->successes);
    assert_int_equal(a->dones, b->dones);
    assert_int_equal(a->truncs, b->truncs);
    assert_int_equal(a->resets, b->resets);
    assert_memory_equal(a->action_counts, b->action_counts, sizeof a->action_counts);
    assert_true(a->reward_sum == b->reward_sum && a->return_sum == b->return_sum &&
                a->length_sum == b->length_sum);
    assert_true(a->dist_p10 == b->dist_p10 && a->dist_p50 == b->dist_p50 &&
                a->dist_p90 == b->dist_p90);
    near("entropy", a->entropy_sum, b->entropy_sum);
    near("mean value", a->value_mean, b->value_mean);
    near("spread of values", a->value_std, b->value_std);
}

static void compare_weights(const struct params *a, const struct params *b) {
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < a->n_flat; i++) {
        largest = fmax(largest, fabs((double)b->weights[i]));
        worst = worse(worst, fabs((double)a->weights[i] - (double)b->weights[i]));
    }
    if (!(worst <= 1e-4 * largest)) fail_msg("weights apart by %g of %g", worst, largest);
}

// Frames that the next rollout begins with, machines, running episodes: to the bit.
static void compare_boundaries(const struct run *a, const struct run *b) {
    const size_t n = ppo_rollout_memory_bytes(a->rollout), m = collect_state_bytes(a->collect),
                 k = a->env->vtable->state_bytes ? a->env->vtable->state_bytes(a->env) : 0;
    uint8_t *of_a = malloc(n + m + k), *of_b = malloc(n + m + k);
    ppo_rollout_memory_save(a->rollout, of_a);
    ppo_rollout_memory_save(b->rollout, of_b);
    assert_memory_equal(of_a, of_b, n);
    collect_save(a->collect, of_a);
    collect_save(b->collect, of_b);
    assert_memory_equal(of_a, of_b, m);
    for (int i = 0; i < a->env->n_envs && k; i++) {
        a->env->vtable->save(a->env, i, of_a);
        b->env->vtable->save(b->env, i, of_b);
        assert_memory_equal(of_a, of_b, k);
    }
    free(of_a);
    free(of_b);
}

static void same_on_both(const struct ppo_opts *o, bool lab) {
    struct player cpu, device;
    struct ppo_learned a, b;
    player_open(&cpu, o, lab, false);
    player_open(&device, o, lab, true);
    for (int k = 0; k < UPDATES; k++) {
        backend_choose(NULL);
        collect_clear(cpu.run.collect);
        collect_clear(device.run.collect);
        if (!player_update(&cpu, rate / (1 + k), &b)) fail_msg("CPU: %s", b.bad_node);
        if (!player_update(&device, rate / (1 + k), &a)) fail_msg("device: %s", a.bad_node);
        compare_stats(collect_stats(device.run.collect), collect_stats(cpu.run.collect));
        compare_learned(&a, &b);
    }
    ppo_device_fetch(device.device, lab);
    compare_weights(ppo_params(device.run.agent), ppo_params(cpu.run.agent));
    compare_boundaries(&device.run, &cpu.run);
    assert_memory_equal(ppo_counters(device.run.agent), ppo_counters(cpu.run.agent),
                        sizeof(struct ppo_counters));
    player_close(&device, lab);
    player_close(&cpu, lab);
}

static struct ppo_opts tiny(int64_t n_envs, int64_t n_steps) {
    struct ppo_opts o = defaults(n_envs, n_steps);
    o.minibatches = 2;
    return o;
}

static void rollouts_of_the_host_are_learned_from_as_on_the_cpu(void **state) {
    (void)state;
    struct ppo_opts o = tiny(3, 6);
    o.advantages = PPO_ADVANTAGES_MINIBATCH;
    o.epochs = 1;
    same_on_both(&o, false);
}

static void the_device_plays_and_learns_as_the_cpu_does(void **state) {
    (void)state;
    const struct ppo_opts o = tiny(3, 8);
    same_on_both(&o, true);
}

// ---- what crosses the bus

static void nothing_crosses_the_bus_in_a_rollout(void **state) {
    (void)state;
    struct player p;
    struct ppo_opts o = tiny(2, 4);
    o.epochs = 1;
    struct ppo_learned l;
    const struct backend *b = parity_backend();
    player_open(&p, &o, true, true);
    for (int k = 0; k < 2; k++) { // enqueued and captured, replayed
        const struct backend_bus before = b->bus();
        ppo_device_play(p.device);
        assert_int_equal(b->bus().copies, before.copies);
        assert_true(ppo_device_learn(p.device, rate, &l));
        // The samples of each optimiser step, and one reading of everything.
        assert_int_equal(b->bus().copies - before.copies, o.epochs * o.minibatches + 1);
    }
    player_close(&p, true);
}

// ---- the ratio is one while the weights are those that played

static void before_the_first_step_the_ratio_is_one(void **state) {
    (void)state;
    struct player p;
    struct ppo_opts o = tiny(3, 4);
    struct ppo_learned l;
    o.epochs = o.minibatches = 1;
    player_open(&p, &o, true, true);
    for (int k = 0; k < 2; k++) {
        assert_true(player_update(&p, 1e-2, &l));
        // The harness multiplies in one order whatever the shape; cuBLAS may not.
        const double least = parity_on_harness() ? 0 : 1e-6;
        assert_true(fabs(l.first[PPO_KL]) <= least && l.first[PPO_KL_K3] <= least);
        assert_true(l.first[PPO_CLIP_FRACTION] == 0);
    }
    player_close(&p, true);
}

// ---- a number that is not finite

static void a_bad_number_stops_the_update_and_leaves_the_weights(void **state) {
    (void)state;
    struct player p;
    struct ppo_opts o = tiny(2, 4);
    struct ppo_learned l;
    player_open(&p, &o, false, true);
    struct params *set = ppo_params(p.run.agent);
    const size_t bytes = (size_t)set->n_flat * sizeof(real);
    real *before = malloc(bytes);
    memcpy(before, set->weights, bytes);
    play(&p.run);
    p.run.rollout->rewards[3] = (real)NAN;
    assert_false(ppo_learn(p.run.agent, p.run.rollout, rate, &l));
    if (!strstr(l.bad_node, "returns") && !strstr(l.bad_node, "advantages"))
        fail_msg("%s", l.bad_node);
    assert_memory_equal(before, set->weights, bytes);
    // The bundle's minibatch: the samples of the failing step, and what they were given.
    int64_t n;
    const int64_t *samples = ppo_last_minibatch(p.run.agent, &n);
    const struct ppo_minibatch m = ppo_minibatch(p.run.agent);
    assert_int_equal(l.bad_epoch * o.minibatches + l.bad_minibatch,
                     ppo_counters(p.run.agent)->grad_steps);
    assert_int_equal(ppo_counters(p.run.agent)->epochs, l.bad_epoch + 1);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(m.actions[i], p.run.rollout->actions[samples[i]]);
    free(before);
    player_close(&p, false);
}

// ---- whole runs: files, records, going on

static const char *const SETTINGS[] = {"env.num_envs=2",          "algo.rollout_steps=4",
                                       "algo.minibatches=2",      "algo.update_epochs=1",
                                       "env.max_episode_steps=3", "checkpoint.every=1"};

static struct feed *run_it(const struct run_opts *o, struct worker_summary *s) {
    struct error e = {0};
    struct feed *feed = feed_new(0);
    struct worker *w = worker_new(o, feed, &e);
    if (!w || worker_run(w, &e) != STATUS_OK || !worker_verify_checkpoint(w, &e))
        fail_msg("%s", e.message);
    worker_summary(w, s);
    worker_free(w);
    return feed;
}

static void compare_records(const struct record *a, const struct record *b) {
    assert_true(a->present == b->present && a->env_steps == b->env_steps);
    assert_memory_equal(a->action_hist, b->action_hist, sizeof a->action_hist);
    for (int m = 0; m < METRIC_COUNT; m++)
        if (a->present & METRIC_BIT(m) && !metric_info[m].timed)
            near(metric_info[m].name, (double)a->value[m], (double)b->value[m]);
}

static void a_run_on_the_device_writes_the_same_session_and_goes_on(void **state) {
    (void)state;
    char root[PATH_SIZE];
    struct worker_summary cpu, whole, part, resumed;
    struct error e = {0};
    int64_t n;
    snprintf(root, sizeof root, "%s", test_folder());
    if (parity_on_harness()) setenv("WORKBENCH_CUDA_LIBRARY", harness_path("harness"), 1);
    struct run_opts o = {.algo = "ppo",
                         .task = "exit_lab",
                         .device = "cpu",
                         .updates = 2,
                         .n_threads = 1,
                         .no_media = true,
                         .sessions_dir = root,
                         .settings = SETTINGS,
                         .n_settings = sizeof SETTINGS / sizeof *SETTINGS};
    struct feed *a = run_it(&o, &cpu);
    o.device = "cuda";
    struct feed *b = run_it(&o, &whole);
    assert_int_equal(feed_n_records(a), 2);
    assert_int_equal(feed_n_records(b), 2);
    for (int i = 0; i < 2; i++) compare_records(feed_record(b, i), feed_record(a, i));
    if (!ppo_log_check_session(whole.session, &n, &e)) fail_msg("%s", e.message);
    feed_free(a);
    feed_free(b);
    o.updates = 1;
    feed_free(run_it(&o, &part));
    const struct run_opts again = {
        .resume = part.session, .device = "cuda", .updates = 2, .n_threads = 1, .no_media = true};
    feed_free(run_it(&again, &resumed));
    assert_string_equal(resumed.session, part.session);
    assert_same_file(resumed.session, whole.session, "metrics.jsonl");
    assert_same_file(resumed.session, whole.session, "checkpoints/step_000000002.safetensors");
}

// The first step moves every weight by the learning rate, after which the value loss is beyond a
// float: the second fails, on the device, and again on the CPU from the bundle alone.
static void a_failing_step_leaves_a_bundle_that_fails_again(void **state) {
    (void)state;
    static const char *const overflows[] = {"env.num_envs=2",      "algo.rollout_steps=4",
                                            "algo.minibatches=2",  "env.max_episode_steps=3",
                                            "algo.optimizer.lr=1", "algo.vf_coef=1e30"};
    char bundle[PATH_SIZE];
    struct worker_summary s = {0};
    struct error e = {0};
    struct reproduction r;
    struct run_opts o = {.algo = "ppo",
                         .task = "exit_lab",
                         .device = "cuda",
                         .updates = 2,
                         .n_threads = 1,
                         .no_media = true,
                         .sessions_dir = test_folder(),
                         .settings = overflows,
                         .n_settings = sizeof overflows / sizeof *overflows};
    if (parity_on_harness()) setenv("WORKBENCH_CUDA_LIBRARY", harness_path("harness"), 1);
    assert_int_equal(run_worker(&o, &s, &e), STATUS_FAILED);
    if (!strstr(e.message, "update 1, pass 0, minibatch 1")) fail_msg("%s", e.message);
    o.no_session = true;
    assert_int_equal(run_worker(&o, NULL, &e), STATUS_FAILED);
    if (!strstr(e.message, "update 1, pass 0, minibatch 1")) fail_msg("%s", e.message);
    snprintf(bundle, sizeof bundle, "%.190s/failures/step_000000001", s.session);
    backend_choose(NULL);
    if (!reproduce_run(bundle, 1, &r, &e)) fail_msg("%s", e.message);
    assert_true(r.found[0] != 0);
    assert_string_equal(r.found, r.recorded);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rollouts_of_the_host_are_learned_from_as_on_the_cpu),
        cmocka_unit_test(the_device_plays_and_learns_as_the_cpu_does),
        cmocka_unit_test(nothing_crosses_the_bus_in_a_rollout),
        cmocka_unit_test(before_the_first_step_the_ratio_is_one),
        cmocka_unit_test(a_bad_number_stops_the_update_and_leaves_the_weights),
        cmocka_unit_test(a_run_on_the_device_writes_the_same_session_and_goes_on),
        cmocka_unit_test(a_failing_step_leaves_a_bundle_that_fails_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
