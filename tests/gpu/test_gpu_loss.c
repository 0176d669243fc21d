// The op tests of graph/test_op_loss.c on the device.
#include "gpu/parity.h"

#include "graph/test_op_loss.c"
