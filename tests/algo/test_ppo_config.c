// PPO's configuration: ranges, words, rules between keys, JSON, the agent's options.
#include <math.h>

#include "engine/algo/ppo/ppo_config.h"
#include "support/test.h"

static struct ppo_config standard(void) {
    struct ppo_config c;
    ppo_config_init(&c);
    return c;
}

static bool try(struct ppo_config *c, const char *key, const char *value, struct error *e) {
    char assignment[200];
    snprintf(assignment, sizeof assignment, "%s=%s", key, value);
    return ppo_config_set(c, assignment, e);
}

// One row per key: values that are taken, values that are not.
static const struct {
    const char *key, *good[2], *bad[2];
} rows[] = {
    {"seed", {"0", "9007199254740991"}, {"-1", "x"}},
    {"algo.rollout_steps", {"1", "128"}, {"0", "65537"}},
    {"algo.update_epochs", {"1", "4"}, {"0", "1.5"}},
    {"algo.minibatches", {"1", "8"}, {"0", "-4"}},
    {"algo.optimizer.lr", {"1e-6", "1"}, {"0", "nan"}},
    {"algo.optimizer.eps", {"1e-8", "1"}, {"0", "2"}},
    {"algo.anneal_lr", {"true", "false"}, {"yes", ""}},
    {"algo.gamma", {"0.5", "1"}, {"0", "1.01"}},
    {"algo.gae_lambda", {"0", "1"}, {"-0.1", "1.1"}},
    {"algo.clip_coef", {"0.1", "0.9"}, {"0", "1"}},
    {"algo.clip_vloss", {"true", "false"}, {"1", "TRUE"}},
    {"algo.value_clip", {"0.1", "10"}, {"0", "inf"}},
    {"algo.vf_coef", {"0", "0.5"}, {"-1", "nan"}},
    {"algo.ent_coef", {"0", "0.01"}, {"-1", "inf"}},
    {"algo.max_grad_norm", {"0", "0.5"}, {"-1", "inf"}},
    {"algo.normalize_advantages", {"minibatch", "none"}, {"true", "batches"}},
    {"algo.truncation", {"terminal", "bootstrap"}, {"end", ""}},
    {"algo.init", {"uniform", "orthogonal"}, {"zero", "normal"}},
    {"algo.target_kl", {"0", "0.02"}, {"-1", "nan"}},
    {"env.frame_stack", {"1", "8"}, {"0", "9"}},
    {"env.num_envs", {"1", "65536"}, {"0", "65537"}},
    {"env.device", {"host", "auto"}, {"cuda", ""}},
    {"env.alpha", {"0", "1"}, {"-1", "1001"}},
    {"env.goal_bonus", {"0", "5"}, {"-1", "x"}},
    {"env.step_cost", {"-0.01", "0"}, {"-1001", "inf"}},
    {"env.max_episode_steps", {"1", "512"}, {"0", "-1"}},
    {"env.action_codec", {"v1", "v0"}, {"v2", "NOOP"}},
    {"eval.every", {"0", "10"}, {"-1", "often"}},
    {"eval.episodes", {"1", "64"}, {"0", "65537"}},
    {"checkpoint.every", {"0", "10"}, {"-1", "x"}},
    {"checkpoint.keep_last", {"1", "5"}, {"0", "all"}},
    {"metric.log_every", {"1", "5"}, {"0", "-1"}},
    {"precision.model_dtype", {"float32", "float32"}, {"bfloat16", "fp32"}},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static void every_key_takes_its_values_and_nothing_else(void **state) {
    (void)state;
    assert_int_equal(N_ROWS, ppo_config_schema.n);
    for (int i = 0; i < N_ROWS; i++) {
        assert_true(config_schema_find(&ppo_config_schema, rows[i].key) >= 0);
        for (int k = 0; k < 2; k++) {
            struct ppo_config c = standard(), before = c;
            struct error e = {0};
            if (!try(&c, rows[i].key, rows[i].good[k], &e)) fail_msg("%s", e.message);
            assert_true(ppo_config_given(&c, rows[i].key));
            c = before;
            if (try(&c, rows[i].key, rows[i].bad[k], &e))
                fail_msg("%s=%s was taken", rows[i].key, rows[i].bad[k]);
            assert_int_equal(e.status, STATUS_USAGE);
            assert_non_null(strstr(e.message, rows[i].key));
            assert_memory_equal(&c, &before, sizeof c);
        }
    }
}

static void the_defaults_are_the_plans(void **state) {
    (void)state;
    struct ppo_config c = standard();
    struct error e = {0};
    struct ppo_opts o;
    assert_true(ppo_config_check(&c, &e));
    ppo_config_opts(&c, 7, &o);
    assert_true(o.n_envs == 256 && o.n_steps == 128 && o.epochs == 2 && o.minibatches == 4 &&
                o.dims.stack == 4);
    assert_true(o.gamma == 0.99 && o.lambda == 0.95 && o.loss.clip == 0.1 &&
                o.loss.value_coef == 0.5);
    assert_true(o.loss.entropy_coef == 0.01 && o.loss.value_clip == 0 && o.max_norm == 0.5 &&
                o.adam_eps == 1e-5);
    assert_true(o.bootstrap && o.advantages == PPO_ADVANTAGES_BATCH &&
                o.init == PPO_INIT_ORTHOGONAL);
    assert_true(c.learning_rate == 2.5e-4 && strcmp(c.action_codec, "v0") == 0);
}

static void options_follow_the_keys(void **state) {
    (void)state;
    struct ppo_config c = standard();
    struct error e = {0};
    struct ppo_opts o;
    assert_true(try(&c, "algo.clip_vloss", "true", &e) && try(&c, "algo.value_clip", "0.3", &e));
    assert_true(try(&c, "algo.truncation", "terminal", &e) &&
                try(&c, "algo.normalize_advantages", "minibatch", &e));
    assert_true(try(&c, "algo.init", "uniform", &e));
    ppo_config_opts(&c, 8, &o);
    assert_true(o.loss.value_clip == 0.3 && !o.bootstrap &&
                o.advantages == PPO_ADVANTAGES_MINIBATCH);
    assert_true(o.init == PPO_INIT_UNIFORM && o.dims.n_actions == 8);
}

static void a_rollout_must_split_into_its_minibatches(void **state) {
    (void)state;
    struct ppo_config c = standard();
    struct error e = {0};
    assert_true(try(&c, "env.num_envs", "3", &e) && try(&c, "algo.rollout_steps", "5", &e));
    assert_false(ppo_config_check(&c, &e));
    assert_non_null(strstr(e.message, "algo.minibatches=4 does not divide"));
    assert_true(try(&c, "algo.minibatches", "5", &e) && ppo_config_check(&c, &e));
    assert_true(try(&c, "algo.minibatches", "15", &e) &&
                try(&c, "algo.normalize_advantages", "minibatch", &e));
    assert_false(ppo_config_check(&c, &e));
    assert_true(try(&c, "env.num_envs", "65536", &e) && try(&c, "algo.rollout_steps", "65536", &e));
    assert_false(ppo_config_check(&c, &e));
}

static void the_learning_rate_falls_to_zero_only_when_asked_to(void **state) {
    (void)state;
    struct ppo_config c = standard();
    assert_true(ppo_config_rate(&c, 59, 60) == 2.5e-4);
    c.anneal_lr = true;
    assert_true(ppo_config_rate(&c, 0, 60) == 2.5e-4);
    assert_true(fabs(ppo_config_rate(&c, 30, 60) - 1.25e-4) < 1e-12);
    assert_true(ppo_config_rate(&c, 60, 60) == 0 && ppo_config_rate(&c, 99, 60) == 0);
}

static void json_reads_back_the_same(void **state) {
    (void)state;
    struct ppo_config c = standard(), d = standard();
    struct error e = {0};
    assert_true(try(&c, "algo.gamma", "0.123456789012345678", &e) &&
                try(&c, "env.action_codec", "v1", &e));
    char *text = config_schema_to_json(&ppo_config_schema, &c);
    assert_true(ppo_config_from_json(&d, text, strlen(text), "config.json", &e));
    d.given = c.given;
    assert_memory_equal(&c, &d, sizeof c);
    free(text);
    const char *wrong = "{\"algo.horizon\": 15}";
    assert_false(ppo_config_from_json(&d, wrong, strlen(wrong), "config.json", &e));
    assert_non_null(strstr(e.message, "algo.horizon"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_takes_its_values_and_nothing_else),
        cmocka_unit_test(the_defaults_are_the_plans),
        cmocka_unit_test(options_follow_the_keys),
        cmocka_unit_test(a_rollout_must_split_into_its_minibatches),
        cmocka_unit_test(the_learning_rate_falls_to_zero_only_when_asked_to),
        cmocka_unit_test(json_reads_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
