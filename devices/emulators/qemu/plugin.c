/* A TCG plugin of QEMU: exact instruction counts between the edges of the marker pin, watchdog, and when the core sleeps, starts or faults.
 *
 * It shares a piece of memory and a socket with machine.py: what it counts is there at once, without a request to QEMU. When the
 * socket's other end closes, however that process ended, QEMU ends. Declarations: qemu-plugin.h of QEMU 7.2 (plugin API, version 1).
 */
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0, MEMORY_WRITTEN = 2 };
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*callback)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*callback)(unsigned, void *), int flags, void *user);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, void (*callback)(unsigned, uint32_t, uint64_t, void *), int flags,
                                      int access, void *user);
void qemu_plugin_register_vcpu_idle_cb(plugin_id id, void (*callback)(plugin_id, unsigned));
void qemu_plugin_register_vcpu_resume_cb(plugin_id id, void (*callback)(plugin_id, unsigned));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

enum { STOP_NONE, STOP_BUDGET, STOP_FAULT, STOP_RESTARTS };
enum { WINDOWS = 4096, EDGE_BYTES = 0x400, MOST_RESTARTS = 100 };

/* `_Shared` of machine.py, member by member; behind it enter, leave and taken as in Unicorn's hooks.c,
 * and length, of the instruction there in bytes: int64 [halfwords + 1] each.
 */
typedef struct shared {
    uint64_t executed; /* instructions, up to the end of the current block */
    uint64_t budget;   /* more than this is a hang */
    uint64_t window_start;
    uint64_t windows[WINDOWS]; /* instructions of each window closed */
    uint32_t window_count;
    uint32_t window_open;
    uint64_t start_budget; /* what a start may take besides */
    uint32_t starts;
    uint32_t restless; /* starts since the core slept last */
    uint32_t asleep;
    uint32_t stop;
    uint32_t block_start, block_end;
    uint32_t code_base;
    uint32_t halfwords;
    uint32_t reset_at; /* addresses: of the reset handler, the fault handler, the pin's registers */
    uint32_t fault_at;
    uint32_t edge_at;
} shared;

/* One translated block, and one of its stores. */
typedef struct block {
    uint32_t address, end, count;
} block;

typedef struct store {
    const block *in;
    uint32_t after, left; /* address of the next instruction; instructions of the block from there on */
} store;

int qemu_plugin_version = 1;
static shared *m;
static int64_t *enter, *leave, *taken, *length;
static int control;

static int mapped(uint32_t address)
{
    return address >= m->code_base && (address - m->code_base) >> 1 <= m->halfwords;
}

static void count_run(uint32_t start, uint32_t end, int64_t times)
{
    if (mapped(start) && mapped(end)) {
        enter[(start - m->code_base) >> 1] += times;
        leave[(end - m->code_base) >> 1] += times;
    }
}

static void tell(void)
{
    const char something = 0;
    if (write(control, &something, 1) < 0)
        _exit(0);
}

/* Nothing of the block is executed until the other end answers. */
static void stop(uint32_t why)
{
    char something;
    __atomic_store_n(&m->stop, why, __ATOMIC_RELEASE);
    tell();
    if (read(control, &something, 1) <= 0)
        _exit(0);
}

static void on_block(unsigned cpu, void *user)
{
    const block *const b = user;
    (void)cpu;
    m->block_start = b->address;
    if (b->address == m->reset_at) {
        m->window_open = 0;
        m->starts++;
        m->budget += m->start_budget;
        if (++m->restless > MOST_RESTARTS)
            stop(STOP_RESTARTS);
    }
    if (b->address == m->fault_at)
        stop(STOP_FAULT);
    if (m->window_open) {
        if (b->address != m->block_end && mapped(m->block_end))
            taken[(m->block_end - m->code_base) >> 1]++;
        count_run(b->address, b->end, 1);
    }
    m->block_end = b->end;
    m->executed += b->count;
    if (m->executed > m->budget)
        stop(STOP_BUDGET);
}

/* The window holds what runs after the store that opens it, up to and with the store that closes it. Before the core first sleeps,
 * the port sets its pins up; after that every store there is an edge.
 */
static void on_store(unsigned cpu, uint32_t info, uint64_t address, void *user)
{
    const store *const s = user;
    const uint64_t executed = m->executed - s->left;
    (void)cpu, (void)info;
    if ((uint32_t)address - m->edge_at >= EDGE_BYTES || m->restless != 0u)
        return;
    m->window_open = !m->window_open;
    count_run(s->after, s->in->end, m->window_open ? 1 : -1);
    if (m->window_open)
        m->window_start = executed;
    else if (m->window_count < WINDOWS)
        m->windows[m->window_count++] = executed - m->window_start;
}

static void *reserve(size_t bytes)
{
    void *const memory = malloc(bytes);
    if (memory == NULL)
        abort();
    return memory;
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *tb)
{
    block *const b = reserve(sizeof *b); /* lives as long as QEMU, which may keep the code */
    const size_t count = qemu_plugin_tb_n_insns(tb);
    (void)id;
    b->count = (uint32_t)count;
    for (size_t k = 0; k < count; k++) {
        struct qemu_plugin_insn *const insn = qemu_plugin_tb_get_insn(tb, k);
        store *const s = reserve(sizeof *s);
        const uint32_t address = (uint32_t)qemu_plugin_insn_vaddr(insn);
        if (k == 0u)
            b->address = address;
        /* QEMU's size of an instruction before one that crosses a page is that of both. */
        b->end = address + (mapped(address) ? (uint32_t)length[(address - m->code_base) >> 1] : (uint32_t)qemu_plugin_insn_size(insn));
        s->in = b;
        s->after = b->end;
        s->left = (uint32_t)(count - k - 1u);
        qemu_plugin_register_vcpu_mem_cb(insn, on_store, NO_REGISTERS, MEMORY_WRITTEN, s);
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, NO_REGISTERS, b);
}

static void on_idle(plugin_id id, unsigned cpu)
{
    (void)id, (void)cpu;
    m->restless = 0;
    __atomic_store_n(&m->asleep, 1u, __ATOMIC_RELEASE);
    tell();
}

static void on_resume(plugin_id id, unsigned cpu)
{
    (void)id, (void)cpu;
    __atomic_store_n(&m->asleep, 0u, __ATOMIC_RELEASE);
}

static void *watch(void *unused)
{
    struct pollfd other = {.fd = control, .events = 0};
    (void)unused;
    while (poll(&other, 1, -1) < 0 || (other.revents & (POLLHUP | POLLERR)) == 0) {
    }
    _exit(0);
}

/* Arguments: memory=FD, size=BYTES, control=FD. */
int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    pthread_t watcher;
    void *memory;
    (void)info;
    if (argc != 3)
        return -1;
    control = atoi(argv[2] + sizeof "control");
    memory = mmap(NULL, (size_t)atol(argv[1] + sizeof "size"), PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[0] + sizeof "memory"), 0);
    if (memory == MAP_FAILED || pthread_create(&watcher, NULL, watch, NULL) != 0)
        return -1;
    m = memory;
    enter = (int64_t *)(void *)(m + 1);
    leave = enter + m->halfwords + 1u;
    taken = leave + m->halfwords + 1u;
    length = taken + m->halfwords + 1u;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_idle_cb(id, on_idle);
    qemu_plugin_register_vcpu_resume_cb(id, on_resume);
    return 0;
}
