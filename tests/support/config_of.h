// Configs for tests: a preset with settings.
//
//     struct config c = config_of("tiny", (const char *const[]){"algo.horizon=4", NULL});
//     config_take(&c, more);      // NULL: none
#ifndef TESTS_SUPPORT_CONFIG_OF_H
#define TESTS_SUPPORT_CONFIG_OF_H

#include "engine/algo/config.h"
#include "support/test.h"

// "key=value" each, up to the first NULL; then all must fit together.
static inline void config_take(struct config *c, const char *const *settings) {
    struct error e = {0};
    for (; settings && *settings; settings++)
        if (!config_set(c, *settings, &e)) fail_msg("%s", e.message);
    if (!config_check(c, &e)) fail_msg("%s", e.message);
}

static inline struct config config_of(const char *preset, const char *const *settings) {
    struct config c;
    struct error e = {0};
    if (!config_init(&c, preset, &e)) fail_msg("%s", e.message);
    config_take(&c, settings);
    return c;
}

#endif
