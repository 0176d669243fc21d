// The benchmarks behind `workbench bench` that have a file of their own. Exit codes.
#ifndef UI_CMD_BENCH_H
#define UI_CMD_BENCH_H

#include "base/json.h"
#include "ui/cli.h"

int cmd_bench_engine(const struct cli *cli);
int cmd_bench_env(const struct cli *cli);
int cmd_bench_replay(const struct cli *cli);

// Kinds of kernel with their floors, the ten most expensive; nothing where there are none.
struct bench_kernels;
void cmd_print_kernels(const struct bench_kernels *k);
void cmd_add_kernels(cJSON *o, const struct bench_kernels *k); // all of them, and the rates

#endif
