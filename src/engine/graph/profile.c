// Floating-point operations of a node, for profiles.
#include "engine/graph/node.h"

static double conv_flop(const struct node *n) {
    const struct conv_shape *s = &n->at.conv;
    const double pixels = (double)(s->n * (s->height / 2) * (s->width / 2));
    return 2 * 16 * pixels * (double)(s->n_big * s->n_small);
}

// [m, k] . [k, n]: of y = x w^T the elements of x, times the columns of y.
static double product_flop(const struct tensor *x, int64_t columns) {
    return 2 * (double)x->n_elements * (double)columns;
}

double node_flop(const struct node *n) {
    switch (n->kind) {
    case OP_CONV:
    case OP_CONV_DX:
    case OP_DECONV:
    case OP_DECONV_DX:
    case OP_CONV_DW:
        return conv_flop(n);
    case OP_LINEAR:
    case OP_LINEAR_DX:
        return product_flop(n->src[0], tensor_last(n->out[0]));
    case OP_LINEAR_DW:
    case OP_LINEAR_SCATTER:
        return product_flop(n->src[0], tensor_last(n->src[1]));
    default:
        return 0;
    }
}
