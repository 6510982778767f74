/* Read-only descriptions of a model's layers: what the generator writes and the kernels read. */
#ifndef EC_LAYERS_H
#define EC_LAYERS_H

#include "ec_config.h"
#include "ec_types.h"

#ifndef EC_GUARDS
#define EC_GUARDS 0 /* how many tables have check words (ec_guard.h) */
#endif

#ifndef EC_NIBBLES
#define EC_NIBBLES 0 /* 1: rows of 4-bit codes have an offset (ec_add_nibbles.S) */
#endif

/* One weight matrix, of a MatMul, of a Conv (inputs: one window) or of an EmbeddingBag (outputs: the vocabulary), in one
 * of five layouts; the other pointer is NULL.
 * dense: int8 [outputs][inputs], for inputs that are mostly not 0; of a Conv, rows padded with zeros to whole fours.
 * rows:  uint8 [inputs][stride], weight + offset, 4-byte aligned, padded with `offset`; the rows of inputs that are not
 *        the background are added, times the distance from it. Without a sign the bytes of a
 *        word can be multiplied together (ec_rows.c).
 * pairs: int16 in place of `dense`, 256 B + A of outputs 2k and 2k + 1, for convolutions of three columns: [outputs / 4][rows / 2][3][2][2],
 *        by fours of outputs, pairs of rows of the window over all channels, taps, pairs of outputs, rows; padded with zeros.
 * quads: the same of matrices: [outputs / 4][inputs / 8][4][2][2], by fours of outputs, eights of inputs, pairs of them (0 and 2, 1 and 3,
 *        4 and 6, 5 and 7), pairs of outputs, inputs; padded with zeros; `stride` bytes for four outputs.
 * spikes: `rows` of inputs that are 0 or 1, in the order of ec_spike_row, padded to whole sixteens.
 * Weights of 4 or 2 bits are packed, in either layout: `stride` bytes a row, codes without offset, two's complement, low
 * bits first, padded with zeros to whole eights; with EC_NIBBLES those of 4 bits in rows are code + 8.
 */
typedef struct ec_matrix {
    const int8_t *dense;
    const uint8_t *rows;
    const int32_t *bias; /* [outputs], or NULL */
    uint16_t outputs;    /* 1..65535 */
    uint16_t inputs;     /* 1..65534 */
    uint32_t stride;     /* bytes of a stored row */
    uint8_t offset;      /* 2^(bits - 1) */
    uint8_t bits;        /* of a stored weight: 8, 4, 2 */
    int8_t background;   /* rows: the input whose products the bias has already; where it is not 0 no input is below it */
#if EC_FAULTS || EC_GUARDS
    uint8_t index;      /* number in node order: names the matrix in a patch */
#endif
#if EC_FAULTS
    uint8_t paired;     /* 1: `dense` is in pairs, 2: in quads, 3: `rows` are of spikes */
    int32_t bias_limit; /* the proof holds while |bias + delta| stays within */
    const int32_t *folded; /* [outputs]: what the products of the background have made of the bias; NULL: nothing */
#if EC_REPAIR_BYTES
    uint32_t described; /* bytes of the description that begins with this matrix; 0: no repair changes it */
#endif
#endif
} ec_matrix;

/* The weight of an output in a half word of two. */
static inline int32_t ec_paired_weight(int32_t two, uint32_t output)
{
    const int32_t even = (int8_t)(uint8_t)two;
    return (output & 1u) != 0u ? (two - even) >> 8 : even;
}

/* Where the row of an input stands among those of spikes: in every 32, input 4 j + k at 31 - 8 k - j (ec_list_spikes.S). */
static inline uint32_t ec_spike_row(const ec_matrix *matrix, uint32_t input)
{
    const uint32_t behind = matrix->inputs & ~31u;
    return input >= behind ? input : (input & ~31u) + 31u - 8u * (input & 3u) - (input >> 2 & 7u);
}

/* Code k of a packed row. */
static inline int32_t ec_packed_code(const void *row, uint32_t bits, uint32_t k)
{
    const uint32_t at = k * bits, byte = ((const uint8_t *)row)[at >> 3];
    return (int32_t)(byte << (32u - bits - (at & 7u))) >> (32u - bits);
}

typedef struct ec_scaling {
    const int32_t *multiplier; /* 2^30 .. 2^31-1 */
    const uint8_t *shift;      /* 31 .. 61 */
    uint32_t channels;         /* one multiplier and one shift each */
    uint32_t span;             /* values of a channel and tick */
    int32_t low;
    int32_t high;
} ec_scaling;

#if EC_FAULTS
#define EC_NOWHERE 0xFFFFFFFFu

/* The units of a plain layer (outputs of a matrix, channels of an image), which may be dead. */
typedef struct ec_units {
    uint32_t dead_at;  /* its mask in ec_faults.word, or EC_NOWHERE */
    uint32_t span;     /* values of a unit and tick */
    uint32_t stuck_at; /* [units] there: 0, or 1 + code - low */
    uint16_t units;    /* 1..65535 */
    int8_t low;
} ec_units;
#endif

/* How windows move over an image [channels][height][width]: over rows x columns positions, row by row. */
typedef struct ec_windows {
    uint16_t channels, height, width;
    uint16_t rows, columns; /* of the output */
    uint16_t kernel_rows, kernel_columns;
    uint16_t stride_rows, stride_columns;
    uint16_t pad_rows, pad_columns; /* less than the kernel's */
} ec_windows;

typedef struct ec_conv_layer {
    ec_matrix matrix; /* inputs: [channels][kernel_rows][kernel_columns] */
    ec_windows windows;
} ec_conv_layer;

typedef struct ec_lut {
    const int8_t *table; /* [channels][256], code c at index c + 128 */
    uint32_t channels;
    uint32_t span; /* values of a channel */
} ec_lut;

typedef struct ec_topk {
    uint16_t units; /* 1..65535 */
    uint16_t k;     /* 1..units */
#if EC_FAULTS
    uint32_t dead_at; /* where its slots begin in ec_faults.word */
    uint32_t dropped_at;
    uint32_t k_shift_at;
#endif
} ec_topk;

typedef struct ec_embedding {
    ec_matrix table;           /* [vocabulary][inputs] */
    const int32_t *multiplier; /* [tokens + 1], by the number of tokens; the first is not used */
    const uint8_t *shift;
    uint16_t tokens;
    int8_t low;
    int8_t high;
} ec_embedding;

enum { EC_TOKEN_PAD = 0, EC_TOKEN_UNKNOWN = 1 };

/* Token t of a text: what the vocabulary does not have is the unknown word. */
static inline uint32_t ec_token(const ec_embedding *bag, const uint8_t *ids, uint32_t t)
{
    const uint32_t id = ec_get16(ids + 2u * t);
    return id < bag->table.outputs ? id : (uint32_t)EC_TOKEN_UNKNOWN;
}

typedef struct ec_thermal {
    uint32_t inputs; /* of the matrix */
    uint16_t outputs;
    uint16_t stream;
    uint8_t shift_a; /* 1..30 */
    uint8_t shift_b; /* 1..30 */
    uint8_t index;   /* number in node order: names the layer's parameter */
#if EC_FAULTS
    uint32_t draw_at; /* where the faults of its generator begin in ec_faults.word */
#endif
} ec_thermal;

enum { EC_SAMPLE_TICKS = 0, EC_SAMPLE_BINOMIAL = 1, EC_SAMPLE_EXPECTED = 2 };

typedef struct ec_chaos_layer {
    const int32_t *threshold; /* [neurons] */
    const int32_t *sigma;     /* [neurons] 0..32767, or NULL: no noise */
    const uint32_t *table;    /* [ticks] cumulative binomial distribution times 2^31, or NULL */
    uint32_t fail_q;          /* 0..65536: probability of losing a spike times 65536 */
    uint16_t neurons;         /* 1..65535 */
    uint16_t fail_stream;
    uint16_t noise_stream;
    uint16_t decay_q15;            /* 0..32768; stateful layers only, as is the next */
    uint16_t refractory_decay_q15; /* 0..32768 */
    uint8_t ticks;                 /* 1..127 */
    uint8_t sigma_shift;           /* 1..30 */
    uint8_t ticked_drive;          /* 1: one drive per tick, 0: the same drive at every tick */
    uint8_t emit_spikes;           /* 1: writes [ticks][neurons] 0/1, 0: writes [neurons] counts */
    uint8_t sampling;
#if EC_FAULTS
    uint32_t dead_at; /* where its slots begin in ec_faults.word; these hold then, not the constants above */
    uint32_t stuck_at;
    uint32_t fail_q_at;
    uint32_t threshold_at;
    uint32_t decay_q15_at; /* stateful layers only, as is the next */
    uint32_t refractory_decay_q15_at;
    uint32_t table_at; /* binomial layers only */
    uint32_t state_at; /* stateful layers only: bits cleared and flipped of each neuron, first tick, ticks, membrane or refractoriness */
    uint32_t draw_at;  /* of the generator: bits cleared and set, period, repeat */
#endif
} ec_chaos_layer;

#endif
