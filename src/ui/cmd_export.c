// workbench export: a saved agent's weights for sheeprl, and weights of sheeprl's as a checkpoint.
#include <stdio.h>

#include "engine/run/eval/export.h"
#include "ui/cli.h"

static bool run(const struct cli *cli, struct saved_agent *a, struct error *e) {
    if (cli->n_words != 1 || !cli->out || cli->sheeprl == (cli->from_sheeprl != NULL))
        return error_set(e, STATUS_USAGE,
                         "export: say workbench export --sheeprl SESSION --out FILE, or workbench "
                         "export --from-sheeprl FILE SESSION --out CHECKPOINT");
    if (!saved_agent_open(a, cli->words[0], e)) return false;
    if (a->is_ppo)
        return error_set(e, STATUS_USAGE,
                         "export %s: a session of ppo; sheeprl's form is of dreamer_v3",
                         cli->words[0]);
    if (cli->from_sheeprl) return import_sheeprl(a, cli->from_sheeprl, cli->out, e);
    return saved_agent_load(a, e) && export_sheeprl(a, cli->out, e);
}

int cmd_export(const struct cli *cli) {
    struct saved_agent agent = {0};
    struct error e = {0};
    bool fine = run(cli, &agent, &e);
    if (fine) printf("%s\n", cli->out);
    saved_agent_close(&agent);
    return fine ? 0 : cli_fail(&e);
}
