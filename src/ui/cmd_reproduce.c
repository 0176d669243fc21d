// workbench reproduce: a failing update or policy step again, and the first node that was not
// finite.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "engine/run/reproduce.h"
#include "ui/cli.h"

static void print_json(const struct reproduction *r) {
    cJSON *o = cJSON_CreateObject();
    json_add_count(o, r->policy ? "policy_step_after_update" : "update", r->update);
    json_add_string(o, "stage", r->stage);
    json_add_string(o, "recorded_node", r->recorded);
    json_add_string(o, "bad_node", r->found);
    json_add_bool(o, "reproduced", strcmp(r->found, r->recorded) == 0);
    if (!r->policy) {
        json_add_double(o, "loss", r->loss);
        json_add_double(o, "grad_norm", r->grad_norm);
    }
    json_add_bool(o, "same_kernel", r->same_kernel);
    json_print_and_free(stdout, o);
}

static void print_text(const struct reproduction *r) {
    const char *kernel = r->same_kernel ? "" : "; made with other kernels than this machine's";
    char losses[80] = "", what[64];
    snprintf(what, sizeof what, r->policy ? "policy step after update %lld" : "update %lld",
             (long long)r->update);
    if (!r->policy)
        snprintf(losses, sizeof losses, " (loss %g, gradient norm %g)", r->loss, r->grad_norm);
    if (!r->found[0])
        printf("%s: all finite this time%s; then it was %s%s\n", what, losses, r->recorded, kernel);
    else
        printf("%s%s%s: first bad node %s%s%s%s%s\n", what, r->policy ? "" : ", ",
               r->policy ? "" : r->stage, r->found, losses,
               strcmp(r->found, r->recorded) ? "; then it was " : ", as recorded",
               strcmp(r->found, r->recorded) ? r->recorded : "", kernel);
}

int cmd_reproduce(const struct cli *cli) {
    struct reproduction r;
    struct error e = {0};
    if (cli->n_words != 1) {
        fprintf(stderr, "workbench: reproduce needs one bundle: workbench reproduce "
                        "SESSION/failures/step_NNN\n");
        return STATUS_USAGE;
    }
    if (!reproduce_run(cli->words[0], (int)(cli->threads > 64 ? 64 : cli->threads), &r, &e))
        return cli_fail(&e);
    if (cli->json)
        print_json(&r);
    else
        print_text(&r);
    return strcmp(r.found, r.recorded) == 0 ? STATUS_OK : STATUS_FAILED;
}
