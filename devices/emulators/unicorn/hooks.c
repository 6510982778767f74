/* Unicorn's callbacks for an emulated Cortex-M board: exact instruction counts between two GPIO edges, the watchdog,
 * a CMSDK UART and GPIO (Arm DDI 0479, Cortex-M System Design Kit) and the one system register that restarts the core.
 *
 * emulator_hooks.py holds the same in Python, to the letter; both write into the structure below, and a test compares
 * them. Python callbacks per block are 500 times slower on tight loops.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct machine {
    /* the image's code map: arrays with one entry per halfword from code_base on, and one more */
    const uint8_t *length;
    const uint32_t *before; /* instructions: the number of the one there */
    /* by the number of an instruction, and one more */
    int64_t *enter; /* +1 where a run of instructions begins, */
    int64_t *leave; /* +1 where it ends: the running sum of the difference is each instruction's count */
    int64_t *taken; /* of the one after that which control left for elsewhere */
    uint32_t code_base;
    uint32_t halfwords;

    int (*stop)(void *uc);
    int (*reg_read)(void *uc, int reg, void *value);
    int (*reg_write)(void *uc, int reg, const void *value);
    int32_t pc_register;
    int32_t epsr_register;

    uint32_t stop_reason;
    uint64_t executed; /* instructions, up to the end of the current block */
    uint64_t budget;   /* more than this is a hang */
    uint64_t pause_at; /* before a block that would execute more than this, and */
    uint32_t watch;    /* before the one with this address, */
    uint32_t watch_hits; /* at so many of its executions, the core stops */
    uint32_t armed;    /* likewise after every edge of the window */
    uint32_t block_end;

    uint32_t gpio_base;
    uint32_t gpio_mask; /* the output pins whose edges open and close the window */
    uint32_t gpio_out;
    uint32_t window_open;
    uint64_t window_start;
    uint64_t *windows; /* instructions of each window closed */
    uint32_t window_count;
    uint32_t window_room;

    const uint8_t *rx;
    uint32_t rx_length;
    uint32_t rx_position;
    uint8_t *tx;
    uint32_t tx_length;
    uint32_t tx_room;
    uint32_t uart_control;
    uint32_t uart_divider;

    uint32_t *log; /* of loads and stores, where they are traced: address, size or with ACCESS_STORE, instructions before it */
    uint32_t log_length;
    uint32_t log_room;
} machine;

enum { STOP_NONE, STOP_BUDGET, STOP_RESET, STOP_BABBLE, STOP_PAUSE };
enum { UART_DATA = 0x00, UART_STATE = 0x04, UART_CONTROL = 0x08, UART_DIVIDER = 0x10, UART_RX_FULL = 2 };
enum { MEM_WRITE = 17 };
static const uint32_t ACCESS_STORE = 0x80000000u;
enum { GPIO_DATA = 0x00, GPIO_OUT = 0x04, GPIO_MASKED_LOW = 0x400, GPIO_MASKED_HIGH = 0x800, GPIO_MASKED_END = 0xC00 };
enum { AIRCR = 0xD0C, AIRCR_KEY = 0x05FA, SYSRESETREQ = 4 };

/* Of an address below the code the difference is huge. */
static bool mapped(const machine *m, uint32_t address)
{
    return (address - m->code_base) >> 1 <= m->halfwords;
}

static uint32_t halfword(const machine *m, uint32_t address)
{
    return (address - m->code_base) >> 1;
}

/* Whether an address is the second half of an instruction of the image; control that is lost may run from there. */
static bool inside(const machine *m, uint32_t address)
{
    return address > m->code_base && m->length[halfword(m, address) - 1u] == 2u;
}

/* Instructions in [start, end); outside of the image's code a halfword counts as one, so that the watchdog sees them. */
static uint32_t instructions(const machine *m, uint32_t start, uint32_t end)
{
    if (mapped(m, start) && mapped(m, end))
        return m->before[halfword(m, end)] - m->before[halfword(m, start)];
    return (end - start) >> 1;
}

static void count_run(machine *m, uint32_t start, uint32_t end, int64_t times)
{
    if (mapped(m, start) && mapped(m, end)) {
        m->enter[m->before[halfword(m, start)]] += times;
        m->leave[m->before[halfword(m, end)]] += times;
    }
}

static void stop(machine *m, void *uc, uint32_t reason)
{
    m->stop_reason = reason;
    m->stop(uc);
}

void edgechaos_block(void *uc, uint64_t address64, uint32_t size, void *user)
{
    machine *const m = user;
    const uint32_t address = (uint32_t)address64, end = address + size, count = instructions(m, address, end);
    if (m->executed + count > m->pause_at || (m->watch - address < size && --m->watch_hits == 0u)) {
        stop(m, uc, STOP_PAUSE);
        return; /* nothing of the block is executed */
    }
    if (m->window_open) {
        if (address != m->block_end && mapped(m, m->block_end) && !inside(m, m->block_end))
            m->taken[m->before[halfword(m, m->block_end)]]++;
        count_run(m, address, end, 1);
    }
    m->block_end = end;
    m->executed += count;
    if (m->executed > m->budget)
        stop(m, uc, STOP_BUDGET);
}

/* The window holds what runs after the store that opens it, up to and with the store that closes it. */
static void edge(machine *m, uint32_t store_pc, uint32_t level)
{
    const uint32_t at = store_pc + (mapped(m, store_pc) ? 2u * m->length[halfword(m, store_pc)] : 2u);
    const uint64_t executed = m->executed - instructions(m, at, m->block_end);
    if (level == m->window_open)
        return;
    m->window_open = level;
    if (m->armed)
        m->pause_at = 0;
    count_run(m, at, m->block_end, level ? 1 : -1);
    if (level)
        m->window_start = executed;
    else if (m->window_count < m->window_room)
        m->windows[m->window_count++] = executed - m->window_start;
}

/* Before a callback that belongs to a load or store, Unicorn sets PC and IT state to those of its instruction, and leaves them so: the
 * block that goes on sets its PC at its end, but the next one would begin inside of an IT block.
 */
static void leave_it_block(machine *m, void *uc)
{
    const uint32_t thumb = 1u << 24;
    m->reg_write(uc, m->epsr_register, &thumb);
}

/* The GPIO's page is read-only memory, and this its write fault: the only callback of a store that is told the storing
 * instruction's address without slowing every other load and store. Afterwards the write goes through.
 */
bool edgechaos_gpio_store(void *uc, int type, uint64_t address, int size, int64_t value, void *user)
{
    machine *const m = user;
    const uint32_t offset = (uint32_t)address - m->gpio_base;
    uint32_t mask = 0, store_pc = 0;
    (void)type, (void)size;
    if (offset == GPIO_DATA || offset == GPIO_OUT)
        mask = 0xFFFF;
    else if (offset >= GPIO_MASKED_LOW && offset < GPIO_MASKED_HIGH)
        mask = (offset - GPIO_MASKED_LOW) >> 2 & 0xFF;
    else if (offset >= GPIO_MASKED_HIGH && offset < GPIO_MASKED_END)
        mask = ((offset - GPIO_MASKED_HIGH) >> 2 & 0xFF) << 8;
    m->gpio_out = (m->gpio_out & ~mask) | ((uint32_t)value & mask);
    m->reg_read(uc, m->pc_register, &store_pc);
    leave_it_block(m, uc);
    edge(m, store_pc, (m->gpio_out & m->gpio_mask) != 0);
    return true;
}

/* Armv7-M's default memory map lets RAM hold code, and Unicorn looks at every store to where code may be, a quarter of the time that
 * a network takes: here a page holds code once something is fetched from it. Nothing can be fetched from peripherals and the private
 * bus (Arm DDI 0403, B3.1).
 */
typedef struct tlb_entry {
    uint64_t paddr;
    int perms;
} tlb_entry;
enum { PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, MEM_FETCH = 18 };

bool edgechaos_tlb_fill(void *uc, uint64_t address, int type, tlb_entry *result, void *user)
{
    const bool fetched = type == MEM_FETCH, never = address >> 29 == 2u || address >> 20 == 0xE00u;
    result->paddr = address;
    result->perms = PROT_READ | PROT_WRITE | (fetched ? PROT_EXEC : 0);
    if (!fetched)
        leave_it_block(user, uc);
    return !(fetched && never);
}

uint64_t edgechaos_uart_read(void *uc, uint64_t offset, unsigned size, void *user)
{
    machine *const m = user;
    (void)uc, (void)size;
    switch (offset) {
    case UART_DATA:
        return m->rx_position < m->rx_length ? m->rx[m->rx_position++] : 0;
    case UART_STATE:
        return m->rx_position < m->rx_length ? UART_RX_FULL : 0;
    case UART_CONTROL:
        return m->uart_control;
    case UART_DIVIDER:
        return m->uart_divider;
    default:
        return 0; /* interrupts are not modelled: nothing is ever pending */
    }
}

void edgechaos_uart_write(void *uc, uint64_t offset, unsigned size, uint64_t value, void *user)
{
    machine *const m = user;
    (void)size;
    if (offset == UART_DATA) {
        if (m->tx_length < m->tx_room)
            m->tx[m->tx_length++] = (uint8_t)value;
        else
            stop(m, uc, STOP_BABBLE);
    } else if (offset == UART_CONTROL) {
        m->uart_control = (uint32_t)value;
    } else if (offset == UART_DIVIDER) {
        m->uart_divider = (uint32_t)value;
    }
}

uint64_t edgechaos_system_read(void *uc, uint64_t offset, unsigned size, void *user)
{
    (void)uc, (void)offset, (void)size, (void)user;
    return 0;
}

void edgechaos_system_write(void *uc, uint64_t offset, unsigned size, uint64_t value, void *user)
{
    (void)size;
    if (offset == AIRCR && (value >> 16) == AIRCR_KEY && (value & SYSRESETREQ))
        stop(user, uc, STOP_RESET);
}

/* Every load and store, with as many instructions as were executed before its own. */
void edgechaos_access(void *uc, int type, uint64_t address, int size, int64_t value, void *user)
{
    machine *const m = user;
    uint32_t *const entry = m->log + 3u * m->log_length;
    uint32_t pc = 0;
    (void)value;
    m->reg_read(uc, m->pc_register, &pc);
    leave_it_block(m, uc);
    if (m->log_length++ >= m->log_room)
        return;
    entry[0] = (uint32_t)address;
    entry[1] = (uint32_t)size | (type == MEM_WRITE ? ACCESS_STORE : 0u);
    entry[2] = (uint32_t)(m->executed - instructions(m, pc, m->block_end));
}
