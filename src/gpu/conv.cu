// Kernels: convolutions as products: patches of the big image side by side, times the weights.
//
// Both convolutions of the op table (4 x 4, stride 2, padding 1; any kernel and stride without a
// border) are one geometry:
//
//     patches [small pixels][ky, kx, c]   what each small pixel sees, 0 outside the image
//     down    small = patches . B            B [ky, kx, c][o]
//     up      patches = small . B^T, then every big pixel adds up its places in the patches
//     dw      dB = patches^T . small, then turned into the weights' order
//
// Patches are made for as many images at a time as the workspace holds. Weights: [o][c][ky][kx].
#include "gpu/launchers.h"

struct image_map {
    int64_t n, height, width, c; // the big image
    int64_t rows, columns, o;    // the small one
    int64_t kernel, stride, pad;
};

static int64_t patch_size(const struct image_map *m) { return m->kernel * m->kernel * m->c; }
static int64_t image_pixels(const struct image_map *m) { return m->rows * m->columns; }

static struct image_map map_of_conv(const struct node *n) {
    const struct conv_shape *s = &n->at.conv;
    const struct image_map m = {s->n,         s->height,  s->width, s->n_big, s->height / 2,
                                s->width / 2, s->n_small, 4,        2,        1};
    return m;
}

static struct image_map map_of_patch(const struct node *n) {
    const struct patch_shape *s = &n->at.patch;
    const struct image_map m = {s->n,
                                s->height,
                                s->width,
                                s->c_in,
                                (s->height - s->kernel) / s->stride + 1,
                                (s->width - s->kernel) / s->stride + 1,
                                s->c_out,
                                s->kernel,
                                s->stride,
                                0};
    return m;
}

// ---- workspace: patches of some images

static const int64_t patch_bytes_max = 256 << 20;

static int64_t images_at_once(const struct image_map *m) {
    const int64_t each = image_pixels(m) * patch_size(m) * (int64_t)sizeof(real);
    const int64_t fit = patch_bytes_max / each;
    return fit < 1 ? 1 : fit < m->n ? fit : m->n;
}

static size_t patches_bytes(const struct image_map *m) {
    return (size_t)(images_at_once(m) * image_pixels(m) * patch_size(m)) * sizeof(real);
}

// ---- weights as B [ky, kx, c][o]

__global__ void conv_pack_kernel(buf<const real> w, struct image_map m, buf<real> b,
                                 int64_t count) {
    EACH(i, count) {
        const int64_t o = i % m.o, c = i / m.o % m.c, tap = i / m.o / m.c;
        b[i] = w[(o * m.c + c) * m.kernel * m.kernel + tap];
    }
}

static void pack(struct gpu *g, const struct gpu_args *a, struct image_map m) {
    const int64_t count = patch_size(&m) * m.o;
    LAUNCH(g, conv_pack_kernel, blocks_for(count), THREADS, src_real(a, 0), m, out_real(a, 0),
           count);
}

void gpu_conv_pack_down(struct gpu *g, const struct gpu_args *a) { pack(g, a, map_of_conv(a->n)); }
void gpu_conv_pack_up(struct gpu *g, const struct gpu_args *a) { pack(g, a, map_of_conv(a->n)); }
void gpu_patch_pack(struct gpu *g, const struct gpu_args *a) { pack(g, a, map_of_patch(a->n)); }
void gpu_patch_pack_dx(struct gpu *g, const struct gpu_args *a) { pack(g, a, map_of_patch(a->n)); }

// ---- patches of the images from `first` on

__global__ void patches_kernel(buf<const real> big, struct image_map m, int64_t first,
                               buf<real> patches) {
    EACH(i, patches.n) {
        const int64_t c = i % m.c, kx = i / m.c % m.kernel, ky = i / m.c / m.kernel % m.kernel;
        const int64_t pixel = i / (m.c * m.kernel * m.kernel);
        const int64_t x = pixel % m.columns * m.stride + kx - m.pad;
        const int64_t y = pixel / m.columns % m.rows * m.stride + ky - m.pad;
        const int64_t image = first + pixel / (m.columns * m.rows);
        const bool inside = x >= 0 && x < m.width && y >= 0 && y < m.height;
        patches[i] = inside ? big[((image * m.height + y) * m.width + x) * m.c + c] : 0;
    }
}

// A big pixel's value: the sum over the taps whose small pixel exists, in the order of ky, kx.
__global__ void unpatch_kernel(buf<const real> patches, struct image_map m, int64_t first,
                               buf<const real> bias, buf<real> big, bool add, int64_t count) {
    EACH(i, count) {
        const int64_t c = i % m.c, x = i / m.c % m.width, y = i / m.c / m.width % m.height;
        const int64_t image = i / (m.c * m.width * m.height);
        real sum = bias.n ? (real)bias[c] : 0;
        for (int64_t ky = 0; ky < m.kernel; ky++)
            for (int64_t kx = 0; kx < m.kernel; kx++) {
                const int64_t row = y + m.pad - ky, column = x + m.pad - kx;
                if (row < 0 || column < 0 || row % m.stride || column % m.stride ||
                    row / m.stride >= m.rows || column / m.stride >= m.columns)
                    continue;
                const int64_t pixel =
                    (image * m.rows + row / m.stride) * m.columns + column / m.stride;
                sum += patches[((pixel * m.kernel + ky) * m.kernel + kx) * m.c + c];
            }
        const int64_t at = first * m.height * m.width * m.c + i;
        big[at] = add ? big[at] + sum : sum;
    }
}

__global__ void channel_bias_kernel(buf<const real> bias, int64_t o, buf<real> small) {
    EACH(i, small.n) small[i] = bias[i % o];
}

// small (=|+=) conv(big) (+ bias)
static void down(struct gpu *g, const struct image_map *m, buf<const real> big, buf<const real> b,
                 buf<const real> bias, buf<real> small, bool add) {
    const int64_t at_once = images_at_once(m), k = patch_size(m), pixels = image_pixels(m);
    if (bias.n) LAUNCH(g, channel_bias_kernel, blocks_for(small.n), THREADS, bias, m->o, small);
    for (int64_t first = 0; first < m->n; first += at_once) {
        const int64_t images = m->n - first < at_once ? m->n - first : at_once;
        const int64_t rows = images * pixels;
        LAUNCH(g, patches_kernel, blocks_for(rows * k), THREADS, big, *m, first,
               workspace_real(g, 0, rows * k));
        struct gpu_gemm p = {rows,
                             m->o,
                             k,
                             buf_make((const real *)g->workspace, rows * k),
                             b,
                             k,
                             m->o,
                             m->o,
                             false,
                             false,
                             buf_make(small.at + first * pixels * m->o, rows * m->o),
                             add || bias.n};
        gpu_product(g, &p);
    }
}

// big (=|+=) conv^T(small) (+ bias)
static void up(struct gpu *g, const struct image_map *m, buf<const real> small, buf<const real> b,
               buf<const real> bias, buf<real> big, bool add) {
    const int64_t at_once = images_at_once(m), k = patch_size(m), pixels = image_pixels(m);
    for (int64_t first = 0; first < m->n; first += at_once) {
        const int64_t images = m->n - first < at_once ? m->n - first : at_once;
        const int64_t rows = images * pixels, count = images * m->height * m->width * m->c;
        struct gpu_gemm p = {rows,
                             k,
                             m->o,
                             buf_make(small.at + first * pixels * m->o, rows * m->o),
                             b,
                             m->o,
                             m->o,
                             k,
                             false,
                             true,
                             workspace_real(g, 0, rows * k),
                             false};
        gpu_product(g, &p);
        LAUNCH(g, unpatch_kernel, blocks_for(count), THREADS,
               buf_make((const real *)g->workspace, rows * k), *m, first, bias, big, add, count);
    }
}

// dw [o][c][ky][kx] (=|+=) dB [ky, kx, c][o]
__global__ void weights_kernel(buf<const real> db, struct image_map m, buf<real> dw, bool add) {
    EACH(i, dw.n) {
        const int64_t taps = m.kernel * m.kernel;
        const int64_t tap = i % taps, c = i / taps % m.c, o = i / taps / m.c;
        const real d = db[(tap * m.c + c) * m.o + o];
        dw[i] = add ? dw[i] + d : d;
    }
}

// The workspace holds dB behind the patches.
static size_t weights_bytes(const struct image_map *m) {
    return patches_bytes(m) + (size_t)(patch_size(m) * m->o) * sizeof(real);
}

static void weights(struct gpu *g, const struct image_map *m, const struct gpu_args *a) {
    const int64_t at_once = images_at_once(m), k = patch_size(m), pixels = image_pixels(m);
    const int64_t behind = (int64_t)(patches_bytes(m) / sizeof(real));
    const buf<const real> big = src_real(a, 0), small = src_real(a, 1);
    for (int64_t first = 0; first < m->n; first += at_once) {
        const int64_t images = m->n - first < at_once ? m->n - first : at_once;
        const int64_t rows = images * pixels;
        LAUNCH(g, patches_kernel, blocks_for(rows * k), THREADS, big, *m, first,
               workspace_real(g, 0, rows * k));
        struct gpu_gemm p = {k,
                             m->o,
                             rows,
                             buf_make((const real *)g->workspace, rows * k),
                             buf_make(small.at + first * pixels * m->o, rows * m->o),
                             k,
                             m->o,
                             m->o,
                             true,
                             false,
                             workspace_real(g, behind, k * m->o),
                             first > 0};
        gpu_product(g, &p);
    }
    LAUNCH(g, weights_kernel, blocks_for(k * m->o), THREADS,
           buf_make((const real *)g->workspace + behind, k * m->o), *m, out_real(a, 0),
           a->n->accumulate[0]);
}

// ---- ops: the last source is the packed weights

static const buf<const real> nothing = buf_make((const real *)0, 0);

static size_t conv_bytes(const struct node *n) {
    const struct image_map m = map_of_conv(n);
    return patches_bytes(&m);
}
size_t gpu_conv_down_workspace(const struct node *n) { return conv_bytes(n); }
size_t gpu_conv_up_workspace(const struct node *n) { return conv_bytes(n); }
size_t gpu_conv_dw_workspace(const struct node *n) {
    const struct image_map m = map_of_conv(n);
    return weights_bytes(&m);
}

void gpu_conv_down(struct gpu *g, const struct gpu_args *a) {
    const struct image_map m = map_of_conv(a->n);
    down(g, &m, src_real(a, 0), src_real(a, a->n->n_src - 1), nothing, out_real(a, 0),
         a->n->accumulate[0]);
}

void gpu_conv_up(struct gpu *g, const struct gpu_args *a) {
    const struct image_map m = map_of_conv(a->n);
    up(g, &m, src_real(a, 0), src_real(a, a->n->n_src - 1),
       a->n->kind == OP_DECONV ? src_real(a, 2) : nothing, out_real(a, 0), a->n->accumulate[0]);
}

void gpu_conv_dw(struct gpu *g, const struct gpu_args *a) {
    const struct image_map m = map_of_conv(a->n);
    weights(g, &m, a);
}

static size_t patch_workspace(const struct node *n) {
    const struct image_map m = map_of_patch(n);
    return patches_bytes(&m);
}
size_t gpu_patch_forward_workspace(const struct node *n) { return patch_workspace(n); }
size_t gpu_patch_dx_workspace(const struct node *n) { return patch_workspace(n); }
size_t gpu_patch_dw_workspace(const struct node *n) {
    const struct image_map m = map_of_patch(n);
    return weights_bytes(&m);
}

void gpu_patch_forward(struct gpu *g, const struct gpu_args *a) {
    const struct image_map m = map_of_patch(a->n);
    down(g, &m, src_real(a, 0), src_real(a, 3), src_real(a, 2), out_real(a, 0), false);
}

void gpu_patch_dx(struct gpu *g, const struct gpu_args *a) {
    const struct image_map m = map_of_patch(a->n);
    up(g, &m, src_real(a, 0), src_real(a, 1), nothing, out_real(a, 0), a->n->accumulate[0]);
}

void gpu_patch_dw(struct gpu *g, const struct gpu_args *a) {
    const struct image_map m = map_of_patch(a->n);
    weights(g, &m, a);
}
