#include "survivor.h"

#include "ec_board.h"
#include "ec_compiler.h"
#include "ec_port.h"
#include "ec_protocol.h"

EC_SECTION(".noinit") ec_survivor ec_survived;

void ec_survivor_begin(void)
{
    if (ec_survived.magic != EC_SURVIVOR_MAGIC) {
        ec_survived.magic = EC_SURVIVOR_MAGIC;
        ec_survived.boots = 0;
        ec_survived.cause = EC_RESET_POWER_ON;
    }
    ec_survived.boots++;
}

uint8_t ec_survivor_cause(void)
{
    const uint32_t cause = ec_survived.cause;
    ec_survived.cause = EC_RESET_UNKNOWN;
    return (uint8_t)cause;
}

uint32_t ec_port_boot_counter(void)
{
    return ec_survived.boots;
}

void ec_survivor_uid(uint8_t uid[16])
{
    static const char name[] = EC_BOARD_NAME;
    for (uint32_t k = 0; k < 16u; k++)
        uid[k] = k < sizeof name ? (uint8_t)name[k] : 0u;
}
