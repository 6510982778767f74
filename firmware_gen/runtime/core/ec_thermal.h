/* Temperature: noise as wide as the norm of what was multiplied. */
#ifndef EC_THERMAL_H
#define EC_THERMAL_H

#include "ec_layers.h"
#include "ec_run.h"

/* out[n] = x[n] + G * amplitude, amplitude = norm(codes) * k in the shifts of the layer; codes: [inputs], x, out: [outputs].
 * k is the run's parameter `index`, 0..k_max.
 */
void ec_thermal_noise(const ec_thermal *layer, const ec_run *run, const int8_t *codes, const int32_t *x, int32_t *out);

#endif
