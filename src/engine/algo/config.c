// Configuration: table, presets, assignment with range checks, rules between keys.
#include "engine/algo/config.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/real.h"

// clang-format off
const struct config_key config_keys[] = {
#define INTEGER(field, key, value, range, help) {key, range, help, CONFIG_INTEGER, offsetof(struct config, field)},
#define DECIMAL(field, key, value, range, help) {key, range, help, CONFIG_DECIMAL, offsetof(struct config, field)},
#define SWITCH(field, key, value, allowed, help) {key, allowed, help, CONFIG_SWITCH, offsetof(struct config, field)},
#define CHOICE(field, key, value, allowed, help) {key, allowed, help, CONFIG_CHOICE, offsetof(struct config, field)},
    CONFIG_TABLE(INTEGER, DECIMAL, SWITCH, CHOICE)
#undef INTEGER
#undef DECIMAL
#undef SWITCH
#undef CHOICE
};
const int config_n_keys = sizeof config_keys / sizeof config_keys[0];
_Static_assert(sizeof config_keys / sizeof config_keys[0] <= CONFIG_MAX_KEYS, "room in config.given");

static const struct config defaults = {
#define INTEGER(field, key, value, range, help) .field = value,
#define DECIMAL(field, key, value, range, help) .field = value,
#define SWITCH(field, key, value, allowed, help) .field = value,
#define CHOICE(field, key, value, allowed, help) .field = value,
    CONFIG_TABLE(INTEGER, DECIMAL, SWITCH, CHOICE)
#undef INTEGER
#undef DECIMAL
#undef SWITCH
#undef CHOICE
};

// clang-format on

// ---- presets (spec/dreamer_v3.md 2.4)
struct preset {
    int64_t dense_units, mlp_layers, cnn_multiplier, recurrent_size, hidden, stochastic_size,
        discrete_size;
    int64_t batch_size, sequence_length;
    const char *const *settings; // more keys, NULL at the end; NULL: sheeprl's defaults
};
// Learns the built-in goal tasks on two cores in minutes (docs/validation.md). Goals are rare, so a
// quarter of every batch goes through one; few updates, so high rates; a short horizon of value, so
// that it has converged before the goal is first met; much entropy until then.
static const char *const goal_settings[] = {"algo.replay_ratio=0.25",
                                            "algo.learning_starts=2048",
                                            "buffer.size=60000",
                                            "buffer.terminal_fraction=0.25",
                                            "env.num_envs=4",
                                            "algo.gamma=0.98",
                                            "algo.world_model.optimizer.lr=4e-4",
                                            "algo.actor.optimizer.lr=3e-4",
                                            "algo.actor.ent_coef=1e-2",
                                            "algo.critic.optimizer.lr=3e-4",
                                            NULL};
// What the official code sets where sheeprl sets something else (spec/dreamer_v3.md 3.6, 4.2, 7.2).
// One optimiser for all: its rate is the world model's key, which the other two follow.
static const char *const official_settings[] = {
    "algo.mlp_layers=3",
    "algo.mlp_layer_norm.kw.eps=1e-4",
    "algo.cnn_layer_norm.kw.eps=1e-4",
    "algo.continue_mode=prob",
    "algo.world_model.kl_dynamic=1",
    "algo.world_model.learnable_initial_recurrent_state=false",
    "algo.world_model.recurrent_model.blocks=8",
    "algo.world_model.optimizer.lr=4e-5",
    "algo.world_model.optimizer.eps=1e-20",
    "algo.actor.optimizer.lr=4e-5",
    "algo.actor.optimizer.eps=1e-20",
    "algo.critic.optimizer.lr=4e-5",
    "algo.critic.optimizer.eps=1e-20",
    "algo.critic.replay_loss_scale=0.3",
    "algo.optimizer.agc=0.3",
    "algo.optimizer.warmup=1000",
    NULL};
static const char official_name[] = "official";
static bool is_official(const struct config *cfg) {
    return strcmp(cfg->profile, official_name) == 0;
}

const char *const config_presets[] = {"micro", "tiny", "goal", "xs", "s", "m", "l", "xl", NULL};
static const struct preset presets[] = {
    {8, 1, 2, 8, 8, 4, 4, 16, 64, NULL},
    {128, 2, 8, 128, 128, 16, 16, 8, 16, NULL},
    {128, 2, 8, 128, 128, 16, 16, 8, 16, goal_settings},
    {256, 1, 24, 256, 256, 32, 32, 16, 64, NULL},
    {512, 2, 32, 512, 512, 32, 32, 16, 64, NULL},
    {640, 3, 48, 1024, 640, 32, 32, 16, 64, NULL},
    {768, 4, 64, 2048, 768, 32, 32, 16, 64, NULL},
    {1024, 5, 96, 4096, 1024, 32, 32, 16, 64, NULL},
};

static const struct config_schema schema = {config_keys, sizeof config_keys / sizeof *config_keys};

// As in sheeprl's files, where the recurrent model's width is written as "= algo.dense_units".
static void follow(struct config *cfg) {
    int recurrent = config_schema_find(&schema, "algo.world_model.recurrent_model.dense_units");
    if (!cfg->given[recurrent]) cfg->recurrent_units = cfg->dense_units;
    if (!is_official(cfg)) return;
    if (!cfg->given[config_schema_find(&schema, "algo.actor.optimizer.lr")])
        cfg->actor_lr = cfg->model_lr;
    if (!cfg->given[config_schema_find(&schema, "algo.critic.optimizer.lr")])
        cfg->critic_lr = cfg->model_lr;
}

// A profile's settings stand between the preset's and those that were given.
static bool take_profile(struct config *cfg, struct error *e) {
    struct config fresh;
    char assignment[192], text[CONFIG_TEXT_SIZE];
    int index;
    if (!config_init(&fresh, cfg->preset, e)) return false;
    for (const char *const *s = is_official(cfg) ? official_settings : NULL; s && *s; s++)
        if (!config_schema_set(&schema, &fresh, *s, &index, e)) return false;
    for (int i = 0; i < config_n_keys; i++) {
        if (!cfg->given[i]) continue;
        config_text(cfg, i, text);
        snprintf(assignment, sizeof assignment, "%s=%s", config_keys[i].name, text);
        if (!config_schema_set(&schema, &fresh, assignment, &index, e)) return false;
        fresh.given[i] = true;
    }
    *cfg = fresh;
    return true;
}

bool config_init(struct config *cfg, const char *preset, struct error *e) {
    int index = 0, nearest = 0;
    while (config_presets[index] && strcmp(config_presets[index], preset) != 0) index++;
    if (!config_presets[index]) {
        char names[128] = "";
        for (int i = 0; config_presets[i]; i++) {
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "",
                     config_presets[i]);
            if (config_edit_distance(preset, config_presets[i]) <
                config_edit_distance(preset, config_presets[nearest]))
                nearest = i;
        }
        const char *guess = config_presets[nearest];
        const bool close = config_edit_distance(preset, guess) <= (int)strlen(guess) / 2;
        return error_set(e, STATUS_USAGE, "unknown preset '%.40s'%s%s%s (known: %s)", preset,
                         close ? ": did you mean " : "", close ? guess : "", close ? "?" : "",
                         names);
    }
    const struct preset *p = &presets[index];
    *cfg = defaults;
    snprintf(cfg->preset, sizeof cfg->preset, "%s", preset);
    cfg->dense_units = p->dense_units;
    cfg->mlp_layers = p->mlp_layers;
    cfg->cnn_multiplier = p->cnn_multiplier;
    cfg->recurrent_size = p->recurrent_size;
    cfg->transition_hidden = cfg->representation_hidden = p->hidden;
    cfg->stochastic_size = p->stochastic_size;
    cfg->discrete_size = p->discrete_size;
    cfg->batch_size = p->batch_size;
    cfg->sequence_length = p->sequence_length;
    for (const char *const *setting = p->settings; setting && *setting; setting++)
        if (!config_schema_set(&schema, cfg, *setting, &index, e)) return false;
    follow(cfg);
    return true;
}

bool config_set(struct config *cfg, const char *assignment, struct error *e) {
    int index;
    if (!config_schema_set(&schema, cfg, assignment, &index, e)) return false;
    cfg->given[index] = true;
    if (strcmp(config_keys[index].name, "algo.profile") == 0 && !take_profile(cfg, e)) return false;
    follow(cfg);
    return true;
}

void config_text(const struct config *cfg, int index, char out[CONFIG_TEXT_SIZE]) {
    config_key_text(&config_keys[index], cfg, out);
}

// ---- rules between keys

// Keys that only the official profile reads, and the value that stands for their absence.
static const char *const official_only[][2] = {
    {"algo.world_model.recurrent_model.blocks", "1"},
    {"algo.critic.replay_loss_scale", "0"},
    {"algo.optimizer.agc", "0"},
    {"algo.optimizer.warmup", "0"},
};
// ... and the values of keys that it cannot have.
static const char *const official_never[][2] = {
    {"algo.continue_mode", "hard"},
    {"algo.hafner_initialization", "false"},
    {"algo.world_model.learnable_initial_recurrent_state", "true"},
};

// ... and keys that it doesn't read, with their defaults: no network's gradient is clipped as a
// whole.
static const char *const official_unread[][2] = {
    {"algo.world_model.clip_gradients", "1000"},
    {"algo.actor.clip_gradients", "100"},
    {"algo.critic.clip_gradients", "100"},
};

static bool has_value(const struct config *cfg, const char *key, const char *value, char *text) {
    config_text(cfg, config_schema_find(&schema, key), text);
    return strcmp(text, value) == 0;
}

static bool check_rates(const struct config *cfg, struct error *e) {
    const struct {
        const char *key;
        double rate;
    } others[] = {{"algo.actor.optimizer.lr", cfg->actor_lr},
                  {"algo.critic.optimizer.lr", cfg->critic_lr}};
    for (int i = 0; i < 2; i++)
        if (others[i].rate != cfg->model_lr)
            return error_set(e, STATUS_USAGE,
                             "algo.profile=official has one optimiser: %s=%g must be "
                             "algo.world_model.optimizer.lr=%g",
                             others[i].key, others[i].rate, cfg->model_lr);
    return true;
}

static bool check_profile(const struct config *cfg, struct error *e) {
    char text[CONFIG_TEXT_SIZE];
    for (size_t i = 0; !is_official(cfg) && i < sizeof official_only / sizeof *official_only; i++)
        if (!has_value(cfg, official_only[i][0], official_only[i][1], text))
            return error_set(e, STATUS_USAGE, "%s=%s needs algo.profile=official; sheeprl has %s",
                             official_only[i][0], text, official_only[i][1]);
    if (!is_official(cfg)) return true;
    for (size_t i = 0; i < sizeof official_never / sizeof *official_never; i++)
        if (has_value(cfg, official_never[i][0], official_never[i][1], text))
            return error_set(e, STATUS_USAGE, "algo.profile=official does not go with %s=%s",
                             official_never[i][0], text);
    for (size_t i = 0; i < sizeof official_unread / sizeof *official_unread; i++)
        if (!has_value(cfg, official_unread[i][0], official_unread[i][1], text))
            return error_set(e, STATUS_USAGE,
                             "algo.profile=official doesn't read %s=%s: it clips tensor by tensor, "
                             "algo.optimizer.agc=%g",
                             official_unread[i][0], text, cfg->agc);
    if (cfg->recurrent_size % cfg->recurrent_blocks != 0)
        return error_set(e, STATUS_USAGE,
                         "algo.world_model.recurrent_model.blocks=%lld does not divide "
                         "recurrent_state_size=%lld",
                         (long long)cfg->recurrent_blocks, (long long)cfg->recurrent_size);
    return check_rates(cfg, e);
}

int config_terminal_sequences(const struct config *cfg) {
    const double n = cfg->terminal_fraction * (double)cfg->batch_size;
    return n > 0 && n < 1 ? 1 : (int)(n + 1e-9); // 0.29 of 100 is 28.999999999999996
}

bool config_check(const struct config *cfg, struct error *e) {
    const int64_t rows = cfg->batch_size * cfg->sequence_length,
                  per_env = cfg->buffer_size / cfg->num_envs;
    const int64_t latent = cfg->stochastic_size * cfg->discrete_size;
    for (int i = 0; i < config_n_keys; i++) { // a struct filled by hand is checked as well
        char assignment[192], text[CONFIG_TEXT_SIZE];
        struct config copy = *cfg;
        config_text(cfg, i, text);
        snprintf(assignment, sizeof assignment, "%s=%s", config_keys[i].name, text);
        if (!config_set(&copy, assignment, e)) return false;
    }
    if (cfg->autocast && sizeof(real) != sizeof(float))
        return error_set(
            e, STATUS_USAGE,
            "precision.autocast=true: this program computes in double and has no bf16; "
            "take the ordinary build");
    if (rows > 65536)
        return error_set(
            e, STATUS_USAGE,
            "algo.per_rank_batch_size=%lld x algo.per_rank_sequence_length=%lld are %lld "
            "rows a batch: at most 65536 are allowed",
            (long long)cfg->batch_size, (long long)cfg->sequence_length, (long long)rows);
    if (latent > 65536)
        return error_set(
            e, STATUS_USAGE,
            "algo.world_model.stochastic_size=%lld x discrete_size=%lld make a latent of "
            "%lld: at most 65536 is allowed",
            (long long)cfg->stochastic_size, (long long)cfg->discrete_size, (long long)latent);
    if (cfg->percentile_low >= cfg->percentile_high)
        return error_set(e, STATUS_USAGE,
                         "algo.actor.moments.percentile.low=%g must be below "
                         "algo.actor.moments.percentile.high=%g",
                         cfg->percentile_low, cfg->percentile_high);
    if (per_env < cfg->sequence_length + 1)
        return error_set(
            e, STATUS_USAGE,
            "buffer.size=%lld leaves %lld rows for each of %lld environments: a sequence "
            "needs algo.per_rank_sequence_length + 1 = %lld",
            (long long)cfg->buffer_size, (long long)per_env, (long long)cfg->num_envs,
            (long long)cfg->sequence_length + 1);
    if (cfg->learning_starts < cfg->sequence_length * cfg->num_envs)
        return error_set(e, STATUS_USAGE,
                         "algo.learning_starts=%lld is too early: the first batch needs "
                         "algo.per_rank_sequence_length x env.num_envs = %lld steps",
                         (long long)cfg->learning_starts,
                         (long long)(cfg->sequence_length * cfg->num_envs));
    if (cfg->learning_starts > cfg->buffer_size)
        return error_set(
            e, STATUS_USAGE,
            "algo.learning_starts=%lld is more than buffer.size=%lld: the prefill would "
            "overwrite itself",
            (long long)cfg->learning_starts, (long long)cfg->buffer_size);
    return check_profile(cfg, e);
}
