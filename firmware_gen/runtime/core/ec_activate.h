/* Element by element: tables, and the k largest. */
#ifndef EC_ACTIVATE_H
#define EC_ACTIVATE_H

#include "ec_layers.h"
#include "ec_run.h"

/* out = table[x + 128]; both arrays [channels][span]. */
void ec_lut_map(const ec_lut *lut, const int8_t *x, int8_t *out);

/* count[b] += the values whose high byte is b. */
void ec_count_high(const int16_t *x, uint32_t units, uint16_t *count);

/* Zeros to out; list: in order, the units with x >= least. Returns how many. x and out are 4-byte aligned, list has `units` entries. */
uint32_t ec_list_from(const int16_t *x, uint32_t units, int32_t least, int16_t *out, uint16_t *list);

/* The k largest of [units] keep their value, the others become 0; among equals the lowest index wins. Dead units lose. */
void ec_topk_select(const ec_topk *topk, const ec_run *run, const int16_t *x, int16_t *out);

#endif
