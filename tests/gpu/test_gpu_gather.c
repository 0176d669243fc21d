// The one-hot tests of graph/test_op_gather.c on the device, where sums have another order than in
// a product: equal within rounding, not bit by bit.
#include "gpu/parity.h"

#undef assert_memory_equal
#define assert_memory_equal(a, b, bytes)                                                           \
    parity_compare("one-hot rows", a, b, (int64_t)((bytes) / sizeof(real)))
#define cpu_kernels_choose(table) (strcmp(table, "generic") == 0) // once: the device has one table

#include "graph/test_op_gather.c"
