// Convolutions by Winograd's minimal filtering: two by two outputs at a time.
//
// A kernel of side r stride (r 2 or 3) with stride s is a kernel of side r with stride 1 on an
// image whose pixels are s x s blocks with s s c_in channels, deep pixels: (p, q, c), p and q
// inside the block. There F(2, r) gives two neighbouring outputs of a line with r + 1 products in
// place of 2 r:
//
//     r = 2    m = (x0 - x1) w0, x1 (w0 + w1), (x2 - x1) w1
//              y = m0 + m1, m1 + m2
//     r = 3    m = (x0 - x2) w0, (x1 + x2) (w0 + w1 + w2) / 2, (x2 - x1) (w0 - w1 + w2) / 2,
//                  (x1 - x3) w2
//              y = m0 + m1 + m2, m1 - m2 - m3
//
// Along both axes that is 9 products for 16, or 16 for 36 (Winograd, Arithmetic Complexity of
// Computations, 1980; Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015). A
// *tile* is the deep pixels that two by two outputs need, r + 1 by r + 1; a *point* is one of their
// (r + 1)^2 combinations. For every point the tiles of a block are the rows of a product over the
// deep channels, so that the block stays in the second-level cache from the image to the outputs:
//
//     forward  x -> U [point][tile][deep]; M = U . V [point][deep][c_out]; M -> y, + bias
//     dx       dy -> M; U = M . V^T; U -> x, tiles added where they overlap
//     dw       x -> U, dy -> M; sums of U^T . M over all tiles, turned into dw at the end
//
// The three ways back are the adjoints of the ways there. Outputs of a tile past the last row or
// column are left out; deep pixels there are 0. A tile's numbers do not depend on its block.
//
// An image with a border (patch_shape.border) is copied into the scratch as a whole, with its
// border around it, when its first tile is met; dx is gathered there and written when the last is
// done.
#ifndef GRAPH_KERNELS_TILES_H
#define GRAPH_KERNELS_TILES_H

#include "engine/graph/kernels.h"
#include "engine/graph/kernels_conv.h"
#include "engine/graph/kernels_gemm.h"
#include "engine/graph/kernels_rows.h"
#include "engine/graph/kernels_vec.h"

enum { TILE_OUT = 2, TILE_SIDE_MAX = 4, TILE_POINTS_MAX = 16, TILE_COLUMNS = 32 };

// Where the values of a line's points lie: v[0], v[step], ...
ALWAYS_INLINE void points_of_line(int r, vec *v, int step) {
    const vec a = v[0], b = v[step], c = v[2 * step];
    if (r == 2) {
        v[0] = a - b;
        v[2 * step] = c - b;
        return;
    }
    const vec d = v[3 * step];
    v[0] = a - c;
    v[step] = b + c;
    v[2 * step] = c - b;
    v[3 * step] = b - d;
}

ALWAYS_INLINE void line_of_points(int r, vec *v, int step) { // adjoint of points_of_line
    const vec a = v[0], b = v[step], c = v[2 * step];
    if (r == 2) {
        v[step] = b - a - c;
        return;
    }
    const vec d = v[3 * step];
    v[step] = b - c + d;
    v[2 * step] = b + c - a;
    v[3 * step] = -d;
}

ALWAYS_INLINE void outputs_of_points(int r, vec *v, int step) { // to v[0], v[step]
    const vec a = v[0], b = v[step], c = v[2 * step];
    v[0] = r == 2 ? a + b : a + b + c;
    v[step] = r == 2 ? b + c : b - c - v[3 * step];
}

ALWAYS_INLINE void points_of_outputs(int r, vec *v, int step) { // adjoint of outputs_of_points
    const vec a = v[0], b = v[step];
    v[step] = a + b;
    v[2 * step] = r == 2 ? b : a - b;
    if (r == 3) v[3 * step] = -b;
}

// ---- weights

ALWAYS_INLINE void points_of_weights(int r, real *v, int step) {
    const real a = v[0], b = v[step];
    if (r == 2) {
        v[step] = a + b;
        v[2 * step] = b;
        return;
    }
    const real c = v[2 * step];
    v[step] = (a + c + b) * (real)0.5;
    v[2 * step] = (a + c - b) * (real)0.5;
    v[3 * step] = c;
}

ALWAYS_INLINE void weights_of_points(int r, real *v, int step) { // adjoint
    const real a = v[0], b = v[step], c = v[2 * step];
    if (r == 2) {
        v[0] = a + b;
        v[step] = b + c;
        return;
    }
    v[0] = a + (b + c) * (real)0.5;
    v[step] = (b - c) * (real)0.5;
    v[2 * step] = (b + c) * (real)0.5 + v[3 * step];
}

// The points of weight (deep channel, o): first of the r x r weights of one place in the blocks.
ALWAYS_INLINE void tile_weight(int r, const struct patch_shape *s, const real *w, real *v) {
    const int t = r + 1;
    VEC_EACH(a, r)
    VEC_EACH(b, r) v[a * t + b] = w[a * s->stride * s->kernel + b * s->stride];
    VEC_EACH(a, r) points_of_weights(r, v + a * t, 1);
    VEC_EACH(b, t) points_of_weights(r, v + b, t);
}

// Weights of deep channel `deep` and output 0.
static const real *deep_weights(const struct patch_shape *s, const real *weights, int64_t deep) {
    const int64_t p = deep / (s->stride * s->c_in), q = deep / s->c_in % s->stride;
    return weights + (deep % s->c_in * s->kernel + p) * s->kernel + q;
}

ALWAYS_INLINE void tile_pack_of(int r, const struct patch_job *job, int share, bool dx) {
    const struct patch_shape *s = &job->shape;
    const struct tile_sizes t = tile_sizes(s);
    const int64_t next_o = s->c_in * s->kernel * s->kernel, size = t.deep * s->c_out;
    struct range deep = share_range(t.deep, patch_pack_shares(job), share);
    const struct range outputs = {0, s->c_out}, outer = dx ? outputs : deep,
                       inner = dx ? deep : outputs;
    for (int64_t i = outer.first; i < outer.end; i++)
        for (int64_t j = inner.first; j < inner.end; j++) {
            const int64_t d = dx ? j : i, o = dx ? i : j;
            real v[TILE_POINTS_MAX], *to = job->packed + (dx ? o * t.deep + d : d * s->c_out + o);
            tile_weight(r, s, deep_weights(s, job->weights, d) + o * next_o, v);
            VEC_EACH(k, (r + 1) * (r + 1)) to[k * size] = v[k];
        }
}

// ---- between images and points

// One tile of an image batch, and how many of its 2 x 2 outputs there are.
struct tile {
    int64_t image, y, x; // of its first output
    int64_t rows, columns;
};

struct tiles {
    struct tile_sizes size;
    const struct patch_shape *shape;
    int64_t rows, columns; // of outputs
    int64_t run, line,
        deep_line;          // reals of a deep pixel's row, of rows of the image and of deep pixels
    int64_t image;          // reals of one, with its border
    int64_t next_u, next_m; // from one point to the next
};

static struct tiles tiles_of(const struct patch_shape *s) {
    struct tiles t = {.size = tile_sizes(s),
                      .shape = s,
                      .rows = patch_rows(s),
                      .columns = patch_columns(s),
                      .run = s->stride * s->c_in,
                      .line = (s->width + 2 * s->border) * s->c_in};
    t.image = (s->height + 2 * s->border) * t.line;
    t.deep_line = s->stride * t.line;
    t.next_u = t.size.block * t.size.deep + TILE_GAP;
    t.next_m = t.size.block * s->c_out + TILE_GAP;
    return t;
}

ALWAYS_INLINE struct tile tile_at(const struct tiles *t, int64_t index) {
    const uint32_t n = (uint32_t)t->size.n, across = (uint32_t)(t->columns + 1) / TILE_OUT;
    const uint32_t image = (uint32_t)index / n, inside = (uint32_t)index % n;
    const int64_t y = inside / across * TILE_OUT, x = inside % across * TILE_OUT;
    return (struct tile){image, y, x, kmin(TILE_OUT, t->rows - y), kmin(TILE_OUT, t->columns - x)};
}

// A square of side x side vectors in memory; past rows and columns are zeros, and nothing is
// stored. A pointer for each row, and distances that an address can hold, as in kernels_gemm.h.
ALWAYS_INLINE void square_load(int side, vec *v, const real *from, int64_t row, int64_t column,
                               int64_t rows, int64_t columns) {
    VEC_EACH(i, side) {
        const real *p = from + i * row;
        MICRO_HIDE(p);
        VEC_EACH(j, side)
        v[i * TILE_SIDE_MAX + j] = i < rows && j < columns ? vec_load(p + j * column) : (vec){0};
    }
}

ALWAYS_INLINE void square_store(int side, const vec *v, real *to, int64_t row, int64_t column,
                                int64_t rows, int64_t columns, bool add) {
    VEC_EACH(i, side) {
        real *p = to + i * row;
        MICRO_HIDE(p);
        VEC_EACH(j, side) {
            if (i < rows && j < columns)
                vec_store(p + j * column, add ? vec_load(p + j * column) + v[i * TILE_SIDE_MAX + j]
                                              : v[i * TILE_SIDE_MAX + j]);
        }
    }
}

// Along rows, then along columns.
#define SQUARE(lines_of, r, v, rows, columns)                                                      \
    do {                                                                                           \
        VEC_EACH(i_, rows) lines_of(r, (v) + i_ * TILE_SIDE_MAX, 1);                               \
        VEC_EACH(j_, columns) lines_of(r, (v) + j_, TILE_SIDE_MAX);                                \
    } while (0)

// Deep pixels of which no output of the tile's is made count as 0.
ALWAYS_INLINE void image_to_points(int r, const struct tiles *t, const real *image, int64_t rows,
                                   int64_t columns, real *u) {
    const int side = r + 1;
    for (int64_t p = 0; p < t->shape->stride; p++, image += t->line)
        for (int64_t q = 0; q < t->run; q += LANES, u += LANES) {
            vec v[TILE_POINTS_MAX];
            square_load(side, v, image + q, t->deep_line, t->run, rows + r - 1, columns + r - 1);
            SQUARE(points_of_line, r, v, side, side);
            square_store(side, v, u, side * t->next_u, t->next_u, side, side, false);
        }
}

ALWAYS_INLINE void points_to_image(int r, const struct tiles *t, const real *u, int64_t rows,
                                   int64_t columns, real *image) {
    const int side = r + 1;
    for (int64_t p = 0; p < t->shape->stride; p++, image += t->line)
        for (int64_t q = 0; q < t->run; q += LANES, u += LANES) {
            vec v[TILE_POINTS_MAX];
            square_load(side, v, u, side * t->next_u, t->next_u, side, side);
            SQUARE(line_of_points, r, v, side, side);
            square_store(side, v, image + q, t->deep_line, t->run, rows + r - 1, columns + r - 1,
                         true);
        }
}

ALWAYS_INLINE vec vec_relu(vec y) { return vec_select(y > 0, y, 0 * y); } // NaN stays NaN

ALWAYS_INLINE void points_to_outputs(int r, const struct tiles *t, const real *m, int64_t rows,
                                     int64_t columns, const struct patch_job *job, real *out) {
    const int side = r + 1;
    const int64_t n = t->shape->c_out;
    for (int64_t c = 0; c < n; c += LANES) {
        vec v[TILE_POINTS_MAX];
        const vec bias = job->bias ? vec_load(job->bias + c) : (vec){0};
        square_load(side, v, m + c, side * t->next_m, t->next_m, side, side);
        SQUARE(outputs_of_points, r, v, side, TILE_OUT);
        VEC_EACH(i, TILE_OUT)
        VEC_EACH(j, TILE_OUT) {
            const vec y = v[i * TILE_SIDE_MAX + j] + bias;
            v[i * TILE_SIDE_MAX + j] = job->relu ? vec_relu(y) : y;
        }
        square_store(TILE_OUT, v, out + c, t->columns * n, n, rows, columns, job->accumulate);
    }
}

// The gradient of an output that a ReLU has made 0 is 0. Sums of outputs are added to `sums`.
ALWAYS_INLINE void outputs_to_points(int r, const struct tiles *t, const real *dy, int64_t rows,
                                     int64_t columns, const real *y, real *m, real *sums) {
    const int side = r + 1;
    const int64_t n = t->shape->c_out;
    for (int64_t c = 0; c < n; c += LANES) {
        vec v[TILE_POINTS_MAX], made[TILE_POINTS_MAX];
        square_load(TILE_OUT, v, dy + c, t->columns * n, n, rows, columns);
        if (y) {
            square_load(TILE_OUT, made, y + c, t->columns * n, n, rows, columns);
            VEC_EACH(i, TILE_OUT)
            VEC_EACH(j, TILE_OUT) {
                const int k = i * TILE_SIDE_MAX + j;
                v[k] = vec_select(made[k] > 0, v[k], (vec){0});
            }
        }
        if (sums)
            vec_store(sums + c, vec_load(sums + c) +
                                    ((v[0] + v[1]) + (v[TILE_SIDE_MAX] + v[TILE_SIDE_MAX + 1])));
        SQUARE(points_of_outputs, r, v, TILE_OUT, side);
        square_store(side, v, m + c, side * t->next_m, t->next_m, side, side, false);
    }
}

// Most tiles have all their outputs: for them the counts are constants.
#define FOR_TILE(at, call)                                                                         \
    do {                                                                                           \
        if ((at).rows == TILE_OUT && (at).columns == TILE_OUT) {                                   \
            enum { ROWS = TILE_OUT, COLUMNS = TILE_OUT };                                          \
            call;                                                                                  \
        } else {                                                                                   \
            const int64_t ROWS = (at).rows, COLUMNS = (at).columns;                                \
            call;                                                                                  \
        }                                                                                          \
    } while (0)

// ---- products, one for each point

struct point_product {
    struct micro_a a;
    int64_t a_next, m; // a_next: to the next point
    const real *b;
    int64_t b_next, b_row, columns;
    real *c;
    int64_t c_next, c_row;
};

// Memory that is needed soon: fetched a little with every product.
struct ahead {
    const real *first, *end;
};
enum { AHEAD_MAX = 3 };

ALWAYS_INLINE void fetch_ahead(const struct ahead *ahead, int64_t part, int64_t parts) {
    for (int i = 0; i < AHEAD_MAX; i++)
        prefetch_part(ahead[i].first, ahead[i].end, ahead[i].end - ahead[i].first, part, parts);
}

static void point_products(const struct point_product *p, int64_t points,
                           const struct ahead *ahead) {
    struct micro_a a = p->a;
    const int64_t slices = (p->columns + TILE_COLUMNS - 1) / TILE_COLUMNS;
    for (int64_t k = 0; k < points; k++, a.a += p->a_next)
        for (int64_t j = 0; j < p->columns; j += TILE_COLUMNS) {
            fetch_ahead(ahead, k * slices + j / TILE_COLUMNS, points * slices);
            micro_panel(a, p->m, p->b + k * p->b_next + j, p->b_row,
                        kmin(TILE_COLUMNS, p->columns - j), p->c + k * p->c_next + j, p->c_row);
        }
}

// ---- a share takes some images, in blocks of tiles

struct tile_work {
    struct tiles t;
    const struct patch_job *job;
    real *u, *m, *image; // image: unpacked from frames, or with its border
    int64_t unpacked;    // which it is
    int64_t first, end;  // tiles of the share
};

static struct tile_work tile_work(const struct patch_job *job, int share, real *scratch) {
    struct tile_work w = {.t = tiles_of(&job->shape), .job = job, .u = scratch};
    struct range images = share_range(job->shape.n, patch_shares(&job->shape), share);
    w.m = scratch + w.t.size.points * w.t.next_u;
    w.image = w.m + w.t.size.points * w.t.next_m;
    w.unpacked = -1;
    w.first = images.first * w.t.size.n;
    w.end = images.end * w.t.size.n;
    if (job->shape.border) border_clear(w.image, w.t.image);
    return w;
}

static const real *image_of(struct tile_work *w, int64_t image) {
    const struct patch_shape *s = &w->job->shape;
    const int64_t frame = s->height * s->width / 4;
    if (!w->job->frames && !s->border) return w->job->big + image * w->t.image;
    if (w->unpacked == image) return w->image;
    if (s->border)
        border_copy(w->image, w->job->big + image * s->height * s->width * s->c_in, s->height,
                    s->width, s->width + 2, s->c_in);
    else
        rows_unpack_stack(s->c_in, frame, w->job->frames + image * s->c_in * frame, w->image);
    w->unpacked = image;
    return w->image;
}

static int64_t tile_in_image(const struct tiles *t, struct tile at) {
    return at.y * t->deep_line + at.x * t->run;
}

static int64_t tile_in_outputs(const struct tiles *t, struct tile at) {
    return ((at.image * t->rows + at.y) * t->columns + at.x) * t->shape->c_out;
}

// An image that is copied is needed as a whole with its first tile: each tile brings its part of
// the next one.
static struct ahead copies_ahead(const struct tile_work *w, int64_t first, int64_t end) {
    const struct patch_shape *s = &w->job->shape;
    const int64_t size = s->height * s->width * s->c_in, n = w->t.size.n;
    if (first + n >= w->end) return (struct ahead){NULL, NULL};
    return (struct ahead){w->job->big + (first + n) * size / n,
                          w->job->big + kmin(end + n, w->end) * size / n};
}

// What tiles [first, end) read of images, and write or read of outputs; nothing past the share.
static struct ahead images_ahead(const struct tile_work *w, int64_t first, int64_t end) {
    const int64_t size = w->t.image;
    if (w->job->shape.border) return copies_ahead(w, first, end);
    if (w->job->frames || first >= w->end) return (struct ahead){NULL, NULL};
    const struct tile from = tile_at(&w->t, first), to = tile_at(&w->t, kmin(end, w->end) - 1);
    const int64_t behind = kmin((to.y + w->t.size.side) * w->t.deep_line, size);
    return (struct ahead){w->job->big + from.image * size + from.y * w->t.deep_line,
                          w->job->big + to.image * size + behind};
}

static struct ahead outputs_ahead(const struct tile_work *w, const real *outputs, int64_t first,
                                  int64_t end) {
    if (!outputs || first >= w->end) return (struct ahead){NULL, NULL};
    const struct tile from = tile_at(&w->t, first), to = tile_at(&w->t, kmin(end, w->end) - 1);
    const int64_t line = w->t.columns * w->job->shape.c_out;
    return (struct ahead){outputs + (from.image * w->t.rows + from.y) * line,
                          outputs + (to.image * w->t.rows + to.y + to.rows) * line};
}

ALWAYS_INLINE void block_to_u(int r, struct tile_work *w, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const struct tile at = tile_at(&w->t, first + i);
        const real *from = image_of(w, at.image) + tile_in_image(&w->t, at);
        FOR_TILE(at, image_to_points(r, &w->t, from, ROWS, COLUMNS, w->u + i * w->t.size.deep));
    }
}

ALWAYS_INLINE void block_to_m(int r, const struct tile_work *w, int64_t first, int64_t count,
                              real *sums) {
    for (int64_t i = 0; i < count; i++) {
        const struct tile at = tile_at(&w->t, first + i);
        const int64_t place = tile_in_outputs(&w->t, at);
        const real *y = w->job->y ? w->job->y + place : NULL;
        real *m = w->m + i * w->job->shape.c_out;
        FOR_TILE(at, outputs_to_points(r, &w->t, w->job->small + place, ROWS, COLUMNS, y, m, sums));
    }
}

ALWAYS_INLINE void tile_forward_of(int r, const struct patch_job *job, int share) {
    struct tile_work w =
        tile_work(job, share, job->scratch + share * patch_forward_share_reals(&job->shape));
    const int64_t deep = w.t.size.deep, n = job->shape.c_out;
    for (int64_t first = w.first; first < w.end; first += w.t.size.block) {
        const int64_t count = kmin(w.t.size.block, w.end - first);
        block_to_u(r, &w, first, count);
        const struct point_product p = {{w.u, deep, 0, 1, 1, deep, false, 0},
                                        w.t.next_u,
                                        count,
                                        job->packed,
                                        deep * n,
                                        n,
                                        n,
                                        w.m,
                                        w.t.next_m,
                                        n};
        const int64_t next = first + count;
        const struct ahead ahead[AHEAD_MAX] = {images_ahead(&w, next, next + w.t.size.block),
                                               outputs_ahead(&w, job->out, first, next)};
        point_products(&p, w.t.size.points, ahead);
        for (int64_t i = 0; i < count; i++) {
            const struct tile at = tile_at(&w.t, first + i);
            real *out = job->out + tile_in_outputs(&w.t, at);
            FOR_TILE(at, points_to_outputs(r, &w.t, w.m + i * n, ROWS, COLUMNS, job, out));
        }
    }
}

// An image without its border (+ bias).
static void inside_finish(const struct tile_work *w, int64_t image) {
    const struct patch_shape *s = &w->job->shape;
    const int64_t row = s->width * s->c_in;
    const real *from = w->image + w->t.line + s->c_in;
    real *out = w->job->out + image * s->height * row;
    for (int64_t y = 0; y < s->height; y++, from += w->t.line, out += row)
        conv_finish(out, from, row, w->job->bias, s->c_in, w->job->accumulate);
}

ALWAYS_INLINE void tile_dx_of(int r, const struct patch_job *job, int share) {
    struct tile_work w =
        tile_work(job, share, job->scratch + share * patch_dx_share_reals(&job->shape));
    const int64_t deep = w.t.size.deep, n = job->shape.c_out;
    const struct patch_shape *s = &job->shape;
    for (int64_t first = w.first; first < w.end; first += w.t.size.block) {
        const int64_t count = kmin(w.t.size.block, w.end - first);
        block_to_m(r, &w, first, count, NULL);
        const struct point_product p = {{w.m, n, 0, 1, 1, n, false, 0},
                                        w.t.next_m,
                                        count,
                                        job->packed,
                                        deep * n,
                                        deep,
                                        deep,
                                        w.u,
                                        w.t.next_u,
                                        deep};
        const int64_t next = first + count, end = next + w.t.size.block;
        const struct ahead ahead[AHEAD_MAX] = {outputs_ahead(&w, job->small, next, end),
                                               outputs_ahead(&w, job->y, next, end)};
        point_products(&p, w.t.size.points, ahead);
        for (int64_t i = 0; i < count; i++) {
            const struct tile at = tile_at(&w.t, first + i);
            real *image = s->border ? w.image : job->out + at.image * w.t.image;
            real *to = image + tile_in_image(&w.t, at);
            if (at.y + at.x == 0 && (s->border || !job->accumulate))
                memset(image, 0, (size_t)w.t.image * sizeof(real));
            FOR_TILE(at, points_to_image(r, &w.t, w.u + i * deep, ROWS, COLUMNS, to));
            if (s->border && (first + i + 1) % w.t.size.n == 0) inside_finish(&w, at.image);
        }
    }
}

// A slice's sums: [point][deep][c_out], then the sums of dy [c_out].
ALWAYS_INLINE void tile_dw_of(int r, const struct patch_job *job, int share) {
    real *sums = job->scratch + share * patch_dw_share_reals(&job->shape);
    const struct tile_sizes size = tile_sizes(&job->shape);
    const int64_t deep = size.deep, n = job->shape.c_out, n_sums = size.points * deep * n;
    struct tile_work w = tile_work(job, share, sums + n_sums + n);
    memset(sums, 0, (size_t)(n_sums + n) * sizeof(real));
    for (int64_t first = w.first; first < w.end; first += w.t.size.block) {
        const int64_t count = kmin(w.t.size.block, w.end - first);
        block_to_u(r, &w, first, count);
        block_to_m(r, &w, first, count, job->bias_out ? sums + n_sums : NULL);
        const struct point_product p = {{w.u, 1, 0, deep, 1, count, true, 0},
                                        w.t.next_u,
                                        deep,
                                        w.m,
                                        w.t.next_m,
                                        n,
                                        n,
                                        sums,
                                        deep * n,
                                        n};
        const int64_t next = first + count, end = next + w.t.size.block;
        const struct ahead ahead[AHEAD_MAX] = {images_ahead(&w, next, end),
                                               outputs_ahead(&w, job->small, next, end),
                                               outputs_ahead(&w, job->y, next, end)};
        point_products(&p, size.points, ahead);
    }
}

static void tile_bias_reduce(const struct patch_job *job) {
    const struct tile_sizes t = tile_sizes(&job->shape);
    const int64_t n = job->shape.c_out, one = patch_dw_share_reals(&job->shape);
    for (int64_t o = 0; o < n; o++) {
        const real *from = job->scratch + t.points * t.deep * n + o;
        real sum = from[0];
        for (int i = 1; i < patch_shares(&job->shape); i++) sum += from[i * one];
        job->bias_out[o] = (job->bias_accumulate ? job->bias_out[o] : 0) + sum;
    }
}

// A share takes some deep channels: the slices' sums in their order, then the weights of each.
ALWAYS_INLINE void tile_dw_reduce_of(int r, const struct patch_job *job, int share) {
    const struct patch_shape *s = &job->shape;
    const struct tile_sizes t = tile_sizes(s);
    const int side = r + 1, n_slices = patch_shares(s);
    const int64_t one = patch_dw_share_reals(s), size = t.deep * s->c_out;
    struct range deep = share_range(t.deep, patch_dw_reduce_shares(job), share);
    if (share == 0 && job->bias_out) tile_bias_reduce(job);
    for (int64_t d = deep.first; d < deep.end; d++)
        for (int64_t o = 0; o < s->c_out; o += LANES) {
            real sums[TILE_POINTS_MAX][LANES];
            VEC_EACH(k, side * side) {
                const real *from = job->scratch + k * size + d * s->c_out + o;
                vec sum = vec_load(from);
                for (int i = 1; i < n_slices; i++) sum += vec_load(from + i * one);
                vec_store(sums[k], sum);
            }
            for (int l = 0; l < LANES; l++) {
                real v[TILE_POINTS_MAX];
                VEC_EACH(k, side * side) v[k] = sums[k][l];
                VEC_EACH(a, side) weights_of_points(r, v + a * side, 1);
                VEC_EACH(b, r) weights_of_points(r, v + b, side);
                real *out = job->out + (deep_weights(s, job->out, d) - job->out) +
                            (o + l) * s->c_in * s->kernel * s->kernel;
                VEC_EACH(a, r)
                VEC_EACH(b, r) {
                    real *to = out + a * s->stride * s->kernel + b * s->stride;
                    *to = (job->accumulate ? *to : 0) + v[a * side + b];
                }
            }
        }
}

ALWAYS_INLINE void tile_pack_forward_of(int r, const struct patch_job *job, int share) {
    tile_pack_of(r, job, share, false);
}

ALWAYS_INLINE void tile_pack_dx_of(int r, const struct patch_job *job, int share) {
    tile_pack_of(r, job, share, true);
}

#define TILE_KERNEL(name)                                                                          \
    static void name(const struct patch_job *job, int share) {                                     \
        if (tile_sizes(&job->shape).side == 3)                                                     \
            name##_of(2, job, share);                                                              \
        else                                                                                       \
            name##_of(3, job, share);                                                              \
    }
TILE_KERNEL(tile_pack_forward)
TILE_KERNEL(tile_pack_dx)
TILE_KERNEL(tile_forward)
TILE_KERNEL(tile_dx)
TILE_KERNEL(tile_dw)
TILE_KERNEL(tile_dw_reduce)

#endif
