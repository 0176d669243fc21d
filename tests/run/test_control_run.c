// Runs of control tasks, whole: vectors, several heads, continuous actions; the same bytes for any
// threads and after a resume; evaluation; what is refused.
#include <math.h>

#include "engine/data/session.h"
#include "engine/run/reproduce.h"
#include "support/eval_session.h"
#include "support/two_heads.h"

enum { UPDATES = 30 };

static const char *const quick[] = {
    "algo.per_rank_sequence_length=16",
    "algo.per_rank_batch_size=4",
    "algo.learning_starts=40",
    "algo.horizon=4",
    "algo.replay_ratio=0.5",
    "env.num_envs=2",
    "env.max_episode_steps=13",
    "checkpoint.every=7",
    "buffer.size=100",
    "metric.log_every=3",
    NULL, // one more
};
enum { N_QUICK = sizeof quick / sizeof *quick - 1 };

// A run of pendulum, or of `control`; `more` is one setting, or NULL.
static struct run_opts options(const struct control_task *control, const char *more) {
    static const char *settings[N_QUICK + 1];
    memcpy(settings, quick, sizeof quick);
    settings[N_QUICK] = more;
    return (struct run_opts){.task = control ? NULL : "pendulum",
                             .control = control,
                             .preset = "micro",
                             .updates = UPDATES,
                             .n_threads = 1,
                             .no_media = true,
                             .sessions_dir = test_folder(),
                             .settings = settings,
                             .n_settings = N_QUICK + (more != NULL)};
}

static void assert_same_run(const char *a, const char *b) {
    assert_same_file(a, b, "metrics.jsonl");
    assert_same_file(a, b, "config.json");
    assert_same_file(a, b, "checkpoints/step_000000030.safetensors");
}

static void threads_and_a_resume_change_no_byte_of(const struct control_task *control,
                                                   const char *more) {
    char one[200], three[200], parts[200];
    struct run_opts o = options(control, more);
    char root[PATH_SIZE];
    snprintf(root, sizeof root, "%s", o.sessions_dir);
    o.sessions_dir = root;
    run_well(&o, one);
    o.n_threads = 3;
    run_well(&o, three);
    assert_same_run(one, three);
    o.updates = 17;
    run_well(&o, parts);
    struct run_opts again = {
        .resume = parts, .control = control, .updates = UPDATES, .n_threads = 2, .no_media = true};
    run_well(&again, parts);
    assert_same_run(one, parts);
}

static void a_run_of_vectors_and_torques_is_the_same_in_threads_and_parts(void **state) {
    (void)state;
    threads_and_a_resume_change_no_byte_of(NULL, NULL);
}
static void a_run_of_vectors_beside_pictures_is_the_same_in_threads_and_parts(void **state) {
    (void)state;
    threads_and_a_resume_change_no_byte_of(NULL, "env.observation=both");
}
static void a_run_of_two_heads_is_the_same_in_threads_and_parts(void **state) {
    (void)state;
    threads_and_a_resume_change_no_byte_of(&two_heads_task, NULL);
}
static void an_official_run_of_two_heads_is_the_same_in_threads_and_parts(void **state) {
    (void)state;
    threads_and_a_resume_change_no_byte_of(&two_heads_task, "algo.profile=official");
}

static void a_pendulums_records_have_its_returns_and_neither_success_nor_buttons(void **state) {
    (void)state;
    struct run_opts o = options(NULL, "env.max_episode_steps=6");
    o.no_session = true;
    struct feed *feed = feed_new(0);
    struct worker *w = run_and_keep(&o, feed);
    int n_returns = 0;
    for (int64_t i = 0; i < feed_n_records(feed); i++) {
        const struct record *r = feed_record(feed, i);
        assert_false(r->present >> METRIC_SUCCESS_RATE & 1);
        assert_false(r->present >> METRIC_DIST_P50 & 1);
        assert_int_equal(r->n_actions, 0);
        assert_true(isfinite(r->value[METRIC_OBS_NLL]) && isfinite(r->value[METRIC_LOSS_ACTOR]));
        if (!(r->present >> METRIC_RETURN_MEAN & 1)) continue;
        n_returns++;
        // six steps of at most pi^2 + 0.1 x 64 + 0.004 each
        assert_true(r->value[METRIC_RETURN_MEAN] < 0 && r->value[METRIC_RETURN_MEAN] > -98);
        assert_true(r->value[METRIC_LENGTH_MEAN] == 6 && r->value[METRIC_TRUNC_RATE] == 1);
    }
    assert_true(n_returns >= 4);
    assert_string_equal(feed_status(feed)->task, "pendulum");
    assert_string_equal(feed_status(feed)->mode, "full");
    worker_free(w);
    feed_free(feed);
}

// Every step chooses once in each head: the two sums of the histogram are equal, and a policy that
// chooses at random leaves no choice out.
static void both_heads_are_counted(void **state) {
    (void)state;
    struct run_opts o = options(&two_heads_task, "metric.log_every=1");
    o.no_session = true;
    struct feed *feed = feed_new(0);
    struct worker *w = run_and_keep(&o, feed);
    int64_t sums[5] = {0}, n_ended = 0;
    for (int64_t i = 0; i < feed_n_records(feed); i++) {
        const struct record *r = feed_record(feed, i);
        assert_int_equal(r->n_actions, 5);
        for (int a = 0; a < 5; a++) sums[a] += r->action_hist[a];
        n_ended += r->present >> METRIC_RETURN_MEAN & 1;
    }
    assert_int_equal(sums[0] + sums[1] + sums[2], sums[3] + sums[4]);
    for (int a = 0; a < 5; a++) assert_true(sums[a] > 5);
    assert_true(n_ended > 0);
    struct worker_summary s;
    worker_summary(w, &s);
    assert_true(s.mean_picture_loss == 0 && s.all_finite);
    assert_null(feed_pictures(feed)); // nothing draws it
    worker_free(w);
    feed_free(feed);
}

// Random play returns about 0 (it meets the corner in a fifth of its episodes of 20 steps); the
// shortest way is 4 steps: 1 - 3 x 0.01.
static void a_policy_of_two_heads_learns_to_go_to_the_corner(void **state) {
    (void)state;
    static const char *const keys[] = {
        "algo.per_rank_sequence_length=16",
        "algo.per_rank_batch_size=8",
        "algo.learning_starts=256",
        "algo.horizon=5",
        "algo.replay_ratio=0.25",
        "env.num_envs=4",
        "algo.gamma=0.9",
        "algo.world_model.optimizer.lr=2e-3",
        "algo.actor.optimizer.lr=1e-3",
        "algo.critic.optimizer.lr=1e-3",
        "algo.actor.ent_coef=3e-3",
    };
    if (SANITIZED) skip();
    struct run_opts o = options(&two_heads_task, NULL);
    o.updates = 0;
    o.env_steps = 4000;
    o.no_session = true;
    o.settings = keys;
    o.n_settings = sizeof keys / sizeof *keys;
    struct feed *feed = feed_new(0);
    struct worker *w = run_and_keep(&o, feed);
    double early = 0, late = 0;
    int n_early = 0, n_late = 0;
    for (int64_t i = 0; i < feed_n_records(feed); i++) {
        const struct record *r = feed_record(feed, i);
        if (!(r->present >> METRIC_RETURN_MEAN & 1)) continue;
        const double mean = (double)r->value[METRIC_RETURN_MEAN];
        if (r->env_steps < 600) early += mean, n_early++;
        if (r->env_steps > 3400) late += mean, n_late++;
    }
    print_message("return %.3f at first, %.3f at last\n", early / n_early, late / n_late);
    assert_true(n_early > 0 && early / n_early < 0.5);
    assert_true(n_late > 10 && late / n_late > 0.9);
    worker_free(w);
    feed_free(feed);
}

// Where only vectors are observed the screens show drawings of them, truth and dream alike.
static void whatever_is_observed_of_a_pendulum_can_be_looked_at(void **state) {
    (void)state;
    static const char *const seen[] = {"env.observation=vector", "env.observation=both",
                                       "env.observation=pixels"};
    for (int k = 0; k < 3; k++) {
        struct run_opts o = options(NULL, seen[k]);
        o.updates = 3;
        o.no_media = k > 0; // plot, strip and video too
        struct feed *feed = feed_new(0);
        struct worker *w = run_and_keep(&o, feed);
        const struct feed_pictures *p = feed_pictures(feed);
        assert_non_null(p);
        assert_int_equal(p->n_rollout, FEED_ROLLOUT);
        int64_t black = 0;
        for (int i = 0; i < FEED_PIXELS; i++) black += p->real[i] == 255;
        assert_in_range(black, 80, 200); // a rod of 30 x 4 pixels
        for (int i = 0; i < FEED_ROLLOUT; i++)
            if (strcmp(p->action[i], "start") != 0)
                assert_true(p->action[i][0] == '+' || p->action[i][0] == '-');
        struct worker_summary s;
        worker_summary(w, &s);
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "%s/reconstruction.png", s.session);
        assert_int_equal(access(path, R_OK), k == 0 ? 0 : -1);
        worker_free(w);
        feed_free(feed);
    }
}

static void a_checkpoint_of_vectors_reads_back(void **state) {
    (void)state;
    struct error e = {0};
    struct run_opts o = options(NULL, NULL);
    o.updates = 8;
    struct feed *feed = feed_new(0);
    struct worker *w = run_and_keep(&o, feed);
    if (!worker_verify_checkpoint(w, &e)) fail_msg("%s", e.message);
    worker_free(w);
    feed_free(feed);
}

static void a_failing_update_of_vectors_fails_again_from_its_bundle(void **state) {
    (void)state;
    struct error e = {0};
    struct reproduction r;
    char session[200], bundle[PATH_SIZE];
    for (int k = 0; k < 2; k++) {
        struct run_opts o = options(k ? &two_heads_task : NULL, NULL);
        o.updates = 7;
        run_well(&o, session);
        static const char *const settings[] = {"algo.actor.ent_coef=1e39"};
        struct run_opts again = {.resume = session,
                                 .control = o.control,
                                 .updates = 9,
                                 .n_threads = 1,
                                 .no_media = true,
                                 .settings = settings,
                                 .n_settings = 1};
        assert_int_equal(run_worker(&again, NULL, &e), STATUS_FAILED);
        snprintf(bundle, sizeof bundle, "%s/failures/step_000000008", session);
        if (!reproduce_run(bundle, 1, &r, &e)) fail_msg("%s", e.message);
        assert_int_equal(r.update, 8);
        assert_non_null(strstr(r.recorded, "behaviour/"));
        assert_string_equal(r.found, r.recorded);
    }
}

// ---- evaluation

static void an_evaluation_depends_on_seed_and_number_alone(void **state) {
    (void)state;
    static const char *const files[] = {"episodes.jsonl", "random.jsonl", "summary.json"};
    char session[200], folder[2][PATH_SIZE];
    struct eval_report r[2];
    struct run_opts o = options(NULL, NULL);
    o.updates = 2;
    run_well(&o, session);
    struct eval_opts v = {.path = session, .episodes = 5, .n_envs = 1, .n_threads = 1, .seed = 7};
    evaluate(&v, folder[0], &r[0]);
    v.n_envs = 4, v.n_threads = 3;
    evaluate(&v, folder[1], &r[1]);
    for (int i = 0; i < 3; i++) assert_same_file(folder[0], folder[1], files[i]);
    const struct eval_stats *s = &r[0].policy_stats, *random = &r[0].random_stats;
    assert_true(s->mean_length == 13 && s->successes == 0);
    assert_true(s->return_low < s->mean_reward && s->mean_reward < s->return_high);
    assert_true(s->min_return <= s->median_return && s->median_return <= s->max_return);
    assert_true(s->min_return < s->max_return && s->max_return <= 0); // five starts
    assert_true(random->mean_reward != s->mean_reward);
    assert_true(fabs(random->entropy - log(2)) < 1e-12);
}

// An untrained policy's torques: normal around a mean near 0, so clipped on both sides.
static void sampled_torques_are_normal_around_the_policys_mean(void **state) {
    (void)state;
    char session[200], folder[PATH_SIZE], path[PATH_SIZE];
    struct eval_report r;
    struct error e = {0};
    struct run_opts o = options(NULL, NULL);
    uint8_t *text;
    size_t n;
    o.updates = 1;
    run_well(&o, session);
    struct eval_opts v = {.path = session, .episodes = 10, .seed = 7};
    evaluate(&v, folder, &r);
    assert_true(path_join(path, folder, "episodes.jsonl", &e) &&
                file_read(path, 1 << 20, &text, &n, &e));
    int n_actions = 0, n_least = 0, n_most = 0;
    for (char *at = (char *)text; (at = strstr(at, "\"actions\":["));) {
        at = strchr(at, '[');
        while (*at != ']') {
            const double value = strtod(at + 1, &at);
            assert_true(value >= -1 && value <= 1);
            n_actions++, n_least += value == -1, n_most += value == 1;
        }
    }
    assert_int_equal(n_actions, 130);
    print_message("%d and %d of %d clipped\n", n_least, n_most, n_actions);
    assert_in_range(n_least, 5, 60); // the deviation is about 0.9: an eighth on either side
    assert_in_range(n_most, 5, 60);
    free(text);
}

static void returns_are_summed_up(void **state) {
    (void)state;
    const struct eval_episode list[] = {{.steps = 1, .total_reward = -4},
                                        {.steps = 1, .total_reward = -1},
                                        {.steps = 1, .total_reward = -10},
                                        {.steps = 1, .total_reward = -1}};
    const struct eval_stats s = eval_stats_of(list, 4);
    // squares 0, 9, 36, 9 over 3: deviation sqrt(18); half 1.96 sqrt(18) / 2
    assert_true(s.mean_reward == -4 && fabs(s.return_std - sqrt(18)) < 1e-12);
    assert_true(fabs(s.return_low - (-4 - 4.157712)) < 1e-5);
    assert_true(fabs(s.return_high - (-4 + 4.157712)) < 1e-5);
    assert_true(s.min_return == -10 && s.median_return == -4 && s.max_return == -1);
}

static void dreams_of_vectors_are_measured(void **state) {
    (void)state;
    static const char *const seen[] = {NULL, "env.observation=both"};
    for (int k = 0; k < 2; k++) {
        char session[200], folder[PATH_SIZE];
        struct eval_report r;
        struct run_opts o = options(NULL, seen[k]);
        o.updates = 2;
        run_well(&o, session);
        struct eval_opts v = {.path = session, .episodes = 3, .open_loop = true};
        evaluate(&v, folder, &r);
        const struct eval_horizon *h = r.horizon;
        assert_int_equal(h[0].n, 3);
        assert_int_equal(h[8].n, 3); // 14 rows: 5 seen, 9 ahead
        assert_int_equal(h[9].n, 0);
        assert_true(isfinite(h[0].vector_mse) && h[0].vector_mse > 0);
        assert_true(h[0].copy_vector_mse > 0 && h[0].copy_vector_mse < h[8].copy_vector_mse);
        assert_int_equal(h[0].mse > 0, k); // pictures only where they are observed
    }
}

// ---- refusals

static void what_belongs_to_a_game_boy_is_refused_by_one_line(void **state) {
    (void)state;
    static const char *const keys[] = {"env.action_codec=v0", "env.constant_action=A",
                                       "algo.actor.action_clip=2", "env.observation=both",
                                       "algo.profile=official"};
    const struct {
        struct run_opts opts;
        const char *says;
    } table[] = {
        {{.task = "pendulum", .rom_path = "x.gb"}, "--task and --rom exclude each other"},
        {{.task = "pendulum", .state_path = "x.state"}, "--state x.state"},
        {{.task = "pendulum", .goal_dir = "x"}, "--goal-dir x: --task pendulum is no Game Boy"},
        {{.task = "pendulum", .mode = "standing_still"}, "--mode standing_still"},
        {{.task = "pendulum", .settings = keys, .n_settings = 1}, "env.action_codec"},
        {{.task = "pendulum", .settings = keys + 1, .n_settings = 1}, "env.constant_action"},
        {{.task = "pendulum", .settings = keys + 2, .n_settings = 1}, "algo.actor.action_clip=2"},
        {{.task = "pendulum", .settings = keys + 4, .n_settings = 1}, "algo.profile=official"},
        {{.task = "sprites", .settings = keys + 3, .n_settings = 1}, "env.observation=both"},
        {{.control = &two_heads_task, .settings = keys + 3, .n_settings = 1}, "has no picture"},
        {{.task = "pendulum", .algo = "ppo"}, "--algo ppo plays toy and Game Boy tasks"},
        {{.task = "pendulums"}, "known: static, scroll, sprites"},
        {{.task = "pendulums"}, ", pendulum"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct error e = {0};
        struct run_opts o = table[i].opts;
        o.no_session = true;
        o.updates = 1;
        assert_int_equal(run_worker(&o, NULL, &e), STATUS_USAGE);
        if (!strstr(e.message, table[i].says) || strchr(e.message, '\n'))
            fail_msg("wanted %s, says %s", table[i].says, e.message);
    }
}

static void a_resume_cannot_change_what_is_observed_nor_an_evaluation_the_game(void **state) {
    (void)state;
    static const char *const settings[] = {"env.observation=both"};
    struct error e = {0};
    char session[200];
    struct run_opts o = options(NULL, NULL);
    o.updates = 1;
    run_well(&o, session);
    struct run_opts again = {
        .resume = session, .updates = 3, .settings = settings, .n_settings = 1};
    assert_int_equal(run_worker(&again, NULL, &e), STATUS_USAGE);
    assert_non_null(strstr(e.message, "env.observation is task there, not both"));
    again = (struct run_opts){.resume = session, .updates = 3, .task = "sprites"};
    assert_int_equal(run_worker(&again, NULL, &e), STATUS_USAGE);
    assert_non_null(strstr(e.message, "pendulum, not sprites"));
    struct eval_opts v = {.path = session, .files = {.rom = "x.gb"}};
    assert_null(eval_new(&v, &e));
    assert_non_null(strstr(e.message, "leave --rom out"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_of_vectors_and_torques_is_the_same_in_threads_and_parts),
        cmocka_unit_test(a_run_of_vectors_beside_pictures_is_the_same_in_threads_and_parts),
        cmocka_unit_test(a_run_of_two_heads_is_the_same_in_threads_and_parts),
        cmocka_unit_test(an_official_run_of_two_heads_is_the_same_in_threads_and_parts),
        cmocka_unit_test(a_pendulums_records_have_its_returns_and_neither_success_nor_buttons),
        cmocka_unit_test(both_heads_are_counted),
        cmocka_unit_test(a_policy_of_two_heads_learns_to_go_to_the_corner),
        cmocka_unit_test(whatever_is_observed_of_a_pendulum_can_be_looked_at),
        cmocka_unit_test(a_checkpoint_of_vectors_reads_back),
        cmocka_unit_test(a_failing_update_of_vectors_fails_again_from_its_bundle),
        cmocka_unit_test(an_evaluation_depends_on_seed_and_number_alone),
        cmocka_unit_test(sampled_torques_are_normal_around_the_policys_mean),
        cmocka_unit_test(returns_are_summed_up),
        cmocka_unit_test(dreams_of_vectors_are_measured),
        cmocka_unit_test(what_belongs_to_a_game_boy_is_refused_by_one_line),
        cmocka_unit_test(a_resume_cannot_change_what_is_observed_nor_an_evaluation_the_game),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
