// What a node has to do at least, for profiles: floating-point operations, bytes, and its shape as
// text.
#include <stdio.h>
#include <string.h>

#include "engine/graph/node.h"

enum { LINEAR_W = 1, LINEAR_PACKED = 4, LINEAR_ONES = 5 };

static double conv_flop(const struct node *n) {
    const struct conv_shape *s = &n->at.conv;
    const double pixels = (double)(s->n * (s->height / 2) * (s->width / 2));
    return 2 * 16 * pixels * (double)(s->n_big * s->n_small);
}

static double patch_flop(const struct node *n) {
    const struct patch_shape *s = &n->at.patch;
    const double pixels = (double)(s->n * patch_rows(s) * patch_columns(s));
    return 2 * pixels * (double)(s->kernel * s->kernel * s->c_in * s->c_out);
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
    case OP_CONV_VALID:
    case OP_CONV_VALID_DX:
    case OP_CONV_VALID_DW:
        return patch_flop(n);
    case OP_LINEAR:
    case OP_LINEAR_DX:
        return product_flop(n->src[0], tensor_last(n->out[0]));
    case OP_BLOCK_LINEAR:
    case OP_BLOCK_LINEAR_DX:
        return product_flop(n->src[0], tensor_last(n->out[0])) / (double)n->at.count;
    case OP_LINEAR_DW:
    case OP_LINEAR_SCATTER:
        return product_flop(n->src[0], tensor_last(n->src[1]));
    case OP_BLOCK_LINEAR_DW:
        return product_flop(n->src[0], tensor_last(n->src[1])) / (double)n->at.count;
    default:
        return 0;
    }
}

// ---- bytes

size_t tensor_bytes(const struct tensor *t) {
    return t ? (size_t)t->n_elements * dtype_bytes(t->dtype) : 0;
}

// Where the rows of x are one-hot, a product is a sum of as many rows of w as x has ones.
static int64_t ones_in_row(const struct node *n) {
    const struct tensor *ones = n->kind == OP_LINEAR                           ? n->src[LINEAR_ONES]
                                : n->kind == OP_LINEAR_SCATTER && n->n_src > 2 ? n->src[2]
                                                                               : NULL;
    return ones ? tensor_last(ones) - 1 : 0;
}

double node_least_flop(const struct node *n) {
    const int64_t ones = ones_in_row(n);
    if (!ones) return node_flop(n);
    return node_flop(n) / (double)tensor_last(n->src[0]) * (double)ones / 2;
}

static double outputs(const struct node *n) {
    double bytes = 0;
    for (int i = 0; i < n->n_out; i++)
        bytes += (double)tensor_bytes(n->out[i]) * (n->accumulate[i] ? 2 : 1);
    return bytes;
}

// The parameter and its packed copy are not both read.
static double linear_bytes(const struct node *n) {
    const double row = (double)n->out[0]->shape[1] * sizeof(real);
    const int64_t rows = n->src[0]->shape[0], k = n->src[0]->shape[1], ones = ones_in_row(n);
    const int64_t gathered = rows * ones;
    double bytes = outputs(n) + row * (double)(ones && gathered < k ? gathered : k);
    for (int i = 0; i < n->n_src; i++)
        if (i != LINEAR_W && i != LINEAR_PACKED && !(ones && i == 0))
            bytes += (double)tensor_bytes(n->src[i]);
    return bytes;
}

static double conv_bytes(const struct node *n) {
    const struct conv_shape *s = &n->at.conv;
    const double pixels = (double)(s->n * s->height * s->width * s->n_big);
    const bool frames = n->src[0]->dtype == DTYPE_U8;
    const double big = frames ? (double)tensor_bytes(n->src[0]) : pixels * sizeof(real);
    const double small = (double)(s->n * (s->height / 2) * (s->width / 2) * s->n_small);
    const double twice = n->accumulate[0] ? (double)tensor_bytes(n->out[0]) : 0;
    return big + (small + (double)(16 * s->n_big * s->n_small)) * sizeof(real) + twice;
}

// Of what is packed the columns that are wanted; a data gradient may read the parameter itself.
static double pack_bytes(const struct node *n) {
    return 2 * (double)(n->src[0]->shape[0] * n->at.count) * sizeof(real);
}
static double linear_dx_bytes(const struct node *n) {
    return (double)tensor_bytes(n->src[0]) + outputs(n) +
           (double)(n->src[0]->shape[1] * tensor_last(n->out[0])) * sizeof(real);
}

// dw lies in a matrix that may hold other layers' columns beside it.
static double linear_dw_bytes(const struct node *n) {
    const int64_t blocks = n->kind == OP_BLOCK_LINEAR_DW ? n->at.count : 1;
    const double weights = (double)(tensor_last(n->src[0]) * tensor_last(n->src[1]) / blocks);
    const bool ones = ones_in_row(n) > 0;
    return (double)tensor_bytes(n->src[ones ? 2 : 0]) + (double)tensor_bytes(n->src[1]) +
           weights * sizeof(real) * (n->accumulate[0] ? 2 : 1);
}

static double own_bytes(const struct node *n) {
    switch (n->kind) {
    case OP_LINEAR_DW:
    case OP_LINEAR_SCATTER:
    case OP_BLOCK_LINEAR_DW:
        return linear_dw_bytes(n);
    case OP_LINEAR:
        return linear_bytes(n);
    case OP_LINEAR_DX:
        return linear_dx_bytes(n);
    case OP_PACK:
        return pack_bytes(n);
    case OP_CONV:
    case OP_CONV_DX:
    case OP_DECONV:
    case OP_DECONV_DX:
    case OP_CONV_DW:
        return conv_bytes(n);
    default:
        break;
    }
    double bytes = outputs(n);
    for (int i = 0; i < n->n_src; i++) bytes += (double)tensor_bytes(n->src[i]);
    return bytes;
}

// What n reads of the node inside it has just been written.
double node_bytes(const struct node *n) {
    double bytes = own_bytes(n);
    if (!n->inside) return bytes;
    const struct tensor *between = tensor_root(n->inside->out[0], NULL);
    for (int i = 0; i < n->n_src; i++)
        if (n->src[i] && tensor_root(n->src[i], NULL) == between)
            bytes -= (double)tensor_bytes(n->src[i]);
    return bytes + own_bytes(n->inside);
}

// ---- text

static int add_shape(char *text, int size, const struct tensor *t) {
    int at = 0;
    for (int i = 0; i < t->n_dims && at < size; i++)
        at += snprintf(text + at, (size_t)(size - at), "%s%lld", i ? "x" : "",
                       (long long)t->shape[i]);
    return at < size ? at : size - 1;
}

void node_text(const struct node *n, char *text, int size) {
    const struct tensor *from = n->n_src ? n->src[0] : NULL, *to = n->n_out ? n->out[0] : NULL;
    int at = snprintf(text, (size_t)size, "%s%s%s%s ", op_table[n->kind].name,
                      ones_in_row(n) ? " of ones" : "", n->inside ? " with " : "",
                      n->inside ? op_table[n->inside->kind].name : "");
    if (from && at < size) at += add_shape(text + at, size - at, from);
    for (int i = 1; !to && i < n->n_out; i++) to = n->out[i];
    if (!to || at >= size) return;
    at += snprintf(text + at, (size_t)(size - at), " > ");
    if (at < size) add_shape(text + at, size - at, to);
}

void node_work(const struct node *n, char *text, int size, double *bytes, double *flop) {
    node_text(n, text, size);
    *bytes = node_bytes(n);
    *flop = node_least_flop(n);
}
