/* What survives a restart: how often the device has started since power-on, and why. */
#ifndef EC_SURVIVOR_H
#define EC_SURVIVOR_H

#include <stdint.h>

/* RAM that start-up does not clear. */
typedef struct ec_survivor {
    uint32_t magic;
    uint32_t boots;
    uint32_t cause; /* an EC_RESET_ number of ec_protocol.h */
} ec_survivor;

#define EC_SURVIVOR_MAGIC 0xEC5EED01u
extern ec_survivor ec_survived;

/* Counts this start; call once. Without a valid record this is a power-on. */
void ec_survivor_begin(void);

/* Why the last start came, as far as it was recorded; should the next one come without a word, its cause is unknown. */
uint8_t ec_survivor_cause(void);

/* The board's name as UID, for boards without a number of their own. */
void ec_survivor_uid(uint8_t uid[16]);

#endif
