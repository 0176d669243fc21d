// Export: a saved agent's weights under the names of sheeprl's state dicts, and back.
//
//     export_sheeprl(&agent, "weights.safetensors", &e);         // agent: loaded
//     import_sheeprl(&agent, "weights.safetensors", "step_000000000.safetensors", &e);
//
// One flat safetensors file, float32: world_model.*, actor.*, critic.*, target_critic.* and
// moments.low, moments.high, each a state dict of sheeprl's once its first word is cut off. Without
// a policy world_model.* alone. Optimisers are not part of it. Equal weights give equal bytes.
#ifndef RUN_EXPORT_H
#define RUN_EXPORT_H

#include "engine/run/eval/saved_agent.h"

// A session of another algo.profile is refused, here and there.
bool export_sheeprl(const struct saved_agent *a, const char *out, struct error *e);
// A checkpoint of the agent's session with the weights of `file`: moments of Adam and all counters
// are 0. Every tensor must be there, finite and of the session's shape, and nothing else;
// "_forward_module." and "module.", which wrappers put before names, are cut off.
bool import_sheeprl(struct saved_agent *a, const char *file, const char *out, struct error *e);

#endif
