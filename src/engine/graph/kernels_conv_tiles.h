// Convolutions of kernel 4, directly (kernels_conv.h) or in tiles (kernels_tiles.h), as their shape
// says.
//
// A convolution with kernel 4, stride 2 and padding 1 is one of kernels_tiles.h with deep pixels of
// 2 x 2 and tiles of 3 x 3 on an image with a border; the transposed one is its adjoint.
#ifndef GRAPH_KERNELS_CONV_TILES_H
#define GRAPH_KERNELS_CONV_TILES_H

#include "engine/graph/kernels_conv_weight.h"
#include "engine/graph/kernels_tiles.h"

static struct patch_job conv_tile_job(const struct conv_job *job) {
    return (struct patch_job){.shape = conv_tile_shape(&job->shape),
                              .weights = job->weights,
                              .packed = job->packed,
                              .big = job->big,
                              .small = job->small,
                              .bias = job->bias,
                              .out = job->out,
                              .accumulate = job->accumulate,
                              .scratch = job->scratch};
}

#define CONV_EITHER(name, tiled)                                                                   \
    static void name##_either(const struct conv_job *job, int share) {                             \
        if (!job->shape.tiles) {                                                                   \
            name(job, share);                                                                      \
            return;                                                                                \
        }                                                                                          \
        const struct patch_job in_tiles = conv_tile_job(job);                                      \
        tiled(&in_tiles, share);                                                                   \
    }
CONV_EITHER(conv_pack_down, tile_pack_forward)
CONV_EITHER(conv_pack_up, tile_pack_dx)
CONV_EITHER(conv_down, tile_forward)
CONV_EITHER(conv_up, tile_dx)
CONV_EITHER(conv_weight, tile_dw)
CONV_EITHER(conv_weight_reduce, tile_dw_reduce)

#endif
