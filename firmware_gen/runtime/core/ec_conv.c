/* Each window is gathered once and multiplied with all outputs. */
#include "ec_conv.h"

#include <string.h>

#include "ec_matmul.h"

/* The part [first, end) of a window of `kernel` at `start` that lies in an image of `size`. */
typedef struct inside {
    uint32_t first;
    uint32_t end;
} inside;

static inside clip_window(int32_t start, uint32_t kernel, uint32_t size)
{
    const int32_t room = (int32_t)size - start;
    const inside part = {start < 0 ? (uint32_t)-start : 0u, room < (int32_t)kernel ? (uint32_t)room : kernel};
    return part; /* pad < kernel: a window always touches the image from above and from the left */
}

/* window: [channels][kernel_rows][kernel_columns], zeros where the image has ended. */
static void gather(const ec_windows *w, uint32_t row, uint32_t column, const int8_t *x, int8_t *window)
{
    const int32_t top = (int32_t)(row * w->stride_rows) - w->pad_rows;
    const int32_t left = (int32_t)(column * w->stride_columns) - w->pad_columns;
    const inside down = clip_window(top, w->kernel_rows, w->height), across = clip_window(left, w->kernel_columns, w->width);
    const uint32_t whole = (uint32_t)w->kernel_rows * w->kernel_columns;
    if (down.end - down.first < w->kernel_rows || across.end - across.first < w->kernel_columns)
        memset(window, 0, (size_t)(w->channels * whole));
    for (uint32_t c = 0; c < w->channels; c++, window += whole, x += (uint32_t)w->height * w->width)
        for (uint32_t i = down.first; i < down.end; i++) {
            const int8_t *const from = x + ((uint32_t)(top + (int32_t)i) * w->width + (uint32_t)(left + (int32_t)across.first));
            int8_t *const to = window + i * w->kernel_columns;
            for (uint32_t j = across.first; j < across.end; j++)
                to[j] = from[j - across.first];
        }
}

void ec_conv(const ec_conv_layer *layer, const ec_run *run, const int8_t *x, int32_t *acc)
{
    const ec_windows *const w = &layer->windows;
    const uint32_t outputs = layer->matrix.outputs, positions = (uint32_t)w->rows * w->columns;
    int32_t *to = acc;
    for (uint32_t row = 0; row < w->rows; row++)
        for (uint32_t column = 0; column < w->columns; column++, to++) {
            gather(w, row, column, x, run->scratch->window);
            ec_matmul_sums(&layer->matrix, run, run->scratch->window, run->scratch->sums);
            for (uint32_t o = 0; o < outputs; o++)
                to[o * positions] = run->scratch->sums[o];
        }
#if EC_FAULTS
    ec_patch_windows(run->faults->patch, run->faults->patches, layer, x, acc);
#endif
#if EC_GUARDS
    ec_patch_windows(run->guards->patch, run->guards->patches, layer, x, acc);
#endif
}
