// Entry point: parse the command line, run the command, turn its result into the exit code.
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "ui/cli.h"

int main(int argc, char **argv) {
    static struct cli cli;
    struct error e = {0};
    if (!cli_parse(&cli, argc, argv, &e)) return cli_fail(&e);
    if (cli.help) {
        cli_print_help();
        return 0;
    }
    if (cli.version) {
        printf("workbench %s (%s)\n", version_text, version_revision);
        return 0;
    }
    for (const struct cli_command *c = cli_commands; c->name; c++)
        if (strcmp(c->name, cli.command) == 0) return c->run(&cli);
    return 2;
}
