/* Texts as bags of tokens. */
#ifndef EC_EMBEDDING_H
#define EC_EMBEDDING_H

#include "ec_layers.h"
#include "ec_run.h"

/* Tokens of one list: 128 * 64 < 2^15. */
#define EC_TOKENS 64u

/* out[d] = the sum of the tokens' rows, rescaled for their count; zeros where there is no token.
 * ids: [tokens] uint16, little-endian as they come over the wire; 0 is padding, an id beyond the vocabulary counts as 1.
 */
void ec_embedding_bag(const ec_embedding *bag, const ec_run *run, const uint8_t *ids, int8_t *out);

#endif
