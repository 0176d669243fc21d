// The benchmarks behind `workbench bench` that have a file of their own. Exit codes.
#ifndef UI_CMD_BENCH_H
#define UI_CMD_BENCH_H

#include "ui/cli.h"

int cmd_bench_env(const struct cli *cli);
int cmd_bench_replay(const struct cli *cli);

#endif
