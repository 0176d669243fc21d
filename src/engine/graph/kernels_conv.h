// Convolutions with kernel 4, stride 2, padding 1 on NHWC images: down, up (its adjoint) and the weight gradient.
#ifndef GRAPH_KERNELS_CONV_H
#define GRAPH_KERNELS_CONV_H

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_vec.h"

static void conv_pack_down(const struct conv_job *job, int share) {
    struct range r = share_range(job->shape.n_small * job->shape.n_big * 16, conv_pack_shares(job), share);
    memcpy(job->packed + r.first, job->weights + r.first, (size_t)(r.end - r.first) * sizeof(real));
}

static void conv_pack_up(const struct conv_job *job, int share) { conv_pack_down(job, share); }

static void conv_down(const struct conv_job *job, int share) {
    const struct conv_shape *s = &job->shape;
    struct range images = share_range(s->n, conv_shares(job), share);
    int64_t hs = s->height / 2, ws = s->width / 2;
    for (int64_t n = images.first; n < images.end; n++)
        for (int64_t p = 0; p < hs * ws; p++)
            for (int64_t o = 0; o < s->n_small; o++) {
                real sum = 0;
                for (int64_t t = 0; t < 16; t++) {
                    int64_t y = p / ws * 2 - 1 + t / 4, x = p % ws * 2 - 1 + t % 4;
                    if (y < 0 || x < 0 || y >= s->height || x >= s->width) continue;
                    for (int64_t c = 0; c < s->n_big; c++)
                        sum += job->packed[(o * s->n_big + c) * 16 + t] *
                               job->big[((n * s->height + y) * s->width + x) * s->n_big + c];
                }
                real *out = job->out + (n * hs * ws + p) * s->n_small + o;
                *out = job->accumulate ? *out + sum : sum;
            }
}

static void conv_up(const struct conv_job *job, int share) {
    const struct conv_shape *s = &job->shape;
    struct range images = share_range(s->n, conv_shares(job), share);
    int64_t hs = s->height / 2, ws = s->width / 2;
    for (int64_t n = images.first; n < images.end; n++)
        for (int64_t y = 0; y < s->height; y++)
            for (int64_t x = 0; x < s->width; x++)
                for (int64_t c = 0; c < s->n_big; c++) {
                    real sum = job->bias ? job->bias[c] : 0;
                    for (int64_t t = 0; t < 16; t++) {
                        int64_t i = y + 1 - t / 4, j = x + 1 - t % 4;
                        if (i < 0 || j < 0 || i % 2 || j % 2 || i / 2 >= hs || j / 2 >= ws) continue;
                        for (int64_t o = 0; o < s->n_small; o++)
                            sum += job->packed[(o * s->n_big + c) * 16 + t] *
                                   job->small[((n * hs + i / 2) * ws + j / 2) * s->n_small + o];
                    }
                    real *out = job->out + ((n * s->height + y) * s->width + x) * s->n_big + c;
                    *out = job->accumulate ? *out + sum : sum;
                }
}

static void conv_weight(const struct conv_job *job, int share) {
    const struct conv_shape *s = &job->shape;
    struct range images = share_range(s->n, conv_shares(job), share);
    int64_t hs = s->height / 2, ws = s->width / 2;
    real *partial = job->scratch + share * s->n_small * s->n_big * 16;
    for (int64_t w = 0; w < s->n_small * s->n_big * 16; w++) {
        int64_t t = w % 16, c = w / 16 % s->n_big, o = w / 16 / s->n_big;
        real sum = 0;
        for (int64_t n = images.first; n < images.end; n++)
            for (int64_t p = 0; p < hs * ws; p++) {
                int64_t y = p / ws * 2 - 1 + t / 4, x = p % ws * 2 - 1 + t % 4;
                if (y < 0 || x < 0 || y >= s->height || x >= s->width) continue;
                sum += job->small[(n * hs * ws + p) * s->n_small + o] *
                       job->big[((n * s->height + y) * s->width + x) * s->n_big + c];
            }
        partial[w] = sum;
    }
}

static void conv_weight_reduce(const struct conv_job *job, int share) {
    int64_t n = job->shape.n_small * job->shape.n_big * 16;
    struct range r = share_range(n, conv_weight_reduce_shares(job), share);
    for (int64_t w = r.first; w < r.end; w++) {
        real sum = 0;
        for (int i = 0; i < conv_shares(job); i++) sum += job->scratch[i * n + w];
        job->out[w] = job->accumulate ? job->out[w] + sum : sum;
    }
}

#endif
