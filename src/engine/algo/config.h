// Configuration: the ONE table of keys, with sheeprl's names (spec/dreamer_v3.md 9), ranges,
// presets and JSON form.
//
//     struct config c;
//     if (!config_init(&c, "tiny", &e)) return fail(&e);              // defaults and a preset
//     if (!config_set(&c, "algo.mlp_layers=1", &e)) return fail(&e);  // one per argument
//     if (!config_check(&c, &e)) return fail(&e);                     // rules between keys
//     use(c.batch_size);
//
// A plain value: copy it freely, nothing to free. Every failure is STATUS_USAGE with one line that
// names the key, the value and what is allowed; *cfg is then unchanged. Not for concurrent writers;
// reading is free for all.
#ifndef ALGO_CONFIG_H
#define ALGO_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/algo/config_keys.h"

// INTEGER(field, key, default, range, help), DECIMAL(same), SWITCH(field, key, default, allowed,
// help) and CHOICE(field, key, default, allowed, help). Ranges are intervals: "[1, 64]", "(0, 1)",
// "[0, inf)"; switches list their allowed values where one is not implemented; choices are
// separated by '|'.
// clang-format off
#define CONFIG_TABLE(INTEGER, DECIMAL, SWITCH, CHOICE)                                                                 \
    INTEGER(seed, "seed", 42, "[0, 9007199254740991]", "seed of every random stream")                                  \
    CHOICE(profile, "algo.profile", "sheeprl", "sheeprl|official",                                                     \
           "whose DreamerV3: sheeprl's, or the newest official code's; sets the defaults of other keys")               \
    DECIMAL(replay_ratio, "algo.replay_ratio", 1, "[0, 1024]", "gradient steps per policy step")                       \
    INTEGER(learning_starts, "algo.learning_starts", 256, "[0, 1000000000]",                                           \
            "policy steps with no training at the start (prefill)")                                                    \
    INTEGER(batch_size, "algo.per_rank_batch_size", 16, "[1, 4096]", "sequences in a batch")                           \
    INTEGER(sequence_length, "algo.per_rank_sequence_length", 64, "[2, 4096]", "rows of a sequence")                   \
    INTEGER(dense_units, "algo.dense_units", 512, "[1, 16384]", "width of the hidden layers")                          \
    INTEGER(mlp_layers, "algo.mlp_layers", 2, "[1, 16]", "hidden layers of the reward and continue heads")             \
    DECIMAL(unimix, "algo.unimix", 0.01, "[0, 1)", "share of the uniform distribution in every categorical")           \
    SWITCH(hafner_initialization, "algo.hafner_initialization", true, "true|false",                                    \
           "uniform output layers, zero reward head")                                                                  \
    DECIMAL(mlp_eps, "algo.mlp_layer_norm.kw.eps", 1e-3, "(0, 1]", "epsilon of the dense layers' LayerNorm")           \
    DECIMAL(cnn_eps, "algo.cnn_layer_norm.kw.eps", 1e-3, "(0, 1]", "epsilon of the encoder's channel LayerNorm")       \
    INTEGER(discrete_size, "algo.world_model.discrete_size", 32, "[2, 1024]", "classes of a categorical")              \
    INTEGER(stochastic_size, "algo.world_model.stochastic_size", 32, "[1, 1024]", "categoricals of the latent")        \
    DECIMAL(kl_dynamic, "algo.world_model.kl_dynamic", 0.5, "[0, inf)", "weight of the dynamics KL")                   \
    DECIMAL(kl_representation, "algo.world_model.kl_representation", 0.1, "[0, inf)",                                  \
            "weight of the representation KL")                                                                         \
    DECIMAL(kl_free_nats, "algo.world_model.kl_free_nats", 1, "[0, inf)", "KL below this many nats is free")           \
    DECIMAL(kl_regularizer, "algo.world_model.kl_regularizer", 1, "[0, inf)", "factor of the whole KL loss")           \
    DECIMAL(continue_scale, "algo.world_model.continue_scale_factor", 1, "[0, inf)", "factor of the continue loss")    \
    DECIMAL(clip_gradients, "algo.world_model.clip_gradients", 1000, "(0, inf)", "largest global gradient norm")       \
    SWITCH(decoupled_rssm, "algo.world_model.decoupled_rssm", false, "true|false",                                     \
           "posterior from the embedding alone")                                                                       \
    SWITCH(learnable_initial, "algo.world_model.learnable_initial_recurrent_state", true, "true|false",                \
           "learn the recurrent state after a reset; else it is zero")                                                 \
    INTEGER(cnn_multiplier, "algo.world_model.encoder.cnn_channels_multiplier", 32, "[1, 512]",                        \
            "channels of the first convolution; encoder and decoder share it")                                         \
    INTEGER(recurrent_size, "algo.world_model.recurrent_model.recurrent_state_size", 512, "[1, 32768]",                \
            "width of the deterministic state")                                                                        \
    INTEGER(recurrent_units, "algo.world_model.recurrent_model.dense_units", 512, "[1, 16384]",                        \
            "width of the recurrent model's input layer; follows algo.dense_units")                                    \
    INTEGER(recurrent_blocks, "algo.world_model.recurrent_model.blocks", 1, "[1, 1024]",                               \
            "blocks of the official recurrent core; they divide the state")                                            \
    INTEGER(transition_hidden, "algo.world_model.transition_model.hidden_size", 512, "[1, 16384]",                     \
            "width of the prior's hidden layer")                                                                       \
    INTEGER(representation_hidden, "algo.world_model.representation_model.hidden_size", 512, "[1, 16384]",             \
            "width of the posterior's hidden layer")                                                                   \
    INTEGER(reward_bins, "algo.world_model.reward_model.bins", 255, "[2, 4096]", "bins of the two-hot reward")         \
    DECIMAL(model_lr, "algo.world_model.optimizer.lr", 1e-4, "(0, 1]", "Adam's learning rate")                         \
    DECIMAL(model_eps, "algo.world_model.optimizer.eps", 1e-8, "(0, 1]", "Adam's epsilon")                             \
    DECIMAL(gamma, "algo.gamma", 0.996996996996997, "(0, 1]", "discount of imagined rewards, 1 - 1/333")               \
    CHOICE(continue_mode, "algo.continue_mode", "hard", "hard|prob",                                                   \
           "imagined episodes go on or not, or with their probability")                                                \
    DECIMAL(lmbda, "algo.lmbda", 0.95, "[0, 1]", "mix of the lambda return")                                           \
    INTEGER(horizon, "algo.horizon", 15, "[1, 128]", "imagined steps; one state more")                                 \
    DECIMAL(actor_ent_coef, "algo.actor.ent_coef", 3e-4, "[0, inf)", "weight of the entropy in the actor loss")        \
    DECIMAL(actor_min_std, "algo.actor.min_std", 0.1, "(0, 1)", "least deviation of a continuous action; the largest is 1") \
    DECIMAL(actor_init_std, "algo.actor.init_std", 2, "[-20, 20]", "shift of the deviation's logit")                   \
    DECIMAL(action_clip, "algo.actor.action_clip", 1, "(0, inf)", "largest value of a continuous action")              \
    DECIMAL(actor_clip, "algo.actor.clip_gradients", 100, "(0, inf)", "largest global gradient norm of the actor")     \
    DECIMAL(moments_decay, "algo.actor.moments.decay", 0.99, "[0, 1)",                                                 \
            "share of the old return percentiles kept at each update")                                                 \
    DECIMAL(moments_max, "algo.actor.moments.max", 1, "(0, 1e30]", "returns are divided by at least 1 over this")       \
    DECIMAL(percentile_low, "algo.actor.moments.percentile.low", 0.05, "(0, 1)", "lower percentile of the returns")    \
    DECIMAL(percentile_high, "algo.actor.moments.percentile.high", 0.95, "(0, 1)", "upper percentile of the returns")  \
    DECIMAL(actor_lr, "algo.actor.optimizer.lr", 8e-5, "(0, 1]", "Adam's learning rate of the actor")                  \
    DECIMAL(actor_eps, "algo.actor.optimizer.eps", 1e-5, "(0, 1]", "Adam's epsilon of the actor")                      \
    INTEGER(critic_bins, "algo.critic.bins", 255, "[2, 4096]", "bins of the two-hot value")                            \
    DECIMAL(critic_replay_scale, "algo.critic.replay_loss_scale", 0, "[0, inf)",                                       \
            "weight of the official critic loss on replayed rows")                                                     \
    DECIMAL(critic_tau, "algo.critic.tau", 0.02, "(0, 1]", "the target critic's step towards the critic")              \
    INTEGER(target_update_freq, "algo.critic.per_rank_target_network_update_freq", 1, "[1, 1000000000]",               \
            "gradient steps between steps of the target critic")                                                       \
    DECIMAL(critic_clip, "algo.critic.clip_gradients", 100, "(0, inf)", "largest global gradient norm of the critic")  \
    DECIMAL(critic_lr, "algo.critic.optimizer.lr", 8e-5, "(0, 1]", "Adam's learning rate of the critic")               \
    DECIMAL(critic_eps, "algo.critic.optimizer.eps", 1e-5, "(0, 1]", "Adam's epsilon of the critic")                   \
    DECIMAL(agc, "algo.optimizer.agc", 0, "[0, inf)",                                                                  \
            "official: a tensor's gradient is at most this share of the tensor in norm; 0: no clipping")               \
    INTEGER(warmup, "algo.optimizer.warmup", 0, "[0, 1000000000]",                                                     \
            "official: gradient steps until the full learning rate")                                                   \
    INTEGER(buffer_size, "buffer.size", 10000, "[2, 1000000000]", "rows of the replay ring, all environments together")\
    DECIMAL(terminal_fraction, "buffer.terminal_fraction", 0, "[0, 1]",                                                \
           "share of a batch's sequences that are drawn through a terminated step, once there is one")                 \
    SWITCH(buffer_memmap, "buffer.memmap", false, "true|false", "keep the ring in a file of the session, not in memory")\
    SWITCH(buffer_checkpoint, "buffer.checkpoint", true, "true|false",                                                 \
           "save the ring beside the checkpoints, so that a resumed run goes on exactly")                              \
    INTEGER(num_envs, "env.num_envs", 1, "[1, 65536]", "environments stepped together")                                \
    INTEGER(max_episode_steps, "env.max_episode_steps", 256, "[1, 1000000000]", "steps until an episode is truncated") \
    DECIMAL(alpha, "env.alpha", 1, "[0, 1000]", "goal tasks: reward per distance that a step comes nearer")            \
    DECIMAL(goal_bonus, "env.goal_bonus", 10, "[0, 1e6]", "goal tasks: reward for arriving")                           \
    DECIMAL(step_cost, "env.step_cost", -0.01, "[-1000, 1000]", "goal tasks: reward of every step")                    \
    CHOICE(observation, "env.observation", "task", "task|pixels|vector|both",                                          \
           "what of a control task is observed; task: its vector (a Game Boy has pictures alone)")                     \
    CHOICE(env_device, "env.device", "auto", "auto|host",                                                              \
           "with a GPU: machines and replay there where the task allows it, or on the host")                           \
    CHOICE(action_codec, "env.action_codec", "v1", "v0|v1", "buttons an agent has: v0 without, v1 with NOOP")          \
    CHOICE(constant_action, "env.constant_action", "NOOP", "NOOP|A|B|START|UP|DOWN|LEFT|RIGHT",                        \
           "the action of --mode standing_still")                                                                      \
    INTEGER(checkpoint_every, "checkpoint.every", 1000, "[0, 1000000000]",                                             \
            "gradient steps between checkpoints; 0: only at the end")                                                  \
    INTEGER(checkpoint_keep_last, "checkpoint.keep_last", 5, "[1, 1000000]", "newest checkpoints that are kept")       \
    INTEGER(log_every, "metric.log_every", 1, "[1, 1000000]", "gradient steps between records")                        \
    CHOICE(model_dtype, "precision.model_dtype", "float32", "float32", "arithmetic of the networks")                   \
    CHOICE(rnn_dtype, "precision.rnn_dtype", "float32", "float32", "arithmetic of the recurrent model")                \
    SWITCH(autocast, "precision.autocast", false, "true|false",                                                        \
           "products and convolutions in bf16, sums and all else in float32; the recurrent model as rnn_dtype says")   \
    SWITCH(allow_tf32, "precision.allow_tf32", false, "true|false",                                                    \
           "products on a GPU round their operands to TF32, but where autocast rounds them to bf16")
// clang-format on

enum { CONFIG_HASH_SIZE = 65, CONFIG_MAX_KEYS = 128 };

struct config {
#define CONFIG_INTEGER(field, ...) int64_t field;
#define CONFIG_DECIMAL(field, ...) double field;
#define CONFIG_SWITCH(field, ...) bool field;
#define CONFIG_CHOICE(field, ...) char field[CONFIG_CHOICE_SIZE];
    CONFIG_TABLE(CONFIG_INTEGER, CONFIG_DECIMAL, CONFIG_SWITCH, CONFIG_CHOICE)
#undef CONFIG_INTEGER
#undef CONFIG_DECIMAL
#undef CONFIG_SWITCH
#undef CONFIG_CHOICE
    char preset[CONFIG_CHOICE_SIZE]; // what config_init started from; not part of dump or hash
    bool given[CONFIG_MAX_KEYS];     // key i was set on its own, so it follows no other
};

extern const struct config_key config_keys[];
extern const int config_n_keys;
extern const char *const config_presets[]; // NULL at the end; smallest first; goal: tiny, and keys

// Defaults, then the preset's sizes. An unknown preset fails with the list of presets.
bool config_init(struct config *cfg, const char *preset, struct error *e);
bool config_set(struct config *cfg, const char *assignment, struct error *e); // "key=value"
bool config_check(const struct config *cfg, struct error *e);
// What buffer.terminal_fraction makes of a batch: rounded down, but one at least where it is above
// 0.
int config_terminal_sequences(const struct config *cfg);
// The value, as config_set takes it.
void config_text(const struct config *cfg, int key, char out[CONFIG_TEXT_SIZE]);

// One flat JSON object, keys in the table's order, the same bytes for the same values. Free with
// free().
char *config_to_json(const struct config *cfg);
// Every key must be known, of its type and in range; keys that are missing keep *cfg's value.
// `source` is for messages.
bool config_from_json(struct config *cfg, const char *text, size_t bytes, const char *source,
                      struct error *e);
// SHA-256 of the JSON, hexadecimal.
void config_hash(const struct config *cfg, char out[CONFIG_HASH_SIZE]);

#endif
