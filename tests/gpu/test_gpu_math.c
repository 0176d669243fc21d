// The op tests of graph/test_op_math.c on the device.
#include "gpu/parity.h"

#include "graph/test_op_math.c"
