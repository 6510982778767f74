/* A window at a time; where the core has a loop for windows 2x2 at steps of 2 (ec_pool_squares.S), sixteen columns of a row. */
#include "ec_pool.h"

/* 1: done. */
static inline uint32_t squares(const ec_windows *w, const int8_t *x, void *out, uint32_t sums)
{
#if defined(EC_POOL_SQUARES_S)
    const uint32_t size = sums ? sizeof(int32_t) : 1u, joined = w->height == 2u * w->rows ? w->channels : 1u;
    ec_pool_strip strip;
    if (w->kernel_rows != 2u || w->kernel_columns != 2u || w->stride_rows != 2u || w->stride_columns != 2u)
        return 0;
    strip.rows = joined * w->rows;
    strip.width = w->width;
    strip.sums = sums;
    for (uint32_t first = 0; first < w->columns; first += 16u) {
        const uint32_t count = w->columns - first < 16u ? w->columns - first : 16u;
        strip.blocks = count / 2u;
        strip.single = count % 2u;
        strip.x_step = 2u * (w->width - count);
        strip.out_step = (w->columns - count) * size;
        for (uint32_t c = 0; c < w->channels; c += joined) {
            strip.x = x + c * w->height * w->width + 2u * first;
            strip.out = (char *)out + (c * w->rows * w->columns + first) * size;
            ec_pool_squares(&strip);
        }
    }
    return 1;
#else
    (void)w, (void)x, (void)out, (void)sums;
    return 0;
#endif
}

void ec_max_pool(const ec_windows *w, const int8_t *x, int8_t *out)
{
    if (squares(w, x, out, 0))
        return;
    for (uint32_t c = 0; c < w->channels; c++, x += (uint32_t)w->height * w->width)
        for (uint32_t row = 0; row < w->rows; row++)
            for (uint32_t column = 0; column < w->columns; column++) {
                const int8_t *from = x + row * w->stride_rows * w->width + column * w->stride_columns;
                int8_t largest = INT8_MIN;
                for (uint32_t i = 0; i < w->kernel_rows; i++, from += w->width)
                    for (uint32_t j = 0; j < w->kernel_columns; j++)
                        if (from[j] > largest)
                            largest = from[j];
                *out++ = largest;
            }
}

void ec_average_pool(const ec_windows *w, const int8_t *x, int32_t *out)
{
    if (squares(w, x, out, 1))
        return;
    for (uint32_t c = 0; c < w->channels; c++, x += (uint32_t)w->height * w->width)
        for (uint32_t row = 0; row < w->rows; row++)
            for (uint32_t column = 0; column < w->columns; column++) {
                const int8_t *from = x + row * w->stride_rows * w->width + column * w->stride_columns;
                int32_t sum = 0;
                for (uint32_t i = 0; i < w->kernel_rows; i++, from += w->width)
                    for (uint32_t j = 0; j < w->kernel_columns; j++)
                        sum += from[j];
                *out++ = sum;
            }
}
