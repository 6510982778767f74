/* Words of the model that a repair has changed: copies in RAM of the matrices that hold them, which kernels read in place of flash.
 *
 * They live beside the model's state: a session clears faults, not repairs; every start clears both. EC_REPAIR_BYTES of ec_config.h bounds them.
 */
#ifndef EC_REPAIR_H
#define EC_REPAIR_H

#include "ec_faults.h"

#if EC_FAULTS && EC_REPAIR_BYTES

typedef struct ec_repair {
    uint64_t pool[EC_REPAIR_BYTES / 8u];  /* descriptions, weights and biases of the matrices that are copied */
    const ec_matrix *matrix[EC_MATRICES]; /* in use, by their numbers on the wire */
    uint32_t used;                        /* bytes of the pool */
    uint8_t hash[32];                     /* of the artifact that the device holds, where one was committed */
    uint8_t committed;
} ec_repair;

/* The model as it was flashed. */
void ec_repair_revert(ec_repair *repair, const ec_sites *sites);

/* Adds every patch row to its word, for good, and forgets the rows; returns 0, or an error code with nothing changed and *detail set. */
uint8_t ec_repair_commit(ec_repair *repair, ec_faults *faults, const ec_sites *sites, uint32_t *detail);

#endif
#endif
