// Configuration: every key's range kept and broken, suggestions, presets, rules between keys, JSON.
#include "support/test.h"

#include "engine/algo/config.h"

static struct config tiny(void) {
    struct config c;
    struct error e = {0};
    if (!config_init(&c, "tiny", &e)) fail_msg("%s", e.message);
    return c;
}

static void set(struct config *c, const char *assignment) {
    struct error e = {0};
    if (!config_set(c, assignment, &e)) fail_msg("%s", e.message);
}

// Fails with exit code 2 and one line that holds all the words; the configuration stays as it was.
static void refused(const struct config *c, const char *assignment, const char *word1,
                    const char *word2) {
    struct config copy = *c;
    struct error e = {0};
    if (config_set(&copy, assignment, &e)) fail_msg("%s was accepted", assignment);
    assert_int_equal(e.status, STATUS_USAGE);
    if (!strstr(e.message, word1) || !strstr(e.message, word2))
        fail_msg("'%s' gives: %s (no '%s' or no '%s')", assignment, e.message, word1, word2);
    assert_null(strchr(e.message, '\n'));
    assert_memory_equal(&copy, c, sizeof copy);
}

static double number(const struct config *c, const char *key) {
    for (int i = 0; i < config_n_keys; i++) {
        char text[CONFIG_TEXT_SIZE];
        if (strcmp(config_keys[i].name, key) != 0) continue;
        config_text(c, i, text);
        return strtod(text, NULL);
    }
    fail_msg("no key %s", key);
    return 0;
}

// One row per numeric key: values that must be taken and values that must not.
// clang-format off
static const struct { const char *key, *good[3], *bad[4]; } ranges[] = {
    {"seed", {"0", "7", "9007199254740991"}, {"-1", "9007199254740992", "1.5", "x"}},
    {"algo.replay_ratio", {"0", "0.5", "1024"}, {"-0.1", "1025", "nan", "inf"}},
    {"algo.learning_starts", {"0", "256", "1000000000"}, {"-1", "1000000001", "1e3", ""}},
    {"algo.per_rank_batch_size", {"1", "16", "4096"}, {"0", "4097", "-8", "8x"}},
    {"algo.per_rank_sequence_length", {"2", "64", "4096"}, {"1", "4097", "0", "2.0"}},
    {"algo.dense_units", {"1", "512", "16384"}, {"0", "16385", "-1", "1 "}},
    {"algo.mlp_layers", {"1", "5", "16"}, {"0", "17", "-1", "two"}},
    {"algo.actor.min_std", {"0.01", "0.1", "0.9"}, {"0", "1", "-1", "nan"}},
    {"algo.actor.init_std", {"-20", "0", "2"}, {"-21", "21", "nan", "two"}},
    {"algo.actor.action_clip", {"1e-37", "1", "2"}, {"0", "1e-39", "inf", "nan"}},
    {"algo.unimix", {"0", "0.01", "0.999"}, {"-0.01", "1", "2", "1%"}},
    {"algo.mlp_layer_norm.kw.eps", {"1e-8", "1e-3", "1"}, {"0", "-1e-3", "1.1", "nan"}},
    {"algo.cnn_layer_norm.kw.eps", {"1e-8", "1e-3", "1"}, {"0", "-1e-3", "1.1", "nan"}},
    {"algo.world_model.discrete_size", {"2", "32", "1024"}, {"1", "0", "1025", "-2"}},
    {"algo.world_model.stochastic_size", {"1", "32", "1024"}, {"0", "-1", "1025", "3.2"}},
    {"algo.world_model.kl_dynamic", {"0", "0.5", "100"}, {"-0.5", "inf", "nan", "half"}},
    {"algo.world_model.kl_representation", {"0", "0.1", "100"}, {"-0.1", "inf", "nan", ""}},
    {"algo.world_model.kl_free_nats", {"0", "1", "100"}, {"-1", "inf", "nan", "one"}},
    {"algo.world_model.kl_regularizer", {"0", "1", "100"}, {"-1", "inf", "nan", "one"}},
    {"algo.world_model.continue_scale_factor", {"0", "1", "10"}, {"-1", "inf", "nan", "one"}},
    {"algo.world_model.clip_gradients", {"0.001", "100", "1e6"}, {"0", "-1", "inf", "nan"}},
    {"algo.world_model.encoder.cnn_channels_multiplier", {"1", "24", "512"}, {"0", "513", "-1", "2.5"}},
    {"algo.world_model.recurrent_model.recurrent_state_size", {"1", "512", "32768"}, {"0", "32769", "-1", "h"}},
    {"algo.world_model.recurrent_model.dense_units", {"1", "512", "16384"}, {"0", "16385", "-1", "u"}},
    {"algo.world_model.transition_model.hidden_size", {"1", "512", "16384"}, {"0", "16385", "-1", "u"}},
    {"algo.world_model.representation_model.hidden_size", {"1", "512", "16384"}, {"0", "16385", "-1", "u"}},
    {"algo.world_model.reward_model.bins", {"2", "255", "4096"}, {"1", "0", "4097", "-1"}},
    {"algo.world_model.optimizer.lr", {"1e-9", "1e-4", "1"}, {"0", "-1e-4", "1.01", "nan"}},
    {"algo.world_model.optimizer.eps", {"1e-12", "1e-8", "1"}, {"0", "-1e-8", "2", "nan"}},
    {"algo.world_model.recurrent_model.blocks", {"1", "8", "1024"}, {"0", "-8", "1025", "b"}},
    {"algo.critic.replay_loss_scale", {"0", "0.3", "10"}, {"-0.1", "inf", "nan", "x"}},
    {"algo.optimizer.agc", {"0", "0.3", "10"}, {"-0.1", "inf", "nan", "x"}},
    {"algo.optimizer.warmup", {"0", "1000", "1000000000"}, {"-1", "1000000001", "1.5", "x"}},
    {"algo.gamma", {"0.5", "0.997", "1"}, {"0", "-0.1", "1.001", "nan"}},
    {"algo.lmbda", {"0", "0.95", "1"}, {"-0.1", "1.1", "nan", "l"}},
    {"algo.horizon", {"1", "15", "128"}, {"0", "129", "-1", "1.5"}},
    {"algo.actor.ent_coef", {"0", "3e-4", "1"}, {"-1e-4", "inf", "nan", ""}},
    {"algo.actor.clip_gradients", {"0.001", "100", "1e6"}, {"0", "-1", "inf", "nan"}},
    {"algo.actor.moments.decay", {"0", "0.99", "0.9999"}, {"1", "-0.1", "2", "nan"}},
    {"algo.actor.moments.max", {"1e-8", "1", "1e30"}, {"0", "-1", "1e31", "nan"}},
    {"algo.actor.moments.percentile.low", {"0.01", "0.05", "0.5"}, {"0", "1", "-0.1", "5%"}},
    {"algo.actor.moments.percentile.high", {"0.5", "0.95", "0.99"}, {"0", "1", "1.1", "nan"}},
    {"algo.actor.optimizer.lr", {"1e-9", "8e-5", "1"}, {"0", "-1e-4", "1.01", "nan"}},
    {"algo.actor.optimizer.eps", {"1e-12", "1e-5", "1"}, {"0", "-1e-8", "2", "nan"}},
    {"algo.critic.bins", {"2", "255", "4096"}, {"1", "0", "4097", "-1"}},
    {"algo.critic.tau", {"0.001", "0.02", "1"}, {"0", "-0.02", "1.1", "nan"}},
    {"algo.critic.per_rank_target_network_update_freq", {"1", "2", "1000000000"}, {"0", "-1", "1000000001", "1.5"}},
    {"algo.critic.clip_gradients", {"0.001", "100", "1e6"}, {"0", "-1", "inf", "nan"}},
    {"algo.critic.optimizer.lr", {"1e-9", "8e-5", "1"}, {"0", "-1e-4", "1.01", "nan"}},
    {"algo.critic.optimizer.eps", {"1e-12", "1e-5", "1"}, {"0", "-1e-8", "2", "nan"}},
    {"buffer.size", {"2", "10000", "1000000000"}, {"1", "0", "-5", "1000000001"}},
    {"buffer.terminal_fraction", {"0", "0.25", "1"}, {"-0.1", "1.1", "nan", "half"}},
    {"env.num_envs", {"1", "16", "65536"}, {"0", "-1", "65537", "1e2"}},
    {"env.alpha", {"0", "1", "10"}, {"-1", "1001", "nan"}},
    {"env.goal_bonus", {"0", "5", "1e6"}, {"-1", "x"}},
    {"env.step_cost", {"-0.01", "0", "1"}, {"-1001", "inf"}},
    {"env.max_episode_steps", {"1", "256", "1000000000"}, {"0", "-1", "1000000001", "never"}},
    {"checkpoint.every", {"0", "1000", "1000000000"}, {"-1", "1000000001", "0.5", ""}},
    {"checkpoint.keep_last", {"1", "5", "1000000"}, {"0", "-1", "1000001", "all"}},
    {"metric.log_every", {"1", "10", "1000000"}, {"0", "-1", "1000001", "x"}},
};

// clang-format on

static void every_number_takes_its_range_and_nothing_else(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        for (int k = 0; k < 3; k++) {
            struct config c = tiny();
            char assignment[200];
            snprintf(assignment, sizeof assignment, "%s=%s", ranges[i].key, ranges[i].good[k]);
            set(&c, assignment);
            assert_true(number(&c, ranges[i].key) == strtod(ranges[i].good[k], NULL));
        }
        for (int k = 0; k < 4; k++) {
            struct config c = tiny();
            char assignment[200], shown[64];
            snprintf(assignment, sizeof assignment, "%s=%s", ranges[i].key, ranges[i].bad[k]);
            snprintf(shown, sizeof shown, "'%s'", ranges[i].bad[k]);
            refused(&c, assignment, ranges[i].key, shown);
            refused(&c, assignment, "it must be", "number");
        }
    }
}

static void every_key_has_a_row_in_a_test(void **state) {
    (void)state;
    int numbers = 0;
    for (int i = 0; i < config_n_keys; i++) {
        bool number_key =
            config_keys[i].type == CONFIG_INTEGER || config_keys[i].type == CONFIG_DECIMAL;
        numbers += number_key;
        bool found = !number_key;
        for (size_t k = 0; k < sizeof ranges / sizeof ranges[0]; k++)
            found |= strcmp(ranges[k].key, config_keys[i].name) == 0;
        if (!found) fail_msg("%s is in no test", config_keys[i].name);
        assert_true(strlen(config_keys[i].help) > 5);
    }
    assert_int_equal(numbers, sizeof ranges / sizeof ranges[0]);
}

static void switches_and_choices_take_their_words_only(void **state) {
    (void)state;
    static const struct {
        const char *key, *good, *bad, *allowed;
    } words[] = {
        {"algo.hafner_initialization", "false", "False", "true|false"},
        {"algo.world_model.learnable_initial_recurrent_state", "false", "0", "true|false"},
        {"algo.world_model.decoupled_rssm", "true", "yes", "true|false"},
        {"env.action_codec", "v0", "v2", "v0|v1"},
        {"algo.profile", "official", "dreamer", "sheeprl|official"},
        {"algo.continue_mode", "prob", "soft", "hard|prob"},
        {"env.constant_action", "START", "SELECT", "NOOP|A|B|START"},
        {"precision.model_dtype", "float32", "bfloat16", "it must be float32"},
        {"precision.rnn_dtype", "float32", "float16", "it must be float32"},
        {"precision.autocast", "true", "yes", "one of true|false"},
        {"precision.allow_tf32", "true", "yes", "one of true|false"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct config c = tiny();
        char assignment[128];
        snprintf(assignment, sizeof assignment, "%s=%s", words[i].key, words[i].good);
        set(&c, assignment);
        snprintf(assignment, sizeof assignment, "%s=%s", words[i].key, words[i].bad);
        refused(&c, assignment, words[i].key, words[i].allowed);
        snprintf(assignment, sizeof assignment, "%s=", words[i].key);
        refused(&c, assignment, words[i].key, words[i].allowed);
    }
}

static void an_unknown_key_gets_the_nearest_one_suggested(void **state) {
    (void)state;
    struct config c = tiny();
    refused(&c, "algo.world_model.kl_dynamics=1", "unknown config key",
            "did you mean algo.world_model.kl_dynamic?");
    refused(&c, "algo.replay_ration=1", "unknown config key", "did you mean algo.replay_ratio?");
    refused(&c, "buffer.szie=5", "buffer.szie", "did you mean buffer.size?");
    refused(&c, "lr=1", "unknown config key", "did you mean algo.world_model.optimizer.lr?");
    refused(&c, "num_envs=1", "unknown config key", "did you mean env.num_envs?");
    refused(&c, "batch_size=1", "unknown config key", "did you mean algo.per_rank_batch_size?");
    refused(&c, "\x1b[31m=1", "unknown config key", "did you mean");
    refused(&c, "seed", "write key=value", "seed");
    refused(&c, "=5", "write key=value", "");
    refused(&c, "", "write key=value", "");
    char longest[5000];
    memset(longest, 'k', sizeof longest);
    memcpy(longest + sizeof longest - 3, "=1", 3);
    refused(&c, longest, "unknown config key", "did you mean");
    memcpy(longest, "seed=", 5);
    refused(&c, longest, "seed", "must be");
}

static void a_small_share_of_a_small_batch_is_one_sequence(void **state) {
    (void)state;
    static const struct {
        double fraction;
        int batch, n;
    } cases[] = {{0, 8, 0},      {0.25, 8, 2}, {0.25, 2, 1},     {1e-300, 8, 1},
                 {0.29, 100, 29}, {0.3, 8, 2},  {0.999, 1000, 999}, {1, 4096, 4096}};
    struct config c;
    struct error e = {0};
    assert_true(config_init(&c, "tiny", &e));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        c.terminal_fraction = cases[i].fraction;
        c.batch_size = cases[i].batch;
        assert_int_equal(config_terminal_sequences(&c), cases[i].n);
    }
}

static void presets_are_those_of_the_table(void **state) {
    (void)state;
    struct error e = {0};
    struct config c = tiny();
    assert_int_equal(c.dense_units, 128);
    assert_int_equal(c.mlp_layers, 2);
    assert_int_equal(c.cnn_multiplier, 8);
    assert_int_equal(c.recurrent_size, 128);
    assert_int_equal(c.transition_hidden, 128);
    assert_int_equal(c.stochastic_size, 16);
    assert_int_equal(c.discrete_size, 16);
    assert_int_equal(c.batch_size, 8);
    assert_int_equal(c.sequence_length, 16);
    assert_int_equal(c.learning_starts, 256);
    assert_int_equal(c.max_episode_steps, 256);
    assert_int_equal(c.buffer_size, 10000);
    assert_int_equal(c.num_envs, 1);
    assert_true(c.replay_ratio == 1);
    assert_string_equal(c.constant_action, "NOOP");
    struct config goal;
    assert_true(config_init(&goal, "goal", &e)); // tiny's sizes, other keys
    assert_int_equal(goal.recurrent_size, c.recurrent_size);
    assert_int_equal(goal.cnn_multiplier, c.cnn_multiplier);
    assert_int_equal(goal.sequence_length, c.sequence_length);
    assert_true(goal.replay_ratio == 0.25 && goal.gamma == 0.98 && goal.actor_ent_coef == 1e-2);
    assert_true(goal.terminal_fraction == 0.25);
    for (int i = 0; i < config_n_keys; i++) assert_false(goal.given[i]);
    assert_true(config_init(&c, "xl", &e));
    assert_int_equal(c.recurrent_size, 4096);
    assert_int_equal(c.batch_size, 16);
    assert_int_equal(c.sequence_length, 64);
    assert_true(config_init(&c, "micro", &e));
    assert_int_equal(c.stochastic_size, 4);
    assert_int_equal(c.discrete_size, 4);
    for (int i = 0; config_presets[i]; i++) {
        if (!config_init(&c, config_presets[i], &e) || !config_check(&c, &e))
            fail_msg("%s", e.message);
        assert_string_equal(c.preset, config_presets[i]);
    }
    assert_false(config_init(&c, "tinny", &e));
    assert_int_equal(e.status, STATUS_USAGE);
    assert_non_null(strstr(e.message, "did you mean tiny?"));
    assert_non_null(strstr(e.message, "micro, tiny, goal, xs, s, m, l, xl"));
}

static void the_recurrent_models_width_follows_until_it_is_set(void **state) {
    (void)state;
    struct config c = tiny();
    set(&c, "algo.dense_units=96");
    assert_int_equal(c.recurrent_units, 96);
    set(&c, "algo.world_model.recurrent_model.dense_units=40");
    set(&c, "algo.dense_units=64");
    assert_int_equal(c.recurrent_units, 40);
    assert_int_equal(c.dense_units, 64);
}

static void check_fails(const char *settings[], int n, const char *word1, const char *word2) {
    struct config c = tiny();
    struct error e = {0};
    for (int i = 0; i < n; i++) set(&c, settings[i]);
    if (config_check(&c, &e)) fail_msg("the rule about %s was not applied", word1);
    assert_int_equal(e.status, STATUS_USAGE);
    if (!strstr(e.message, word1) || !strstr(e.message, word2)) fail_msg("message: %s", e.message);
}

static void rules_between_keys_name_both(void **state) {
    (void)state;
    struct error e = {0};
    check_fails(
        (const char *[]){"algo.per_rank_batch_size=4096", "algo.per_rank_sequence_length=17"}, 2,
        "algo.per_rank_batch_size=4096", "65536");
    check_fails((const char *[]){"algo.world_model.stochastic_size=1024",
                                 "algo.world_model.discrete_size=65"},
                2, "stochastic_size=1024", "65536");
    check_fails((const char *[]){"buffer.size=33", "env.num_envs=2"}, 2, "buffer.size=33", "17");
    check_fails((const char *[]){"algo.learning_starts=15"}, 1, "algo.learning_starts=15", "16");
    check_fails((const char *[]){"algo.learning_starts=31", "env.num_envs=2"}, 2,
                "algo.learning_starts=31", "32");
    check_fails((const char *[]){"buffer.size=200"}, 1, "algo.learning_starts=256",
                "buffer.size=200");
    check_fails((const char *[]){"algo.actor.moments.percentile.low=0.95"}, 1,
                "percentile.low=0.95", "percentile.high=0.95");
    struct config c = tiny();
    set(&c, "algo.learning_starts=16");
    set(&c, "buffer.size=17");
    set(&c, "env.action_codec=v0"); // its constant action is judged where one is held
    if (!config_check(&c, &e)) fail_msg("%s", e.message);
    c = tiny();
    c.batch_size = 0; // filled by hand: ranges hold here as well
    assert_false(config_check(&c, &e));
    assert_non_null(strstr(e.message, "algo.per_rank_batch_size"));
}

static void json_is_the_same_bytes_and_reads_back(void **state) {
    (void)state;
    struct error e = {0};
    struct config c = tiny(), d;
    set(&c, "algo.world_model.optimizer.lr=0.00030000000000000003");
    set(&c, "seed=9007199254740991");
    set(&c, "algo.world_model.recurrent_model.dense_units=77");
    char *text = config_to_json(&c), *again = config_to_json(&c);
    assert_string_equal(text, again);
    assert_true(config_init(&d, "xs", &e));
    if (!config_from_json(&d, text, strlen(text), "config.json", &e)) fail_msg("%s", e.message);
    assert_true(d.model_lr == 0.00030000000000000003);
    assert_true(d.seed == 9007199254740991);
    char *back = config_to_json(&d), hash1[CONFIG_HASH_SIZE], hash2[CONFIG_HASH_SIZE];
    assert_string_equal(text, back);
    config_hash(&c, hash1);
    config_hash(&d, hash2);
    assert_string_equal(hash1, hash2);
    assert_int_equal(strlen(hash1), 64);
    set(&d, "seed=1");
    config_hash(&d, hash2);
    assert_string_not_equal(hash1, hash2);
    free(text);
    free(again);
    free(back);
}

static void bad_json_is_refused_with_the_file_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"", "config.json"},
        {"{", "config.json"},
        {"[]", "object"},
        {"{\"seed\":1,\"seed\":2}", "seed"},
        {"{\"seed\":-1}", "seed"},
        {"{\"seed\":\"1\"}", "JSON type"},
        {"{\"seed\":null}", "JSON type"},
        {"{\"sede\":1}", "did you mean seed"},
        {"{\"algo.unimix\":true}", "JSON type"},
        {"{\"precision.allow_tf32\":1}", "precision.allow_tf32"},
        {"{\"env.action_codec\":\"v9\"}", "v0|v1"},
        {"{\"algo.unimix\":1e999}", "algo.unimix"},
        {"{\"seed\":0.5}", "whole"},
        {"{\"seed\":{}}", "JSON type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config c = tiny(), before = c;
        struct error e = {0};
        if (config_from_json(&c, cases[i].text, strlen(cases[i].text), "config.json", &e))
            fail_msg("%s was accepted", cases[i].text);
        if (!strstr(e.message, cases[i].word) || !strstr(e.message, "config.json"))
            fail_msg("%s gives: %s", cases[i].text, e.message);
        assert_memory_equal(&c, &before, sizeof c);
    }
}

// ---- profiles

static double value_of(const char *const *settings, const char *key) {
    struct config c = tiny();
    for (; *settings; settings++) set(&c, *settings);
    return number(&c, key);
}

static void a_profile_sets_defaults_between_the_preset_and_what_was_given(void **state) {
    (void)state;
    static const char *const official[] = {"algo.profile=official", NULL};
    static const char *const before[] = {"algo.mlp_layers=5", "algo.profile=official", NULL};
    static const char *const after[] = {"algo.profile=official", "algo.mlp_layers=5", NULL};
    static const char *const back[] = {"algo.profile=official", "algo.profile=sheeprl", NULL};
    static const char *const rate[] = {"algo.profile=official",
                                       "algo.world_model.optimizer.lr=1e-3", NULL};
    assert_true(value_of(official, "algo.mlp_layers") == 3);
    assert_true(value_of(before, "algo.mlp_layers") == 5);
    assert_true(value_of(after, "algo.mlp_layers") == 5);
    assert_true(value_of(back, "algo.mlp_layers") == 2);
    assert_true(value_of(back, "algo.optimizer.agc") == 0);
    assert_true(value_of(official, "algo.optimizer.agc") == 0.3);
    assert_true(value_of(official, "algo.world_model.optimizer.lr") == 4e-5);
    assert_true(value_of(rate, "algo.actor.optimizer.lr") == 1e-3);
    assert_true(value_of(rate, "algo.critic.optimizer.lr") == 1e-3);
    for (const char *const *preset = config_presets; *preset; preset++) {
        struct config c;
        struct error e = {0};
        if (!config_init(&c, *preset, &e)) fail_msg("%s", e.message);
        set(&c, "algo.profile=official");
        set(&c, "algo.learning_starts=2048");
        set(&c, "buffer.size=60000");
        if (!config_check(&c, &e)) fail_msg("%s: %s", *preset, e.message);
    }
}

static void a_profile_survives_json(void **state) {
    (void)state;
    struct config c = tiny(), read = tiny();
    struct error e = {0};
    set(&c, "algo.profile=official");
    set(&c, "algo.world_model.optimizer.lr=1e-4");
    char *json = config_to_json(&c), *again;
    if (!config_from_json(&read, json, strlen(json), "test", &e)) fail_msg("%s", e.message);
    again = config_to_json(&read);
    assert_string_equal(json, again);
    if (!config_check(&read, &e)) fail_msg("%s", e.message);
    free(json);
    free(again);
}

static void what_a_profile_cannot_have_is_refused_in_one_line(void **state) {
    (void)state;
    static const struct {
        const char *first, *second, *word1, *word2;
    } cases[] = {
        {"algo.profile=sheeprl", "algo.optimizer.agc=0.3", "algo.optimizer.agc=0.3", "official"},
        {"algo.profile=sheeprl", "algo.optimizer.warmup=5", "algo.optimizer.warmup=5", "official"},
        {"algo.profile=sheeprl", "algo.critic.replay_loss_scale=1", "replay_loss_scale",
         "official"},
        {"algo.profile=sheeprl", "algo.world_model.recurrent_model.blocks=8", "blocks=8",
         "official"},
        {"algo.profile=official", "algo.continue_mode=hard", "official", "continue_mode=hard"},
        {"algo.profile=official", "algo.world_model.clip_gradients=10", "clip_gradients=10",
         "algo.optimizer.agc=0.3"},
        {"algo.profile=official", "algo.actor.clip_gradients=10", "algo.actor.clip_gradients=10",
         "algo.optimizer.agc"},
        {"algo.profile=official", "algo.critic.clip_gradients=10", "algo.critic.clip_gradients=10",
         "algo.optimizer.agc"},
        {"algo.profile=official", "algo.hafner_initialization=false", "official",
         "hafner_initialization=false"},
        {"algo.profile=official", "algo.world_model.learnable_initial_recurrent_state=true",
         "official", "learnable_initial"},
        {"algo.profile=official", "algo.world_model.recurrent_model.blocks=7", "blocks=7",
         "recurrent_state_size=128"},
        {"algo.profile=official", "algo.actor.optimizer.lr=1e-3", "one optimiser",
         "algo.actor.optimizer.lr=0.001"},
        {"algo.profile=official", "algo.critic.optimizer.lr=1e-3", "one optimiser",
         "algo.world_model.optimizer.lr=4e-05"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config c = tiny();
        struct error e = {0};
        set(&c, cases[i].first);
        set(&c, cases[i].second);
        assert_false(config_check(&c, &e));
        assert_int_equal(e.status, STATUS_USAGE);
        assert_null(strchr(e.message, '\n'));
        if (!strstr(e.message, cases[i].word1) || !strstr(e.message, cases[i].word2))
            fail_msg("%s: %s", cases[i].second, e.message);
    }
    struct config c = tiny(); // continues as probabilities go with both
    struct error e = {0};
    set(&c, "algo.continue_mode=prob");
    if (!config_check(&c, &e)) fail_msg("%s", e.message);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_takes_its_range_and_nothing_else),
        cmocka_unit_test(every_key_has_a_row_in_a_test),
        cmocka_unit_test(switches_and_choices_take_their_words_only),
        cmocka_unit_test(an_unknown_key_gets_the_nearest_one_suggested),
        cmocka_unit_test(presets_are_those_of_the_table),
        cmocka_unit_test(a_small_share_of_a_small_batch_is_one_sequence),
        cmocka_unit_test(the_recurrent_models_width_follows_until_it_is_set),
        cmocka_unit_test(rules_between_keys_name_both),
        cmocka_unit_test(json_is_the_same_bytes_and_reads_back),
        cmocka_unit_test(bad_json_is_refused_with_the_file_named),
        cmocka_unit_test(a_profile_sets_defaults_between_the_preset_and_what_was_given),
        cmocka_unit_test(a_profile_survives_json),
        cmocka_unit_test(what_a_profile_cannot_have_is_refused_in_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
