// Entry point: parse the command line, run the command, turn its result into the exit code.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "ui/cli.h"

// A standard stream that the caller closed would be given to the next file we open, and messages
// would be written into that file: hold its place.
static void hold_standard_streams(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
            (void)!open("/dev/null", fd ? O_WRONLY : O_RDONLY);
}

// What was printed must have arrived, or the exit code says that it did not. A reader that left
// early (`| head`) is no fault.
static int finish_output(int code) {
    errno = 0;
    bool arrived = fflush(stdout) == 0 && !ferror(stdout);
    if (arrived || errno == EPIPE) return code;
    fprintf(stderr, "workbench: cannot write to stdout: %s\n",
            errno ? strerror(errno) : "an earlier write failed");
    return code ? code : STATUS_FAILED;
}

static int run_command(int argc, char **argv) {
    static struct cli cli;
    struct error e = {0};
    if (!cli_parse(&cli, argc, argv, &e)) return cli_fail(&e);
    if (cli.help) {
        cli_print_help(cli.is_named ? cli.command : NULL);
        return 0;
    }
    if (cli.version) {
        printf("workbench %s (%s)\n", version_text, version_revision);
        return 0;
    }
    if (!cli_check(&cli, &e)) return cli_fail(&e);
    for (const struct cli_command *c = cli_commands; c->name; c++)
        if (strcmp(c->name, cli.command) == 0) return c->run(&cli);
    return STATUS_USAGE;
}

int main(int argc, char **argv) {
    hold_standard_streams();
    return finish_output(run_command(argc, argv));
}
