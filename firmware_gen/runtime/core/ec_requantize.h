/* From accumulators back to codes: one rounding, one saturation. */
#ifndef EC_REQUANTIZE_H
#define EC_REQUANTIZE_H

#include "ec_layers.h"
#include "ec_rescale.h"

/* q = clip((int64(x) * multiplier + 2^(shift-1)) >> shift); ties up; |x| < 2^30. Named by what enters and what leaves.
 * Both arrays [ticks][channels][span]; they must not overlap.
 */
void ec_requantize_int32_int8(const ec_scaling *scaling, uint32_t ticks, const int32_t *x, int8_t *out);
void ec_requantize_int32_int16(const ec_scaling *scaling, uint32_t ticks, const int32_t *x, int16_t *out);
void ec_requantize_int16_int8(const ec_scaling *scaling, uint32_t ticks, const int16_t *x, int8_t *out);
void ec_requantize_int16_int16(const ec_scaling *scaling, uint32_t ticks, const int16_t *x, int16_t *out);

static inline int32_t ec_requantize(int32_t x, int32_t multiplier, uint32_t shift, int32_t low, int32_t high)
{
    const int64_t scaled = ((int64_t)x * multiplier + ((int64_t)1 << (shift - 1u))) >> shift;
    return ec_clip((int32_t)scaled, low, high); /* |x| < 2^30, multiplier < 2^31, shift >= 31, or >= 24 where the bound of |x| is 2^7 less: fits */
}

#endif
